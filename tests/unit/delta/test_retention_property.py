"""Whatever was written, replaced and pinned in whatever order: nothing that is needed goes, and nothing else stays."""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from tests.unit.delta.aging import DAY, backdate, backdate_all, collect, put
from tests.unit.delta.tables_made import made

RETENTION = 30
BUCKETS = tuple(f"crawl=CC-2024-10/bucket={n}" for n in range(2))
RECIPES = ("recipe=a", "recipe=b")


@dataclass(frozen=True)
class Write:
    """One commit: an overwrite of a partition, so many days ago."""

    table: str
    partition: str
    tars: tuple[int, ...]
    days: int


writes = st.lists(
    st.builds(
        Write,
        table=st.just("images"),
        partition=st.sampled_from(BUCKETS),
        tars=st.lists(st.integers(0, 4), max_size=3, unique=True).map(tuple),
        days=st.integers(0, 90),
    )
    | st.builds(
        Write,
        table=st.sampled_from(["training_sets", "clip_checkpoints"]),
        partition=st.sampled_from(RECIPES),
        tars=st.integers(5, 8).map(lambda n: (n,)),
        days=st.integers(0, 90),
    ),
    min_size=1,
    max_size=9,
)


def name_of(table: str, partition: str, number: int) -> str:
    work = f"{number:032x}"
    if table == "images":
        return f"files/images/{BUCKETS[0]}/{work}/00000.tar"
    folder = {"training_sets": "training_sets", "clip_checkpoints": "checkpoints"}[table]
    return f"files/{folder}/{partition.removeprefix('recipe=')}/{work}/00000.tar"


def write_all(lake: Lake, history: Sequence[Write]) -> dict[str, list[Write]]:
    """Carry the writes out, the oldest first; gives those of each table in the order of versions from 1 on."""
    done: dict[str, list[Write]] = defaultdict(list)
    for write in sorted(history, key=lambda write: -write.days):
        names = [name_of(write.table, write.partition, number) for number in write.tars]
        built = {w.partition for w in done["images"]}
        reads: dict[str, Sequence[str]] = {"images": sorted(built)} if write.table == "training_sets" else {}
        if write.table == "clip_checkpoints":
            if write.partition not in {w.partition for w in done["training_sets"]}:
                continue
            reads = {"training_sets": [write.partition]}
        column = "path" if write.table == "clip_checkpoints" else "shard_path"
        rows: list[dict[str, Any]] = [
            {column: put(lake, name), "url": f"http://a/{n}", "status": "success", "epoch": n, "split": "train",
             "source_versions": []}
            for n, name in enumerate(names)
        ]  # fmt: skip
        made(lake, write.table, write.partition, rows, reads=reads)
        done[write.table].append(write)
    backdate_all(lake, 100)
    for table, of_table in done.items():
        for version, write in enumerate(of_table, start=1):
            backdate(lake, table, version, write.days)
    return done


def retained(lake: Lake, done: dict[str, list[Write]]) -> dict[str, set[int]]:
    """By table, the versions that must stay readable, counted out one by one."""
    found: dict[str, set[int]] = {}
    for table, of_table in done.items():
        ages = [100.0, *(write.days for write in of_table)]
        found[table] = {v for v in range(len(ages)) if v + 1 == len(ages) or ages[v + 1] < RETENTION}
    return found


def needed(lake: Lake, done: dict[str, list[Write]]) -> Iterator[str]:
    """The names of all files that a retained or pinned version lists, or that its rows name."""
    versions = retained(lake, done)
    sets: set[tuple[int, str]] = set()
    for table, of_table in done.items():
        for version, write in enumerate(of_table, start=1):
            later = [w.days for w in of_table[version:] if w.partition == write.partition]
            if not later or later[0] < RETENTION:  # the commit is the last of its partition, or was
                read = lake_upstreams(lake, table, version)
                if table == "training_sets":
                    sets.add((version, write.partition))
                elif table == "clip_checkpoints":
                    sets.add((last_before(done["training_sets"], read["training_sets"], write), write.partition))
    for version, _ in sets:
        pinned = lake_upstreams(lake, "training_sets", version).get("images")
        if pinned is not None and pinned >= 0:
            versions["images"].add(pinned)
    for table, kept in versions.items():
        for version in kept:
            yield from listed(lake, table, version)
    for version, partition in sets:
        yield from listed(lake, "training_sets", version, partition)


def last_before(of_table: Sequence[Write], version: int, write: Write) -> int:
    return max(v for v, w in enumerate(of_table, start=1) if v <= version and w.partition == write.partition)


def lake_upstreams(lake: Lake, table: str, version: int) -> dict[str, int]:
    commits = {c.version: c for c in lake.ledger_at(table, version).commits.values()}
    return {name: read.version for name, read in commits[version].upstreams.items()}


def listed(lake: Lake, table: str, version: int, partition: str = "") -> Iterator[str]:
    for path in lake.table(table, version).file_uris():
        if partition in path:
            yield str(Path(path).relative_to(lake.root))
            column = "path" if table == "clip_checkpoints" else "shard_path"
            yield from pl.read_parquet(path, columns=[column], hive_partitioning=False)[column].drop_nulls().to_list()


@settings(max_examples=10, deadline=None)
@given(history=writes, orphans=st.lists(st.integers(0, 90), max_size=2))
def test_what_is_needed_stays_and_what_is_not_goes(history: list[Write], orphans: list[int]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        lake = open_lake(str(folder / "lake"))
        done = write_all(lake, history)
        lake.table("images")  # files of a table that has no log would be a lost log
        for number, days in enumerate(orphans):
            put(lake, f"images/{BUCKETS[0]}/part-{number}.parquet", days)
            put(lake, f"files/images/{BUCKETS[0]}/{20 + number:032x}/00000.tar", days)
        must_stay = {*needed(lake, done)}
        old = {
            str(path.relative_to(folder / "lake"))
            for path in [*(folder / "lake/files").rglob("*.tar"), *(folder / "lake").glob("[ict]*/**/part-*.parquet")]
            if path.stat().st_mtime < path.stat().st_ctime - (RETENTION + 1) * DAY
        }
        collect(lake, days=RETENTION)
        gone = {name for name in old | must_stay if not (folder / "lake" / name).exists()}
        assert gone & must_stay == set()
        assert gone == old - must_stay
    finally:
        shutil.rmtree(folder)
