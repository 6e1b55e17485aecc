"""SQL over the lake: a DuckDB session with a view of every table and of every SQL model."""

from typing import Any

from laion_assets.common.shipped import shipped

PROJECT = shipped("dbt_like_sql")
"""The models that are shipped."""


def __getattr__(name: str) -> Any:
    if name == "connect":  # opening a session imports DuckDB; whoever only reads settings need not wait for it
        from laion_assets.sql.session import connect

        return connect
    raise AttributeError(name)
