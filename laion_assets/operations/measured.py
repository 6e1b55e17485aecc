"""The numbers of a plan as this lake has them: ratios and rates over the partitions that were built."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from laion_assets.delta.cost import CPU
from laion_assets.operations.estimate import Estimate, ratio
from laion_assets.tables.catalogue import FUNNEL


@dataclass(frozen=True)
class Measurements:
    """What was measured."""

    values: Mapping[str, tuple[Estimate, int]]
    """By assumption: the estimate, and on how many partitions."""
    devices: tuple[str, ...]
    """What encoders ran on, the accelerators first."""
    largest: int = 0
    """Rows that went into the largest partition."""


@dataclass(frozen=True)
class _Row:
    table: str
    partition: str
    latest: bool
    rows_in: int
    rows: int
    bytes: int
    seconds: float | None
    cpu_seconds: float | None
    cpus: int | None
    device: str | None
    counts: Mapping[str, int]


def measure(con: duckdb.DuckDBPyConnection) -> Measurements:
    """What this lake tells of the numbers of a plan.

    Ratios are those of the rows that are there now; rates are of every build that was measured, rebuilds too.

    Args:
        con: a session over the lake.
    """
    rows = _rows(con)
    now = [row for row in rows if row.latest]
    found = {**_ratios(now), **_rates([row for row in rows if row.seconds])}
    devices = {row.device for row in rows if row.table == "clip_embeddings" and row.device and _encoded(row)}
    return Measurements(
        {name: value for name, value in found.items() if value is not None},
        tuple(sorted(devices, key=lambda device: (device == CPU, device))),
        max((row.rows_in for row in rows), default=0),
    )


def _rows(con: duckdb.DuckDBPyConnection) -> list[_Row]:
    names = ", ".join(f"'{table}'" for table in FUNNEL)
    found = con.execute(f"""
        SELECT table_name, "partition", latest, rows_in, "rows", bytes, seconds, cpu_seconds, cpus, device, counts
        FROM step_metrics WHERE table_name IN ({names}) AND rows_in > 0
    """).fetchall()
    return [_Row(*values) for values in found]


Measured = tuple[Estimate, int] | None
Part = Callable[[_Row], float]


def _over(rows: Sequence[_Row], table: str, numerator: Part, denominator: Part) -> Measured:
    parts = [(numerator(row), denominator(row)) for row in rows if row.table == table]
    estimate = ratio(parts)
    return None if estimate is None else (estimate, sum(d > 0 for _, d in parts))


def _count(name: str) -> Part:
    return lambda row: row.counts.get(name, 0)


def _ratios(now: Sequence[_Row]) -> dict[str, Measured]:
    unique = {row.partition: row.rows for row in now if row.table == "unique_pairs"}
    encoded = {row.partition: row.rows for row in now if row.table == "clip_embeddings"}
    found = {
        "wat_bytes_per_file": _over(now, "candidate_pairs", _count("bytes read"), _read_files),
        "candidates_per_file": _over(now, "candidate_pairs", lambda row: row.rows, _count("files")),
        "unique_share": _over(now, "unique_pairs", lambda row: row.rows, lambda row: row.rows_in),
        "urls_per_pair": _over(now, "images", lambda row: row.rows_in, lambda row: unique.get(row.partition, 0)),
        "attempted_share": _over(now, "images", _count("attempted"), lambda row: row.rows_in),
        "success_share": _over(now, "images", _count("succeeded"), _count("attempted")),
        "download_bytes_per_picture": _over(now, "images", _count("bytes downloaded"), _count("succeeded")),
        "tar_bytes_per_picture": _over(now, "images", _count("bytes of tars"), _count("succeeded")),
        "embedded_share": _over(now, "clip_embeddings", lambda row: row.rows, lambda row: row.rows_in),
        "kept_share": _over(now, "filtered_pairs", lambda row: row.rows, lambda row: encoded.get(row.partition, 0)),
    }
    sizes = {f"{t}_row_bytes": _over(now, t, lambda row: row.bytes, lambda row: row.rows) for t in FUNNEL}
    return {**found, **sizes}


def _read_files(row: _Row) -> float:
    return row.counts.get("files", 0) if row.counts.get("bytes read") else 0


def _encoded(row: _Row) -> int:
    return row.rows - row.counts.get("taken over", 0)


def _rates(timed: Sequence[_Row]) -> dict[str, Measured]:
    def million(row: _Row) -> float:
        return row.rows_in / 1e6

    gpu = [row for row in timed if row.device not in (CPU, None)]
    cpu = [row for row in timed if row.device == CPU]
    return {
        "extract_core_seconds": _over(timed, "candidate_pairs", _cpu, _count("files")),
        "dedup_core_seconds": _over(timed, "unique_pairs", _cpu, million),
        # Downloading is waiting: a step has a machine to itself, whatever it computes.
        "download_core_seconds": _over(timed, "images", lambda row: _wall(row) * (row.cpus or 1), _count("attempted")),
        "embed_gpu_seconds": _over(gpu, "clip_embeddings", _wall, _encoded),
        "embed_core_seconds": _over(cpu, "clip_embeddings", _cpu, _encoded),
        "filter_core_seconds": _over(timed, "filtered_pairs", _cpu, million),
    }


def _wall(row: _Row) -> float:
    return row.seconds or 0.0


def _cpu(row: _Row) -> float:
    return row.cpu_seconds or 0.0
