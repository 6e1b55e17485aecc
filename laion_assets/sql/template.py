"""A model's file: front matter in a leading comment, and SQL that names its inputs in ``{{ }}``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from laion_assets.delta.partition import literal
from laion_assets.sql.errors import Fault, ModelError

_HEADER = re.compile(r"\A\s*/\*(.*?)\*/", re.DOTALL)
_MARK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_CALL = re.compile(r"\{\{\s*(source|ref)\(\s*(['\"])([a-z][a-z0-9_]*)\2\s*\)\s*\}\}")
_CRAWL = re.compile(r"\{\{\s*crawl\s*\}\}")

CRAWL_NOT_KNOWN = "{{ crawl }} is known only while an incremental model is built"
SOME_CRAWL = "CC-MAIN-0000-00"
"""Stands for the crawl where only columns and types are looked at."""


@dataclass(frozen=True)
class Reference:
    """What a file names: a table of the lake by ``source``, another model by ``ref``."""

    kind: Literal["source", "ref"]
    name: str
    line: int


@dataclass(frozen=True)
class Template:
    """The SQL of one file, its lines where they stand in the file."""

    file: Path
    text: str
    references: tuple[Reference, ...]

    def names(self, kind: Literal["source", "ref"]) -> tuple[str, ...]:
        """The tables or models it names, each once."""
        return tuple(dict.fromkeys(r.name for r in self.references if r.kind == kind))

    def render(self, crawl: str | None = None) -> str:
        """The SQL with names and the crawl filled in."""
        text = _CALL.sub(r"\3", self._without_header)
        return _CRAWL.sub(literal(crawl or SOME_CRAWL), text).rstrip().rstrip(";")

    @property
    def crawl_line(self) -> int | None:
        """The line that asks for the crawl, if one does."""
        found = _CRAWL.search(self.text)
        return self.text.count("\n", 0, found.start()) + 1 if found else None

    @property
    def _without_header(self) -> str:
        """The text with empty lines where the front matter is: nobody need read it again to find no SQL in it."""
        return _HEADER.sub(lambda header: "\n" * header[0].count("\n"), self.text)

    @property
    def body(self) -> str:
        """The SQL alone, as it stands in the file: what decides which rows come out."""
        return _HEADER.sub("", self.text).strip()


def mentioned(text: str) -> tuple[str, ...]:
    """The models that a text names by ``ref``, whatever else is wrong with it."""
    return tuple(dict.fromkeys(call[3] for call in _CALL.finditer(text) if call[1] == "ref"))


def read_template(
    file: Path, text: str, keys: str = "materialized, description"
) -> tuple[Template, Mapping[str, Any], Mapping[str, int]]:
    """Take a file apart.

    Args:
        file: where it lies.
        text: what it holds.
        keys: what its front matter has to say.

    Returns:
        The SQL; the front matter; the line of each of its keys.

    Raises:
        ModelError: the front matter is no YAML mapping, or there is more Jinja in it than is known here.
    """
    faults = []
    references = []
    for mark in _MARK.finditer(text):
        line = text.count("\n", 0, mark.start()) + 1
        call = _CALL.fullmatch(mark[0])
        if call is not None:
            references.append(Reference("source" if call[1] == "source" else "ref", call[3], line))
        elif _CRAWL.fullmatch(mark[0]) is None:
            known = "{{ source('table') }}, {{ ref('model') }} and {{ crawl }}"
            faults.append(Fault(file, line, f"{mark[0]} is not known: only {known} are"))
    if faults:
        raise ModelError(faults)
    header, lines = _front_matter(file, text, keys)
    return Template(file, text, tuple(references)), header, lines


def _front_matter(file: Path, text: str, keys: str) -> tuple[dict[str, Any], dict[str, int]]:
    import yaml

    found = _HEADER.match(text)
    if found is None:
        raise ModelError([Fault(file, 1, f"expected front matter in a leading /* comment */: {keys}")])
    first = text.count("\n", 0, found.start(1)) + 1
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        node = yaml.compose(found[1], Loader=loader)
        header = yaml.load(found[1], Loader=loader)  # noqa: S506 - a safe loader, written in C where there is one
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise ModelError([Fault(file, first + (mark.line if mark else 0), f"front matter: {problem}")]) from error
    if not isinstance(header, dict):
        raise ModelError([Fault(file, first, f"front matter: expected a mapping with {keys}")])
    return header, {key.value: first + key.start_mark.line for key, _ in node.value}
