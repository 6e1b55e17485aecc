"""The engine: staged and validated partition overwrites of Delta tables, pinned reads, records in commits, staleness.

What it must know of a table it asks the declaration. What does not belong here: Dagster, any algorithm over rows, and
what the rows of any table mean.
"""
