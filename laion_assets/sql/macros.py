"""The functions that models and sessions know beside DuckDB's own."""

import duckdb

from laion_assets.text.language import language_group_sql

MACROS = {
    "language_group(language)": language_group_sql("language"),
    # Userinfo may stand before the host and a port after it; an IPv6 address has brackets around it.
    "url_host(url)": r"lower(regexp_extract(url, '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(\[[^\]]*\]|[^/:?#]*)', 1))",
}
"""SQL by signature: `en`, `multi` or `nolang` of a language; the lower-case host of a url."""


def create_macros(con: duckdb.DuckDBPyConnection) -> None:
    """Make them known to a connection."""
    for signature, body in MACROS.items():
        con.execute(f"CREATE MACRO {signature} AS {body}")
