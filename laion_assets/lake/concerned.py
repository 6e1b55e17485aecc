"""Which partitions a change of removals concerns: those into which something goes that came to be listed, or let in.

Rows are searched by the SQL that their builders compare them with, as the lake is now and before anything is removed;
a partition whose inputs are others by now is stale whatever is found. What was found is kept on this machine, by what
was searched and by the two lists: losing it costs a search and nothing else.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import polars as pl

from laion_assets.common.digests import json_digest, text_digest
from laion_assets.common.files import write_file
from laion_assets.common.folders import user_cache
from laion_assets.consent.changes import Change, as_kept, change_between, merged
from laion_assets.consent.removals import Removals, load_removals
from laion_assets.delta.commits import Commit, combined_digest
from laion_assets.delta.engine import open_engine
from laion_assets.delta.errors import LakeError
from laion_assets.delta.flow import partitions_of
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import partition_name
from laion_assets.delta.relations import hive_relation
from laion_assets.lake.removal_lists import kept_list
from laion_assets.tables.catalogue import CATALOGUE, TABLES
from laion_assets.tables.declaration import Outside, Searched

_FORMAT: Final = 1
_TAKEDOWNS: Final = "takedowns"


class _Kept(msgspec.Struct, array_like=True):
    format: int
    now: str
    answers: dict[str, bool]


class Concerned:
    """Says of commits whether what changed of removals since concerns them.

    Args:
        lake: the lake, at rest.
        now: takedowns and deny lists as they are; takedowns alone where ``deny`` is not at hand.
        deny: the deny lists among them; None where they are not at hand, as on another machine: then they count as
            unchanged.
    """

    def __init__(self, lake: Lake, now: Removals, deny: Removals | None) -> None:
        self._lake, self._now, self._deny = lake, now, deny
        self._changes: dict[str, Change | None] = {}
        self._contents: dict[tuple[str, str], str] = {}

    def __call__(self, commit: Commit) -> bool:
        """Whether something of it came to be removed or let in since. True where nobody can say."""
        searched, change = TABLES[commit.table].searched, self.change_since(commit)
        if change is None:
            return True
        if change.is_none:
            return False
        if searched is None:
            return True
        key = self._key(searched, commit)
        if key not in self._answers:
            self._search(searched, commit, change)
        return self._answers[key]

    def change_since(self, commit: Commit) -> Change | None:
        """What changed since a commit was made; None where it is not known any more what it was made against."""
        digest = commit.externals.get(Outside.REMOVALS.label)
        if digest is None:
            return None
        read = commit.upstreams.get(_TAKEDOWNS)
        known = f"{digest} {read.version if read else -1}"
        if known not in self._changes:
            self._changes[known] = self._change(digest, commit)
        return self._changes[known]

    def _change(self, digest: str, commit: Commit) -> Change | None:
        before = kept_list(self._lake, digest) or self._recalled(digest, commit)
        if before is not None:
            return change_between(before, self._listed, withdrawn=None if self._deny is not None else self._withdrawn)
        if self._deny is None and self._takedowns_are_those_of(commit):
            return change_between(self._listed, self._listed)
        return None

    @cached_property
    def _listed(self) -> Removals:
        return as_kept(self._now)

    @cached_property
    def _withdrawn(self) -> Removals:
        """What was asked for once, whether it stands or not."""
        rows = self._lake.scan(_TAKEDOWNS).collect()
        return as_kept(load_removals(rows.select("kind", "value").filter(rows["kind"] != "withdrawal")))

    def _recalled(self, digest: str, commit: Commit) -> Removals | None:
        """A list that was not kept, as by lakes before: takedowns at that version, and the deny lists of now."""
        read = commit.upstreams.get(_TAKEDOWNS)
        if read is None or self._deny is None:
            return None
        try:
            version = read.version
            rows = load_removals(self._rows_at(version)) if version >= 0 else Removals.none()
        except (LakeError, OSError, duckdb.Error, ValueError):  # that version is gone
            return None
        both = merged(rows, self._deny)
        return as_kept(both) if both.digest == digest else None

    def _rows_at(self, version: int) -> pl.DataFrame:
        ledger = self._lake.ledger_at(_TAKEDOWNS, version)
        partitions = [CATALOGUE.partition(name) for name in ledger.commits]
        files = self._lake.partition_files(_TAKEDOWNS, partitions, version)
        with self._engine() as con:
            return con.execute(f"SELECT kind, value, requested_at FROM {hive_relation(TABLES[_TAKEDOWNS], files)}").pl()

    def _takedowns_are_those_of(self, commit: Commit) -> bool:
        read, ledger = commit.upstreams.get(_TAKEDOWNS), self._lake.ledger(_TAKEDOWNS)
        found = combined_digest((name, one.content_digest) for name, one in ledger.commits.items())
        return read is not None and read.digest == found

    def _search(self, searched: Searched, commit: Commit, change: Change) -> None:
        """Find which partitions of the commit's table and period, built against the same list, are concerned."""
        lake, table, recorded = self._lake, commit.table, commit.externals
        period = str(CATALOGUE.period_of(commit.partition))
        alike = {
            name: key
            for place in partitions_of(lake, table, period)
            if (one := lake.ledger(table).commits.get(name := partition_name(place))) is not None
            and one.externals == recorded
            and (key := self._key(searched, one)) not in self._answers
        }
        try:
            hit = self._hit(searched, table, [*alike], change)
        except duckdb.InterruptException:
            raise
        except (LakeError, OSError, duckdb.Error):  # what is searched is damaged, and must be built again
            hit = {*alike}
        self._answers.update({key: name in hit for name, key in alike.items()})
        self._keep()

    def _hit(self, searched: Searched, table: str, partitions: list[str], change: Change) -> set[str]:
        columns = TABLES[table].partition_by
        with self._engine() as con:
            for source in searched.tables:
                names = sorted({name for partition in partitions for name in self._sources(source, partition)})
                version = self._lake.ledger(source).version
                files = self._lake.partition_files(source, [CATALOGUE.partition(name) for name in names], version)
                rows = hive_relation(TABLES[source], files, asked=searched.rows)
                con.execute(f"CREATE VIEW {source} AS SELECT * FROM {rows}")
            compared: dict[str, str | None] = {name: name for name in searched.compared}
            rows = change.entries.register(con).annotate(f"({searched.rows})", **compared)
            unsaid = [*(["address"] if change.lets_in_addresses else []), *(["body"] if change.judges_bodies else [])]
            counts = " OR ".join(["removal IS NOT NULL", *(f"unsaid = '{of}'" for of in unsaid if searched.unsaid)])
            found = con.execute(f"SELECT DISTINCT {', '.join(columns)} FROM ({rows}) WHERE {counts}").fetchall()
        return {partition_name(dict(zip(columns, values, strict=True))) for values in found}

    def _sources(self, source: str, partition: str) -> list[str]:
        """The partitions of a table that are searched for one of another: its like, or all of the period."""
        commits, period = self._lake.ledger(source).commits, str(CATALOGUE.period_of(partition))
        if {*CATALOGUE.partition(partition)} == {*TABLES[source].partition_by}:
            return [partition] if partition in commits else []
        names = map(partition_name, partitions_of(self._lake, source, period))
        return [name for name in names if name in commits]

    def _key(self, searched: Searched, commit: Commit) -> str:
        """Tells what is searched for a partition, and for which change, from everything else."""
        content = [self._content(source, commit.partition) for source in searched.tables]
        told = [commit.table, commit.partition, commit.externals, searched.rows, content]
        return json_digest(told, sort_keys=True, digits=24)

    def _content(self, source: str, partition: str) -> str:
        is_like = {*CATALOGUE.partition(partition)} == {*TABLES[source].partition_by}
        known = source, partition if is_like else str(CATALOGUE.period_of(partition))
        if known not in self._contents:
            commits = [self._lake.ledger(source).commits[name] for name in self._sources(source, partition)]
            found = [(one.partition, one.version, one.content_digest) for one in commits]
            self._contents[known] = json_digest(found, sort_keys=False, digits=24)
        return self._contents[known]

    @contextmanager
    def _engine(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with (
            tempfile.TemporaryDirectory(prefix="laion-removals-") as spill,
            open_engine(Path(spill), self._lake.storage) as con,
        ):
            yield con

    @cached_property
    def _answers(self) -> dict[str, bool]:
        with suppress(OSError, msgspec.MsgspecError, RuntimeError):
            kept = msgspec.msgpack.decode(self._file().read_bytes(), type=_Kept)
            if (kept.format, kept.now) == (_FORMAT, self._told):
                return kept.answers
        return {}

    def _keep(self) -> None:
        with suppress(OSError, RuntimeError):
            file = self._file()
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, msgspec.msgpack.encode(_Kept(_FORMAT, self._told, self._answers)))

    @cached_property
    def _told(self) -> str:
        """The list that the answers are for."""
        return f"{self._now.digest} {self._deny is not None}"

    def _file(self) -> Path:
        return user_cache() / f"removals-{text_digest(self._lake.uri, digits=24)}.msgpack"
