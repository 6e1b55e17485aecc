"""``laion sql``: queries over the lake."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, complain, err, out, settings_of

if TYPE_CHECKING:
    import duckdb

    from laion_assets.cli.sql.results import Destination
    from laion_assets.cli.sql.unbuilt import Reading

_ALL_ROWS = " (--format csv, json or parquet gives all)"


def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="SQL in DuckDB's dialect; without it and without --file, the prompt.", show_default=False),
    ] = None,
    lake: LakeOption = None,
    file: Annotated[
        str | None, typer.Option(help="Read the SQL from a file, `-` for standard input.", show_default=False)
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="`table`, `vertical` (a line a value), `tsv`, `csv`, `json` (a line a row) or `parquet`; the ending "
            "of --output tells it too.",
            show_default="a table, vertical where the terminal is too narrow for it; tsv into a pipe",
        ),
    ] = None,
    vertical: Annotated[bool, typer.Option("--vertical", "-x", help="The same as --format vertical.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the rows into this file.", show_default=False)] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="Read a table as it was at a version, `filtered_pairs=3`; may be given more than once.",
            metavar="TABLE=VERSION",
            show_default=False,
        ),
    ] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Let queries read files outside of the lake.")] = False,
    timing: Annotated[bool, typer.Option("--timing", help="Say how long each query took.")] = False,
) -> None:
    """Ask the lake in SQL: every table and every model is a view. It reads; it cannot write.

    With a query, its rows are printed: on a terminal the first of them, into a pipe all, a line a row with tabs between
    the values. Without one, at a terminal, a prompt opens: Tab completes, `.help` lists its commands.

    ```
    laion sql "SELECT language, count(*) FROM filtered_pairs GROUP BY ALL"
    ```
    ```
    laion sql "SELECT url, text FROM filtered_pairs" --output pairs.parquet
    ```
    """
    from laion_assets.cli.sql.results import Destination
    from laion_assets.cli.sql.unbuilt import Reading
    from laion_assets.sql.session import connect

    if vertical and format not in (None, "vertical"):
        raise UsageError(f"--vertical is --format vertical, found --format {format} too")
    destination = Destination.of("vertical" if vertical else format, output)
    text = _given_sql(query, file)
    pinned = _versions(at or [])
    if destination.format == "parquet" and output is None and text is not None and sys.stdout.isatty():
        raise UsageError("Parquet is no text for a terminal: --output FILE writes it into a file")
    settings = settings_of(lake)
    opened, models = settings.open_lake(create=False), Path(settings.models)
    if output is not None and opened.storage.holds(output):
        raise UsageError(f"--output: {output} is inside the lake, where nothing but tables belongs")
    if text is None:
        from laion_assets.cli.sql.prompt import Prompt

        Prompt(opened, destination, models=models, at=pinned, unsafe=unsafe).run()
        return
    try:
        con = connect(opened, models=models, at=pinned, unsafe=unsafe)
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # what DuckDB makes of Ctrl-C
            raise typer.Exit(130) from None
        raise
    with con:
        _run(con, text, destination, timing, Reading(opened, models))


def _given_sql(query: str | None, file: str | None) -> str | None:
    """The SQL that was given; None where somebody sits at a terminal to type it.

    Raises:
        UsageError: it was given twice, or not at all.
    """
    if query is not None and file is not None:
        raise UsageError("expected a QUERY or --file, found both")
    if query is not None:
        return query
    if file is not None and file != "-":
        return _decoded(Path(file).read_bytes(), file)
    if file is None and sys.stdin.isatty():
        if sys.stdout.isatty():
            return None
        raise UsageError(
            "there is no query: the prompt needs a terminal; give a QUERY or --file, see `laion sql --help`"
        )
    text = _decoded(sys.stdin.buffer.read(), "standard input")
    if not text.strip():
        raise UsageError("there is no query: standard input is empty, see `laion sql --help`")
    return text


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no UTF-8 text: {error}") from error


def _versions(at: list[str]) -> dict[str, int]:
    versions = {}
    for given in at:
        table, _, version = given.partition("=")
        if not version.isdecimal():
            raise UsageError(f"--at: expected TABLE=VERSION with a number, filtered_pairs=3, found {given!r}")
        versions[table] = int(version)
    return versions


def _run(
    con: "duckdb.DuckDBPyConnection", text: str, destination: "Destination", timing: bool, reading: "Reading"
) -> None:
    """Run every statement and show the rows of each."""
    import duckdb

    from laion_assets.cli.doctor.storage_faults import lake_fault
    from laion_assets.cli.sql.results import Cancelled, in_short, interruptible
    from laion_assets.delta.errors import LakeError
    from laion_assets.sql.guard import NotAQueryError, reading_statements

    try:
        statements = reading_statements(con, text)
    except (duckdb.Error, NotAQueryError) as error:
        raise UsageError(in_short(error)) from error
    if len(statements) != 1 and not destination.holds_statements:
        what = f"--output {destination.file}" if destination.file else f"--format {destination.format}"
        raise UsageError(f"{what} takes the rows of one statement, found {len(statements)}")
    for number, statement in enumerate(statements, 1):
        begun = time.perf_counter()
        try:
            said = interruptible(con, partial(_shown, con, statement, destination))
        except Cancelled:
            raise typer.Exit(130) from None
        except (duckdb.Error, NotAQueryError) as error:
            which = f"statement {number}: " if len(statements) > 1 else ""
            damage = lake_fault(error)
            if damage is not None:
                raise LakeError(damage) from error
            raise UsageError(which + (reading.why_missing(con, statement, error) or in_short(error))) from error
        if timing:
            said += f" in {time.perf_counter() - begun:.3f} s"
        note = reading.never_built(con, statement)
        if note is not None:
            complain("laion:", note)
        told = destination.tells_rows(out)
        if timing or told:
            (out if told else err).print(Text(said, style="dim"), soft_wrap=True)


def _shown(con: "duckdb.DuckDBPyConnection", statement: str, destination: "Destination") -> str:
    from laion_assets.cli.sql.results import rows_of

    return destination.show(rows_of(con, statement), out, hint=_ALL_ROWS)
