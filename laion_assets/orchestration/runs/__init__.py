"""The one builder: in which runs what is due is built, how it went, and what Dagster and the lake remember of it."""
