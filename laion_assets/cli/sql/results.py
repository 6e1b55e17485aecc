"""What becomes of a query: run so that Ctrl-C stops it, its rows shown or put into a file, its errors said in short."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar, cast, get_args

import duckdb
from rich.console import Console

from laion_assets.cli.common import UsageError
from laion_assets.cli.sql.rows import Format, print_rows
from laion_assets.cli.sql.table import SHOWN_ROWS, printable
from laion_assets.common.files import appearing

T = TypeVar("T")

_PATIENCE_SECONDS = 0.05

_BY_ENDING: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".tsv": "tsv",
}
_HINT = " (it is outside of the lake: --unsafe reads it all the same)"


@dataclass(frozen=True)
class Destination:
    """In which form rows are shown, and in which file if not on the screen."""

    format: Format = "auto"
    file: Path | None = None

    @classmethod
    def of(cls, format_: str | None, file: Path | None) -> "Destination":
        """What was asked for; without a format the ending of the file tells it.

        Raises:
            UsageError: there is no such format, or the ending tells none.
        """
        if format_ is not None and format_ not in get_args(Format):
            raise UsageError(f"--format: expected {', '.join(get_args(Format))}, found {format_!r}")
        if format_ is not None and (format_ != "auto" or file is None):
            return cls(cast("Format", format_), file)
        if file is None:
            return cls()
        ending = file.suffix.lower()
        if ending not in _BY_ENDING:
            raise UsageError(
                f"--output {file}: expected a name that ends in {', '.join(_BY_ENDING)}, found "
                f"{ending or 'none of them'}; under another name the format has to be named too"
            )
        return cls(_BY_ENDING[ending], file)

    @property
    def holds_statements(self) -> bool:
        """Whether the rows of several statements can follow one another."""
        return self.file is None and self.format in ("auto", "table", "vertical")

    def tells_rows(self, console: Console) -> bool:
        """Whether how many rows there were belongs beside them: not where a program reads them."""
        return (
            self.file is not None
            or self.format in ("table", "vertical")
            or (self.format == "auto" and console.is_terminal)
        )

    def show(self, rows: duckdb.DuckDBPyRelation, console: Console, *, most: int = SHOWN_ROWS, hint: str = "") -> str:
        """Show the rows, or write them into the file, which appears when it is complete.

        Args:
            rows: the query.
            console: the screen.
            most: rows of a table that are shown.
            hint: how to get all rows, said where some are left out.

        Returns:
            How many rows there were, in words.
        """
        if self.file is None:
            summary = print_rows(rows, self.format, console, most=most)
            return summary.text + hint * summary.partial
        with _written(self.file) as text:
            summary = print_rows(rows, self.format, console, to=text, most=most)
        return f"{summary.text}{hint * summary.partial} written to {self.file}"


@contextmanager
def _written(file: Path) -> Iterator[TextIO]:
    """Write beside the file and rename at the end, so that a failure leaves what was there before."""
    if file.exists() and not file.is_file():  # a device or a pipe
        with file.open("w", encoding="utf-8", newline="") as text:
            yield text
        return
    try:
        with appearing(file) as fresh, fresh.open("w", encoding="utf-8", newline="") as text:
            yield text
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from error


class Cancelled(Exception):
    """Ctrl-C stopped a query."""


def interruptible(con: duckdb.DuckDBPyConnection, work: Callable[[], T]) -> T:
    """Do work on the connection so that Ctrl-C, however often it is pressed, stops it at once and does nothing else.

    DuckDB alone does not look for signals while rows stream, and an exception in the midst of its work could come
    anywhere: so the work is done beside, and the signal only asks DuckDB to stop.

    Raises:
        Cancelled: it was stopped.
    """
    asked: list[int] = []  # no threading.Event: a second signal inside its set() would wait for the first for ever
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="query") as pool:
            running = pool.submit(work)
            while not wait([running], timeout=_PATIENCE_SECONDS).done:
                if asked:
                    con.interrupt()
            if asked and _is_interruption(running.exception()):
                raise Cancelled
            return running.result()
    finally:
        signal.signal(signal.SIGINT, before)


def _is_interruption(error: BaseException | None) -> bool:
    """Whether it is DuckDB's word for being stopped: of its own class, or in what Arrow makes of it between batches."""
    return isinstance(error, duckdb.InterruptException) or (error is not None and "INTERRUPT Error" in str(error))


def rows_of(con: duckdb.DuckDBPyConnection, statement: str) -> duckdb.DuckDBPyRelation:
    """The rows of a statement that only reads.

    Raises:
        duckdb.Error: the SQL is wrong; the error shows the place.
    """
    try:
        return con.sql(statement)
    except (duckdb.BinderException, duckdb.CatalogException):
        with con.cursor() as cursor:
            cursor.execute(statement)  # which fails the same way and, unlike a relation, shows the place
        raise


def in_short(error: Exception, *, caret: bool = False) -> str:
    """An error of DuckDB without what only its developers need.

    Args:
        error: the error.
        caret: keep the lines that show the place in the query; without them a line's number is said.
    """
    text, _, place = "\n".join(map(printable, str(error).split("\n"))).partition("\n\nLINE ")
    if isinstance(error, duckdb.PermissionException):
        text = text.replace(" - file system operations are disabled by configuration", _HINT)
    if "requires the extension httpfs" in text:
        text = text.partition(" requires the extension")[0] + " is not on this machine: the session reads no other"
    line = place.partition(":")[0]
    if caret and place:
        return f"{text.rstrip()}\nLINE {place.rstrip()}"
    return text.rstrip() + (f" (line {line})" if line not in ("", "1") else "")
