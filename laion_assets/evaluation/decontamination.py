"""Training pictures that are copies of evaluation pictures, found so that they can be left out.

A copy is the same file, or a picture whose perceptual hash is near *and* whose colours lie at the same places. The
hash alone sees no colour and, at a distance of 8, calls pictures copies that merely have a like composition.

Measured with the default options on scenes of the sample, made photographs and photographs of COCO (tests/unit/
evaluation/test_decontamination.py): 97 to 100 % of the copies resized to 50 to 150 % or recompressed as JPEG (quality
30 to 90) or WebP are found. Crops are found in part, since the hash does not survive them: 90 to 98 % where 2 % of
width and height are gone, half at each side, 31 to 60 % where 5 % are; 47 to 68 % and 0 to 1 % where one side lost all
of it. With ``hamming=8`` it is 100, 56 to 90, 79 to 97 and 0 to 3 %. Of pictures of the same objects on another
background, at another place or in another colour none was taken for a copy, with either.
"""

# Names of relations, never values, are put into SQL here.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from laion_assets.common.duck import quoted, temporary_tables
from laion_assets.images.fingerprint import LAYOUT_BYTES, colour_distances, colour_layout, near_hashes

Location = tuple[str, str]
"""A picture's shard_path and sample_key."""
Pictures = Callable[[Sequence[Location]], Iterator[tuple[Location, bytes]]]
"""Reads pictures that all lie in one shard; those that cannot be read are left out."""

_TABLES: Final = tuple(f"_decontamination_{name}" for name in ("benchmarks", "exact", "near", "candidates", "found"))
_MAX_HAMMING: Final = 16
_PRODUCT_CELLS: Final = 4_000_000
"""Distances computed at a time: 32 MB."""
_FOUND_SCHEMA: Final = {
    "sha256": pl.String, "benchmark_row": pl.Int64, "hamming": pl.Int32, "colour_distance": pl.Float64,
}  # fmt: skip


class BenchmarkFingerprintMismatch(ValueError):
    """Benchmark pictures have a colour layout of another form than is compared here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecontaminationOptions:
    """How near a training picture may come to an evaluation picture.

    Raises:
        ValueError: a value is out of its range; the message names the option, the range and the value.
    """

    hamming: int = 4
    """Largest number of differing bits (0 to 16) of two perceptual hashes that makes a candidate."""
    colour_distance: float = 4.0
    """Largest colour distance that confirms a candidate: root mean square, over 8 x 8 cells, of the colour difference
    dE*ab (CIE 1976, 0 to 100; about 2 is just noticeable). Measured: 2.2 at most between a picture and its resized or
    recompressed copies, 6.4 at least between pictures that only look alike."""

    def __post_init__(self) -> None:
        if not 0 <= self.hamming <= _MAX_HAMMING:
            raise ValueError(f"decontamination option hamming must be 0 to {_MAX_HAMMING} bits, not {self.hamming}")
        if not 0 <= self.colour_distance <= 100:
            raise ValueError(f"decontamination option colour_distance must be 0 to 100, not {self.colour_distance}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Contamination:
    """What became of the training pictures; ``candidates`` is the sum of the three below it."""

    exact: int
    """Pictures whose file is that of an evaluation picture."""
    candidates: int
    """Other pictures whose perceptual hash is near that of an evaluation picture."""
    confirmed: int
    """Candidates whose colours agree as well."""
    refuted: int
    """Candidates whose colours do not."""
    unreadable: int
    """Candidates whose bytes were not there or could not be decoded; they are not taken for copies."""

    @property
    def contaminated(self) -> int:
        """Rows written: pictures that are to be left out."""
        return self.exact + self.confirmed


def find_contaminated(
    con: duckdb.DuckDBPyConnection,
    *,
    images: str,
    benchmarks: str,
    options: DecontaminationOptions,
    pictures: Pictures,
    output: Path,
) -> Contamination:
    """Write the training pictures that are copies of evaluation pictures, one row each, ordered by sha256.

    Exact copies have an equal sha256. Other candidates are found by multi-index hashing (Norouzi, Punjani, Fleet, "Fast
    Search in Hamming Space with Multi-Index Hashing", CVPR 2012) of distinct hashes and confirmed by their colours. A
    candidate is decoded once, and compared with all evaluation pictures of near hashes by one matrix product, never
    row by row: also where thousands of flat pictures share one hash, memory stays bounded and time linear in pictures.

    The file has ``sha256, benchmark, benchmark_sample_key, method`` ('exact' or 'perceptual'), ``hamming`` (int32) and
    ``colour_distance`` (float64). Of several matches the best is named: the lowest colour distance, then Hamming
    distance, then benchmark and sample_key. The result is a pure function of the rows and the pictures.

    Args:
        con: A DuckDB connection that knows the relations; temporary tables ``_decontamination_…`` come and go.
        images: Name of a relation with ``sha256`` (unique), ``perceptual_hash`` (bigint, may be null), ``shard_path``
            and ``sample_key``.
        benchmarks: Name of a relation with ``benchmark, sample_key, sha256, perceptual_hash, colour_layout`` as
            ``fingerprint`` gives them; the last two may be null: such pictures are found by their bytes alone.
        options: Bounds.
        pictures: Reads the stored pictures of candidates; called once for each shard that has any, in their order.
        output: The Parquet file to write.

    Raises:
        BenchmarkFingerprintMismatch: A colour layout is not 192 bytes long.
        duckdb.Error: A relation or column is missing, or the file cannot be written.
    """
    with temporary_tables(con, *_TABLES):
        _prepare(con, images, benchmarks)
        _find_candidates(con, images, options.hamming)
        comparison = _Comparison(con, options.colour_distance)
        read = 0
        for shard in _by_shard(con):
            readable, found = comparison.best(shard, pictures)
            read += readable
            con.register("_decontamination_batch", found.to_arrow())
            con.execute("INSERT INTO _decontamination_found FROM _decontamination_batch")
            con.unregister("_decontamination_batch")
        _write(con, output)
        exact, candidates, confirmed = (
            con.table(f"_decontamination_{name}").shape[0] for name in ("exact", "candidates", "found")
        )
    rest = {"refuted": read - confirmed, "unreadable": candidates - read}
    return Contamination(exact=exact, candidates=candidates, confirmed=confirmed, **rest)


def _prepare(con: duckdb.DuckDBPyConnection, images: str, benchmarks: str) -> None:
    """Number the benchmark pictures in the order in which equal matches are preferred, and find the exact copies."""
    con.execute(f"""
        CREATE TEMP TABLE _decontamination_benchmarks AS
        SELECT row_number() OVER (ORDER BY benchmark, sample_key) AS benchmark_row,
               benchmark, sample_key, sha256, perceptual_hash::BIGINT AS perceptual_hash, colour_layout
        FROM {benchmarks}""")
    wrong = con.execute(f"""
        SELECT benchmark, sample_key, octet_length(colour_layout) FROM _decontamination_benchmarks
        WHERE octet_length(colour_layout) <> {LAYOUT_BYTES} ORDER BY ALL LIMIT 1""").fetchone()
    if wrong:
        raise BenchmarkFingerprintMismatch(
            f"colour_layout must have {LAYOUT_BYTES} bytes, but picture {wrong[1]} of benchmark {wrong[0]} has "
            f"{wrong[2]}: compute the benchmark's fingerprints again"
        )
    con.execute(f"""
        CREATE TEMP TABLE _decontamination_exact AS
        SELECT sha256, min(benchmark_row) AS benchmark_row
        FROM {images} JOIN _decontamination_benchmarks USING (sha256) GROUP BY sha256""")


def _find_candidates(con: duckdb.DuckDBPyConnection, images: str, hamming: int) -> None:
    """Find the pairs of near hashes, each distinct hash once, and the pictures that have them and are no exact copies.

    Pictures that share a hash are not paired here: thousands of flat ones would make millions of pairs.
    """
    hashes = f"(SELECT DISTINCT perceptual_hash::BIGINT AS perceptual_hash FROM {images})"
    others = "(SELECT DISTINCT perceptual_hash FROM _decontamination_benchmarks WHERE colour_layout IS NOT NULL)"
    con.execute(f"CREATE TEMP TABLE _decontamination_near AS {near_hashes(hashes, others, hamming)}")
    con.execute(f"""
        CREATE TEMP TABLE _decontamination_candidates AS
        SELECT shard_path, sample_key, sha256, perceptual_hash::BIGINT AS perceptual_hash FROM {images} AS image
        WHERE perceptual_hash IN (SELECT left_hash FROM _decontamination_near)
          AND sha256 NOT IN (SELECT sha256 FROM _decontamination_exact)""")
    con.execute("""
        CREATE TEMP TABLE _decontamination_found
        (sha256 VARCHAR, benchmark_row BIGINT, hamming INTEGER, colour_distance DOUBLE)""")


def _by_shard(con: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[str, str, str, int]]]:
    """The candidates (shard_path, sample_key, sha256, hash) of one shard after another."""
    named = "_decontamination_candidates WHERE shard_path IS NOT NULL AND sample_key IS NOT NULL"
    for (shard,) in con.execute(f"SELECT DISTINCT shard_path FROM {named} ORDER BY shard_path").fetchall():
        yield con.execute(
            f"""SELECT shard_path, sample_key, sha256, perceptual_hash FROM {named} AND shard_path = ?
            ORDER BY perceptual_hash, sample_key, sha256""",
            [shard],
        ).fetchall()


class _Comparison:
    """The layouts of the benchmark pictures that have a near hash, by the hashes of the candidates."""

    def __init__(self, con: duckdb.DuckDBPyConnection, bound: float) -> None:
        """Read them; 200 bytes each."""
        self._bound = bound
        # Of benchmark pictures that nothing tells apart only the first can be the best match.
        table = con.execute("""
            SELECT perceptual_hash, colour_layout, min(benchmark_row) AS benchmark_row
            FROM _decontamination_benchmarks
            WHERE colour_layout IS NOT NULL
              AND perceptual_hash IN (SELECT right_hash FROM _decontamination_near)
            GROUP BY perceptual_hash, colour_layout ORDER BY perceptual_hash, benchmark_row""").fetchnumpy()
        self._layouts = _layouts(np.asarray(table["colour_layout"]).tolist())
        self._rows = np.asarray(table["benchmark_row"], dtype=np.int64)
        hashes = np.asarray(table["perceptual_hash"], dtype=np.int64)
        near = con.execute("FROM _decontamination_near ORDER BY left_hash, right_hash").fetchnumpy()
        wanted = np.asarray(near["right_hash"], dtype=np.int64)
        self._image_hashes = np.asarray(near["left_hash"], dtype=np.int64)
        self._hamming = np.asarray(near["hamming"], dtype=np.int32)
        self._starts = np.searchsorted(hashes, wanted, side="left")
        self._ends = np.searchsorted(hashes, wanted, side="right")

    def best(self, shard: Sequence[tuple[str, str, str, int]], pictures: Pictures) -> tuple[int, pl.DataFrame]:
        """Compare the candidates of one shard.

        Returns:
            How many could be read, and the best match of each that is confirmed.
        """
        layouts: dict[Location, bytes] = {}
        for place, image in pictures([(path, key) for path, key, _, _ in shard]):
            layout = colour_layout(image)
            if layout is not None:
                layouts[place] = layout
        readable = [row for row in shard if row[:2] in layouts]
        # A loop over distinct hashes: reading and decoding a picture takes far longer than one turn of it.
        found = [
            self._best_of_hash(image_hash, [row[2] for row in rows], _layouts([layouts[row[:2]] for row in rows]))
            for image_hash, rows in ((h, list(group)) for h, group in groupby(readable, key=lambda row: row[3]))
        ]
        return len(readable), pl.concat([pl.DataFrame(schema=_FOUND_SCHEMA), *found])

    def _best_of_hash(self, image_hash: int, sha256: list[str], layouts: NDArray[np.uint8]) -> pl.DataFrame:
        """The best matches of candidates with one hash, by matrix products of bounded size."""
        near = slice(
            np.searchsorted(self._image_hashes, image_hash, side="left"),
            np.searchsorted(self._image_hashes, image_hash, side="right"),
        )
        spans = [np.arange(start, end) for start, end in zip(self._starts[near], self._ends[near], strict=True)]
        others = np.concatenate(spans)
        hamming = np.repeat(self._hamming[near], [len(span) for span in spans])
        # argmin takes the first of equal distances.
        order = np.lexsort((self._rows[others], hamming))
        others, hamming = others[order], hamming[order]
        step = max(_PRODUCT_CELLS // len(others), 1)
        place, least = np.empty(len(layouts), np.int64), np.empty(len(layouts), np.float64)
        for start in range(0, len(layouts), step):
            distances = colour_distances(layouts[start : start + step], self._layouts[others])
            place[start : start + step] = distances.argmin(axis=1)
            least[start : start + step] = distances.min(axis=1)
        values = {"sha256": sha256, "benchmark_row": self._rows[others][place], "hamming": hamming[place]}
        frame = pl.DataFrame({**values, "colour_distance": least}, schema=_FOUND_SCHEMA)
        return frame.filter(pl.col("colour_distance") <= self._bound)


def _layouts(blobs: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(blobs), np.uint8).reshape(-1, LAYOUT_BYTES)


def _write(con: duckdb.DuckDBPyConnection, output: Path) -> None:
    con.execute(f"""
        COPY (
            SELECT matched.sha256, benchmark, sample_key AS benchmark_sample_key, method, hamming, colour_distance
            FROM (
                SELECT sha256, benchmark_row, 'exact' AS method, 0::INTEGER AS hamming, 0::DOUBLE AS colour_distance
                FROM _decontamination_exact
                UNION ALL
                SELECT sha256, benchmark_row, 'perceptual', hamming, colour_distance FROM _decontamination_found
            ) AS matched JOIN _decontamination_benchmarks USING (benchmark_row)
            ORDER BY matched.sha256
        ) TO {quoted(output)} (FORMAT parquet, COMPRESSION zstd)""")
