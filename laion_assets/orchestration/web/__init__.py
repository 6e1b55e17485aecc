"""Dagster's web server with pages of the lake beside its own."""
