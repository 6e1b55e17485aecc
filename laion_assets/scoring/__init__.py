"""Heads: small models that score pictures by their vectors or their pixels; read without running what they contain."""
