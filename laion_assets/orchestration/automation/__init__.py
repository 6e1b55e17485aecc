"""What runs without anybody asking: new crawls, partitions that became due, and what a night may cost.

Everything is decided from the lake's commit records; Dagster says what runs, and remembers what was tried.
"""
