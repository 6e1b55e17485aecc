"""Evaluation sets that a lake knows: folders in one folder, and the fingerprints of their pictures."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import polars as pl

from laion_assets.evaluation.benchmark import Benchmark, BenchmarkError, read_benchmark, samples
from laion_assets.images.fingerprint import fingerprint

FINGERPRINT_SCHEMA: Final[dict[str, pl.DataType]] = {
    "sample_key": pl.String(),
    "sha256": pl.String(),
    "perceptual_hash": pl.Int64(),
    "colour_layout": pl.Binary(),
}
"""Columns that `fingerprints` yields."""

HOW_TO_GET: Final = (
    "put evaluation sets there in CLIP_benchmark's webdataset layout, or name their folder in LAION_BENCHMARKS; "
    "`laion demo` without --quick makes the sample's"
)
"""What to do where there is none."""
_BATCH: Final = 2_000


def benchmark_names(folder: Path) -> list[str]:
    """The names of all evaluation sets in a folder; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def registered(folder: Path, name: str) -> Benchmark:
    """The evaluation set called ``name``.

    Raises:
        BenchmarkError: there is none, or its layout is wrong.
    """
    if name not in benchmark_names(folder):
        known = ", ".join(benchmark_names(folder)) or f"none: {HOW_TO_GET}"
        raise BenchmarkError(f"there is no benchmark {name!r} in {folder}; it holds {known}")
    return read_benchmark(folder / name)


def fingerprints(benchmark: Benchmark) -> Iterator[pl.DataFrame]:
    """What copies of its pictures are known by, in frames of `FINGERPRINT_SCHEMA`; every sample has a row.

    The hash and the colours are null where a picture cannot be decoded: its copies are found by their bytes alone.
    """
    rows: list[tuple[str, str, int | None, bytes | None]] = []
    for sample in samples(benchmark):
        found = fingerprint(sample.image)
        known = (found.perceptual_hash, found.colour_layout) if found else (None, None)
        rows.append((sample.key, sha256(sample.image).hexdigest(), *known))
        if len(rows) == _BATCH:
            yield _frame(rows)
            rows = []
    if rows:
        yield _frame(rows)


def _frame(rows: list[tuple[str, str, int | None, bytes | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=pl.Schema(FINGERPRINT_SCHEMA), orient="row")
