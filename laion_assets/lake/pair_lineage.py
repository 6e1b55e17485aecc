"""One pair followed through the tables: back to the crawl record, or the row of a list, that it came from, forward to
what was made from it.

From each row the partitions that its commit read are known (``lineage``); in them the rows that went into it are found
by what the rows say of themselves: pair_id, url and text, the encoder, the place in the crawl. Every table is read at
the version that the commit on the way has pinned, which is not the newest where something was rebuilt since.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from laion_assets.delta.errors import LakeError
from laion_assets.delta.lineage import UNRECORDED, CommitKey, Graph, Lineage, Read
from laion_assets.delta.rows import Facts, Found, RowFinder
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.declaration import PairRow

_ELSEWHERE = PairRow(shares=("crawl", "bucket", "pair_id"))
"""How a pair is found in tables that the catalogue does not have, as far as they have these columns."""

_PLACE = ("file_number", "record_offset", "link_position", "row_number")
_FACTS = ("crawl", "bucket", "pair_id", "url_id", "url", "text", "encoder_sha256", *_PLACE)


@dataclass(frozen=True, kw_only=True)
class CrawlRecord:
    """Where a pair was found: a link of a record of a crawl's file, or a row of a list that was imported."""

    crawl: str
    source_uri: str | None
    """Where the crawl was read from; None if its row in ``crawl_snapshots`` cannot be read any more."""
    path: str
    """The WAT or WARC file, below the source; of an import where the file lies."""
    file_number: int
    record_offset: int | None
    """Byte offset of the record in the (compressed) file."""
    link_position: int | None
    """Place of the link among the record's image links, from 0."""
    page_url: str | None
    warc_filename: str | None
    warc_offset: int | None
    row_number: int | None = None
    """Of an import: number of the row in the file, from 0."""
    file_sha256: str | None = None
    """Of an import: SHA-256 of the file, hex."""


@dataclass
class PairRows:
    """What one commit holds of the pair."""

    found: Found
    read_version: int
    """The version that the commit on the way had pinned."""
    winner: int | None = None
    """In ``candidate_pairs``: which of the rows became the unique pair; None where that is not known."""


@dataclass
class PairTrace:
    """A pair's rows, from the table that was asked for up or down the stream."""

    table: str
    pair_id: int
    graph: Graph
    """The commits that hold the rows, and their reads. ``sources`` of a read are all partitions that were read, those
    without a row of the pair included; only those with a row are among the nodes."""
    rows: dict[CommitKey, PairRows] = field(default_factory=dict)
    records: list[CrawlRecord] = field(default_factory=list)
    """Back: the records the pair was taken from, one for each of the table's rows that could be followed so far."""
    elsewhere: dict[CommitKey, Found] = field(default_factory=dict)
    """Where the pair is if the table does not hold it."""


_Step: TypeAlias = tuple[CommitKey, Sequence[Facts]]
"""A commit that holds rows of the pair, and what is known of the pair there: one set of facts for each row."""


class PairLineage:
    """Follows pairs through one lake; see :class:`Lineage`."""

    def __init__(self, lineage: Lineage, finder: RowFinder) -> None:
        self._lineage = lineage
        self._history = lineage.history
        self._finder = finder

    def back(self, table: str, pair_id: int, version: int | None = None) -> PairTrace:
        """The pair's rows in ``table`` and every row that went into them.

        Args:
            table: a table with a column ``pair_id``.
            pair_id: the pair.
            version: the version of the table to look in; None: the newest.

        Returns:
            The trace. Without roots where the table does not hold the pair: then ``elsewhere`` says who does.

        Raises:
            LakeError: there is no such table or version, or the table has no pair_id.
        """
        trace, queue = self._begin(table, pair_id, "back", version)
        while queue:
            key, known = queue.popleft()
            for read in self._lineage.reads_of(trace.graph.nodes[key]):
                trace.graph.reads.append(read)
                found = self._upstream(read, known)
                for partition in sorted(found):
                    source = self._key(read.table, partition, read.version)
                    queue += self._arrive(trace, source, read.version, found[partition], known)
                if read.table == "unique_pairs" and len(rows := [r for f in found.values() for r in f.rows]) == 1:
                    known = [{**_facts(rows[0]), **facts} for facts in known]  # others are found by its url
        trace.records = _records(trace)
        return trace

    def forward(self, table: str, pair_id: int, version: int | None = None, *, replaced: bool = False) -> PairTrace:
        """The pair's rows in ``table`` and every row that was made from exactly those; see :meth:`back`.

        With ``replaced`` also rows that have been replaced since and led to nothing that is there now.
        """
        trace, queue = self._begin(table, pair_id, "forward", version)
        alive: set[CommitKey] = set()
        for root in trace.graph.roots:
            at = trace.graph.version
            graph = self._lineage.forward(table, partition=root.partition, version=at, replaced=replaced)
            alive |= set(graph.nodes)
            trace.graph.left_out += graph.left_out
            trace.graph.unsure += [read for read in graph.unsure if read not in trace.graph.unsure]
        while queue:
            key, known = queue.popleft()
            for read in self._lineage.readers_of(key):
                reader = read.reader
                if reader not in alive:
                    continue
                if reader not in trace.rows:
                    found = self._find(reader.table, reader.version, known, [reader.partition])
                    for hit in found.values():
                        queue += self._arrive(trace, reader, reader.version, hit, known)
                if reader in trace.rows:
                    trace.graph.reads.append(read)
        return trace

    def where(self, pair_id: int, *, besides: str | None = None) -> dict[CommitKey, Found]:
        """Every table but one that holds the pair now, with its rows; ``images`` if it knows the pair's url."""
        tables = [t for t in self._history.tables if t != besides and self._has_pairs(t)]
        tables.sort(key=lambda table: table != "unique_pairs")  # it says in which bucket to look
        known: dict[str, Any] = {"pair_id": pair_id}
        held: dict[CommitKey, Found] = {}
        for table in [*tables, "images"]:
            if table == besides or table not in self._history.tables:
                continue
            version = self._history.of(table).version
            facts = {k: v for k, v in known.items() if k != "crawl"} if table == "candidate_pairs" else known
            for partition, found in self._find(table, version, [facts]).items():
                if not found.total:
                    continue
                held[self._key(table, partition, version)] = found
                for row in found.rows:
                    known = {**_facts(row), **known}
        return dict(sorted(held.items(), key=lambda item: self._history.tables.index(item[0].table)))

    # -- steps ---------------------------------------------------------------------------------------------------

    def _begin(
        self, table: str, pair_id: int, direction: Literal["back", "forward"], version: int | None
    ) -> tuple[PairTrace, deque[_Step]]:
        at = self._history.of(table).version if version is None else version
        if "pair_id" not in self._history.snapshot(table, at).schema.names:
            tables = ", ".join(t for t in self._history.tables if self._has_pairs(t))
            raise LakeError(f"{table} has no column pair_id, so no pair can be followed from it; these have: {tables}")
        trace = PairTrace(table, pair_id, Graph(table, at, direction))
        queue: deque[_Step] = deque()
        known: list[Facts] = [{"pair_id": pair_id}]
        for partition, found in sorted(self._find(table, at, known).items()):
            key = self._key(table, partition, at)
            trace.graph.roots.append(key)
            queue += self._arrive(trace, key, at, found, known)
        if not trace.graph.roots:
            trace.elsewhere = self.where(pair_id, besides=table)
        return trace, queue

    def _arrive(
        self, trace: PairTrace, key: CommitKey, version: int, found: Found, known: Sequence[Facts]
    ) -> list[_Step]:
        """Note the rows of a commit, and with what to go on from it; nothing if it was reached before."""
        if key in trace.rows:
            return []
        rows = trace.rows[key] = PairRows(found, version)
        trace.graph.nodes[key] = self._lineage.node(key, version)
        followed = found.rows
        if key.table == "candidate_pairs":
            places = [_place(facts) for facts in known if {"record_offset", "row_number"} & facts.keys()]
            winners = [n for n, row in enumerate(found.rows) if _place(row) in places]
            rows.winner = winners[0] if winners else None
            followed = [found.rows[n] for n in winners] or ([] if places else found.rows)
            if places and found.rows and not winners:  # the winner is in another shard: nothing to follow from here
                return []
        merged = [{**facts, **_facts(row)} for row in followed for facts in known[:1]]
        return [(key, merged or known)]

    def _upstream(self, read: Read, known: Sequence[Facts]) -> dict[str, Found]:
        if read.table not in self._history.tables:
            return {}
        places = None if read.sources is None else [source.partition for source in read.sources]
        try:
            return self._find(read.table, read.version, known, places)
        except LakeError:  # the log of that version is gone, and with it all that could be read
            return {source.partition: Found(gone=True) for source in read.sources or ()}

    def _find(
        self, table: str, version: int, known: Iterable[Facts], partitions: Iterable[str] | None = None
    ) -> dict[str, Found]:
        """The rows that share what must be shared with one of the facts, by partition."""
        row = TABLES[table].pair if table in TABLES else _ELSEWHERE
        if row is None or row.needs not in self._history.snapshot(table, version).schema.names:
            return {}
        wanted = [{c: facts[c] for c in row.shares if c in facts} for facts in known if row.needs in facts]
        merged: dict[str, Found] = {}
        for facts in [w for n, w in enumerate(wanted) if w not in wanted[:n]]:
            for partition, found in self._finder.find(table, version, facts, partitions).items():
                before = merged.setdefault(partition, found)
                if before is not found:
                    before.rows += [row for row in found.rows if row not in before.rows]
                    before.total = max(before.total, len(before.rows))
        return merged

    def _key(self, table: str, partition: str, version: int) -> CommitKey:
        commit = self._history.of(table).commit_at(partition, version)
        return CommitKey(table, partition, commit.version if commit is not None else UNRECORDED)

    def _has_pairs(self, table: str) -> bool:
        return "pair_id" in self._history.snapshot(table, self._history.of(table).version).schema.names


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a row stands in its crawl; lakes of earlier versions know no rows of lists."""
    return tuple(row.get(name) for name in _PLACE)


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says about the rows of its pair in other tables."""
    facts = {name: row[name] for name in _FACTS if row.get(name) is not None}
    return facts | ({"language_group": row["subset"]} if row.get("subset") is not None else {})


def _records(trace: PairTrace) -> list[CrawlRecord]:
    """The places in the crawls: those of candidates where there are such, otherwise those that unique pairs tell."""
    every = [(key.table, row) for key, rows in trace.rows.items() for row in rows.found.rows]
    sources = {row["crawl"]: row["source_uri"] for table, row in every if table == "crawl_snapshots"}
    digests = {row["path"]: row.get("file_sha256") for table, row in every if table == "wat_files"}
    held = [
        (key.table, place == rows.winner, row)
        for key, rows in trace.rows.items()
        for place, row in enumerate(rows.found.rows)
    ]
    won = [row for table, is_winner, row in held if table == "candidate_pairs" and (is_winner or trace.table == table)]
    told = won or [row for table, _, row in held if table == "unique_pairs"]
    names = [field.name for field in fields(CrawlRecord) if field.name not in ("source_uri", "file_sha256")]
    records: list[CrawlRecord] = []
    for row in told:
        facts: dict[str, Any] = {name: row.get(name) for name in names}
        source, digest = sources.get(row["crawl"]), digests.get(row["path"])
        records.append(CrawlRecord(source_uri=source, file_sha256=digest, **facts))
    return list(dict.fromkeys(records))
