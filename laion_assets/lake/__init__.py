"""Delta storage: the table catalogue, staged and validated partition overwrites, pinned reads, commit metadata.

What belongs here: everything that touches the lake's tables. What does not: Dagster, and any algorithm over rows.
"""
