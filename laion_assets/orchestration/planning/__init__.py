"""What is due: how everything stands, which of it is to be built, and what can be built next. Knows no runs.

Commands ask for waves of partitions (:class:`waves.Request`), automation for a backlog: by the same rules.
"""
