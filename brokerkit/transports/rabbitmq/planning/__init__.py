"""Planning on RabbitMQ: what it has, by the management API or by asking; what brokerkit remembers having applied; what
differs; and changing it step by step."""
