"""Lists of links as text: CSV, TSV, JSON lines, or an address a line; compressed or not.

Lines that stay are written as they were, to the last byte before compression.
"""

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from laion_assets.release.cleaning.faults import CannotClean
from laion_assets.release.cleaning.matching import Matcher
from laion_assets.release.cleaning.parquet import Rows
from laion_assets.release.cleaning.said import Said, listed, said

_COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_AT_ONCE: Final = 16_384

Record = tuple[Said | None, bytes]
"""What a row says (None: it is the line of names), and its bytes."""


def is_list(path: Path) -> bool:
    """Whether a file is called as lists are."""
    return _kind(path) in _READERS


def listed_lines(path: Path, matcher: Matcher) -> tuple[Rows, frozenset[str]]:
    """The rows of a list that are listed, and the kinds of removals that all of its rows can be found by.

    Raises:
        CannotClean: the file is no such list, or is damaged.
    """
    count, numbers = 0, list[int]()
    pair_ids: set[int] = set()
    looked_up = frozenset({"url", "domain", "pair_id", "sha256"})
    for records in _batches(path):
        those = listed([row for row, _ in records if row is not None], matcher)
        numbers += [count + place for place in those.places]
        count += sum(row is not None for row, _ in records)
        looked_up &= those.looked_up
        pair_ids |= those.pair_ids
    return Rows(count, np.asarray(numbers, dtype=np.int64), tuple(sorted(pair_ids))), looked_up


def write_without(path: Path, numbers: np.ndarray, fresh: Path) -> None:
    """Write a list again without some rows.

    Raises:
        CannotClean: the file is no such list, or is damaged.
    """
    gone, at = {*numbers.tolist()}, 0
    with pa.output_stream(str(fresh), compression=_COMPRESSIONS.get(path.suffix.lower())) as file:
        for records in _batches(path):
            for row, content in records:
                if row is None or at not in gone:
                    file.write(content)
                at += row is not None


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return (suffixes[-2:-1] or [""])[0] if suffixes[-1:] and suffixes[-1] in _COMPRESSIONS else (suffixes or [""])[-1]


def _batches(path: Path) -> Iterator[list[Record]]:
    try:
        with _lines(path) as lines:
            records = _READERS[_kind(path)](lines)
            while batch := list(islice(records, _AT_ONCE)):
                yield batch
    except (pa.ArrowException, csv.Error, msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise CannotClean(f"it cannot be read as {_kind(path)[1:]}: {error}") from error  # cut off: an OSError of Arrow


@contextmanager
def _lines(path: Path) -> Iterator[IO[bytes]]:
    with pa.input_stream(str(path), compression=_COMPRESSIONS.get(path.suffix.lower())) as raw:
        yield io.BufferedReader(raw, 2**20)


def _separated(delimiter: str) -> Callable[[IO[bytes]], Iterator[Record]]:
    def read(lines: IO[bytes]) -> Iterator[Record]:
        taken: list[bytes] = []

        def texts() -> Iterator[str]:
            for line in lines:
                taken.append(line)
                yield line.decode("utf-8", "surrogateescape").removeprefix("\ufeff")

        names: list[str] | None = None
        for values in csv.reader(texts(), delimiter=delimiter):
            content = b"".join(taken)
            taken.clear()
            if names is None:
                names = values
                yield None, content
            else:
                yield said({name: _clean(value) for name, value in zip(names, values, strict=False) if value}), content

    return read


def _clean(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _json_lines(lines: IO[bytes]) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    for line in lines:
        if line.strip():
            yield said(decoder.decode(line)), line


def _addresses(lines: IO[bytes]) -> Iterator[Record]:
    for line in lines:
        address = line.decode("utf-8", "replace").strip()
        if not address or address.startswith("#"):
            yield None, line
        elif address.lower().startswith(("http://", "https://")):
            yield {"url": address}, line
        else:
            raise CannotClean("it is no list of addresses: expected an http(s) address a line")


_READERS: Final = {
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".txt": _addresses,
}
