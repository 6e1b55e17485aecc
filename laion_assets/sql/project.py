"""All SQL models together: read, checked before anything runs, in the order in which they are built."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from laion_assets.delta.table import Table
from laion_assets.sql import PROJECT
from laion_assets.sql.binding import Binder
from laion_assets.sql.cache import ModelCache
from laion_assets.sql.commits import COMMITS
from laion_assets.sql.errors import Fault, ModelError
from laion_assets.sql.files import check_name, mentioned_in, read_file, read_singular, whatever_it_is
from laion_assets.sql.metrics import STEP_METRICS
from laion_assets.sql.model import LAYERS, Model, broken, unread, waiting, with_columns
from laion_assets.sql.parse import check_sql
from laion_assets.sql.template import CRAWL_NOT_KNOWN, Template
from laion_assets.tables.catalogue import TABLES

RECORDS: Mapping[str, Table] = {table.name: table for table in (COMMITS, STEP_METRICS)}
"""No tables of the lake: what its commits say of themselves, read out of the logs of all tables."""

SOURCES: Mapping[str, Table] = {**TABLES, **RECORDS}
"""Everything that ``source()`` can name."""


@dataclass(frozen=True)
class Project:
    """The models of one folder, upstream before downstream; those that cannot run last."""

    folder: Path
    models: Mapping[str, Model]
    faults: tuple[Fault, ...] = ()
    """All that is wrong, with file and line: of models, of tests, and of files that are neither."""

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
        chosen = self._chosen(patterns)
        return [name for name in self.enabled if chosen is None or name in chosen]

    def faults_of(self, patterns: Iterable[str] = ()) -> tuple[Fault, ...]:
        """What is wrong with the models that the patterns name, or with what they wait for; all where there is none.

        Raises:
            ValueError: a pattern names nothing.
        """
        chosen = self._chosen(patterns)
        if chosen is None:
            return self.faults
        found = {
            fault for name in self.reached(chosen, self._waited_for) | chosen for fault in self.models[name].faults
        }
        return tuple(sorted(found))

    def held(self, patterns: Iterable[str] = ()) -> list[str]:
        """The models that the patterns name and that cannot run; all such where there is no pattern.

        Raises:
            ValueError: a pattern names nothing.
        """
        chosen = self._chosen(patterns)
        return [name for name, model in self.models.items() if model.held and (chosen is None or name in chosen)]

    def _waited_for(self, name: str) -> tuple[str, ...]:
        upstream = self.models[name].waits_for
        return () if upstream is None else (upstream,)

    def _chosen(self, patterns: Iterable[str]) -> set[str] | None:
        """The models that the patterns name, those that cannot run among them; None where there is no pattern."""
        chosen: set[str] = set()
        given = [part for pattern in patterns for part in pattern.replace(",", " ").split()]
        for pattern in given:
            name = pattern.strip("+")
            if name in LAYERS:
                found = {n for n, model in self.models.items() if model.layer == name}
            else:
                found = {self._known(name)}
            chosen |= found
            if pattern.startswith("+"):
                chosen |= self.reached(found, self.upstream)
            if pattern.endswith("+"):
                chosen |= self.reached(found, self._downstream)
        return {name for name in chosen if name in self.models} if given else None

    def _known(self, name: str) -> str:
        model = self.models.get(name)
        if model is None:
            if faults := [str(fault) for fault in self.faults if fault.file.stem == name]:
                raise ValueError(f"{name} is no model: {'; '.join(faults)}")
            close = get_close_matches(name, [*self.models, *LAYERS], n=1)
            meant = f", perhaps you mean {close[0]}" if close else ""
            raise ValueError(f"there is no model {name!r}{meant}; `laion models list` shows all")
        if model.held == "disabled":
            raise ValueError(f"{name} is disabled: {model.disabled}")
        return name

    def _downstream(self, name: str) -> tuple[str, ...]:
        return tuple(other for other in self.models if name in self.upstream(other))

    def reached(self, names: Iterable[str], neighbours: Callable[[str], Iterable[str]]) -> set[str]:
        """The models that one gets to from some, going from each to its neighbours."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            for name in neighbours(todo.pop()):
                if name not in found and name in self.models:
                    found.add(name)
                    todo.append(name)
        return found


def load_project(folder: Path | str = PROJECT) -> Project:
    """Read and check every model below ``folder``.

    Raises:
        ModelError: some cannot be run as they stand; every fault is in it, with file and line.
    """
    project = open_project(folder)
    if project.faults:
        raise ModelError(project.faults)
    return project


def open_project(folder: Path | str = PROJECT) -> Project:
    """Read every model below ``folder``, as it is: what is wrong with one keeps that one, and what is built on it.

    Such models are in :attr:`Project.models`, disabled by what is wrong with them.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return Project(folder, {}, (Fault(folder, 1, "is no folder of SQL models: see LAION_MODELS"),))
    return _Reading(folder).project()


class _Reading:
    """The models of a folder while they are read: what is sound so far, and what is wrong with the others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cache = ModelCache(folder, sources={name: _columns(table) for name, table in SOURCES.items()})
        self._sound: dict[str, Model] = {}
        self._held: dict[str, Model] = {}
        self._faults: set[Fault] = set()

    def project(self) -> Project:
        self._read_files()
        self._order()
        self._give_tests()
        self._order()
        self._bind()
        self._cache.save()
        rest = {name: model for name, model in self._sound.items() if model.disabled is not None}
        sound = {name: model for name, model in self._sound.items() if model.disabled is None}
        return Project(self._folder, {**sound, **rest, **self._held}, tuple(sorted(self._faults)))

    def _break(self, name: str, faults: Iterable[Fault]) -> None:
        """Take a model for broken: it cannot run, and is there to be shown."""
        found = {*faults, *(self._held[name].faults if name in self._held else ())}
        self._faults |= found
        model = self._sound.pop(name, None) or self._held.get(name)
        if model is not None:
            self._held[name] = broken(model, [*found])

    def _check(self, template: Template) -> list[Fault]:
        return check_sql(template, tables=SOURCES, models=self._names)

    def _read_files(self) -> None:
        files = [file for layer in LAYERS for file in sorted((self._folder / "models" / layer).glob("*.sql"))]
        self._faults |= {
            Fault(file, 1, f"a model lies in models/{{{','.join(LAYERS)}}}/")
            for file in sorted((self._folder / "models").rglob("*.sql"))
            if file not in files
        }
        self._names = {file.stem for file in files}
        for file in files:
            name = file.stem
            try:
                check_name(file, SOURCES)
            except ModelError as error:  # nothing can be called so, in Dagster's graph neither
                self._faults |= {*error.faults}
                continue
            if name in self._sound or name in self._held:
                other = (self._sound.get(name) or self._held[name]).template.file
                self._break(name, [Fault(file, 1, f"{other} has that name already")])
                continue
            try:
                self._sound[name] = whatever_it_is(
                    file, partial(read_file, file, self._names, self._check, self._cache)
                )
            except ModelError as error:
                self._held[name] = unread(file, error.faults)
                self._faults |= {*error.faults}
        for name, model in [*self._sound.items()]:
            if wrong := _wrong_references(model, self._names, self._sound):
                self._break(name, wrong)

    def _order(self) -> None:
        """Put what is upstream first, disabled models last; those that are built from one another are broken."""
        while True:
            enabled = {name: model for name, model in self._sound.items() if model.disabled is None}
            wrong = _built_from_themselves(enabled)
            for name, fault in wrong.items():
                self._break(name, [fault])
            if not wrong:
                break
        graph = {name: [n for n in _named(m, "ref") if n != name and n in enabled] for name, m in enabled.items()}
        order = [*TopologicalSorter(graph).static_order(), *(name for name in self._sound if name not in enabled)]
        self._sound = {name: self._sound[name] for name in order}

    def _give_tests(self) -> None:
        """Give each query in ``tests`` to the last model it names. A model whose test is wrong is broken."""
        for file in sorted((self._folder / "tests").glob("*.sql")):
            try:
                test = whatever_it_is(file, partial(read_singular, file, self._names, self._check, self._cache))
            except ModelError as error:
                self._break_tested(mentioned_in(file), error.faults)
                continue
            named = test.template.names("ref")
            wrong = _unknown_references(test.template, self._names, self._sound)
            of = [name for name in self._sound if name in named]
            if of and test.template.crawl_line is not None and not self._sound[of[-1]].is_incremental:
                wrong.append(Fault(file, test.template.crawl_line, CRAWL_NOT_KNOWN))
            if not named:
                wrong = wrong or [Fault(file, 1, "a test names at least one model by ref()")]
            if wrong:
                self._break_tested(named, wrong)
            elif of and not any(name in self._held for name in named):  # else it could not be run
                last = self._sound[of[-1]]
                self._sound[of[-1]] = replace(last, singular_tests=(*last.singular_tests, test))

    def _break_tested(self, named: Collection[str], faults: Iterable[Fault]) -> None:
        """What a wrong test is of cannot be tested, and so is not published."""
        of = [name for name in self._sound if name in named]
        self._faults |= {*faults}
        if of:
            self._break(of[-1], faults)

    def _bind(self) -> None:
        """Give the models their columns, as DuckDB finds them on empty tables."""
        bound: dict[str, Model] = {}
        with Binder(SOURCES) as binder:
            for name, model in [*self._sound.items()]:
                if model.disabled is not None:
                    continue
                upstream = [n for n in _named(model, "ref") if n != name]
                missing = next((n for n in upstream if n not in bound), None)
                if missing is not None:
                    self._held[name] = waiting(self._sound.pop(name), missing)
                    continue
                try:
                    read = partial(_with_columns, binder, model, bound, upstream, self._cache)
                    bound[name] = self._sound[name] = whatever_it_is(model.template.file, read)
                except ModelError as error:
                    self._break(name, error.faults)


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


def _wrong_references(model: Model, names: set[str], read: Mapping[str, Model]) -> list[Fault]:
    """References of a model to what is not there, or cannot be used."""
    if model.disabled is not None:
        return []
    return [
        *_unknown_references(model.template, names, read),
        *(
            Fault(model.template.file, 1, f"test {test.name}: there is no table and no model {test.reads}")
            for test in model.tests
            if test.reads is not None and test.reads not in SOURCES and test.reads not in names
        ),
    ]


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


def _built_from_themselves(enabled: Mapping[str, Model]) -> dict[str, Fault]:
    """The models that are built from themselves, directly or by way of one circle of others."""
    itself = {
        name: Fault(model.template.file, reference.line, f"{name} is built from itself")
        for name, model in enabled.items()
        for reference in reversed(model.template.references)
        if reference.kind == "ref" and reference.name == name
    }
    if itself:
        return itself
    graph = {name: [n for n in _named(model, "ref") if n != name and n in enabled] for name, model in enabled.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        first = enabled[cycle[0]].template
        line = next((r.line for r in first.references if r.kind == "ref" and r.name == cycle[1]), 1)
        fault = Fault(first.file, line, f"models are built from one another: {' → '.join(cycle)}")
        return dict.fromkeys(cycle, fault)
    return {}


def _with_columns(
    binder: Binder, model: Model, bound: Mapping[str, Model], upstream: Sequence[str], cache: ModelCache
) -> Model:
    seen = {n: [[c.name, c.type] for c in bound[n].columns] for n in upstream}
    tests = [test.template.text for test in model.singular_tests]
    key = cache.key("columns", str(model.template.file), model.template.text, seen, tests)
    columns = cache.get(key)
    if columns is None:
        columns = binder.columns(model, [bound[n] for n in upstream])
    found = with_columns(model, columns, _inherited(model, bound))
    cache.put(key, columns)
    return found


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
