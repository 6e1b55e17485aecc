"""One DuckDB session over a lake: in memory, no state file, views that see every new commit."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import duckdb

from laion_assets.common.duck import quoted
from laion_assets.delta.lake import Lake
from laion_assets.delta.relations import hive_relation, with_added
from laion_assets.delta.table import Table
from laion_assets.lake.opening import lake_at
from laion_assets.sql import PROJECT
from laion_assets.sql.commits import COMMITS, commits_in_logs
from laion_assets.sql.guard import reading_statements
from laion_assets.sql.ledger import LEDGER
from laion_assets.sql.macros import create_macros
from laion_assets.sql.metrics import STEP_METRICS, metrics_in_logs
from laion_assets.sql.project import RECORDS, Project, open_project, tables_of
from laion_assets.sql.versions import ensure_versions
from laion_assets.tables.catalogue import TABLES


def connect(
    lake: Lake | str | Path | None = None,
    *,
    models: Path | str = PROJECT,
    at: Mapping[str, int] | None = None,
    unsafe: bool = False,
    memory_gib: float | None = None,
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with a view for every table of the lake and every SQL model, and of the ledger of consent.

    Tables and models nobody has built yet are there, empty. The session can read files of the lake and no others. A
    lake in a bucket is read for as long as the credentials hold that there are now. Of a model whose SQL is wrong, and
    of what is built on it, there is what was built last.

    Args:
        lake: the lake or where it is; None: the one ``LAION_LAKE`` names, or ``lake`` in the working folder.
        models: folder of the SQL models.
        at: read these tables as they were at a version, ``{"filtered_pairs": 3}``; the others show every new commit.
        unsafe: let queries read files outside of the lake too. They write nothing either way.
        memory_gib: so much memory queries may take before they write to a temporary folder; None: DuckDB's choice.

    Raises:
        LakeError: there is no lake, or a table in ``at`` has no such version.
    """
    if not isinstance(lake, Lake):
        lake = lake_at(str(lake or os.environ.get("LAION_LAKE", "lake")))
    project = open_project(models)
    tables = {**TABLES, **{table.name: table for table in tables_of(project.models.values())}}
    pinned = at or {}
    ensure_versions(lake, tables, pinned)
    con = _engine()
    if memory_gib is not None:
        con.execute(f"SET memory_limit = '{memory_gib} GiB'")
    _admit(con, lake, unsafe=unsafe)
    create_macros(con)
    _make_views(con, tables, project)
    _show_what_is_built(con, lake, tables, project, pinned)
    con.execute("SET lock_configuration = true")
    return con


def _engine() -> duckdb.DuckDBPyConnection:
    """DuckDB with its Delta extension, and nothing else that it would fetch or find by itself."""
    con = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # Checking the signature of the extension takes most of the time that opening a session takes. It comes from
            # a pinned wheel, and a query cannot load another.
            "allow_unsigned_extensions": "true",
            # Otherwise queries would spill into the working folder, and could read all of it.
            "temp_directory": str(Path(tempfile.gettempdir()) / f"laion-sql-{os.getpid()}"),
        },
    )
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"LOAD '{_delta_extension()}'")
    con.execute("SET python_enable_replacements = false")  # a Python variable is no table
    return con


def _admit(con: duckdb.DuckDBPyConnection, lake: Lake, *, unsafe: bool) -> None:
    """Let a session read the lake, and unless it is unsafe nothing else."""
    lake.storage.admit(con)
    if not unsafe:
        # Before access is shut: what the lake holds stays readable.
        con.execute(f"SET allowed_directories = [{quoted(f'{lake.uri}/')}]")
        con.execute("SET enable_external_access = false")


def _make_views(con: duckdb.DuckDBPyConnection, tables: Mapping[str, Table], project: Project) -> None:
    """Make an empty view of every table, and the view models over them.

    DuckDB binds a view when it is made, and would open every table below it: models are made over empty stand-ins, and
    the tables take their places afterwards.
    """
    for name, table in {**tables, **RECORDS}.items():
        con.execute(f"CREATE VIEW {name} AS FROM {hive_relation(table, [])}")
    for table, query_ in LEDGER.items():
        if table.name not in project.models:
            con.execute(f"CREATE VIEW {table.name} AS {query_}")
    for model in project.enabled.values():
        if model.is_view:
            con.execute(f"CREATE VIEW {model.name} AS {model.template.render()}")


def _show_what_is_built(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    tables: Mapping[str, Table],
    project: Project,
    pinned: Mapping[str, int],
) -> None:
    """Put the tables that there are in the places of their stand-ins, and what was built of models that are broken."""
    there = set(lake.storage.folders())
    built = [name for name in tables if name in there and lake.exists(name)]
    for name in built:
        lake.ensure_whole(name)
    con.execute(f"CREATE OR REPLACE VIEW {COMMITS.name} AS {commits_in_logs(lake, built)}")
    con.execute(f"CREATE OR REPLACE VIEW {STEP_METRICS.name} AS {metrics_in_logs(lake, built)}")
    for name in built:
        version = f", version => {pinned[name]}" if name in pinned else ""
        _show(con, tables[name], f"delta_scan({quoted(lake.path(name))}{version})")
    for model in project.models.values():
        if model.held in ("broken", "waits") and model.name in there and lake.exists(model.name):
            con.execute(f"CREATE VIEW {model.name} AS FROM delta_scan({quoted(lake.path(model.name))})")


def _show(con: duckdb.DuckDBPyConnection, table: Table, rows: str) -> None:
    """Make the view of a table. Where its SQL model has other columns by now, those that were built are shown."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    for source in dict.fromkeys([rows, with_added(table, rows)]):  # a table of an earlier version may lack columns
        try:
            con.execute(f"CREATE OR REPLACE VIEW {table.name} AS SELECT {columns} FROM {source}")
        except duckdb.BinderException:
            continue
        return
    con.execute(f"CREATE OR REPLACE VIEW {table.name} AS SELECT * FROM {rows}")


def query(con: duckdb.DuckDBPyConnection, text: str) -> duckdb.DuckDBPyRelation | None:
    """Run SQL that only reads, and give the last statement's rows; None where there is no statement.

    Raises:
        NotAQueryError: a statement would do more than read.
        duckdb.Error: the SQL is wrong.
    """
    result = None
    for statement in reading_statements(con, text):
        result = con.sql(statement)
    return result


def _delta_extension() -> Path:
    # The wheel carries the extension, so nothing is fetched at run time.
    import duckdb_extension_delta

    root = Path(duckdb_extension_delta.__path__[0])
    return next(root.rglob("delta.duckdb_extension"))
