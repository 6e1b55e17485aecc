"""Which columns a model has, and whether it names only what is there: DuckDB binds its SQL to empty tables."""

import re
from collections.abc import Iterable, Mapping
from types import TracebackType

import duckdb

from laion_assets.delta.relations import duckdb_type
from laion_assets.delta.table import Table
from laion_assets.sql.errors import Fault, ModelError
from laion_assets.sql.macros import create_macros
from laion_assets.sql.model import Model
from laion_assets.sql.template import Template
from laion_assets.sql.types import stored_type

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LINE = re.compile(r"\nLINE (\d+):")


class Binder:
    """An empty database in which models are bound; opened when the first one is asked for."""

    def __init__(self, sources: Mapping[str, Table]) -> None:
        """Bind to these tables of the lake."""
        self._sources = sources
        self._con: duckdb.DuckDBPyConnection | None = None
        self._made: set[str] = set()
        self._reserved: frozenset[str] = frozenset()

    def __enter__(self) -> "Binder":
        """Nothing is opened yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the database."""
        if self._con is not None:
            self._con.close()

    def columns(self, model: Model, upstream: Iterable[Model]) -> dict[str, str]:
        """The columns of a model with the type each is kept as.

        Args:
            model: the model.
            upstream: the models it names, bound.

        Raises:
            ModelError: it names a column that is not there, or is wrong in another way; or a column cannot be kept.
        """
        con = self._open()
        if model.name in self._reserved:
            raise ModelError([Fault(model.template.file, 1, f"{model.name} is a word of SQL: choose another name")])
        for other in upstream:
            self._stub(con, other)
        found = _bind(con, model.template)
        faults = []
        columns = {}
        for name, type_ in found:
            kept = stored_type(type_)
            if kept is None:
                message = f"column {name} has type {type_}, which no Delta table holds: cast it, as in {name}::VARCHAR"
                faults.append(Fault(model.template.file, 1, message))
            columns[name] = kept or type_
        faults += [
            Fault(
                model.template.file,
                1,
                f"column {name}: a name has letters, digits and _, and is no word of SQL; give it one by AS",
            )
            for name, _ in found
            if _NAME.fullmatch(name) is None or name.lower() in self._reserved
        ]
        if len({name.lower() for name, _ in found}) < len(found):
            names = ", ".join(name for name, _ in found)
            faults.append(Fault(model.template.file, 1, f"two columns of one name among {names}"))
        if faults:
            raise ModelError(faults)
        self._create(con, model.name, columns)
        for singular in model.singular_tests:
            _bind(con, singular.template)
        for test in model.tests:
            # Of the other kinds it is enough to know the columns, which is looked at elsewhere.
            if test.reads is not None and all(name in columns for name in test.columns):
                check = test.check(model.name, [name for name in model.key if name in columns])
                _bind(con, Template(model.template.file, check.failing, ()), f"test {test.name}: ")
        return columns

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._con is None:
            self._con = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false", "threads": 1})
            create_macros(self._con)
            words = self._con.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'")
            self._reserved = frozenset(word for (word,) in words.fetchall())
            for name, table in self._sources.items():
                self._create(self._con, name, {c.name: duckdb_type(c.type) for c in table.columns})
        return self._con

    def _stub(self, con: duckdb.DuckDBPyConnection, model: Model) -> None:
        self._create(con, model.name, {column.name: column.type for column in model.columns})

    def _create(self, con: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, str]) -> None:
        if name not in self._made:
            declared = ", ".join(f'"{column}" {type_}' for column, type_ in columns.items())
            con.execute(f"CREATE TABLE {name} ({declared})")
            self._made.add(name)


def _bind(con: duckdb.DuckDBPyConnection, template: Template, what: str = "") -> list[tuple[str, str]]:
    try:
        rows = con.execute(f"DESCRIBE {template.render()}").fetchall()
    except duckdb.Error as error:
        raise ModelError([_fault(template, str(error), what)]) from error
    return [(str(name), str(type_)) for name, type_, *_ in rows]


def _fault(template: Template, message: str, what: str) -> Fault:
    """DuckDB's complaint, with the line it points at."""
    line = _LINE.search(message)
    text = " ".join(message.split("\n\nLINE ")[0].split())
    return Fault(template.file, int(line[1]) if line and not what else 1, what + text)
