"""The prompt of ``laion sql``: queries and dot-commands, typed at a terminal."""

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import duckdb
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import UsageError, out
from laion_assets.cli.doctor.storage_faults import lake_fault
from laion_assets.cli.sql.completion import LEAVE, SqlCompleter, is_complete
from laion_assets.cli.sql.results import Cancelled, Destination, in_short, interruptible, rows_of
from laion_assets.cli.sql.rows import Format
from laion_assets.cli.sql.unbuilt import Reading
from laion_assets.common.folders import user_state
from laion_assets.common.quantities import counted
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.sql.guard import NotAQueryError, reading_statements
from laion_assets.sql.session import connect
from laion_assets.tables.catalogue import TABLES

_SHOWN_ROWS = 50
_ALL_ROWS = " (`.output FILE.csv` takes all of the next result)"
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_FORMATS: tuple[str, ...] = get_args(Format)


@dataclass(frozen=True)
class Relation:
    """A table or model as the prompt speaks of it."""

    kind: str
    description: str
    columns: dict[str, str]
    """Description by column."""
    stored: bool
    """Whether it has a Delta table of its own."""


class Prompt:
    """One sitting at the prompt."""

    def __init__(
        self,
        lake: Lake,
        destination: Destination,
        *,
        models: Path,
        at: dict[str, int],
        unsafe: bool = False,
        console: Console = out,
    ) -> None:
        """Open the session.

        Args:
            lake: the lake.
            destination: the form of the results, and the file that takes the first of them, if any.
            models: folder of the SQL models.
            at: tables to read at a version.
            unsafe: let queries read files outside of the lake.
            console: where everything is shown.
        """
        self.lake = lake
        self.format = destination.format
        self.file = destination.file
        self.timing = True
        self.console = console
        self._at = dict(at)
        self._reading = Reading(lake, models)
        self._connect: Callable[..., duckdb.DuckDBPyConnection] = partial(connect, lake, models=models, unsafe=unsafe)
        self._con = self._connect(at=at)
        self._relations = _relations(models)
        self._known_columns: dict[str, list[tuple[str, str]]] = {}
        self._commands: dict[str, tuple[Callable[[str], None], str, str]] = {
            ".tables": (self._show_tables, "", "list the tables and models"),
            ".columns": (self._show_columns, "TABLE", "list the columns of one: type, meaning"),
            ".at": (self._travel, "[TABLE [VERSION]]", "read a table as it was; without VERSION as it is"),
            ".format": (self._set_format, "[FORMAT]", f"show results as {', '.join(_FORMATS)}"),
            ".output": (self._set_output, "[FILE]", "write the next result into a file; its ending tells the format"),
            ".timing": (self._set_timing, "[on|off]", "say how long each query took"),
            ".help": (self._show_help, "", "this list"),
            ".quit": (self._quit, "", "leave (so does Ctrl-D)"),
        }

    def run(self) -> None:
        """Read and answer until somebody leaves."""
        session = self._session()
        models = sum(relation.kind == "model" for relation in self._relations.values())
        there = f"{counted(len(self._relations) - models, 'table')}, {counted(models, 'model')}"
        self.console.print(
            f"{self.lake.uri}: {there}. A query ends with `;`, Tab completes, `.help` lists commands, Ctrl-D leaves.",
            highlight=False,
            style="dim",
        )
        try:
            while True:
                try:
                    self.answer(session.prompt("laion> "))
                except KeyboardInterrupt:  # the line is dropped
                    continue
        except EOFError:
            return
        finally:
            self._con.close()

    def answer(self, text: str) -> None:
        """Answer one command, or the statements of one input. What is wrong is said, not raised.

        Raises:
            EOFError: it asked to leave.
        """
        text = text.strip()
        try:
            if text.startswith("."):
                self._command(text)
            elif text.rstrip(";").strip().lower() in LEAVE:
                self._quit("")
            elif text:
                self._query(text)
        except Cancelled:
            self.console.print("cancelled", style="yellow")
        except (duckdb.Error, NotAQueryError) as error:
            told = lake_fault(error) or in_short(error, caret=True)
            self.console.print(Text(told, style="red"), soft_wrap=True)
        except (UsageError, LakeError, OSError) as error:
            self.console.print(Text(str(error), style="red"), soft_wrap=True)
        except RuntimeError as error:
            if not isinstance(error.__cause__, KeyboardInterrupt):  # what DuckDB makes of Ctrl-C
                raise

    def _query(self, text: str) -> None:
        for statement in reading_statements(self._con, text):
            destination = Destination(self.format, self.file)
            if self.file is not None:
                destination = self._into(self.file)
            elif self.format == "parquet":
                raise UsageError("Parquet is no text for a terminal: `.output FILE` writes the next result into a file")
            begun = time.perf_counter()
            try:
                said = interruptible(self._con, partial(self._shown, statement, destination))
            except duckdb.CatalogException as error:
                why = self._reading.why_missing(self._con, statement, error)
                raise (UsageError(why) if why else error) from None
            self.file = None
            note = self._reading.never_built(self._con, statement)
            if note is not None:
                self.console.print(Text(note, style="yellow"), soft_wrap=True)
            took = f" in {time.perf_counter() - begun:.3f} s" if self.timing else ""
            self.console.print(Text(said + took, style="dim"), soft_wrap=True)

    def _into(self, file: Path) -> Destination:
        """What a file takes: what its ending tells, else the format that was chosen for the screen."""
        try:
            return Destination.of(None, file)
        except UsageError:
            if self.format == "auto":
                raise
            return Destination(self.format, file)

    def _shown(self, statement: str, destination: Destination) -> str:
        return destination.show(rows_of(self._con, statement), self.console, most=_SHOWN_ROWS, hint=_ALL_ROWS)

    # -- commands ------------------------------------------------------------------------------------------------

    def _command(self, text: str) -> None:
        name, _, rest = text.rstrip(";").partition(" ")
        if name not in self._commands:
            raise UsageError(f"there is no command {name}: {', '.join(self._commands)}")
        self._commands[name][0](rest.strip())

    def _show_help(self, _: str) -> None:
        for name, (_run, arguments, meaning) in self._commands.items():
            self.console.print(Text(f"  {f'{name} {arguments}':<26}{meaning}"))
        self.console.print(
            "A query may have several lines; `;` or an empty line runs it. Ctrl-C stops a query or drops a line.",
            highlight=False,
        )

    def _show_tables(self, _: str) -> None:
        table = Table("name", "", "what it holds")
        for name, relation in self._relations.items():
            state = f" at {self._at[name]}" if name in self._at else ""
            if relation.stored and not self.lake.exists(name):
                state = ", not built"
            table.add_row(name, relation.kind + state, Text(_SENTENCE.split(relation.description)[0]))
        self.console.print(table)

    def _show_columns(self, name: str) -> None:
        relation = self._relations.get(name)
        if relation is None:
            raise UsageError(f"expected the name of a table or model, found {name!r}: `.tables` lists them")
        table = Table("column", "type", "meaning")
        for column, type_ in self._columns(name):
            table.add_row(column, type_, Text(relation.columns.get(column, "")))
        self.console.print(Text(relation.description))
        self.console.print(table)

    def _travel(self, given: str) -> None:
        name, _, version = given.partition(" ")
        if not name:
            pinned = ", ".join(f"{table} at version {number}" for table, number in self._at.items())
            self.console.print(pinned or "every table is read as it is now")
            return
        if version and not version.strip().isdecimal():
            raise UsageError(f"expected .at TABLE VERSION with a number, found {version.strip()!r}")
        if not version and name not in self._at:
            raise UsageError(f"{name} is read as it is now: `.at {name} VERSION` reads it as it was")
        at = {table: number for table, number in self._at.items() if table != name}
        if version:
            at[name] = int(version)
        fresh = self._connect(at=at)
        self._con.close()
        self._con, self._at = fresh, at
        self.console.print(f"{name} is read {f'at version {at[name]}' if version else 'as it is now'}")

    def _set_format(self, given: str) -> None:
        if given:
            self.format = Destination.of(given, None).format
        self.console.print(f"results are shown as {self.format}")

    def _set_output(self, given: str) -> None:
        file = Path(given).expanduser() if given else None
        if file is not None and self.lake.storage.holds(file):
            raise UsageError(f"{file} is inside the lake, where nothing but tables belongs")
        if file is not None:
            self._into(file)
        self.file = file
        self.console.print(Text(f"the next result is written to {file}" if file else "results are shown here"))

    def _set_timing(self, given: str) -> None:
        if given not in ("", "on", "off"):
            raise UsageError(f"expected .timing on or .timing off, found {given!r}")
        self.timing = given == "on" if given else not self.timing
        self.console.print(f"timing is {'on' if self.timing else 'off'}")

    def _quit(self, _: str) -> None:
        raise EOFError

    # -- typing --------------------------------------------------------------------------------------------------

    def _session(self) -> "PromptSession[str]":
        words: dict[str, Sequence[str] | None] = dict.fromkeys(self._commands, ())
        words |= {".columns": None, ".at": None, ".format": _FORMATS, ".timing": ("on", "off")}
        return PromptSession(
            multiline=True,
            prompt_continuation="   ... ",
            lexer=PygmentsLexer.from_filename("query.sql"),
            completer=SqlCompleter(
                self._relations, lambda name: [column for column, _ in self._columns(name)], commands=words
            ),
            complete_while_typing=False,
            history=_history(),
            key_bindings=_enter_runs(),
        )

    def _columns(self, name: str) -> list[tuple[str, str]]:
        """Name and type of each column."""
        if name not in self._known_columns:
            with self._con.cursor() as cursor:
                described = cursor.sql(f'DESCRIBE "{name}"').fetchall()
            self._known_columns[name] = [(column, type_) for column, type_, *_ in described]
        return self._known_columns[name]


def _relations(models: Path) -> dict[str, Relation]:
    from laion_assets.sql.ledger import LEDGER
    from laion_assets.sql.project import SOURCES, open_project

    tables = {**{table.name: table for table in LEDGER}, **SOURCES}
    described = {c.name: c.description for table in tables.values() for c in table.columns}
    relations = {
        name: Relation("table", table.description, {c.name: c.description for c in table.columns}, name in TABLES)
        for name, table in tables.items()
    }
    for name, model in open_project(models).enabled.items():
        relations[name] = Relation("model", model.description, described | dict(model.described), not model.is_view)
    return relations


def _enter_runs() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter", filter=Condition(lambda: is_complete(get_app().current_buffer.text)))
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    return bindings


class _LastingHistory(FileHistory):
    """A history whose file may stop being writable without anybody being bothered."""

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError:
            return


def _history() -> History:
    """What was typed before, in a file that nobody else can read; only of this sitting where there can be none."""
    try:
        file = user_state() / "sql_history"
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except (OSError, RuntimeError):  # RuntimeError: nobody knows this user's home
        return InMemoryHistory()
    return _LastingHistory(str(file))
