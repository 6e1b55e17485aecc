"""The order in which a training reads its pairs: two splits that share no picture, each cut into shards of equal size.

What belongs here: which pairs are samples, of which split, and where they stand. What does not: pictures and tars.
"""

# Names of columns, views and files, numbers and quoted literals, never other values, are put into SQL here.

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from laion_assets.common.duck import number, numbers, quoted, temporary_tables

SPLITS: Final = ("train", "validation")
"""Names of the splits, of their files and of their folders of shards."""

REQUIRED_COLUMNS: Final = ("pair_id", "url_id", "url", "text", "sha256", "shard_path", "sample_key")
"""Columns that the pairs to arrange must have."""

PLACE_COLUMNS: Final = ("_shard", "_number")
"""Columns that an arrangement adds: the shard (from 0) and the place in its split (from 0) of a sample."""

_PICTURELESS = "(shard_path IS NULL OR sample_key IS NULL OR sha256 IS NULL)"
_CIRCLE = 2**64  # places lie on a circle of so many points
_LARGEST_ROW_GROUP = 122_880


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardOptions:
    """How pairs become shards."""

    samples_per_shard: int = 10_240
    """Samples of every shard; a shard that would have fewer is left out."""
    seed: int = 0
    """Another seed, another order and other validation pictures."""
    validation_fraction: float = 0.0
    """Share of the pictures (by sha256) that is set aside, with all their captions; in [0, 1)."""

    def __post_init__(self) -> None:
        if self.samples_per_shard < 1:
            raise ValueError(f"samples_per_shard must be at least 1, not {self.samples_per_shard}")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must lie in [0, 1), not {self.validation_fraction}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrangement:
    """Samples in order, and what became of the pairs: ``pairs_in`` == Σ ``samples`` + Σ ``drops``."""

    folder: Path
    """Holds one Parquet file a split."""
    samples_per_shard: int
    pairs_in: int
    """Pairs handed in."""
    samples: dict[str, int]
    """Samples by split, as written: a multiple of ``samples_per_shard``. Both splits are named."""
    drops: dict[str, int]
    """Pairs by the reason they were dropped for, ``no_picture, duplicate_id, remainder``; only those that occurred."""

    def shards(self, split: str) -> int:
        """How many shards the split has."""
        return self.samples[split] // self.samples_per_shard

    def file(self, split: str) -> Path:
        """Parquet file of a split, ordered by ``_number``: the pairs' columns and ``PLACE_COLUMNS``."""
        return self.folder / f"{split}.parquet"


class Collisions(NamedTuple):
    """Shares of the samples, in [0, 1], that meet another sample of their batch."""

    same_image: float
    """With the same picture (sha256)."""
    same_caption: float
    """With the same text."""


def arrange(connection: duckdb.DuckDBPyConnection, *, pairs: str, options: ShardOptions, output: Path) -> Arrangement:
    """Decide which pairs are samples, of which split, and in which order; write that to ``output``.

    A pair is dropped as ``no_picture``, if it has no stored picture (null ``shard_path``, ``sample_key`` or
    ``sha256``); as ``duplicate_id``, if another pair with a picture has its id and comes first by (crawl, url, text),
    as far as there are such columns; as ``remainder``, if it stands last in its split and fills no shard. A split that
    does not fill one shard has none.

    The order is pseudo-random, by MD5. The c captions of a picture stand 1/c of the split apart, and equal captions of
    different pictures are spread evenly too where they are the pictures' most frequent ones. The result is a pure
    function of the rows, whatever their order.

    Pairs are copied once to a temporary table, then sorted; all of it spills where the connection may spill.

    Args:
        connection: A DuckDB connection that knows the view; temporary tables named ``_arrange_…`` are made and dropped.
        pairs: Name of a view with ``REQUIRED_COLUMNS`` and any others but ``PLACE_COLUMNS``.
        options: Size of the shards, seed, and share of the validation.
        output: Folder to write to; made if absent, files of an earlier arrangement there are overwritten.

    Raises:
        ValueError: A column is missing or has a name that is taken, or ``pair_id`` or ``text`` is null.
        duckdb.Error: The view cannot be read, or the files cannot be written.
    """
    columns = _columns(connection, pairs)
    output.mkdir(parents=True, exist_ok=True)
    with temporary_tables(connection, "_arrange_pairs", "_arrange_order"):
        pairs_in, drops = _take_in(connection, pairs)
        drops["duplicate_id"] = _drop_equal_ids(connection, columns)
        _order(connection, options)
        drops["remainder"] = _drop_remainders(connection, options.samples_per_shard)
        samples = {split: _write(connection, split, options, output / f"{split}.parquet") for split in SPLITS}
    return Arrangement(
        folder=output,
        samples_per_shard=options.samples_per_shard,
        pairs_in=pairs_in,
        samples=samples,
        drops={reason: count for reason, count in drops.items() if count},
    )


def batch_collisions(
    connection: duckdb.DuckDBPyConnection, arrangement: Arrangement, batch_size: int, *, split: str = "train"
) -> Collisions:
    """How often samples meet their own picture or caption in a batch, read in order, ``batch_size`` at a time.

    Readers that shuffle (open_clip does, over 5,000 samples) mix batches with their neighbours, which changes little.
    Where there are no samples both shares are 0.
    """
    if batch_size < 1:
        raise ValueError(f"a batch needs at least 1 sample, not {batch_size}")

    def share(column: str) -> float:
        query = f"""
            SELECT coalesce(sum(samples) FILTER (samples > 1) / sum(samples), 0) FROM (
                SELECT count(*) AS samples FROM read_parquet({quoted(arrangement.file(split))})
                GROUP BY _number // {int(batch_size)}, md5_number({column}))"""
        row = connection.execute(query).fetchone()
        return float(row[0]) if row else 0.0

    return Collisions(same_image=share("sha256"), same_caption=share("text"))


def _columns(connection: duckdb.DuckDBPyConnection, pairs: str) -> list[str]:
    columns = [str(row[0]) for row in connection.execute(f"DESCRIBE SELECT * FROM {pairs}").fetchall()]
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        raise ValueError(f"pairs to arrange need the columns {', '.join(REQUIRED_COLUMNS)}; missing: {missing}")
    taken = [name for name in columns if name.lower() in PLACE_COLUMNS]
    if taken:
        raise ValueError(f"pairs to arrange have columns named as those an arrangement adds; rename {taken}")
    return columns


def _take_in(connection: duckdb.DuckDBPyConnection, pairs: str) -> tuple[int, dict[str, int]]:
    """Copy the pairs that have a picture; returns how many pairs there are, and how many have none."""
    rows_in, pictureless, null = numbers(
        connection,
        f"""SELECT count(*), count(*) FILTER {_PICTURELESS}, count(*) FILTER (pair_id IS NULL OR text IS NULL)
            FROM {pairs}""",
    )
    if null:
        raise ValueError(f"{null} pairs to arrange have no pair_id or no text (null); leave them out")
    connection.execute(f"CREATE TEMP TABLE _arrange_pairs AS SELECT * FROM {pairs} WHERE NOT {_PICTURELESS}")
    return rows_in, {"no_picture": pictureless}


def _drop_equal_ids(connection: duckdb.DuckDBPyConnection, columns: list[str]) -> int:
    """Keep one pair an id; returns how many go. Rows as text decide between pairs that are equal in all that counts."""
    first = ", ".join(name for name in ("crawl", "url", "text") if name in columns)
    return number(
        connection,
        f"""
        DELETE FROM _arrange_pairs WHERE rowid IN (
            SELECT row_id FROM (
                SELECT pair.rowid AS row_id,
                       row_number() OVER (PARTITION BY pair_id ORDER BY {first}, pair::VARCHAR) AS place
                FROM _arrange_pairs AS pair
                WHERE pair_id IN (SELECT pair_id FROM _arrange_pairs GROUP BY pair_id HAVING count(*) > 1))
            WHERE place > 1)""",
    )


def _order(connection: duckdb.DuckDBPyConnection, options: ShardOptions) -> None:
    """Number the samples of each split.

    A picture is led by its most frequent caption. The n pictures with the same leading caption and the same number c
    of captions share a lattice of n·c equally spaced points, turned by a digest: picture j has the points j, j+n, …,
    so that its captions stand 1/c of the circle apart, and the order of its captions is turned by j, so that the
    leading ones, being equal, do not all lie in the first c-th of the circle.

    Pictures and captions are told apart by 64 bits of MD5: a collision would but place one as if it were the other.
    """
    seed, bound = int(options.seed), round(options.validation_fraction * _CIRCLE)
    connection.execute(f"""
        CREATE TEMP TABLE _arrange_order AS
        WITH samples AS (
            SELECT pair_id, md5_number_lower(sha256) AS picture, md5_number_lower(text) AS caption,
                   if(md5_number_lower('{seed} split ' || sha256) < {bound}, 'validation', 'train') AS split
            FROM _arrange_pairs
        ), counted AS (
            SELECT *, count(*) OVER (PARTITION BY split, caption) AS frequency FROM samples
        ), ranked AS (
            SELECT *, count(*) OVER (PARTITION BY picture) AS captions, row_number() OVER (
                PARTITION BY picture ORDER BY frequency DESC, caption, pair_id) - 1 AS caption_rank
            FROM counted
        ), pictures AS (
            SELECT picture, captions, caption AS leader, count(*) OVER alike AS alike,
                   row_number() OVER (alike ORDER BY md5('{seed} picture ' || picture), picture) - 1 AS picture_rank
            FROM ranked WHERE caption_rank = 0 WINDOW alike AS (PARTITION BY split, captions, caption)
        ), placed AS (
            SELECT pair_id, split,
                   (md5_number_lower('{seed} caption ' || captions || ' ' || leader)::HUGEINT
                    + (picture_rank + alike * ((caption_rank + picture_rank) % captions)) * {_CIRCLE}::HUGEINT
                      // (alike * captions)) % {_CIRCLE} AS point
            FROM ranked JOIN pictures USING (picture, captions)
        )
        SELECT pair_id, split, row_number() OVER (PARTITION BY split ORDER BY point, pair_id) - 1 AS _number
        FROM placed""")


def _drop_remainders(connection: duckdb.DuckDBPyConnection, samples_per_shard: int) -> int:
    """Drop the samples at the end of each split that fill no shard; returns how many."""
    size = int(samples_per_shard)
    return number(
        connection,
        f"""
        DELETE FROM _arrange_order USING (SELECT split, count(*) AS samples FROM _arrange_order GROUP BY split) AS whole
        WHERE _arrange_order.split = whole.split AND _number >= samples // {size} * {size}""",
    )


def _write(connection: duckdb.DuckDBPyConnection, split: str, options: ShardOptions, file: Path) -> int:
    """Write the samples of a split in order, if possible a row group a shard; returns how many."""
    size = options.samples_per_shard
    return number(
        connection,
        f"""
        COPY (
            SELECT pair.*, (_number // {size})::INTEGER AS _shard, _number
            FROM _arrange_pairs AS pair JOIN _arrange_order USING (pair_id) WHERE split = '{split}' ORDER BY _number
        ) TO {quoted(file)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {min(size, _LARGEST_ROW_GROUP)})""",
    )
