"""One DuckDB session over a lake: in memory, no state file, views that see every new commit."""

from pathlib import Path

import duckdb

from laion_assets.lake.build import hive_relation
from laion_assets.lake.lake import Lake
from laion_assets.lake.tables import TABLES
from laion_assets.text.language import language_group_sql

MODELS = Path(__file__).resolve().parents[2] / "dbt_like_sql" / "models"
_LAYERS = ("staging", "marts", "release")
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.RELATION)


def connect(lake: Lake, *, models: Path = MODELS) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with a view for every table of the lake and every SQL model.

    Tables nobody has built yet are there, empty. The session can read files of the lake and no others.

    Args:
        lake: the lake.
        models: folder of SQL models in ``staging``, ``marts`` and ``release``, each the view named after its file.

    Raises:
        duckdb.Error: a model's SQL is wrong.
    """
    con = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"LOAD '{_delta_extension()}'")
    # Before access is shut: what the lake holds stays readable.
    con.execute(f"SET allowed_directories = ['{_quoted(str(lake.root))}/']")
    con.execute("SET enable_external_access = false")
    for name, table in TABLES.items():
        rows = f"delta_scan('{_quoted(lake.path(name))}')" if lake.exists(name) else hive_relation(name, [])
        columns = ", ".join(column.name for column in table.columns)
        con.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM {rows}")
    con.execute("SET lock_configuration = true")
    con.execute(f"CREATE MACRO language_group(language) AS {language_group_sql('language')}")
    for layer in _LAYERS:
        for file in sorted((models / layer).glob("*.sql")):
            con.execute(f"CREATE VIEW {file.stem} AS {file.read_text(encoding='utf-8').strip().rstrip(';')}")
    return con


class NotAQueryError(ValueError):
    """A statement that does more than read."""


def query(con: duckdb.DuckDBPyConnection, text: str) -> duckdb.DuckDBPyRelation | None:
    """Run SQL that only reads, and give the last statement's rows; None where there is no statement.

    Raises:
        NotAQueryError: a statement would write.
        duckdb.Error: the SQL is wrong.
    """
    statements = con.extract_statements(text)
    for statement in statements:
        if not _reads(con, statement):
            raise NotAQueryError(
                f"{statement.type.name} is not allowed: the session only reads (SELECT, EXPLAIN SELECT)"
            )
    result = None
    for statement in statements:
        result = con.sql(statement.query)
    return result


def _reads(con: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> bool:
    """Whether the statement only reads. EXPLAIN ANALYZE runs what it explains, so that must only read as well."""
    if statement.type != duckdb.StatementType.EXPLAIN:
        return statement.type in _READING
    text = statement.query.encode()
    words = [text[offset:] for offset, _ in duckdb.tokenize(statement.query)][1:]
    if words and words[0][:7].upper() == b"ANALYZE":
        words = words[1:]
    try:
        return bool(words) and all(_reads(con, inner) for inner in con.extract_statements(words[0].decode()))
    except duckdb.ParserException:  # options in parentheses, which may say ANALYZE too
        return False


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _delta_extension() -> Path:
    # The wheel carries the extension, so nothing is fetched at run time.
    import duckdb_extension_delta

    root = Path(duckdb_extension_delta.__path__[0])
    return next(root.rglob("delta.duckdb_extension"))
