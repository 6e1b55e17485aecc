"""Partitions with made-up rows: what a test does not give is filled in by type."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, write_deltalake

from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Commit, Provenance, UpstreamRead, combined_digest
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import partition_name
from laion_assets.delta.table import Column
from laion_assets.tables.catalogue import CATALOGUE, TABLES

FIRST, SECOND, THIRD = "CC-2024-10", "CC-2024-20", "CC-2024-30"
ENCODER = "e" * 64


def made(
    lake: Lake,
    table: str,
    partition: str,
    rows: Sequence[Mapping[str, Any]] = (),
    *,
    reads: Mapping[str, Sequence[str]] | None = None,
    drops: Mapping[str, int] | None = None,
    **provenance: Any,
) -> Commit:
    """Publish rows as ``partition`` of ``table``, after reading partitions of other tables."""
    given = {"run_id": "run", "code_version": "1", "settings_digest": "s", **provenance}
    with lake_build(lake, table, CATALOGUE.partition(partition), Provenance(**given)) as build:
        for upstream, names in (reads or {}).items():
            build.files(upstream, [CATALOGUE.partition(name) for name in names])
        columns = [c for c in TABLES[table].columns if c.name not in TABLES[table].partition_by]
        filled = [{c.name: row.get(c.name, _filling(c)) for c in columns} for row in rows]
        if filled:
            build.add(pl.from_arrow(pa.Table.from_pylist(filled, schema=build.schema)))
        build.rows_in = len(rows) + sum((drops or {}).values())
        for reason, n in (drops or {}).items():
            build.drop(reason, n)
        return build.publish()


def _filling(column: Column) -> Any:
    if column.nullable:
        return None
    if column.accepted:
        return column.accepted[0]
    if pa.types.is_string(column.type):
        return "x"
    if pa.types.is_timestamp(column.type):
        return datetime(2026, 1, 2, tzinfo=UTC)
    if pa.types.is_list(column.type):
        return [0.5, 0.25]
    return False if pa.types.is_boolean(column.type) else 0


def foreign(lake: Lake, table: str, partition: str, rows: Sequence[Mapping[str, Any]] = ({},)) -> None:
    """Append rows to a partition as another tool does: without a record."""
    fixed = CATALOGUE.partition(partition)
    columns = TABLES[table].columns
    filled = [{c.name: {**row, **fixed}.get(c.name, _filling(c)) for c in columns} for row in rows]
    write_deltalake(lake.table(table), pa.Table.from_pylist(filled, schema=TABLES[table].schema), mode="append")


def undeclared(
    lake: Lake, table: str, rows: pa.Table, reads: Mapping[str, Sequence[str]], *, by: str | None = None
) -> Commit:
    """Publish a table that no catalogue has, whole or one partition by ``by``, with the record that builds write."""
    partition = {by: rows[by][0].as_py()} if by else {}
    ledgers = {upstream: lake.ledger(upstream).snapshot() for upstream in reads}
    commit = Commit(
        table=table, partition=partition_name(partition), rows=rows.num_rows, rows_in=rows.num_rows, drops={},
        content_digest=combined_digest([(table, str(rows.to_pylist()))]), run_id="model", code_version="sql",
        settings_digest="", externals={}, counts={},
        upstreams={
            upstream: UpstreamRead(
                ledgers[upstream].version,
                combined_digest((name, ledgers[upstream].commits[name].content_digest) for name in names),
                len(names),
            )
            for upstream, names in reads.items()
        },
    )  # fmt: skip
    write_deltalake(
        lake.path(table), rows, mode="overwrite", partition_by=[by] if by else None,
        predicate=f"{by} = '{partition[by]}'" if by and lake.exists(table) else None,
        commit_properties=CommitProperties(custom_metadata=commit.to_metadata()),
    )  # fmt: skip
    return commit


def pair(number: int, *, bucket: int = 0, **others: Any) -> dict[str, Any]:
    """The columns that say which pair a row is of."""
    return {
        "bucket": bucket,
        "pair_id": number,
        "url_id": 1_000 + number,
        "url": f"http://a.example/{number}.jpg",
        "text": f"picture number {number}",
        **others,
    }


def record(file_number: int, offset: int, link: int = 0) -> dict[str, Any]:
    """The columns that say where in its crawl a candidate stands."""
    return {
        "file_number": file_number,
        "path": f"{file_number}.wat.gz",
        "record_offset": offset,
        "link_position": link,
        "page_url": f"http://pages.example/{file_number}/{offset}",
    }


def made_crawl(lake: Lake, crawl: str, *, earlier: Sequence[str] = (), numbers: Sequence[int] = (1, 2, 3)) -> None:
    """Every table of one crawl of four files: pairs in bucket 0, pair 1 twice, pair 3 not released."""
    whole, bucket = f"crawl={crawl}", f"crawl={crawl}/bucket=0"
    shards = [f"crawl={crawl}/shard={n}" for n in range(4)]
    made(lake, "crawl_snapshots", whole, [{"source_uri": f"/source/{crawl}"}])
    files = [{"file_number": n, "path": f"{n}.wat.gz", "shard": n} for n in range(4)]
    made(lake, "wat_files", whole, files, reads={"crawl_snapshots": [whole]})
    places = {number: record(place % 4, 100 * number) for place, number in enumerate(numbers)}
    for n, shard in enumerate(shards):
        rows = [pair(number) | place for number, place in places.items() if place["file_number"] == n]
        if n == 3:
            rows.append(pair(numbers[0]) | record(3, 9))
        made(lake, "candidate_pairs", shard, rows, reads={"wat_files": [whole]})
    made(
        lake, "unique_pairs", bucket, [pair(number) | place for number, place in places.items()],
        reads={"candidate_pairs": shards, "unique_pairs": [f"crawl={c}/bucket=0" for c in earlier], "takedowns": []},
        externals={"removals": "f" * 64},
    )  # fmt: skip
    made(lake, "images", bucket, [pair(n, sha256=f"{n}") for n in numbers], reads={"unique_pairs": [bucket]})
    scored = [pair(n, sha256=f"{n}", encoder="small", encoder_sha256=ENCODER, similarity=0.2 + n / 8) for n in numbers]
    made(lake, "clip_embeddings", bucket, scored, reads={"unique_pairs": [bucket], "images": [bucket]})
    released(lake, crawl, scored[:-1])


def released(lake: Lake, crawl: str, rows: Sequence[Mapping[str, Any]]) -> Commit:
    """The released pairs of bucket 0."""
    bucket = f"crawl={crawl}/bucket=0"
    reads = {name: [bucket] for name in ("unique_pairs", "images", "clip_embeddings")}
    calibrations = list(lake.ledger("calibrations").commits)
    shown = [{**row, "subset": "en", "policy": "laion", "threshold": 0.25} for row in rows]
    return made(lake, "filtered_pairs", bucket, shown, reads={**reads, "calibrations": calibrations, "takedowns": []})
