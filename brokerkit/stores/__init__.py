"""Adapters to where records live, one module per kind of store."""
