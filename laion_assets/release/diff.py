"""What two releases differ in, by their files of ids alone: rows added, removed and changed, and in which columns.

Nothing else of a release is read, and no lake: releases can be compared for as long as their folders are there.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from laion_assets.delta.engine import open_engine
from laion_assets.delta.folder import FolderStorage
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import literal
from laion_assets.delta.storage import Storage
from laion_assets.release.ids import COMPARED, IDS, SCHEMA
from laion_assets.release.manifest import read_manifest
from laion_assets.release.parts import ReleasedFile, ReleaseError
from laion_assets.sql import PROJECT
from laion_assets.sql.session import connect

UNTOLD = "in a column that its digests do not tell"


@dataclass(frozen=True)
class ChangedPair:
    """A pair that is in one of two releases, or in both and not the same."""

    pair_id: int
    how: str
    """`added`, `removed` or `changed`."""
    columns: tuple[str, ...] = ()
    """Of a changed one, the columns that differ."""


@dataclass
class ReleaseDiff:
    """What two releases differ in."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    """By column, the changed pairs that differ in it."""
    shown: list[ChangedPair] = field(default_factory=list)
    """The first of them, by how and pair id."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why pairs were removed, as far as a lake knows; empty where none was asked."""

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        counts = {name: getattr(self, name) for name in ("added", "removed", "changed", "same")}
        shown = [asdict(pair) for pair in self.shown]
        return {**counts, "columns": dict(self.columns), "reasons": dict(self.reasons), "shown": shown}


def diff_releases(
    one: Storage, other: Storage, *, show: int = 0, lake: Lake | None = None, models: Path | str = PROJECT
) -> ReleaseDiff:
    """Compare two releases, bucket by bucket where both have the same number of them.

    Args:
        one: where the first lies.
        other: where the second lies.
        show: how many pairs to name of each kind at most.
        lake: is asked why pairs were removed, as it is now; None: nobody is.
        models: folder of its SQL models.

    Raises:
        ReleaseError: a place holds no release, or one of its files of ids is gone.
    """
    found, gone = ReleaseDiff(), []
    for before, after in _side_by_side(*(_ids(place) for place in (one, other))):
        with _relation(one, before) as old, _relation(other, after) as new, _engine() as con:
            _compare(con, old, new, found, show)
            if lake is not None:
                gone.append(con.execute("SELECT crawl, pair_id FROM compared WHERE how = 'removed'").pl())
    found.shown.sort(key=lambda pair: (pair.how, pair.pair_id))
    shown = Counter[str]()
    kept = []
    for pair in found.shown:
        shown[pair.how] += 1
        kept += [pair] if shown[pair.how] <= show else []
    found.shown = kept
    if lake is not None and found.removed:
        found.reasons.update(_reasons(lake, models, pl.concat(gone)))
    return found


def _ids(place: Storage) -> list[ReleasedFile]:
    return [file for file in read_manifest(place).files if file.kind == IDS]


def _side_by_side(
    one: Sequence[ReleasedFile], other: Sequence[ReleasedFile]
) -> Iterator[tuple[list[ReleasedFile], list[ReleasedFile]]]:
    """Files of the same bucket; all at once where it cannot be known that buckets are alike."""
    buckets = sorted({file.bucket or 0 for file in (*one, *other)})
    if {file.bucket for file in one} != {file.bucket for file in other}:
        yield list(one), list(other)
        return
    for bucket in buckets:
        yield [f for f in one if f.bucket == bucket], [f for f in other if f.bucket == bucket]


@contextmanager
def _engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with (
        tempfile.TemporaryDirectory(prefix="laion-diff-") as spill,
        open_engine(Path(spill), FolderStorage(Path(spill))) as con,
    ):
        yield con


@contextmanager
def _relation(place: Storage, files: Sequence[ReleasedFile]) -> Iterator[str]:
    """SQL of the rows of files of ids, with their crawl.

    Raises:
        ReleaseError: one is gone.
    """
    columns = ", ".join(SCHEMA.names)
    with place.mirror(file.path for file in files) as root:
        lacking = [file.path for file in files if not (root / file.path).is_file()]
        if lacking:
            raise ReleaseError(f"{place.uri}: {lacking[0]} is gone; `laion release verify` looks at the whole release")
        parts = [
            f"SELECT {literal(file.crawl or '')} AS of_crawl, {columns} "
            f"FROM read_parquet({literal(str(root / file.path))}, hive_partitioning = false)"
            for file in files
        ]
        nothing = (
            f"SELECT NULL::VARCHAR AS of_crawl, {', '.join(f'NULL::BIGINT AS {n}' for n in SCHEMA.names)} WHERE false"
        )
        yield f"({' UNION ALL '.join(parts) or nothing})"


def _compare(con: duckdb.DuckDBPyConnection, old: str, new: str, found: ReleaseDiff, show: int) -> None:
    differing = ", ".join(f"CASE WHEN old.{name} <> new.{name} THEN '{name}' END" for name in COMPARED)
    con.execute(f"""
        CREATE TABLE compared AS
        SELECT coalesce(new.pair_id, old.pair_id) AS pair_id, coalesce(old.of_crawl, new.of_crawl) AS crawl,
               CASE WHEN old.pair_id IS NULL THEN 'added' WHEN new.pair_id IS NULL THEN 'removed' ELSE 'changed' END
                   AS how,
               CASE WHEN old.pair_id IS NOT NULL AND new.pair_id IS NOT NULL
                   THEN list_filter([{differing}], lambda name: name IS NOT NULL) ELSE [] END AS columns
        FROM {old} AS old FULL JOIN {new} AS new ON old.pair_id = new.pair_id
        WHERE old.digest IS DISTINCT FROM new.digest OR old.pair_id IS NULL OR new.pair_id IS NULL
    """)
    counted = dict(con.execute("SELECT how, count(*) FROM compared GROUP BY how").fetchall())
    found.added += counted.get("added", 0)
    found.removed += counted.get("removed", 0)
    found.changed += counted.get("changed", 0)
    [(rows,)] = con.execute(f"SELECT count(*) FROM {new}").fetchall()
    found.same += rows - counted.get("added", 0) - counted.get("changed", 0)
    told = f"unnest(CASE WHEN len(columns) = 0 THEN ['{UNTOLD}'] ELSE columns END)"
    found.columns.update(
        dict(
            con.execute(
                f"SELECT name, count(*) FROM (SELECT {told} AS name FROM compared WHERE how = 'changed') GROUP BY name"
            ).fetchall()
        )
    )
    if show:
        first = con.execute(
            "SELECT pair_id, how, columns FROM compared "
            "QUALIFY row_number() OVER (PARTITION BY how ORDER BY pair_id) <= ?",
            [show],
        )
        found.shown += [ChangedPair(pair_id, how, tuple(columns)) for pair_id, how, columns in first.fetchall()]


def _reasons(lake: Lake, models: Path | str, gone: pl.DataFrame) -> dict[str, int]:
    """What the lake, as it is now, says of pairs that are released no more: how far each comes, by how many."""
    with connect(lake, models=models) as con:
        con.register("gone", gone.to_arrow())
        found = con.execute("""
            SELECT CASE
                WHEN pair.pair_id IS NULL THEN 'is no unique pair any more'
                WHEN image.url IS NULL THEN 'no download was tried'
                WHEN image.status <> 'success' THEN 'its picture: ' || image.failure
                WHEN vector.pair_id IS NULL THEN 'has no vector'
                WHEN verdict.pair_id IS NULL THEN 'the filter leaves it out'
                ELSE 'the selection leaves it out'
            END AS reason, count(*)
            FROM gone
            LEFT JOIN unique_pairs AS pair ON pair.crawl = gone.crawl AND pair.pair_id = gone.pair_id
            LEFT JOIN images AS image
                ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url_id = pair.url_id
                AND image.url = pair.url
            LEFT JOIN (SELECT DISTINCT crawl, pair_id FROM clip_embeddings) AS vector
                ON vector.crawl = gone.crawl AND vector.pair_id = gone.pair_id
            LEFT JOIN filtered_pairs AS verdict ON verdict.crawl = gone.crawl AND verdict.pair_id = gone.pair_id
            GROUP BY reason
        """)
        return dict(found.fetchall())
