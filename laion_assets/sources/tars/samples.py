"""The samples of a tar: members that stand side by side under one key."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.tars.folder import ForeignTars, json_object
from laion_assets.webdataset.reader import Member, TarError, TarReader
from laion_assets.webdataset.samples import PICTURE_EXTENSIONS, key_and_extension

_log = logging.getLogger(__name__)

_MOST_BYTES: Final = 4_000_000
"""Of a text or json member; a longer one is no caption and no record of a picture."""
_MOST_DIGESTED_BYTES: Final = 100_000_000
_READ: Final = ("json", "txt")


@dataclass(slots=True)
class Sample:
    """Members of a tar that share a key."""

    key: str
    """With its folders."""
    pictures: list[Member] = field(default_factory=list)
    told: dict[str, bytes | None] = field(default_factory=dict)
    """What ``json`` and ``txt`` hold; None where that is too long to be what it should be."""
    extensions: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)
    """Of the first picture, by the meaning of what a sample may promise; empty where that was not asked for."""


def _warn(damage: str) -> None:
    _log.warning("%s; what lies before is taken", damage)


def read_samples(
    tar: TarReader,
    counts: ExtractionCounts,
    *,
    digested: int = 0,
    damaged: Callable[[str], None] = _warn,
) -> Iterator[Sample]:
    """The samples of a tar, in order. An extension that a key has already begins another sample of that key.

    A damaged or cut off tar gives the samples before the damage. The one that it met is counted as the bad record
    ``damaged_tar``.

    Args:
        tar: open for reading.
        counts: ``records`` and ``bad_records`` are filled on the way.
        digested: of so many samples the pictures are read, and digested.
        damaged: is told what is wrong with the tar; by default, a log line tells.
    """
    sample: Sample | None = None
    try:
        for member in tar.members():
            found = key_and_extension(member.name)
            if found is None:
                continue
            key, extension = found
            if sample is None or key != sample.key or extension in sample.extensions:
                if sample is not None:
                    counts.records += 1
                    yield sample
                sample = Sample(key)
            sample.extensions.add(extension)
            if extension in PICTURE_EXTENSIONS:
                if counts.records < digested and not sample.pictures and member.size <= _MOST_DIGESTED_BYTES:
                    sample.digests = _digests(tar.read(member.offset, member.size))
                sample.pictures.append(member)
            elif extension in _READ:
                sample.told[extension] = tar.read(member.offset, member.size) if member.size <= _MOST_BYTES else None
    except TarError as error:
        damaged(str(error))
        counts.records += 1
        counts.bad_record("damaged_tar")
        return
    if sample is not None:
        counts.records += 1
        yield sample


def look_through(
    tars: ForeignTars,
    uri: str,
    counts: ExtractionCounts,
    *,
    digested: int = 0,
    damaged: Callable[[str], None] = _warn,
) -> Iterator[tuple[Sample, dict[str, Any] | None]]:
    """The samples of a tar, and what is told of each; None where that cannot be read.

    It stands in the json of a sample, else in the row of its key in the Parquet file beside the tar.
    """
    records: dict[str, dict[str, Any]] | None = None
    with tars.open(uri) as tar:
        for sample in read_samples(tar, counts, digested=digested, damaged=damaged):
            if "json" in sample.told:
                yield sample, json_object(sample.told["json"])
            else:
                records = tars.records(uri) if records is None else records
                yield sample, records.get(sample.key.rpartition("/")[2], {})


def _digests(content: bytes) -> dict[str, str]:
    return {
        "expected_md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "expected_sha256": hashlib.sha256(content).hexdigest(),
    }
