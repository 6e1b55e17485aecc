"""Which old versions of tables must stay readable: those that something was made from that must be made again.

The record of a commit says which version of every table it read. A table that the catalogue declares with
``pins_sources`` pins them, for as long as the commit itself is readable: what was made can then be made again. What
those versions were made from in turn is not pinned; that would keep everything for ever.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from laion_assets.delta.commits import Commit
from laion_assets.delta.history import LakeHistory, TableHistory


@dataclass(frozen=True, order=True)
class Pin:
    """A version of a table that must stay readable, and for whom."""

    table: str
    version: int
    reader: str
    """What reads it, for people: table and partition."""
    partition: str | None = None
    """The only partition that is read; None: any may have been."""


def pins_of(known: LakeHistory, since: datetime, let_go: Collection[str] = ()) -> list[Pin]:
    """The versions pinned by commits that are the last of their partition, or were so after ``since``.

    Args:
        known: the lake's logs.
        since: commits that gave way before pin nothing.
        let_go: names of partitions that pin nothing any more.
    """
    found: set[Pin] = set()
    tables = [table for table in known.tables if _pins(known, table)]
    waiting = [commit for table in tables for commit in _readable(known.of(table), since)]
    while waiting:
        commit = waiting.pop()
        if commit.partition in let_go:
            continue
        for pin in _pinned_by(known, commit):
            if pin in found:
                continue
            found.add(pin)
            upstream = known.of(pin.table).commit_at(commit.partition, pin.version)
            if _pins(known, pin.table) and upstream is not None:  # what it was made from pins in turn
                waiting.append(upstream)
    return sorted(found, key=lambda pin: (pin.table, pin.version, pin.reader))


def _pins(known: LakeHistory, table: str) -> bool:
    declared = known.lake.tables.get(table)
    return declared is not None and declared.pins_sources


def _readable(history: TableHistory, since: datetime) -> Iterator[Commit]:
    for commits in history.commits.values():
        for commit in commits:
            replaced = history.replaced_in(commit)
            if replaced is None or history.entry(replaced).timestamp_ms > since.timestamp() * 1000:
                yield commit


def _pinned_by(known: LakeHistory, commit: Commit) -> Iterable[Pin]:
    declared = known.lake.tables
    for table, read in commit.upstreams.items():
        if table in known.tables and 0 <= read.version <= known.of(table).version:
            # What is partitioned alike reads its own partition: the others need not stay for it.
            same = table in declared and declared[table].partition_by == declared[commit.table].partition_by
            own = commit.partition if same and commit.partition in known.of(table).commits else None
            yield Pin(table, read.version, f"{commit.table} {commit.partition}", own)
