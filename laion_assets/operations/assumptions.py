"""What a plan assumes: for each number its range, its unit, what it means, and where it comes from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from laion_assets.operations.estimate import Estimate
from laion_assets.tables.catalogue import FUNNEL

_AWS: Final = "AWS list price, us-east-1, on demand; look it up before you use it"
_CC2DATASET: Final = "cc2dataset, which read 5 million files"
_NO_FIGURE: Final = "estimate, nobody published one"


class AssumptionError(ValueError):
    """An assumption that is not known, or a value that cannot be."""


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """One number a plan is made with."""

    name: str
    estimate: Estimate
    unit: str
    meaning: str
    source: str
    partitions: int = 0
    """How many partitions of this lake it was measured on; 0: it was not."""


class Assumptions(Mapping[str, Estimate]):
    """All numbers a plan is made with, by name."""

    def __init__(self, known: Iterable[Assumption]) -> None:
        self._known = {assumption.name: assumption for assumption in known}

    def __getitem__(self, name: str) -> Estimate:
        return self._known[name].estimate

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> list[Assumption]:
        """Each with where it comes from."""
        return list(self._known.values())

    def measured(self, found: Mapping[str, tuple[Estimate, int]]) -> "Assumptions":
        """With what was measured instead of what was published: by name, the estimate and on how many partitions."""
        known = dict(self._known)
        for name, (estimate, partitions) in found.items():
            source = f"measured here on {partitions:,} partition{'s' if partitions != 1 else ''}"
            known[name] = replace(known[name], estimate=estimate, source=source, partitions=partitions)
        return Assumptions(known.values())

    def given(self, values: Mapping[str, float]) -> "Assumptions":
        """With what somebody insists on, exactly.

        Raises:
            AssumptionError: there is no assumption of that name, or the value is negative.
        """
        known = dict(self._known)
        for name, value in values.items():
            if name not in known:
                raise AssumptionError(f"there is no assumption {name!r}; the plan makes these: {', '.join(known)}")
            if not value >= 0:
                raise AssumptionError(f"{name}: expected 0 or more, found {value}")
            known[name] = replace(known[name], estimate=Estimate.exactly(value), source="given", partitions=0)
        return Assumptions(known.values())


def _exactly(name: str, value: float, unit: str, meaning: str, source: str) -> Assumption:
    return Assumption(name=name, estimate=Estimate.exactly(value), unit=unit, meaning=meaning, source=source)


def _about(name: str, value: float, unit: str, meaning: str, source: str, factor: float = 1.5) -> Assumption:
    return Assumption(name=name, estimate=Estimate.about(value, factor), unit=unit, meaning=meaning, source=source)


def _between(name: str, low: float, value: float, high: float, unit: str, meaning: str, source: str) -> Assumption:
    return Assumption(name=name, estimate=Estimate(value, low, high), unit=unit, meaning=meaning, source=source)


PUBLISHED: Final = Assumptions(
    (
        # -- how much there is -----------------------------------------------------------------------------------------
        _about("wat_bytes_per_file", 375e6, "B", "bytes of a WAT file, gzip",
               "Common Crawl, September 2016: 10.35 TiB in 30,374 files"),
        _about("candidates_per_file", 17_600, "pairs", "candidate pairs of a WAT file",
               f"{_CC2DATASET}: 88 billion pairs, deduplicated"),
        _exactly("unique_share", 1, "", "candidates left after deduplication", f"in the figure above ({_CC2DATASET})"),
        _exactly("urls_per_pair", 1, "", "distinct urls for each unique pair", "taken as one url a pair"),
        _exactly("attempted_share", 1, "", "urls that no earlier crawl fetched", "taken as all"),
        _between("success_share", 0.4, 0.5, 0.8, "", "attempts that give a picture", _NO_FIGURE),
        _between("embedded_share", 0.4, 0.5, 0.8, "", "unique pairs whose picture was encoded",
                 "as many as urls give a picture"),
        _between("kept_share", 0.146, 0.234, 0.293, "", "encoded pairs that the filter keeps",
                 "LAION-5B kept 5.85 of 50 billion candidates"),
        _between("download_bytes_per_picture", 50e3, 100e3, 200e3, "B", "bytes downloaded for a picture", _NO_FIGURE),
        # -- how long it takes -----------------------------------------------------------------------------------------
        _about("extract_core_seconds", 50, "s", "core time for a WAT file", f"{_CC2DATASET}: 50 s a file a core"),
        _between("dedup_core_seconds", 0.44, 0.44, 4.4, "s", "core time for a million candidates",
                 "DuckDB, 4 million rows in 0.88 s on 2 cores; reading from S3 is not in it"),
        _about("download_core_seconds", 16 / 1300, "s", "core time for a url, waiting included",
               "img2dataset: 1,300 pictures a second on 16 cores"),
        _about("embed_gpu_seconds", 1 / 1500, "s", "GPU time for a pair",
               "clip-retrieval: 1,500 a second, ViT-B/32 on an RTX 3080", 2),
        _about("embed_core_seconds", 0.05, "s", "core time for a pair, without a GPU", _NO_FIGURE, 3),
        _between("filter_core_seconds", 0.44, 0.44, 4.4, "s", "core time for a million pairs",
                 "taken as long as deduplication"),
        _between("run_seconds", 4, 13, 20, "s", "overhead of one Dagster run",
                 "4 s in the process, 13 s with a process a step, on two cores"),
        # -- how much is kept ------------------------------------------------------------------------------------------
        *(
            _about(f"{table}_row_bytes", 453, "B", f"bytes of a row of {table}",
                   "LAION-5B: 2.65 TB of metadata for 5.85 billion rows")
            for table in FUNNEL
            if table != "clip_embeddings"
        ),
        _about("clip_embeddings_row_bytes", 2_000, "B", "bytes of a row of clip_embeddings",
               "2 vectors of 512 numbers, 1.88 bytes each with ZSTD", 1.2),
        _about("tar_bytes_per_picture", 37_600, "B", "bytes of a stored picture in its tar",
               "LAION-5B: 220 TB for 5.85 billion"),
        # -- how the tables are read and written -----------------------------------------------------------------------
        _exactly("upload_part_bytes", 8e6, "B", "bytes of one part of an upload", "boto3's default"),
        _between("log_gets_per_run", 20, 50, 250, "requests", "reads of Delta logs in a run", _NO_FIGURE),
        _exactly("gets_per_slice", 5, "requests", "reads of one bucket in one shard of candidates",
                 "the file's footer, and three row groups at most"),
        # -- the machines ----------------------------------------------------------------------------------------------
        _between("busy_share", 0.6, 0.8, 0.95, "", "time that a rented machine works", _NO_FIGURE),
        _exactly("core_hour_price", 0.0425, "$", "an hour of one core", f"c6i: {_AWS}"),
        _exactly("gpu_hour_price", 1.006, "$", "an hour of one GPU with its machine", f"g5.xlarge: {_AWS}"),
        _between("storage_price", 0.021, 0.023, 0.023, "$", "a GB for a month", f"S3 Standard: {_AWS}"),
        _exactly("months", 1, "", "how long it is kept", "taken as one month"),
        _exactly("put_price", 0.005, "$", "1,000 writes or lists", f"S3: {_AWS}"),
        _exactly("get_price", 0.0004, "$", "1,000 reads", f"S3: {_AWS}"),
        _exactly("egress_price", 0.09, "$", "a GB that leaves the region for the internet", _AWS),
        _exactly("egress_share", 0, "", "stored pictures that leave the region", "taken as none"),
    )
)  # fmt: skip
"""What is assumed where nothing was measured."""

LAION_5B_CANDIDATES: Final = 50e9
"""LAION-5B began with more than 50 billion candidates."""
LAION_5B_CRAWLS: Final = 32
"""So many crawls of 90,000 files hold them, at 17,600 pairs a file."""
FILES_PER_CRAWL: Final = 90_000
"""Common Crawl has published about so many WAT files a crawl for years."""
