"""Files of SQL models and of their tests, one by one: read, and checked as far as each can be by itself."""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeAlias, TypeVar

from laion_assets.sql.cache import ModelCache
from laion_assets.sql.errors import Fault, ModelError
from laion_assets.sql.model import Model, SingularTest, read_model
from laion_assets.sql.template import Reference, Template, mentioned, read_template

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_Read = TypeVar("_Read")

Check: TypeAlias = Callable[[Template], list[Fault]]
"""What of a file's SQL is wrong, as far as it can be seen without knowing columns."""


def check_name(file: Path, tables: Collection[str]) -> None:
    """Make sure that a model can be called as its file is.

    Raises:
        ModelError: it cannot.
    """
    if _NAME.fullmatch(file.stem) is None:
        raise ModelError([Fault(file, 1, "a model's name is a lower-case letter, then such letters, digits and _")])
    if file.stem in (*tables, "files"):
        what = "table" if file.stem in tables else "folder"
        raise ModelError([Fault(file, 1, f"{file.stem} is a {what} of the lake: give the model another name")])


def read_file(file: Path, names: Collection[str], check: Check, cache: ModelCache) -> Model:
    """One model's file, parsed and checked by itself; its columns are not known yet.

    Args:
        file: the file.
        names: the names of all models.
        check: what finds the faults of its SQL.
        cache: what is known of files already.

    Raises:
        ModelError: what is wrong with it.
    """
    text = _text(file)
    key = cache.key("file", str(file), text, sorted(names))
    known = cache.get(key)
    if known is not None:
        references = tuple(Reference(*reference) for reference in known["references"])
        return read_model(Template(file, text, references), known["header"], known["lines"])
    template, header, lines = read_template(file, text)
    model = read_model(template, header, lines)
    if model.disabled is None and (faults := check(template)):
        raise ModelError(faults)
    references_kept = [[r.kind, r.name, r.line] for r in template.references]
    cache.put(key, {"references": references_kept, "header": dict(header), "lines": dict(lines)})
    return model


def read_singular(file: Path, names: Collection[str], check: Check, cache: ModelCache) -> SingularTest:
    """One test's file; see :func:`read_file`."""
    text = _text(file)
    key = cache.key("test", str(file), text, sorted(names))
    known = cache.get(key)
    if known is not None:
        references = tuple(Reference(*reference) for reference in known["references"])
        return SingularTest(name=file.stem, description=known["description"], template=Template(file, text, references))
    template, header, _ = read_template(file, text, "description")
    if set(header) != {"description"} or not isinstance(header["description"], str):
        raise ModelError([Fault(file, 1, "front matter of a test: expected `description` and nothing else")])
    faults = check(template)
    if faults:
        raise ModelError(faults)
    description = " ".join(header["description"].split())
    cache.put(key, {"references": [[r.kind, r.name, r.line] for r in template.references], "description": description})
    return SingularTest(name=file.stem, description=description, template=template)


def whatever_it_is(file: Path, read: Callable[[], _Read]) -> _Read:
    """What a reader makes of a file; whatever a library says of it is a fault of that file."""
    try:
        return read()
    except ModelError:
        raise
    except OSError as error:
        raise ModelError([Fault(file, 1, f"cannot be read: {error.strerror or error}")]) from error
    except Exception as error:
        said = " ".join(str(error).split()) or "nothing more is known"
        raise ModelError([Fault(file, 1, f"{type(error).__name__}: {said}")]) from error


def mentioned_in(file: Path) -> tuple[str, ...]:
    """The models that a wrong file mentions, as far as it can be read."""
    try:
        return mentioned(file.read_bytes().decode(errors="replace"))
    except OSError:
        return ()


def _text(file: Path) -> str:
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ModelError([Fault(file, line, "no UTF-8 text: save it in that encoding")]) from error
