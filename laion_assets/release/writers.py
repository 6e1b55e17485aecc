"""The formats that there are, by the names that people ask for them by."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import Final, cast

from laion_assets.release.parts import Format, ReleaseError

_WHERE: Final = {
    "laion": "laion:LaionParquet",
    "webdataset": "webdataset:Webdataset",
    "clip-retrieval": "clip_retrieval:ClipRetrieval",
    "huggingface": "huggingface:HuggingFace",
    "croissant": "croissant:Croissant",
}
"""By name, module and class: what a format needs is imported when it is asked for."""


def format_names() -> tuple[str, ...]:
    """The names of all formats."""
    return tuple(_WHERE)


def usual_formats(*, pictures: bool) -> tuple[str, ...]:
    """What a release is written in where nobody says anything else.

    Args:
        pictures: whether pictures are in it.
    """
    wanted = ("huggingface", "croissant", *(("webdataset",) if pictures else ()))
    return tuple(name for name in wanted if name in _WHERE) or ("laion",)


@cache
def format_named(name: str) -> Format:
    """The format of this name.

    Raises:
        ReleaseError: there is none.
    """
    if name not in _WHERE:
        raise ReleaseError(f"there is no format {name!r}; those that there are: {', '.join(_WHERE)}")
    module, _, kind = _WHERE[name].partition(":")
    return cast(Format, getattr(import_module(f"laion_assets.release.formats.{module}"), kind)())


def formats_of(names: Iterable[str], *, pictures: bool) -> Mapping[str, Format]:
    """The formats of a release, by name, in the order in which they were named.

    Args:
        names: of the formats.
        pictures: whether pictures are in it.

    Raises:
        ReleaseError: there is no such format, or it holds pictures and the release does not.
    """
    found = {name: format_named(name) for name in dict.fromkeys(names)}
    lacking = [name for name, format_ in found.items() if format_.needs_pictures and not pictures]
    if lacking:
        raise ReleaseError(f"{', '.join(lacking)} holds pictures: ask for them with --pictures, or for another format")
    if not found:
        raise ReleaseError(f"a release needs a format: {', '.join(_WHERE)}")
    return found
