"""What every commit says about itself, and how it is read back.

The record lives in the Delta log, so lineage and staleness survive without any other database. A write without a
record, made by hand or by another tool, is *foreign*: what it may have touched is not read until it is rebuilt.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

from laion_assets.lake.cost import Cost
from laion_assets.lake.partition import parse_partition

_KEY = "laion"
REPLACED = "laion_replaced"
"""Commit metadata of a table that was replaced by an empty one with other columns."""

_HARMLESS = frozenset(
    {"CREATE TABLE", "VACUUM START", "VACUUM END", "OPTIMIZE", "SET TBLPROPERTIES",
     "ADD FEATURE", "FSCK", "UPDATE TABLE METADATA", "UPDATE FIELD METADATA", "ADD CONSTRAINT"}
)  # fmt: skip


@dataclass(frozen=True)
class UpstreamRead:
    """What a step read of one table: its version, and one digest over the partitions it took."""

    version: int
    digest: str
    partitions: int


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Who writes, with what code and settings; ``externals`` are digests of inputs that are no tables."""

    run_id: str
    code_version: str
    settings_digest: str
    externals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The record of one published partition."""

    table: str
    partition: str
    rows: int
    rows_in: int
    drops: dict[str, int]
    content_digest: str
    run_id: str
    code_version: str
    settings_digest: str
    externals: dict[str, str]
    upstreams: dict[str, UpstreamRead]
    counts: dict[str, int]
    cost: Cost = field(default_factory=Cost)
    validated: bool = True
    version: int = -1
    timestamp_ms: int = 0

    def to_metadata(self) -> dict[str, str]:
        """The record as Delta commit metadata."""
        values = asdict(self)
        del values["version"], values["timestamp_ms"]
        return {_KEY: json.dumps(values, sort_keys=True), "validated": str(self.validated).lower()}

    def says_the_same(self, other: "Commit") -> bool:
        """Whether both are one record, wherever and whenever it was written."""
        return self.to_metadata() == other.to_metadata()


def parse(entry: Mapping[str, Any]) -> Commit | None:
    """The record in one entry of ``DeltaTable.history()``, or None where there is none."""
    if _KEY not in entry:
        return None
    values = json.loads(entry[_KEY])
    values["upstreams"] = {name: UpstreamRead(**read) for name, read in values["upstreams"].items()}
    return Commit(**values, version=entry["version"], timestamp_ms=entry["timestamp"])


def combined_digest(digests: Iterable[tuple[str, str]]) -> str:
    """One digest over the (partition name, content digest) pairs of all partitions read, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(digests)).encode()).hexdigest()[:32]


@dataclass
class Ledger:
    """The last commit of every partition of one table, as of ``version``."""

    version: int = -1
    commits: dict[str, Commit] = field(default_factory=dict)
    foreign_version: int = -1
    touched: dict[str, int] = field(default_factory=dict)
    """By crawl, the version that wrote one of its partitions last."""

    @property
    def crawls(self) -> Set[str]:
        """The crawls of which a partition is there."""
        return self.touched.keys()

    def advance(self, entries: Iterable[Mapping[str, Any]], version: int) -> None:
        """Take in history entries, oldest first."""
        for entry in entries:
            commit = parse(entry)
            if commit is not None:
                self.commits[commit.partition] = commit
                crawl = parse_partition(commit.partition).get("crawl")
                if crawl is not None:
                    self.touched[str(crawl)] = commit.version
            elif REPLACED in entry:  # nothing is left of what was there
                self.commits.clear()
                self.touched.clear()
            elif entry["operation"] not in _HARMLESS:
                self.foreign_version = entry["version"]
        self.version = version

    def snapshot(self) -> "Ledger":
        """The ledger as it is now, unmoved by later commits."""
        return Ledger(self.version, dict(self.commits), self.foreign_version, dict(self.touched))

    def is_trusted(self, commit: Commit) -> bool:
        """Whether the partition's last write was validated and no foreign write came after it."""
        return commit.validated and commit.version > self.foreign_version
