"""What a query reads that nobody has built: it has no rows, and that looks like an answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from laion_assets.delta.lake import Lake
from laion_assets.sql.guard import names_read
from laion_assets.sql.model import Model
from laion_assets.sql.project import Project, open_project
from laion_assets.tables.catalogue import STAGES, TABLES


@dataclass(frozen=True)
class Reading:
    """What a session's queries may read: a lake, and the models of a folder."""

    lake: Lake
    models: Path

    def never_built(self, con: duckdb.DuckDBPyConnection, query: str) -> str | None:
        """One line about the tables and models that a query names, or that views it names are made of, and that were
        never built, each with the command that builds it; None where there is no such.
        """
        names = names_read(con, query)
        if not self._lacking(names) and names <= {*STAGES}:
            return None
        project = open_project(self.models)
        stored = {name for wanted in names for name in _stored(project, wanted)}
        lacking = [f"{name} ({_command(project, name)})" for name in self._lacking(stored)]
        return f"never built, so there are no rows in it: {', '.join(lacking)}" if lacking else None

    def _lacking(self, names: set[str]) -> list[str]:
        there = set(self.lake.storage.folders())
        return [name for name in sorted(names) if name not in there or not self.lake.exists(name)]

    def why_missing(self, con: duckdb.DuckDBPyConnection, query: str, error: Exception) -> str | None:
        """Why a query found no table, where it names a model that cannot run and never did; None in all other cases."""
        if not isinstance(error, duckdb.CatalogException):
            return None
        project = open_project(self.models)
        for name in sorted(names_read(con, query)):
            model = project.models.get(name)
            if model is not None and model.held and name in str(error):
                why = f"broken: {'; '.join(map(str, model.faults))}" if model.faults else model.why_held
                why = f"held up: it {why}" if model.held == "waits" else why
                return f"{name} was never built, for it is {why}"
        return None


def _stored(project: Project, name: str) -> Iterator[str]:
    """The tables that a name stands for: itself, or what the view is made of."""
    model = project.enabled.get(name)
    if model is None:
        if name in STAGES:
            yield name
    elif not model.is_view:
        yield name
    else:
        for inner in (*model.template.names("ref"), *model.template.names("source")):
            yield from _stored(project, inner)


def _command(project: Project, name: str) -> str:
    model: Model | None = project.models.get(name)
    if model is not None:
        return f"laion models run --select {'+' if model.template.names('ref') else ''}{name}"
    return TABLES[name].command
