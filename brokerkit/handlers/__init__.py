"""How a function becomes a handler: what it takes, what it is given, and how it is called."""
