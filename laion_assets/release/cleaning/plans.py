"""What has to happen to each part of a copy: which files change, and what keeps others from being cleaned."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from laion_assets.common.files import BrokenFile
from laion_assets.common.quantities import counted
from laion_assets.release.cleaning import lists, parquet, tars, vectors
from laion_assets.release.cleaning.columns import columns_of
from laion_assets.release.cleaning.faults import CannotClean
from laion_assets.release.cleaning.matching import Matcher
from laion_assets.release.cleaning.receipt import Fault
from laion_assets.release.cleaning.said import Said, listed
from laion_assets.release.cleaning.staging import Change
from laion_assets.release.cleaning.units import Links, Prose, Shard, Strange, Table, Unit, Vectors, path_of

_DIGEST: Final = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")
_ID: Final = re.compile(r"(?<![\w.-])-?[0-9]{10,19}(?![\w.])")  # shorter numbers are mostly something else
_LARGEST_PROSE: Final = 64 * 2**20  # bytes
_ADDRESS: Final = re.compile(r"https?://[^\s\"'<>()\[\]{}|`\\]+", re.IGNORECASE)
_HOST: Final = re.compile(r"(?<![\w./@-])(?:[a-z0-9-]+\.)+[a-z]{2,24}(?![\w-])", re.IGNORECASE)


@dataclass
class Plan:
    """What becomes of a unit."""

    changes: list[Change] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    rows: int = 0
    """That were looked at."""


def plan(copy: Path, unit: Unit, matcher: Matcher) -> Plan:
    """Look at a unit and say what becomes of it; nothing is written.

    Args:
        copy: the folder of the copy.
        unit: of it.
        matcher: finds rows that are listed.
    """
    try:
        return _PLANS[type(unit)](copy, unit, matcher)
    except CannotClean as error:
        path = path_of(unit) if error.path is None else error.path.relative_to(copy).as_posix()
        return Plan(faults=[Fault(path, str(error))])
    except BrokenFile as error:  # a tar names itself
        return Plan(faults=[Fault(path_of(unit), str(error).replace(f"{copy}/", ""))])
    except OSError as error:
        return Plan(faults=[Fault(path_of(unit), f"cannot be read: {error.strerror or error}")])


def is_of_ids_only(copy: Path, unit: Unit) -> bool:
    """Whether a unit is a table of pair ids without addresses: its rows are found by those of other files."""
    if not isinstance(unit, Table):
        return False
    try:
        columns = columns_of(parquet.schema_of(copy / unit.path))
    except CannotClean:
        return False
    return bool(columns.pair_ids) and not columns.urls


def _table(copy: Path, unit: Table, matcher: Matcher) -> Plan:
    path = copy / unit.path
    columns = columns_of(parquet.schema_of(path))
    rows = parquet.listed_rows(path, matcher)
    looked_up = matcher.kinds if matcher.follows and columns.pair_ids else columns.looked_up
    found = Plan(faults=_not_looked_up(unit.path, matcher, looked_up), rows=rows.count)
    if len(rows.numbers):
        found.changes.append(_cut(unit.path, path, rows, parquet.write_without))
    return found


def _links(copy: Path, unit: Links, matcher: Matcher) -> Plan:
    path = copy / unit.path
    try:
        rows, looked_up = lists.listed_lines(path, matcher)
    except CannotClean:
        if path.suffix.lower() == ".txt":
            return _prose(copy, Prose(unit.path), matcher)
        raise
    found = Plan(faults=_not_looked_up(unit.path, matcher, looked_up), rows=rows.count)
    if len(rows.numbers):
        found.changes.append(_cut(unit.path, path, rows, lists.write_without))
    return found


def _vectors(copy: Path, unit: Vectors, matcher: Matcher) -> Plan:
    path = copy / unit.table
    columns = columns_of(parquet.schema_of(path))
    rows = parquet.listed_rows(path, matcher)
    found = Plan(faults=_not_looked_up(unit.table, matcher, columns.looked_up), rows=rows.count)
    for array in unit.arrays:
        held = vectors.vectors_in(copy / array)
        if held != rows.count:
            raise CannotClean(f"it has {rows.count} rows and {array} has {held}: nobody can tell which belong together")
    if len(rows.numbers):
        found.changes.append(_cut(unit.table, path, rows, parquet.write_without))
        found.changes += [_cut(array, copy / array, rows, vectors.write_without) for array in unit.arrays]
    return found


def _shard(copy: Path, unit: Shard, matcher: Matcher) -> Plan:
    tar, table = copy / unit.tar, None if unit.table is None else copy / unit.table
    columns = None if table is None else columns_of(parquet.schema_of(table))
    rows = None if table is None else parquet.listed_rows(table, matcher)
    samples = tars.listed_samples(tar, matcher, rows.keys if rows else frozenset())
    if table is not None and rows is not None and not samples.keys <= rows.keys:
        rows = parquet.listed_rows(table, matcher, frozenset(samples.keys))
    looked_up = samples.looked_up | (columns.looked_up if columns and columns.keys else frozenset())
    found = Plan(faults=_not_looked_up(unit.tar, matcher, looked_up), rows=samples.count)
    if unit.table and columns and not columns.keys:
        found.faults += _not_looked_up(unit.table, matcher, columns.looked_up)
    if samples.numbers:
        write = partial(tars.write_without, tar, samples.numbers)
        gone = len(samples.numbers)
        ids = tuple(sorted(samples.pair_ids))
        found.changes.append(Change(unit.tar, write, rows=samples.count, removed=gone, pair_ids=ids))
    if unit.table and table is not None and rows is not None and len(rows.numbers):
        found.changes.append(_cut(unit.table, table, rows, parquet.write_without))
    if unit.counts and found.changes:
        counted = _counted(copy / unit.counts, rows, len(samples.numbers))
        found.changes.append(Change(unit.counts, partial(_write, counted)))
    return found


def _prose(copy: Path, unit: Prose, matcher: Matcher) -> Plan:
    """A text holds no rows to take out: what it names can be looked up, and somebody has to mend it."""
    path = copy / unit.path
    if path.stat().st_size > _LARGEST_PROSE:
        raise CannotClean("a text this long is not searched: clean it by hand")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CannotClean("no text, and no kind of file that can be searched: delete it, or clean it by hand") from None
    addresses = [found.rstrip(".,;:!?") for found in _ADDRESS.findall(text)]
    addresses += [f"http://{host}/" for host in set(_HOST.findall(text))]
    said: list[Said] = [{"url": address} for address in dict.fromkeys(addresses)]
    said += [{"sha256": digest} for digest in set(_DIGEST.findall(text))]
    said += [{"pair_id": number} for number in set(_ID.findall(text))]
    named = listed(said, matcher).places
    if named:
        raise CannotClean(f"names {counted(len(named), 'thing')} listed: mend it by hand")
    if "data:image/" in text:
        raise CannotClean("shows pictures, which cannot be searched there: make it again, or delete it")
    return Plan()


def _strange(_: Path, unit: Strange, __: Matcher) -> Plan:
    return Plan(faults=[Fault(unit.path, unit.reason)])


_PLANS: Final[dict[type[Any], Callable[[Path, Any, Matcher], Plan]]] = {
    Table: _table,
    Links: _links,
    Vectors: _vectors,
    Shard: _shard,
    Prose: _prose,
    Strange: _strange,
}


def _cut(name: str, path: Path, rows: parquet.Rows, write: Callable[[Path, Any, Path], None]) -> Change:
    changed = partial(write, path, rows.numbers)
    return Change(name, changed, rows=rows.count, removed=len(rows.numbers), pair_ids=rows.pair_ids)


def _not_looked_up(path: str, matcher: Matcher, looked_up: frozenset[str]) -> list[Fault]:
    missing = sorted(matcher.kinds - looked_up)
    if not missing:
        return []
    return [Fault(path, f"could not be searched by {', '.join(missing)}: not all of its rows say that")]


def _counted(path: Path, rows: parquet.Rows | None, samples: int) -> bytes:
    """A shard's counts as img2dataset writes them, without what was removed.

    Raises:
        CannotClean: they are no such counts.
    """
    try:
        counts = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        removed = list(rows.outcomes) if rows is not None and rows.outcomes else [("success", "")] * samples
        by_status = counts.get("status_dict") or {}
        for status, error in removed:
            for name in ("count", "successes" if status == "success" else status):
                if name in counts:
                    counts[name] -= 1
            said = "success" if status == "success" else error
            if said in by_status:
                by_status[said] -= 1
                if by_status[said] <= 0:
                    del by_status[said]  # an error may name the site
    except (msgspec.DecodeError, TypeError) as error:
        raise CannotClean(f"it holds no counts as img2dataset writes them: {error}", path) from error
    return msgspec.json.format(msgspec.json.encode(counts), indent=4)


def _write(content: bytes, fresh: Path) -> None:
    fresh.write_bytes(content)
