"""What every commit says about itself, and how it is read back.

The record lives in the Delta log, so lineage and staleness survive without any other database. A write without a
record, made by hand or by another tool, is *foreign*: what it may have touched is not read until it is rebuilt.
"""

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

from laion_assets.common.digests import json_digest
from laion_assets.delta.cost import Cost

RECORD_KEY = "laion"
"""Commit metadata that holds the record."""
REPLACED = "laion_replaced"
"""Commit metadata of a table that was replaced by an empty one with other columns."""

DAMAGED = "laion_damaged"
"""Metadata of an entry that adds nothing, and says that a partition's bytes are not as they were written."""
BLANK = "laion_blank"
"""Metadata of a log entry that took the place of a lost one."""

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
        return {RECORD_KEY: json.dumps(values, sort_keys=True), "validated": str(self.validated).lower()}

    def says_the_same(self, other: "Commit") -> bool:
        """Whether both are one record, wherever and whenever it was written."""
        return self.to_metadata() == other.to_metadata()


def parse(entry: Mapping[str, Any]) -> Commit | None:
    """The record in one entry of ``DeltaTable.history()``, or None where there is none."""
    if RECORD_KEY not in entry:
        return None
    values = json.loads(entry[RECORD_KEY])
    values["upstreams"] = {name: UpstreamRead(**read) for name, read in values["upstreams"].items()}
    return Commit(**values, version=entry["version"], timestamp_ms=entry["timestamp"])


def combined_digest(digests: Iterable[tuple[str, str]]) -> str:
    """One digest over the (partition name, content digest) pairs of all partitions read, whatever their order."""
    return json_digest(sorted(digests), sort_keys=False, digits=32)


@dataclass
class Ledger:
    """The last commit of every partition of one table, as of ``version``."""

    version: int = -1
    commits: dict[str, Commit] = field(default_factory=dict)
    foreign_version: int = -1
    touched: dict[str, int] = field(default_factory=dict)
    """By period, the version that wrote one of its partitions last."""
    damaged: dict[str, list[str]] = field(default_factory=dict)
    """Partitions that a verification found damaged since they were written last, with the files beside the table that
    are; none where its rows are."""

    @property
    def periods(self) -> Set[str]:
        """The periods of which a partition is there."""
        return self.touched.keys()

    def advance(self, entries: Iterable[Mapping[str, Any]], version: int, period: str | None) -> None:
        """Take in history entries, oldest first.

        Args:
            entries: of the table's history.
            version: the version that the last of them made.
            period: the column of periods, where there is one.
        """
        for entry in entries:
            commit = parse(entry)
            if commit is not None:
                self.commits[commit.partition] = commit
                self.damaged.pop(commit.partition, None)
                self._touch(commit.partition, commit.version, period)
            elif REPLACED in entry:  # nothing is left of what was there
                self.commits.clear()
                self.touched.clear()
                self.damaged.clear()
            elif DAMAGED in entry:
                self._mark(json.loads(entry[DAMAGED]), entry["version"], period)
            elif entry["operation"] not in _HARMLESS:
                self.foreign_version = entry["version"]
        self.version = version

    def _mark(self, mark: Mapping[str, Any], version: int, period: str | None) -> None:
        partition, files = mark["partition"], list(mark["files"])
        commit = self.commits.get(partition)
        if commit is None or commit.version != mark["version"]:  # it was written again since it was looked at
            return
        known = self.damaged.get(partition)
        self.damaged[partition] = sorted({*files, *(known or ())}) if files and known != [] else []
        self._touch(partition, version, period)

    def _touch(self, partition: str, version: int, period: str | None) -> None:
        for item in partition.split("/"):
            column, _, value = item.partition("=")
            if column == period:
                self.touched[value] = version

    def snapshot(self) -> "Ledger":
        """The ledger as it is now, unmoved by later commits."""
        return Ledger(self.version, dict(self.commits), self.foreign_version, dict(self.touched), dict(self.damaged))

    def is_trusted(self, commit: Commit) -> bool:
        """Whether the partition's last write was validated, no foreign write came after it, and it is not damaged."""
        return self.is_validated(commit) and commit.partition not in self.damaged

    def is_validated(self, commit: Commit) -> bool:
        """Whether the partition's last write was validated and no foreign write came after it."""
        return commit.validated and commit.version > self.foreign_version

    def has_sound_rows(self, commit: Commit) -> bool:
        """Whether the partition's rows can be read, though files that they name may be damaged."""
        return self.is_validated(commit) and self.damaged.get(commit.partition) != []


def damage_mark(commit: Commit, files: Iterable[str]) -> dict[str, str]:
    """Metadata of a commit that marks a partition as damaged.

    Args:
        commit: the partition's last commit.
        files: the damaged files beside the table; none where the rows themselves are damaged.
    """
    mark = {"partition": commit.partition, "version": commit.version, "files": sorted(files)}
    return {DAMAGED: json.dumps(mark, sort_keys=True)}
