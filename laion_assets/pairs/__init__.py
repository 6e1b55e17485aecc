"""Pairs of image url and alt text: identity, removals, deduplication and filter policies. Knows no Dagster, no lake."""
