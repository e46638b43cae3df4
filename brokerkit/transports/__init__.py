"""Adapters, one package per kind of broker; each loads its client library only when it is used."""
