"""Topology as code, for whoever operates it: files, lint, explain, draw, export and examine."""
