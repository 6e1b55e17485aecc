"""All SQL models together: read, checked before anything runs, in the order in which they are built."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from laion_assets.lake.catalogue import Table
from laion_assets.lake.tables import TABLES
from laion_assets.sql import PROJECT
from laion_assets.sql.binding import Binder
from laion_assets.sql.cache import ModelCache
from laion_assets.sql.commits import COMMITS
from laion_assets.sql.errors import Fault, ModelError
from laion_assets.sql.metrics import STEP_METRICS
from laion_assets.sql.model import LAYERS, Model, SingularTest, read_model, with_columns
from laion_assets.sql.parse import check_sql
from laion_assets.sql.template import CRAWL_NOT_KNOWN, Reference, Template, read_template

RECORDS: Mapping[str, Table] = {table.name: table for table in (COMMITS, STEP_METRICS)}
"""No tables of the lake: what its commits say of themselves, read out of the logs of all tables."""

SOURCES: Mapping[str, Table] = {**TABLES, **RECORDS}
"""Everything that ``source()`` can name."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Project:
    """The models of one folder, upstream before downstream; disabled ones last."""

    folder: Path
    models: Mapping[str, Model]

    @cached_property
    def enabled(self) -> Mapping[str, Model]:
        """The models that can run."""
        return {name: model for name, model in self.models.items() if model.disabled is None}

    def upstream(self, name: str) -> tuple[str, ...]:
        """The models that this one names, in itself and in its tests."""
        return tuple(n for n in _named(self.models[name], "ref") if n != name)

    def sources(self, name: str) -> tuple[str, ...]:
        """The tables of the lake that this one names, in itself and in its tests."""
        return _named(self.models[name], "source")

    def select(self, patterns: Iterable[str]) -> list[str]:
        """The enabled models that the patterns name, in the order in which they are built; all where there is none.

        ``name``, with ``+`` before it for what it is built from and after it for what is built on it, or the name of
        a layer.

        Raises:
            ValueError: a pattern names nothing.
        """
        chosen: set[str] = set()
        given = [part for pattern in patterns for part in pattern.replace(",", " ").split()]
        for pattern in given:
            name = pattern.strip("+")
            if name in LAYERS:
                found = {n for n, model in self.enabled.items() if model.layer == name}
            else:
                found = {self._known(name)}
            chosen |= found
            if pattern.startswith("+"):
                chosen |= self._reached(found, self.upstream)
            if pattern.endswith("+"):
                chosen |= self._reached(found, self._downstream)
        return [name for name in self.enabled if name in chosen or not given]

    def _known(self, name: str) -> str:
        model = self.models.get(name)
        if model is None:
            close = get_close_matches(name, [*self.models, *LAYERS], n=1)
            meant = f", perhaps you mean {close[0]}" if close else ""
            raise ValueError(f"there is no model {name!r}{meant}; `laion models list` shows all")
        if model.disabled is not None:
            raise ValueError(f"{name} is disabled: {model.disabled}")
        return name

    def _downstream(self, name: str) -> tuple[str, ...]:
        return tuple(other for other in self.enabled if name in self.upstream(other))

    def _reached(self, names: Iterable[str], neighbours: Any) -> set[str]:
        found: set[str] = set()
        todo = list(names)
        while todo:
            for name in neighbours(todo.pop()):
                if name not in found:
                    found.add(name)
                    todo.append(name)
        return found


def load_project(folder: Path | str = PROJECT) -> Project:
    """Read and check every model below ``folder``.

    Raises:
        ModelError: some cannot be run as they stand; every fault is in it, with file and line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError([Fault(folder, 1, "is no folder of SQL models: see LAION_MODELS")])
    cache = ModelCache(folder, sources={name: _columns(table) for name, table in SOURCES.items()})
    faults: list[Fault] = []
    files = [file for layer in LAYERS for file in sorted((folder / "models" / layer).glob("*.sql"))]
    faults += [
        Fault(file, 1, f"a model lies in models/{{{','.join(LAYERS)}}}/")
        for file in sorted((folder / "models").rglob("*.sql"))
        if file not in files
    ]
    names = {file.stem for file in files}
    read: dict[str, Model] = {}
    for file in files:
        try:
            model = _read(file, names, cache)
            if model.name in read:
                other = read[model.name].template.file
                raise ModelError([Fault(file, 1, f"{other} has that name already")])
            read[model.name] = model
        except ModelError as error:
            faults += error.faults
    faults += _wrong_references(read, names)
    if faults:
        raise ModelError(faults)
    order = _order(read)
    read = _with_singular_tests(folder, {name: read[name] for name in order}, cache)
    bound = _bound({name: read[name] for name in _order(read)}, cache)
    cache.save()
    return Project(folder, bound)


def _columns(table: Table) -> list[list[str]]:
    return [[column.name, str(column.type)] for column in table.columns]


def _named(model: Model, kind: Any) -> tuple[str, ...]:
    """What a model names, and what its tests name beside it."""
    names = [*model.template.names(kind)]
    for singular in model.singular_tests:
        names += singular.template.names(kind)
    for test in model.tests:
        if test.reads is not None and (test.reads in SOURCES) == (kind == "source"):
            names.append(test.reads)
    return tuple(dict.fromkeys(names))


def _read(file: Path, names: set[str], cache: ModelCache) -> Model:
    """One file, parsed and checked by itself."""
    text = _text(file)
    key = cache.key("file", str(file), text, sorted(names))
    known = cache.get(key)
    if known is not None:
        references = tuple(Reference(*reference) for reference in known["references"])
        return read_model(Template(file, text, references), known["header"], known["lines"])
    template, header, lines = read_template(file, text)
    model = read_model(template, header, lines)
    faults = []
    if _NAME.fullmatch(model.name) is None or model.name in (*SOURCES, "files"):
        message = "a model is named in lower case with _ and digits, unlike every table and folder of the lake"
        faults.append(Fault(file, 1, message))
    if model.disabled is None:
        faults += check_sql(template, tables=SOURCES, models=names)
    if faults:
        raise ModelError(faults)
    references_kept = [[r.kind, r.name, r.line] for r in template.references]
    cache.put(key, {"references": references_kept, "header": dict(header), "lines": dict(lines)})
    return model


def _wrong_references(read: Mapping[str, Model], names: set[str]) -> list[Fault]:
    """References to what is not there, or cannot be used."""
    faults = []
    for model in read.values():
        if model.disabled is None:
            faults += _unknown_references(model.template, names, read)
            faults += [
                Fault(model.template.file, 1, f"test {test.name}: there is no table and no model {test.reads}")
                for test in model.tests
                if test.reads is not None and test.reads not in SOURCES and test.reads not in names
            ]
    return faults


def _unknown_references(template: Template, names: set[str], read: Mapping[str, Model]) -> list[Fault]:
    faults = []
    for reference in template.references:
        known = SOURCES if reference.kind == "source" else names
        if reference.name not in known:
            close = get_close_matches(reference.name, list(known), n=1)
            meant = f", perhaps you mean {close[0]}" if close else ""
            elsewhere = names if reference.kind == "source" else SOURCES
            if reference.name in elsewhere:
                meant = f": it is a {'model, write ref' if reference.kind == 'source' else 'table, write source'}()"
            what = "table" if reference.kind == "source" else "model"
            message = f"{reference.kind}('{reference.name}'): there is no {what} of that name{meant}"
            faults.append(Fault(template.file, reference.line, message))
        elif reference.kind == "ref" and reference.name in read and read[reference.name].disabled is not None:
            message = f"ref('{reference.name}') is disabled: {read[reference.name].disabled}"
            faults.append(Fault(template.file, reference.line, message))
    return faults


def _order(models: Mapping[str, Model]) -> list[str]:
    """The names, upstream before downstream; disabled models last.

    Raises:
        ModelError: some models are built from one another.
    """
    enabled = {name: model for name, model in models.items() if model.disabled is None}
    graph = {name: [n for n in _named(model, "ref") if n != name] for name, model in enabled.items()}
    itself = [
        Fault(model.template.file, reference.line, f"{name} is built from itself")
        for name, model in enabled.items()
        for reference in model.template.references
        if reference.kind == "ref" and reference.name == name
    ]
    if itself:
        raise ModelError(itself)
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        first = models[cycle[0]].template
        line = next((r.line for r in first.references if r.kind == "ref" and r.name == cycle[1]), 1)
        message = f"models are built from one another: {' → '.join(cycle)}"
        raise ModelError([Fault(first.file, line, message)]) from error
    return order + [name for name in models if name not in enabled]


def _with_singular_tests(folder: Path, models: Mapping[str, Model], cache: ModelCache) -> dict[str, Model]:
    """The models with the queries in ``tests``, each given to the last model it names."""
    found = dict(models)
    faults: list[Fault] = []
    for file in sorted((folder / "tests").glob("*.sql")):
        try:
            test = _read_singular(file, set(models), cache)
        except ModelError as error:
            faults += error.faults
            continue
        wrong = _unknown_references(test.template, set(models), models)
        of = [name for name in models if name in test.template.names("ref")]
        if of and test.template.crawl_line is not None and not models[of[-1]].is_incremental:
            wrong.append(Fault(file, test.template.crawl_line, CRAWL_NOT_KNOWN))
        if wrong or not of:
            faults += wrong or [Fault(file, 1, "a test names at least one model by ref()")]
            continue
        found[of[-1]] = replace(found[of[-1]], singular_tests=(*found[of[-1]].singular_tests, test))
    if faults:
        raise ModelError(faults)
    return found


def _text(file: Path) -> str:
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ModelError([Fault(file, line, "no UTF-8 text: save it in that encoding")]) from error


def _read_singular(file: Path, names: set[str], cache: ModelCache) -> SingularTest:
    text = _text(file)
    key = cache.key("test", str(file), text, sorted(names))
    known = cache.get(key)
    if known is not None:
        references = tuple(Reference(*reference) for reference in known["references"])
        return SingularTest(name=file.stem, description=known["description"], template=Template(file, text, references))
    template, header, _ = read_template(file, text)
    if set(header) != {"description"} or not isinstance(header["description"], str):
        raise ModelError([Fault(file, 1, "front matter of a test: expected `description` and nothing else")])
    faults = check_sql(template, tables=SOURCES, models=names)
    if faults:
        raise ModelError(faults)
    description = " ".join(header["description"].split())
    cache.put(key, {"references": [[r.kind, r.name, r.line] for r in template.references], "description": description})
    return SingularTest(name=file.stem, description=description, template=template)


def _bound(models: Mapping[str, Model], cache: ModelCache) -> dict[str, Model]:
    """The models with their columns, as DuckDB finds them on empty tables."""
    faults: list[Fault] = []
    bound: dict[str, Model] = {}
    with Binder(SOURCES) as binder:
        for name, model in models.items():
            if model.disabled is not None:
                bound[name] = model
                continue
            upstream = _named(model, "ref")
            if any(n not in bound for n in upstream if n != name):
                continue  # its fault is another's fault
            seen = {n: [[c.name, c.type] for c in bound[n].columns] for n in upstream if n != name}
            tests = [test.template.text for test in model.singular_tests]
            key = cache.key("columns", str(model.template.file), model.template.text, seen, tests)
            columns = cache.get(key)
            try:
                if columns is None:
                    columns = binder.columns(model, [bound[n] for n in upstream if n != name])
                bound[name] = with_columns(model, columns, _inherited(model, bound))
                cache.put(key, columns)
            except ModelError as error:
                faults += error.faults
    if faults:
        raise ModelError(faults)
    return bound


def _inherited(model: Model, bound: Mapping[str, Model]) -> dict[str, str]:
    """What columns mean in what the model's own SQL names; where two have one of a name, in the one named first."""
    found: dict[str, str] = {}
    for reference in model.template.references:
        named = bound[reference.name].columns if reference.kind == "ref" else SOURCES[reference.name].columns
        for column in named:
            found.setdefault(column.name, column.description)
    return found


def tables_of(models: Iterable[Model]) -> Sequence[Table]:
    """The declarations of the Delta tables that models fill."""
    return [model.table() for model in models if not model.is_view and model.disabled is None]
