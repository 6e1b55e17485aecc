"""The arithmetic of a plan: from files and assumptions to hours, machines, bytes, requests and money."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from laion_assets.operations.assumptions import Assumptions
from laion_assets.operations.estimate import Estimate, total

_HOUR, _GB, _THOUSAND, _MILLION = 3_600, 1e9, 1e3, 1e6
_OBJECTS_PER_TAR = 3  # the tar, its rows, and what says that it is whole
_OBJECTS_PER_RUN = 2  # a file of rows, and the commit
_NOTHING = Estimate.exactly(0)
_MODEL_TABLES = 2  # crawl_snapshots and wat_files, one partition a crawl each


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is to be built."""

    crawls: int
    """Crawls, in which the files lie evenly."""
    files: Estimate
    """WAT files of all crawls together."""
    shards: int
    buckets: int
    urls_per_tar: int = 10_000


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """On what it is built."""

    machines: int
    cores: int
    """Of each machine."""
    gpus: int
    """Of all machines together; 0: encoders run on the cores."""


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """What one stage takes: nothing of what it does not name."""

    table: str
    work: Estimate
    """Units of work."""
    unit: str
    runs: int = 0
    rows: Estimate = _NOTHING
    core_hours: Estimate
    gpu_hours: Estimate = _NOTHING
    read_bytes: Estimate = _NOTHING
    """Bytes from outside: from Common Crawl, from the web."""
    stored_bytes: Estimate = _NOTHING
    puts: Estimate
    gets: Estimate = _NOTHING


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a workload takes on a fleet."""

    workload: Workload
    fleet: Fleet
    assumptions: Assumptions
    funnel: Mapping[str, Estimate]
    """Rows by step of the funnel, from the first to the last."""
    stages: Sequence[StagePlan]

    @property
    def core_hours(self) -> Estimate:
        """Hours of one core's work."""
        return total(stage.core_hours for stage in self.stages)

    @property
    def gpu_hours(self) -> Estimate:
        """Hours of one GPU's work."""
        return total(stage.gpu_hours for stage in self.stages)

    @property
    def stored_bytes(self) -> Estimate:
        """Bytes of tables and tars."""
        return total(stage.stored_bytes for stage in self.stages)

    @property
    def read_bytes(self) -> Estimate:
        """Bytes that come from outside."""
        return total(stage.read_bytes for stage in self.stages)

    def hours(self, stage: StagePlan) -> Estimate:
        """Hours of one stage on the whole fleet."""
        busy = self.assumptions["busy_share"]
        cores, gpus = self.fleet.machines * self.fleet.cores, self.fleet.gpus
        on_cores = stage.core_hours / busy / cores
        return on_cores + stage.gpu_hours / busy / gpus if gpus else on_cores

    @property
    def elapsed_hours(self) -> Estimate:
        """Hours of all stages one after another; what overlaps makes it less."""
        return total(self.hours(stage) for stage in self.stages)

    def machines_for(self, days: float) -> tuple[int, int]:
        """(machines, GPUs) that do it within so many days, cores and GPUs working side by side."""
        busy = self.assumptions["busy_share"].value * 24 * days
        machines = math.ceil(self.core_hours.value / (busy * self.fleet.cores))
        return max(1, machines), math.ceil(self.gpu_hours.value / busy)

    def costs(self) -> dict[str, Estimate]:
        """US dollars by what they are for."""
        known = self.assumptions
        busy = known["busy_share"]
        puts, gets = total(stage.puts for stage in self.stages), total(stage.gets for stage in self.stages)
        pictures = self.funnel["pictures"] * known["tar_bytes_per_picture"]
        return {
            "processors": self.core_hours / busy * known["core_hour_price"],
            "GPUs": self.gpu_hours / busy * known["gpu_hour_price"],
            "storage": self.stored_bytes / _GB * known["storage_price"] * known["months"],
            "requests": puts / _THOUSAND * known["put_price"] + gets / _THOUSAND * known["get_price"],
            "egress": pictures * known["egress_share"] / _GB * known["egress_price"],
        }


def funnel(files: Estimate, known: Assumptions) -> dict[str, Estimate]:
    """Rows by step of the funnel, from the files on."""
    candidates = files * known["candidates_per_file"]
    unique = candidates * known["unique_share"]
    urls = unique * known["urls_per_pair"]
    attempted = urls * known["attempted_share"]
    embedded = unique * known["embedded_share"]
    return {
        "WAT files": files,
        "candidates": candidates,
        "unique pairs": unique,
        "urls": urls,
        "attempts": attempted,
        "pictures": attempted * known["success_share"],
        "encoded": embedded,
        "kept": embedded * known["kept_share"],
    }


def plan(workload: Workload, fleet: Fleet, known: Assumptions) -> Plan:
    """What it takes, stage by stage."""
    rows = funnel(workload.files, known)
    stages = [
        _candidates(workload, rows, known),
        _unique(workload, rows, known),
        _images(workload, rows, known),
        _embeddings(workload, fleet, rows, known),
        _filtered(workload, rows, known),
    ]
    runs = sum(stage.runs for stage in stages) + _MODEL_TABLES * workload.crawls
    stages.append(_running(runs, known))
    return Plan(workload=workload, fleet=fleet, assumptions=known, funnel=rows, stages=stages)


def _candidates(workload: Workload, rows: Mapping[str, Estimate], known: Assumptions) -> StagePlan:
    stored = rows["candidates"] * known["candidate_pairs_row_bytes"]
    return StagePlan(
        table="candidate_pairs",
        work=rows["WAT files"],
        unit="files",
        runs=workload.crawls * workload.shards,
        rows=rows["candidates"],
        core_hours=rows["WAT files"] * known["extract_core_seconds"] / _HOUR,
        read_bytes=rows["WAT files"] * known["wat_bytes_per_file"],
        stored_bytes=stored,
        puts=stored / known["upload_part_bytes"],
        gets=rows["WAT files"],
    )


def _unique(workload: Workload, rows: Mapping[str, Estimate], known: Assumptions) -> StagePlan:
    stored = rows["unique pairs"] * known["unique_pairs_row_bytes"]
    # Each crawl is compared with all crawls before it: with n crawls their pairs are read (n - 1) / 2 times more.
    compared = rows["candidates"] + rows["unique pairs"] * ((workload.crawls - 1) / 2)
    slices = workload.crawls * workload.shards * workload.buckets
    earlier = workload.buckets * workload.crawls * (workload.crawls - 1) / 2
    return StagePlan(
        table="unique_pairs",
        work=compared,
        unit="rows compared",
        runs=workload.crawls * workload.buckets,
        rows=rows["unique pairs"],
        core_hours=compared / _MILLION * known["dedup_core_seconds"] / _HOUR,
        stored_bytes=stored,
        puts=stored / known["upload_part_bytes"],
        gets=known["gets_per_slice"] * (slices + earlier),
    )


def _images(workload: Workload, rows: Mapping[str, Estimate], known: Assumptions) -> StagePlan:
    stored = rows["pictures"] * known["tar_bytes_per_picture"] + rows["urls"] * known["images_row_bytes"]
    return StagePlan(
        table="images",
        work=rows["attempts"],
        unit="urls",
        runs=workload.crawls * workload.buckets,
        rows=rows["urls"],
        core_hours=rows["attempts"] * known["download_core_seconds"] / _HOUR,
        read_bytes=rows["pictures"] * known["download_bytes_per_picture"],
        stored_bytes=stored,
        puts=stored / known["upload_part_bytes"] + rows["attempts"] * (_OBJECTS_PER_TAR / workload.urls_per_tar),
    )


def _embeddings(workload: Workload, fleet: Fleet, rows: Mapping[str, Estimate], known: Assumptions) -> StagePlan:
    stored = rows["encoded"] * known["clip_embeddings_row_bytes"]
    on_gpu = rows["encoded"] * known["embed_gpu_seconds"] / _HOUR
    on_cores = rows["encoded"] * known["embed_core_seconds"] / _HOUR
    return StagePlan(
        table="clip_embeddings",
        work=rows["encoded"],
        unit="pairs",
        runs=workload.crawls * workload.buckets,
        rows=rows["encoded"],
        core_hours=_NOTHING if fleet.gpus else on_cores,
        gpu_hours=on_gpu if fleet.gpus else _NOTHING,
        stored_bytes=stored,
        puts=stored / known["upload_part_bytes"],
        gets=rows["pictures"] * known["tar_bytes_per_picture"] / known["upload_part_bytes"],
    )


def _filtered(workload: Workload, rows: Mapping[str, Estimate], known: Assumptions) -> StagePlan:
    stored = rows["kept"] * known["filtered_pairs_row_bytes"]
    return StagePlan(
        table="filtered_pairs",
        work=rows["unique pairs"],
        unit="pairs",
        runs=workload.crawls * workload.buckets,
        rows=rows["kept"],
        core_hours=rows["unique pairs"] / _MILLION * known["filter_core_seconds"] / _HOUR,
        stored_bytes=stored,
        puts=stored / known["upload_part_bytes"],
    )


def _running(runs: int, known: Assumptions) -> StagePlan:
    """What Dagster itself takes, whatever is in the partitions."""
    return StagePlan(
        table="(running it)",
        work=Estimate.exactly(runs),
        unit="runs",
        core_hours=known["run_seconds"] * runs / _HOUR,
        puts=Estimate.exactly(runs * _OBJECTS_PER_RUN),
        gets=known["log_gets_per_run"] * runs,
    )
