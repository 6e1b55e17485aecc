"""The settings by name: which there are, what each means, and what a name that is none was meant to be.

All of it is read from the classes that declare the options: their fields, types and docstrings.
"""

import ast
import difflib
import inspect
import re
import textwrap
from collections import abc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import SecretStr
from pydantic_settings import BaseSettings

PREFIX: Final = "LAION_"
EACH: Final = "TABLE"
"""Stands in a name for each of the tables that the setting can be given for."""

_NO_SETTINGS: Final = frozenset({"LAION_SCRATCH", "LAION_PARENT", "LAION_TEST_DATA", "LAION_NO_SKIPS"})
"""Read beside the settings: by the storage, by a training for its children, by the tests."""
_SERVICE: Final = re.compile(
    r"LAION(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""What Kubernetes puts into every pod for a service whose name begins with `laion`, beside `…_PORT`."""
_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")
_OBJECT: Final = "JSON object"
_MAPPINGS: Final = (abc.Mapping, dict)
_LETTERS: Final = 2
_NEAR: Final = 0.75
_UNITS: Final = {
    r"(\b|_)seconds\b": "seconds",
    r"(\b|_)minutes\b": "minutes",
    r"(\b|_)hours\b": "hours",
    r"(\b|_)days\b": "days",
    r"(\b|_)gib\b": "GiB",
    r"(\b|_)gigabytes\b": "gigabytes",
    r"\bbytes\b": "bytes",
    r"\bpixels\b": "pixels",
    r"\bcharacters\b": "characters",
}
_KINDS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    SecretStr: "text, secret",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting."""

    name: str
    """As a variable has it, ``LAION_DOWNLOAD__THREADS``."""
    path: tuple[str, ...]
    """The fields that lead to it, ``download`` and ``threads``; :data:`EACH` where a table's name comes."""
    kind: str
    """What it takes, in words."""
    default: Any
    declared: type
    """The class that has it as a field."""

    @property
    def meaning(self) -> str:
        """What its docstring says, on one line."""
        return meanings(self.declared).get(self.path[-1], "")

    @property
    def unit(self) -> str:
        """Of its number; empty where it is a bare one, or none at all."""
        said = f"{self.path[-1]} {self.meaning}".lower()
        return next((u for like, u in _UNITS.items() if "number" in self.kind and re.search(like, said)), "")

    @property
    def secret(self) -> bool:
        """Whether its value may not be shown."""
        return "secret" in self.kind


def settings_in(model: type[BaseSettings]) -> Mapping[str, Setting]:
    """Every setting that a class declares, nested ones too, by name and in the order of the declarations."""
    found: dict[str, Setting] = {}
    for name, field in model.model_fields.items():
        default, options = field.get_default(call_default_factory=True), _options(field.annotation)
        if options is None:
            made = [_setting((name,), field.annotation, default, model)]
        elif get_origin(field.annotation) in _MAPPINGS:
            made = [*_nested((name, EACH), options, options())]
        else:
            made = [*_nested((name,), options, options() if default is None else default)]
        found |= {setting.name: setting for setting in made}
    return found


def unknown_names(environment: Mapping[str, str], model: type[BaseSettings]) -> tuple[list[str], list[str]]:
    """What is to be said of ``LAION_`` names that are no settings.

    An option that a group of settings does not have (``LAION_DOWNLOAD__THREDS``) is left to whoever reads the group.

    Args:
        environment: variables by name.
        model: the class that declares the settings.

    Returns:
        The faults, names that can only be meant as settings: they hold ``__``, or come within two letters of one.
        And the warnings, names of which nobody knows.
    """
    known = settings_in(model)
    groups = {setting.path[0] for setting in known.values() if len(setting.path) > 1 or setting.kind == _OBJECT}
    faults: list[str] = []
    warnings: list[str] = []
    for name, value in sorted(environment.items()):
        plain = name.upper()
        top = plain.removeprefix(PREFIX).partition("__")[0].lower()
        if not plain.startswith(PREFIX) or plain in known or top in groups or _is_no_setting(plain, value):
            continue
        near = difflib.get_close_matches(plain, known, n=1, cutoff=_NEAR)
        said = f"{name} is no setting" + (f": did you mean {near[0]}?" if near else "")
        sure = "__" in plain or any(_is_near(plain, other) for other in known)
        (faults if sure else warnings).append(said)
    return faults, warnings


def letters_apart(one: str, other: str) -> int:
    """Levenshtein's distance: how many letters are put in, taken out or exchanged from one word to the other."""
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        last, above[0] = above[0], row
        for column, its in enumerate(other, 1):
            last, above[column] = above[column], min(above[column] + 1, above[column - 1] + 1, last + (letter != its))
    return above[-1]


def _is_near(one: str, other: str) -> bool:
    return abs(len(one) - len(other)) <= _LETTERS and letters_apart(one, other) <= _LETTERS


def _is_no_setting(name: str, value: str) -> bool:
    injected = _SERVICE.fullmatch(name) or (name.endswith("_PORT") and _ADDRESS.match(value))
    return name in _NO_SETTINGS or ("__" not in name and bool(injected))


def _nested(path: tuple[str, ...], options: Any, default: Any) -> Iterator[Setting]:
    hints = get_type_hints(options)
    for field in fields(options):
        yield _setting((*path, field.name), hints[field.name], getattr(default, field.name), options)


def _setting(path: tuple[str, ...], annotation: Any, default: Any, declared: type) -> Setting:
    name = PREFIX + "__".join(path).upper()
    return Setting(name=name, path=path, kind=_kind(annotation), default=default, declared=declared)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_kind(argument) for argument in arguments if argument is not type(None))
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin is tuple:
        return "list"
    if origin in _MAPPINGS:
        return _OBJECT
    return _kind(arguments[0]) if hasattr(annotation, "__metadata__") else _KINDS[annotation]


def _options(annotation: Any) -> Any:
    """The dataclass of options that a field holds, or holds for each table; None where it holds a plain value."""
    candidates: Iterable[Any] = (annotation, *get_args(annotation))
    return next((candidate for candidate in candidates if is_dataclass(candidate)), None)


@cache
def meanings(declared: type) -> Mapping[str, str]:
    """The docstrings below the fields of a class by the fields' names, each on one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(declared))).body
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(said.value.value.split())
        for field, said in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
        and isinstance(said.value.value, str)
    }
