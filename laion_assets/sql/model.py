"""What a SQL model is: its file, what its front matter says, and the columns that its SQL has."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from laion_assets.delta.table import Column, Table
from laion_assets.sql.errors import Fault, ModelError
from laion_assets.sql.row_tests import RowTest, read_test
from laion_assets.sql.template import CRAWL_NOT_KNOWN, Template
from laion_assets.sql.types import arrow_type
from laion_assets.sql.verdicts import refusal_of
from laion_assets.tables.catalogue import CATALOGUE, DIGESTS

Materialized = Literal["view", "table", "incremental_by_crawl"]
LAYERS = ("staging", "marts", "release")

_KEYS = {"materialized", "description", "columns", "tests", "disabled", "only_with"}


@dataclass(frozen=True, kw_only=True)
class ModelColumn:
    """One column: the DuckDB type it is kept as, and what it means."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, kw_only=True)
class SingularTest:
    """A query of its own that must return no row."""

    name: str
    description: str
    template: Template


@dataclass(frozen=True, kw_only=True)
class Model:
    """One SQL model."""

    name: str
    layer: str
    materialized: Materialized
    description: str
    template: Template
    described: Mapping[str, str]
    """What front matter says of columns."""
    tests: tuple[RowTest, ...] = ()
    singular_tests: tuple[SingularTest, ...] = ()
    disabled: str | None = None
    """Why it cannot run; None where it can. Its author says so, or it is broken, or waits for one that is."""
    only_with: str | None = None
    """The table without which it would say nothing: it has a partition for each crawl that this has one of."""
    faults: tuple[Fault, ...] = ()
    """What is wrong with its file, or a test of it."""
    waits_for: str | None = None
    """The model it is built on that is broken or waits itself."""
    columns: tuple[ModelColumn, ...] = ()
    """What its SQL has; empty for a disabled model."""

    @property
    def is_view(self) -> bool:
        """Whether it is evaluated whenever it is asked, and has no table."""
        return self.materialized == "view"

    @property
    def is_incremental(self) -> bool:
        """Whether it is built crawl by crawl."""
        return self.materialized == "incremental_by_crawl"

    @property
    def held(self) -> Literal["broken", "waits", "disabled"] | None:
        """What keeps it from running, in a word."""
        if self.disabled is None:
            return None
        return "broken" if self.faults else "waits" if self.waits_for else "disabled"

    @property
    def why_held(self) -> str:
        """What keeps it, in a line that begins with the word; empty where nothing does."""
        if self.disabled is None or self.held == "waits":
            return self.disabled or ""
        return f"{self.held}: {self.disabled}"

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell its rows apart: those of its first test of uniqueness."""
        return next((test.columns for test in self.tests if test.kind == "unique"), ())

    @property
    def test_names(self) -> Mapping[str, str]:
        """Every test by name, with what it asserts."""
        own = {"own_crawl": "rows belong to the crawl that is built"} if self.is_incremental else {}
        rows = {test.name: f"no {test.meaning}" for test in self.tests}
        return own | rows | {test.name: test.description for test in self.singular_tests}

    def table(self) -> Table:
        """The declaration of its Delta table."""
        partition_by = ("crawl",) if self.is_incremental else ()
        return Table(
            name=self.name,
            description=self.description,
            columns=tuple(
                Column(
                    name=c.name,
                    type=arrow_type(c.type),
                    description=c.description,
                    nullable=True,  # its tests say what may be null, and may be changed
                    is_digest=c.name in DIGESTS,
                )
                for c in self.columns
            ),
            key=self.key,
            partition_by=partition_by,
            order_by=tuple(name for name in self.key if name not in partition_by),
            model=True,
            refusal=refusal_of(self.name),
        )


def read_model(template: Template, header: Mapping[str, Any], lines: Mapping[str, int]) -> Model:
    """The model that a file describes; its columns are not known yet.

    Raises:
        ModelError: its front matter is wrong.
    """
    faults: list[Fault] = []

    def fault(key: str, message: str) -> None:
        faults.append(Fault(template.file, lines.get(key, 1), message))

    for key in set(header) - _KEYS:
        fault(key, f"front matter: {key!r} is not known: expected {', '.join(sorted(_KEYS))}")
    materialized = header.get("materialized")
    if materialized not in get_args(Materialized):
        fault("materialized", f"materialized: expected {', '.join(get_args(Materialized))}, found {materialized!r}")
    if not isinstance(header.get("description"), str):
        fault("description", "description: expected a sentence that says what the model answers")
    described: dict[str, str] = {}
    tests: list[RowTest] = []
    columns = header.get("columns") or {}
    if not isinstance(columns, dict):
        fault("columns", "columns: expected a mapping from each column's name to its description")
        columns = {}
    for name, said in columns.items():
        said = {"description": said} if isinstance(said, str) else said
        if not isinstance(said, dict) or not said or not set(said) <= {"description", "tests"}:
            fault("columns", f"column {name}: expected a description, or `description` and `tests`, found {said!r}")
            continue
        described[str(name)] = str(said.get("description", ""))
        tests += _tests(said.get("tests"), (str(name),), lambda text, n=name: fault("columns", f"column {n}: {text}"))
    tests += _tests(header.get("tests"), (), lambda text: fault("tests", f"tests: {text}"))
    repeated = [name for name, times in Counter(test.name for test in tests).items() if times > 1]
    if repeated:
        fault("tests", f"more than one test is called {', '.join(repeated)}")
    if materialized != "incremental_by_crawl" and template.crawl_line is not None and not header.get("disabled"):
        faults.append(Fault(template.file, template.crawl_line, CRAWL_NOT_KNOWN))
    only_with = header.get("only_with")
    if only_with is not None and (only_with not in CATALOGUE.by_period or materialized != "incremental_by_crawl"):
        fault("only_with", f"only_with: expected a table of each crawl, of a model by crawl, found {only_with!r}")
    if faults:
        raise ModelError(faults)
    disabled = header.get("disabled")
    return Model(
        name=template.file.stem,
        layer=template.file.parent.name,
        materialized=materialized,  # type: ignore[arg-type]
        description=" ".join(header["description"].split()),
        template=template,
        described=described,
        tests=tuple(tests),
        only_with=only_with,
        disabled=" ".join(str(disabled).split()) if disabled else None,
    )


def broken(model: Model, faults: Sequence[Fault]) -> Model:
    """The model as one that cannot run for what is wrong with it."""
    found = tuple(sorted(faults))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return replace(model, disabled=f"{found[0].short}{more}", faults=found, columns=(), singular_tests=())


def unread(file: Path, faults: Sequence[Fault]) -> Model:
    """The model of a file that cannot be read as one."""
    template = Template(file, "", ())
    said = Model(
        name=file.stem, layer=file.parent.name, materialized="view", description="", template=template, described={}
    )
    return broken(said, faults)


def waiting(model: Model, upstream: str) -> Model:
    """The model as one that cannot run before ``upstream`` is mended."""
    reason = f"waits for {upstream}, which cannot run: mend that first"
    return replace(model, disabled=reason, waits_for=upstream, columns=(), singular_tests=())


def _tests(asked: Any, columns: tuple[str, ...], fault: Any) -> list[RowTest]:
    if asked is not None and not isinstance(asked, list):
        fault(f"expected a list of tests, found {asked!r}")
        return []
    found = []
    for entry in asked or ():
        try:
            found.append(read_test(entry, columns))
        except ValueError as error:
            fault(str(error))
    return found


def with_columns(model: Model, columns: Mapping[str, str], inherited: Mapping[str, str]) -> Model:
    """The model with what its SQL has.

    Args:
        model: the model.
        columns: the type each column is kept as, by name.
        inherited: what columns of that name mean in what the model is built from: they mean the same here, unless front
            matter says otherwise.

    Raises:
        ModelError: front matter speaks of columns that the SQL does not have.
    """
    file = model.template.file
    line = _line_of("columns:", model.template.text)
    unknown = [name for name in model.described if name not in columns]
    tested = [n for test in model.tests for n in test.columns if n not in columns and n not in model.described]
    faults = [
        Fault(file, line, f"front matter speaks of a column {name}, the SQL has {', '.join(columns)}")
        for name in dict.fromkeys(unknown + tested)
    ]
    if model.is_incremental and columns.get("crawl") != "VARCHAR":
        faults.append(Fault(file, 1, "an incremental model has a column `crawl` of type VARCHAR: select it"))
    if faults:
        raise ModelError(faults)
    return replace(
        model,
        columns=tuple(
            ModelColumn(name=name, type=kept, description=model.described.get(name) or inherited.get(name, ""))
            for name, kept in columns.items()
        ),
    )


def _line_of(what: str, text: str) -> int:
    found = text.find(f"\n{what}")
    return text.count("\n", 0, found + 1) + 1 if found >= 0 else 1
