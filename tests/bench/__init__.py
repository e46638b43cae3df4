"""How fast brokerkit is, each rate beside a plain loop on the same driver: ``python -m tests.bench``."""
