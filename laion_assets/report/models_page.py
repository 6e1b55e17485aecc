"""The SQL models on one page: what each answers, what it is built from, its columns, its tests, its SQL.

It is made from the models' files alone; a lake adds how they stand in it, what tests found last, and how many rows
there are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from laion_assets.charts.graph import Node, dependency_graph
from laion_assets.consent.removals import RemovalMatcher, load_removals
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import WHOLE
from laion_assets.delta.relations import duckdb_type
from laion_assets.delta.states import PartitionState, State
from laion_assets.delta.table import Table as LakeTable
from laion_assets.report.blocks import Cell, Link, Table, first_sentence, foreign, links, name, number, prose, words
from laion_assets.report.document import rendered, write_page
from laion_assets.sql.build import declared, model_states, standing
from laion_assets.sql.column_lineage import column_lineage
from laion_assets.sql.model import LAYERS, Model
from laion_assets.sql.project import RECORDS, SOURCES, Project
from laion_assets.sql.template import SOME_CRAWL
from laion_assets.sql.verdicts import found_last, last_results

_KINDS = {
    "view": "view: evaluated when it is asked",
    "table": "table over all crawls",
    "incremental_by_crawl": "table: built crawl by crawl",
}
_INTROS = {
    "staging": "They prepare what others are built on.",
    "marts": "They count.",
    "release": "They select pairs.",
}
_FINE = ("done", "–")
_LOOKED_AT = 5


@dataclass(frozen=True, kw_only=True)
class Code:
    """SQL to read."""

    title: str
    sql: Markup
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model, or one table of the lake."""

    name: str
    description: str
    facts: Sequence[tuple[str, Cell]]
    tables: Sequence[Table]
    codes: Sequence[Code] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Known:
    """What there is to say: the models, and what a lake tells of them."""

    project: Project
    models: Sequence[Model]
    """Those on the page, in the order of their layers."""
    tables: Sequence[LakeTable]
    """Tables of the lake that are on the page."""
    states: Mapping[tuple[str, str], PartitionState] = field(default_factory=dict)
    results: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """By model, what each of its tests found last."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """By table and model that was built."""
    removals: RemovalMatcher | None = None
    """What must not be shown of rows that broke a test."""

    def link(self, to: str, column: str | None = None) -> Link:
        """A model, a table or a column of one; it leads nowhere if it is not on the page."""
        shown = to in {model.name for model in self.models} | {table.name for table in self.tables}
        if column is None:
            return Link(text=to, to=to if shown else "")
        return Link(text=f"{to}.{column}", to=_column_id(to, column) if shown else "")

    def standing(self, model: Model) -> str:
        """How a model stands, in a word or two."""
        if model.disabled is not None:
            return str(model.held)
        return standing([state for (of, _), state in self.states.items() if of == model.name])

    def inputs(self, model: Model) -> tuple[str, ...]:
        """The tables and models that its SQL names."""
        names = (*model.template.names("source"), *model.template.names("ref"))
        return tuple(n for n in names if n in SOURCES or n in self.project.models)

    def tested_against(self, model: Model) -> tuple[str, ...]:
        """The tables and models that only its tests name."""
        everything = (*self.project.sources(model.name), *self.project.upstream(model.name))
        return tuple(n for n in everything if n not in model.template.names("source") + model.template.names("ref"))


def write_models_page(
    project: Project,
    output: Path,
    lake: Lake | None = None,
    *,
    names: Iterable[str] | None = None,
    deny: Mapping[str, tuple[str, ...]] | None = None,
    made_at: datetime | None = None,
) -> int:
    """Write a page about SQL models to ``output``, all at once, and give its size in bytes.

    The same models give the same bytes; with a lake, the same lake does but for the time.

    Args:
        project: the models.
        output: the HTML file to write; its folder must be there.
        lake: the lake to say how they stand in; it is read only.
        names: the models to show, with the tables they name; None: all models and all tables.
        deny: files of what must not be shown of rows that broke a test, beside the lake's removal requests, by the
            names that ``load_removals`` gives them; None: no files.
        made_at: the time the page gives as its own where there is a lake; None: now.

    Raises:
        RemovalError: a removal list cannot be understood.
        OSError: the file cannot be written.
    """
    known = gather(project, lake, names=names, deny=deny)
    at = None if lake is None else made_at or datetime.now(UTC)
    title = project.folder.name if lake is None else lake.name
    return write_page(output, render(known, title=title, made_at=at))


def gather(
    project: Project,
    lake: Lake | None = None,
    *,
    names: Iterable[str] | None = None,
    deny: Mapping[str, tuple[str, ...]] | None = None,
) -> Known:
    """What the page is made from; the arguments are those of :func:`write_models_page`."""
    chosen = set(project.models if names is None else names)
    shown = [m for layer in LAYERS for m in project.models.values() if m.layer == layer and m.name in chosen]
    read = {s for model in shown for s in project.sources(model.name)}
    tables = [table for table in SOURCES.values() if names is None or table.name in read]
    known = Known(project=project, models=shown, tables=tables)
    if lake is None:
        return known
    declared(lake, project)
    built = [n for n in (*(t.name for t in tables), *chosen) if n in lake.tables and lake.exists(n)]
    return replace(
        known,
        states=model_states(project, lake),
        results={model.name: last_results(lake, model.name) for model in shown},
        rows={name: lake.sizes(name)["rows"] for name in built},
        removals=load_removals(lake.scan("takedowns").collect(), **(deny or {})).matcher(),
    )


def render(known: Known, *, title: str, made_at: datetime | None = None) -> str:
    """The page as HTML."""
    groups = [
        (f"layer-{layer}", layer.capitalize(), _INTROS[layer], entries)
        for layer in LAYERS
        if (entries := [_model_entry(known, model) for model in known.models if model.layer == layer])
    ]
    if known.tables:
        intro = "What models are built from: source() names them."
        groups.append(("lake-tables", "Lake tables", intro, [_table_entry(known, table) for table in known.tables]))
    attention = [m.name for m in known.models if known.states and known.standing(m) not in (*_FINE, "disabled")]
    tests = [test for model in known.models for test in model.test_names]
    failed = [row for rows in known.results.values() for row in rows if not row["passed"]]
    counts = [(len(known.models), "models"), (len(tests), "tests"), (len(known.tables), "tables of the lake")]
    return rendered(
        "models.html.jinja",
        name=title,
        folder=known.project.folder.name,
        counts=counts + ([(len(failed), "failed tests")] if failed else []),
        attention=[known.link(name) for name in attention],
        made_at=made_at,
        index=_index(known),
        graph=_graph(known),
        groups=groups,
    )


def _index(known: Known) -> Table:
    lines = []
    for model in known.models:
        kind = {"incremental_by_crawl": "by\u00a0crawl"}.get(model.materialized, model.materialized)
        count = [number(known.rows.get(model.name))] if known.rows else []
        answers = [links([known.link(model.name)]), prose(first_sentence(model.description))]
        lines.append([*answers, words(model.layer), words(kind), words(known.standing(model)), *count])
    headings = ["model", "what it answers", "layer", "kind", "state", *(["rows"] if known.rows else [])]
    return Table(title="What each answers", headings=headings, rows=lines)


def _graph(known: Known) -> Markup:
    read = {name for model in known.models for name in known.inputs(model)}
    nodes = [
        Node(name=table.name, band=0, tone="source", said=table.description)
        for table in known.tables
        if table.name in read
    ]
    for model in known.models:
        state = known.standing(model)
        tones = [model.materialized.split("_")[0], "off" if model.disabled else "well" if state in _FINE else "ill"]
        said = f"{model.name}: {model.materialized}, {state}. {model.description}"
        nodes.append(Node(name=model.name, band=1 + LAYERS.index(model.layer), tone=" ".join(tones), said=said))
    # Nothing is built on a disabled model: what another disabled one says of it may lead round in a circle.
    here = {node.name for node in nodes} - {model.name for model in known.models if model.disabled}
    edges = [(name, model.name) for model in known.models for name in known.inputs(model) if name in here]
    return dependency_graph("Which model is built from which", ("lake tables", *LAYERS), nodes, edges)


def _model_entry(known: Known, model: Model) -> Entry:
    below = [other.name for other in known.project.models.values() if model.name in known.inputs(other)]
    facts = [
        ("Kind", words(_KINDS[model.materialized])),
        ("File", name(model.template.file.relative_to(known.project.folder))),
    ]
    if model.disabled is None and known.states:
        facts.append(("State", words(known.standing(model))))
    if model.name in known.rows:
        facts.append(("Rows", number(known.rows[model.name])))
    facts.append(("Built from", _links(known, known.inputs(model))))
    if known.tested_against(model):
        facts.append(("Tests read", _links(known, known.tested_against(model))))
    facts.append(("Built on it", _links(known, below)))
    warnings = [model.why_held[0].upper() + model.why_held[1:]] if model.disabled else []
    for (of, place), state in known.states.items():
        if of == model.name and state.state is not State.DONE:
            reasons = "; ".join((*state.reasons, *state.inherited))
            warnings.append(f"{place}: {state.state}{': ' if reasons else ''}{reasons}")
    return Entry(
        name=model.name,
        description=model.description,
        facts=facts,
        tables=[*_columns(known, model), *_tests(known, model)],
        codes=_codes(model),
        warnings=warnings,
    )


def _columns(known: Known, model: Model) -> list[Table]:
    if model.disabled is not None:  # nobody has bound its SQL: front matter is all that is known
        lines = [[_column(model.name, column), prose(said)] for column, said in model.described.items()]
        return [Table(title="Columns", headings=["column", "meaning"], rows=lines)] if lines else []
    origins = column_lineage(known.project, model.name)
    lines = [
        [
            _column(model.name, column.name),
            prose(column.description),
            words(column.type),
            links([known.link(*origin) for origin in origins.get(column.name, ())]),
        ]
        for column in model.columns
    ]
    return [Table(title="Columns", headings=["column", "meaning", "type", "from"], rows=lines)]


def _tests(known: Known, model: Model) -> list[Table]:
    results = known.results.get(model.name, ())
    lines, samples = [], []
    for test, meaning in model.test_names.items():
        of_test = [row for row in results if row["test"] == test]
        found = [words(found_last(of_test))] if known.states else []
        lines.append([name(test), *found, prose(meaning)])
        samples += [sample for row in of_test if (sample := _sample(known, row)) is not None]
    headings = ["test", *(["found last"] if known.states else []), "asserts"]
    return [Table(title="Tests", headings=headings, rows=lines), *samples] if lines else []


def _sample(known: Known, result: Mapping[str, Any]) -> Table | None:
    """Some of the rows that broke a test, without those that somebody asked to remove."""
    try:
        found = [row for row in json.loads(result["sample"]) if isinstance(row, dict)]
    except (TypeError, ValueError):  # a table that somebody else wrote may say anything
        return None
    rows = [row for row in found if not _is_removed(known.removals, row)][:_LOOKED_AT]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if not columns:
        return None
    lines = [[_value(row.get(column)) for column in columns] for row in rows]
    where = "" if result["scope"] == WHOLE else f" in {result['scope']}"
    return Table(title=f"Rows that break {result['test']}{where}, for instance", headings=columns, rows=lines)


def _value(value: Any) -> Cell:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(text=str(value), kind="number")
    return foreign(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _is_removed(removals: RemovalMatcher | None, row: Mapping[str, Any]) -> bool:
    if removals is None:
        return False
    numbers = [value for value in row.values() if isinstance(value, int)]
    texts = [value for value in row.values() if isinstance(value, str)]
    return any(removals.match_pair_id(value) for value in numbers) or any(
        removals.match_url(text) or removals.match_host(text) or text.lower() in removals.sha256 | removals.hashes
        for text in texts
    )


def _codes(model: Model) -> list[Code]:
    sql = model.template.render().strip()
    note = f"{SOME_CRAWL} stands for the crawl that is built." if SOME_CRAWL in sql else ""
    tests = [
        Code(title=f"SQL of the test {test.name}", sql=highlighted(test.template.render().strip()))
        for test in model.singular_tests
    ]
    return [Code(title="SQL as it runs", sql=highlighted(sql), note=note), *tests]


def _table_entry(known: Known, table: LakeTable) -> Entry:
    above = [m.name for m in known.project.models.values() if table.name in known.inputs(m)]
    testing = [m.name for m in known.project.models.values() if table.name in known.tested_against(m)]
    facts = [] if table.name in RECORDS else [("Key", words(", ".join(table.key)))]
    if table.partition_by:
        facts.append(("Partitions", words(", ".join(table.partition_by))))
    if table.name in known.rows:
        facts.append(("Rows", number(known.rows[table.name])))
    facts.append(("Built on it", _links(known, above)))
    if testing:
        facts.append(("Tests of", _links(known, testing)))
    lines = []
    for column in table.columns:
        meaning = [column.description]
        meaning += [f"One of {', '.join(column.accepted)}."] if column.accepted else []
        meaning += ["Can be null."] if column.nullable and "null" not in column.description else []
        lines.append([_column(table.name, column.name), prose(" ".join(meaning)), words(duckdb_type(column.type))])
    columns = Table(title="Columns", headings=["column", "meaning", "type"], rows=lines)
    return Entry(name=table.name, description=table.description, facts=facts, tables=[columns])


def _links(known: Known, names: Iterable[str]) -> Cell:
    return links([known.link(of) for of in names], otherwise="nothing")


def _column(table: str, column: str) -> Cell:
    return Cell(text=column, kind="name", id=_column_id(table, column))


def _column_id(table: str, column: str) -> str:
    """An id that is also a fragment of an address, whatever the column is called."""
    return f"{table}.{quote(column, safe='')}"


def highlighted(sql: str) -> Markup:
    """SQL as HTML, its keywords, strings, numbers and comments marked by class."""
    from pygments.lexers.sql import SqlLexer
    from pygments.token import Comment, Keyword, Name, Number, String

    tones = {Comment: "comment", String: "string", Number: "figure"}
    parts = []
    for kind, text in SqlLexer(stripnl=False, ensurenl=False).get_tokens(sql):
        tone = next((tone for of, tone in tones.items() if kind in of), "")
        # The lexer knows not all of DuckDB's words, and takes many a column for one of some other SQL.
        if (kind in Keyword or kind in Name) and len(text) > 1 and text.isupper():
            tone = "keyword"
        parts.append(Markup('<span class="{}">{}</span>').format(tone, text) if tone else escape(text))
    return Markup("").join(parts)
