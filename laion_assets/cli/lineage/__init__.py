"""``laion lineage`` and ``laion diff``: where rows came from, and what changed between versions."""
