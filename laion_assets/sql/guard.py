"""What a session runs: statements that read, and table functions that do nothing else.

DuckDB itself keeps its readers of files inside the lake, links and ``..`` included. It does not watch what it has
beside them: ``FROM enable_logging(...)`` and ``FROM copy_dir(...)`` write files wherever they are told to, and Delta's
own functions read a table's log past DuckDB's file system, over the network too. So statements are looked at before
they run.

Of a lake in a bucket DuckDB keeps readers less well: ``..`` leads out of it, and ``?s3_endpoint=…`` to another server.
There a query names tables and views, and no file at all.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

_DELTA_READERS = frozenset({"delta_scan", "delta_list_files"})
# fmt: off
_FILE_READERS = _DELTA_READERS | {
    "read_parquet", "parquet_scan", "parquet_schema", "parquet_metadata", "parquet_file_metadata",
    "parquet_full_metadata", "parquet_kv_metadata", "parquet_bloom_probe",
    "read_csv", "read_csv_auto", "sniff_csv",
    "read_json", "read_json_auto", "read_json_objects", "read_json_objects_auto",
    "read_ndjson", "read_ndjson_auto", "read_ndjson_objects",
    "read_text", "read_blob", "glob",
}
_TABLE_FUNCTIONS = _FILE_READERS | {
    "range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree",
    "histogram", "histogram_values", "summary", "test_all_types", "icu_calendar_names", "pg_timezone_names",
    "duckdb_columns", "duckdb_databases", "duckdb_extensions", "duckdb_functions", "duckdb_keywords", "duckdb_memory",
    "duckdb_schemas", "duckdb_settings", "duckdb_tables", "duckdb_temporary_files", "duckdb_types", "duckdb_views",
    "pragma_collations", "pragma_database_size", "pragma_platform", "pragma_show", "pragma_table_info",
    "pragma_user_agent", "pragma_version",
}
# fmt: on
_WRITING_FUNCTIONS = frozenset({"write_log"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class NotAQueryError(ValueError):
    """A statement that does more than read, or reads where the session may not."""


def reading_statements(con: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    """The statements of ``text``, each of which only reads.

    Args:
        con: the session; what it may read decides which Delta tables may be named by their path.
        text: any number of statements.

    Raises:
        NotAQueryError: a statement would write, or use a table function that is not known to only read.
        duckdb.Error: the SQL cannot be parsed.
    """
    # A cursor of its own: a fault found here would abort the transaction of a result that is half read.
    with con.cursor() as parser:
        statements = parser.extract_statements(text)
        if any(not statement.query for statement in statements):  # DuckDB makes a type of the values first
            raise NotAQueryError("PIVOT has to name its values: PIVOT … ON column IN ('a', 'b') USING …")
        for statement in statements:
            _ensure_reads(parser, statement)
    return [statement.query for statement in statements]


def _ensure_reads(con: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> None:
    query = statement.query
    if statement.type == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains, so that must only read as well.
        query = _explained(query)
        if [inner.type for inner in _parsed(con, query)] != [duckdb.StatementType.SELECT]:
            raise _refusal("EXPLAIN of anything but a SELECT")
    elif statement.type != duckdb.StatementType.SELECT:
        raise _refusal(statement.type.name)
    for node in _nodes(_syntax_tree(con, query)):
        if node.get("type") == "TABLE_FUNCTION":
            _ensure_reading_function(con, node["function"])
        elif node.get("class") == "FUNCTION" and node.get("function_name", "").lower() in _WRITING_FUNCTIONS:
            raise _refusal(f"the function {node['function_name']}")
        elif node.get("type") == "BASE_TABLE" and _SCHEME.match(node.get("table_name", "")):
            _ensure_names_files(con, "FROM")


def names_read(con: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    """The tables and views that a statement names, in lower case, as :func:`reading_statements` gave it.

    What the statement defines itself (``WITH``) is none of them.
    """
    with con.cursor() as parser:
        if [statement.type for statement in _parsed(parser, query)] == [duckdb.StatementType.EXPLAIN]:
            query = _explained(query)
        nodes = list(_nodes(_syntax_tree(parser, query)))
    own = {entry["key"].lower() for node in nodes for entry in node.get("cte_map", {}).get("map", [])}
    tables = [node for node in nodes if node.get("type") == "BASE_TABLE"]
    return {
        node["table_name"].lower() for node in tables if "schema_name" in node or node["table_name"].lower() not in own
    }


def _refusal(what: str) -> NotAQueryError:
    return NotAQueryError(f"{what} is not allowed: the session only reads (SELECT, DESCRIBE, SUMMARIZE, EXPLAIN)")


def _parsed(con: duckdb.DuckDBPyConnection, text: str) -> list[duckdb.Statement]:
    try:
        return con.extract_statements(text)
    except duckdb.ParserException:
        return []


def _explained(query: str) -> str:
    """What an EXPLAIN explains, behind ANALYZE or options in parentheses."""
    text = query.encode()
    words = [text[offset:] for offset, _ in duckdb.tokenize(query)][1:]
    if words and words[0].startswith(b"("):
        behind = next((word for word in words if word.startswith(b")")), b")")
        return behind[1:].decode()
    if words and words[0][:7].upper() == b"ANALYZE":
        words = words[1:]
    return words[0].decode() if words else ""


def _syntax_tree(con: duckdb.DuckDBPyConnection, query: str) -> Any:
    serialized = con.sql("SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true)", params=[query])
    try:
        tree = json.loads(serialized.fetchall()[0][0])
    except RecursionError:
        raise NotAQueryError("the statement is nested too deeply to be checked: write it with fewer levels") from None
    if tree["error"] or len(tree["statements"]) != 1:
        raise NotAQueryError(f"the statement cannot be checked: {tree.get('error_message', 'it is not one alone')}")
    return tree


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _ensure_reading_function(con: duckdb.DuckDBPyConnection, call: Mapping[str, Any]) -> None:
    name = call["function_name"].lower()
    if name not in _TABLE_FUNCTIONS:
        raise _refusal(f"the table function {name}")
    if name in _FILE_READERS:
        _ensure_names_files(con, name)
    if name in _DELTA_READERS:
        for path in _delta_paths(name, call.get("children", [])):
            _ensure_readable(con, name, path)


def _reach(con: duckdb.DuckDBPyConnection) -> tuple[bool, list[str]]:
    """Whether the session reads files wherever they are, and else the folders below which it does."""
    settings = "SELECT current_setting('enable_external_access'), current_setting('allowed_directories')"
    anywhere, folders = con.sql(settings).fetchall()[0]
    return anywhere, folders


def _ensure_names_files(con: duckdb.DuckDBPyConnection, what: str) -> None:
    anywhere, folders = _reach(con)
    if not anywhere and any(_SCHEME.match(folder) for folder in folders):
        raise NotAQueryError(
            f"{what}: a lake in a bucket is read by the names of its tables and models; --unsafe (unsafe=True) reads "
            "files too"
        )


def _delta_paths(name: str, arguments: list[Mapping[str, Any]]) -> Iterator[str]:
    path, *options = arguments or [{}]
    values = path.get("children", []) if path.get("function_name") == "list_value" else [path]
    for value in values:
        constant = value.get("value") if value.get("type") == "VALUE_CONSTANT" else None
        if constant is None or not isinstance(constant.get("value"), str):
            raise NotAQueryError(f"{name}: expected the path of a Delta table, written out as text")
        yield constant["value"]
    for option in options:
        named = option.get("alias") or "".join(option.get("left", {}).get("column_names", []))
        if named.lower() != "version":
            raise NotAQueryError(f"{name}: the only option is version => N")


def _ensure_readable(con: duckdb.DuckDBPyConnection, name: str, path: str) -> None:
    if _SCHEME.match(path):
        raise NotAQueryError(f"{name}: expected the path of a folder on this machine, found {path!r}")
    anywhere, folders = _reach(con)
    # A url's parts, escapes and outer blanks are undone behind our back: only a plain absolute path is a path.
    plain = path.startswith("/") and path == path.strip() and path.isprintable() and not set("?#%~") & set(path)
    if not anywhere and not (plain and any(Path(path).resolve().is_relative_to(folder) for folder in folders)):
        raise NotAQueryError(f"{name}: {path!r} is outside of the lake: --unsafe (unsafe=True) reads it all the same")
