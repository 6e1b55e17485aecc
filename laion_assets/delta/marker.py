"""``lake.json``: what makes a folder, or a prefix of a bucket, a lake, and what never changes about it: its shape.

Every commit says the same of its lake, so that a lost marker can be written again: see ``recovery``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from laion_assets.common.digests import json_digest
from laion_assets.delta.catalogue import Catalogue
from laion_assets.delta.errors import LakeError, MarkerDamaged
from laion_assets.delta.storage import Storage

MARKER = "lake.json"
FORMAT = 1
"""The format of lakes that this code writes, and the newest that it reads: docs/reference/lake-format.md."""

LAKE_KEY = "laion_lake"
"""Commit metadata that says which lake a commit was made in: its format and shape, as JSON."""

MOST_PARTITIONS = 10_000
"""Partitions that rows can be spread over at most."""

LOG = "_delta_log"


@dataclass(frozen=True)
class Marker:
    """What ``lake.json`` says."""

    shape: Mapping[str, int]
    created_at: str
    format: int = FORMAT

    @property
    def metadata(self) -> dict[str, str]:
        """The same as metadata of a commit."""
        return {LAKE_KEY: json.dumps({"format": self.format, **self.shape})}

    def to_bytes(self) -> bytes:
        """The content of ``lake.json``."""
        values = {"format": self.format, **self.shape, "created_at": self.created_at}
        return f"{json.dumps({**values, 'digest': _digest(values)})}\n".encode()


def told(shape: Mapping[str, int], between: str = " and ") -> str:
    """A shape in words."""
    return between.join(f"{number} {name}" for name, number in shape.items())


def new_marker(shape: Mapping[str, int]) -> Marker:
    """The marker of a lake that is made now."""
    return Marker(shape, datetime.now(UTC).isoformat(timespec="seconds"))


def read_marker(storage: Storage, catalogue: Catalogue) -> Marker | None:
    """What ``lake.json`` says; None where there is no lake, and nothing that could be one.

    Raises:
        MarkerDamaged: it is gone although there are tables, or it is not as it was written.
        LakeError: the lake is of a newer format than this code reads.
    """
    content = _content(storage)
    if content is None:
        found = tables_in(storage, catalogue)
        content = _content(storage) if found else None  # somebody may have made the lake in between
        if content is None:
            if found:
                raise MarkerDamaged(_advice(storage, f"has tables ({', '.join(found)}), but its {MARKER} is gone"))
            return None
    try:
        values = json.loads(content)
    except ValueError as error:
        raise MarkerDamaged(_advice(storage, f"has a {MARKER} that is torn or was overwritten")) from error
    marker = _parsed(values, catalogue) if isinstance(values, dict) else None
    if marker is not None and marker.format > FORMAT:
        raise LakeError(
            f"the lake at {storage.uri} has format {marker.format}, and this version of laion reads formats up to "
            f"{FORMAT}: install a newer one"
        )
    if marker is None:
        raise MarkerDamaged(_advice(storage, f"has a {MARKER} that is not as it was written"))
    return marker


def _parsed(values: dict[str, Any], catalogue: Catalogue) -> Marker | None:
    """The marker in these values, or of a newer format its number alone; None where they are none."""
    digest = values.pop("digest", None)
    written = _number(values.get("format", 1))  # the first lakes did not say
    if written is not None and written > FORMAT:
        return Marker({}, "", written)
    shape = {name: number for name in catalogue.shape if (number := _number(values.get(name))) is not None}
    if written is None or len(shape) < len(catalogue.shape) or digest not in (None, _digest(values)):
        return None
    return Marker(shape, str(values.get("created_at", "")), written)


def tables_in(storage: Storage, catalogue: Catalogue) -> list[str]:
    """The names of the folders that hold a table, or what is left of one of ours."""
    return [
        name
        for name in storage.folders()
        if f"{name}/{LOG}" in (below := storage.folders(name)) or (name in catalogue.tables and below)
    ]


def _content(storage: Storage) -> bytes | None:
    try:
        return storage.read(MARKER)
    except FileNotFoundError:
        return None


def _advice(storage: Storage, what: str) -> str:
    return f"the lake at {storage.uri} {what}: `laion restore` writes it again from what the tables say"


def _number(value: object) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_PARTITIONS
    return value if is_number and isinstance(value, int) else None


def _digest(values: Mapping[str, Any]) -> str:
    return json_digest(values, sort_keys=True, digits=16)
