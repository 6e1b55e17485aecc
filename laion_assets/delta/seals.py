"""Seals: what the bytes of a commit were, recorded beside the table right after it.

A content digest speaks of rows, and not of vectors, times, statistics or padding; a log entry has no digest at all. A
seal has a copy of the log entry, the SHA-256 of every data file it added and of the files beside the tables that its
rows came with. It lies in ``<table>/_laion``, which Delta's readers pass over, and holds a digest of itself. What no
build can make again it holds whole.

A commit without a seal is a commit all the same: those of older versions have none, and a process may die in between.
"""

import base64
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from laion_assets.common.digests import file_sha256, text_digest
from laion_assets.delta.errors import LakeError
from laion_assets.delta.storage import Storage

SEALS = "_laion"
LOG = "_delta_log"

_LARGEST_COPY = 16_000_000
_log = logging.getLogger(__name__)


class SealDamaged(LakeError):
    """A seal is not as it was written."""


@dataclass(frozen=True)
class Bytes:
    """How many bytes a file has, and their SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Seal:
    """What one commit wrote."""

    version: int
    entry: str
    """The entry of the log, as it was written."""
    files: Mapping[str, Bytes]
    """Data files of the table, and the checkpoint of the log where the commit made one, by their names in the lake."""
    beside: Mapping[str, Bytes] = field(default_factory=dict)
    """Files beside the tables that came with the rows, by their names in the lake."""
    copies: Mapping[str, bytes] = field(default_factory=dict)
    """Data files of what cannot be made again, whole."""

    def to_bytes(self) -> bytes:
        """The content of the seal's file."""
        values = {
            "version": self.version,
            "entry": self.entry,
            "files": {name: [found.size, found.sha256] for name, found in sorted(self.files.items())},
            "beside": {name: [found.size, found.sha256] for name, found in sorted(self.beside.items())},
            "copies": {name: base64.b64encode(content).decode() for name, content in sorted(self.copies.items())},
        }
        text = json.dumps(values, sort_keys=True)
        return f'{{"digest": "{text_digest(text)}", "seal":\n{text}\n}}\n'.encode()


def seal_name(table: str, version: int) -> str:
    """The name of a commit's seal, in the lake."""
    return f"{table}/{SEALS}/{version:020}.json"


def entry_name(table: str, version: int) -> str:
    """The name of a commit's log entry, in the lake."""
    return f"{table}/{LOG}/{version:020}.json"


def checkpoint_name(table: str, version: int) -> str:
    """The name of the checkpoint that the log may have at a version."""
    return f"{table}/{LOG}/{version:020}.checkpoint.parquet"


def read_seal(storage: Storage, table: str, version: int) -> Seal | None:
    """The seal of a commit; None where it has none.

    Raises:
        SealDamaged: it is not as it was written.
    """
    name = seal_name(table, version)
    try:
        content = storage.read(name)
    except FileNotFoundError:
        return None
    try:
        head, text, _ = content.decode().split("\n", 2)
        values = json.loads(text)
        if head != f'{{"digest": "{text_digest(text)}", "seal":' or content != _parsed(values).to_bytes():
            raise ValueError(head)
        return _parsed(values)
    except (ValueError, KeyError, TypeError) as error:
        raise SealDamaged(f"{name} is not as it was written") from error


def sound_seal(storage: Storage, table: str, version: int) -> Seal | None:
    """The seal of a commit; None where it has none, or one that is not as it was written: `log_faults` tells of it."""
    try:
        return read_seal(storage, table, version)
    except SealDamaged:
        return None


def make_seal(
    storage: Storage, table: str, version: int, beside: Mapping[str, Bytes] | None = None, *, keep: bool
) -> Seal:
    """What a commit wrote, read from the lake as it is now.

    Args:
        storage: of the lake.
        table: that was written.
        version: that the commit made.
        beside: files beside the tables that came with the rows.
        keep: whether to hold the data files whole, since no build makes them again.

    Raises:
        FileNotFoundError: a file of it is gone.
        ValueError: the log entry cannot be read.
    """
    entry = storage.read(entry_name(table, version)).decode()
    files: dict[str, Bytes] = {}
    copies: dict[str, bytes] = {}
    for name in added_files(table, entry):
        files[name] = bytes_of(storage, name)
        if keep and files[name].size <= _LARGEST_COPY:
            copies[name] = storage.read(name)
    checkpoint = checkpoint_name(table, version)
    if storage.exists(checkpoint):
        files[checkpoint] = bytes_of(storage, checkpoint)
    return Seal(version, entry, files, dict(beside or {}), copies)


def write_seal(
    storage: Storage, table: str, version: int, beside: Mapping[str, Bytes] | None = None, *, keep: bool
) -> None:
    """Seal what was committed just now; see :func:`make_seal`.

    That it cannot be done stops nothing: a verification does it later.
    """
    try:
        storage.replace(seal_name(table, version), make_seal(storage, table, version, beside, keep=keep).to_bytes())
    except (OSError, ValueError, LakeError) as error:
        _log.warning("version %d of %s was published without a seal: %s", version, table, error)


def add_beside(storage: Storage, table: str, seal: Seal, beside: Mapping[str, Bytes]) -> None:
    """Write a seal again with more files beside the tables."""
    grown = replace(seal, beside={**seal.beside, **beside})
    storage.replace(seal_name(table, seal.version), grown.to_bytes())


def entry_lines(entry: str) -> list[str]:
    """The lines of a log entry, one action each.

    No splitlines: it divides at U+2028, U+0085 and others too, which delta-rs writes as they are into what it knows of
    texts.
    """
    return entry.split("\n")


def added_files(table: str, entry: str) -> list[str]:
    """The names, in the lake, of the data files that a log entry adds.

    Raises:
        ValueError: the entry cannot be read.
    """
    actions = [json.loads(line) for line in entry_lines(entry) if line.strip()]
    if not actions or not all(isinstance(action, dict) for action in actions):
        raise ValueError("no action in it")
    return [f"{table}/{unquote(action['add']['path'])}" for action in actions if isinstance(action.get("add"), dict)]


def bytes_of(storage: Storage, name: str) -> Bytes:
    """Size and SHA-256 of a file of the lake.

    Raises:
        FileNotFoundError: it is not there.
    """
    with storage.local(name) as path:
        return Bytes(path.stat().st_size, file_sha256(path))


def _parsed(values: Mapping[str, Any]) -> Seal:
    return Seal(
        int(values["version"]),
        str(values["entry"]),
        {name: Bytes(*found) for name, found in values["files"].items()},
        {name: Bytes(*found) for name, found in values["beside"].items()},
        {name: base64.b64decode(text, validate=True) for name, text in values["copies"].items()},
    )
