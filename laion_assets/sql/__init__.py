"""SQL over the lake: a DuckDB session with a view of every table and of every SQL model."""

from laion_assets.sql.session import connect

__all__ = ["connect"]
