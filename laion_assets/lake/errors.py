"""What can go wrong between a step and its tables. Every message says what to do."""

from dataclasses import dataclass


class LakeError(Exception):
    """Base of all errors of the lake."""


class LakeMismatch(LakeError):
    """The lake was created with other numbers of shards or buckets than the settings ask for."""


class UpstreamMissing(LakeError):
    """A step asked for a partition that nobody has built."""


class UpstreamNotValidated(LakeError):
    """A step asked for a partition whose last write was not validated by this system."""


class PartitionBusy(LakeError):
    """Another live process is building the same partition."""


@dataclass(frozen=True)
class CheckOutcome:
    """One validation of staged rows: its name, whether it held, and what was seen."""

    name: str
    passed: bool
    description: str


class ValidationFailed(LakeError):
    """Staged rows broke a check: nothing was published, the rows published before stand."""

    def __init__(self, table: str, partition: str, checks: tuple[CheckOutcome, ...]) -> None:
        self.checks = checks
        broken = "; ".join(f"{c.name}: {c.description}" for c in checks if not c.passed)
        super().__init__(f"{table} [{partition}] was not published: {broken}")
