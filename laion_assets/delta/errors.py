"""What can go wrong between a step and its tables. Every message says what to do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


class LakeError(Exception):
    """Base of all errors of the lake."""


class LakeMismatch(LakeError):
    """The lake was created with another shape than the settings ask for."""


class MarkerDamaged(LakeError):
    """There are tables, but ``lake.json`` is gone or not as it was written."""


class UpstreamMissing(LakeError):
    """A step asked for a partition that nobody has built."""


class UpstreamNotValidated(LakeError):
    """A step asked for a partition whose last write was not validated by this system."""


class UpstreamTestsFailed(LakeError):
    """A step asked for a partition of a SQL model whose tests failed when they were run last."""


class PartitionBusy(LakeError):
    """Another live process is building the same partition."""


class PartitionChanged(PartitionBusy):
    """Somebody wrote a partition since it was read: what was made of it must be made again of what is there now."""


class StorageUnavailable(LakeError):
    """The lake's bucket did not answer, although it was asked again and again. It can pass."""


@contextmanager
def as_lake_error(*kinds: type[Exception]) -> Iterator[None]:
    """Let what a library refuses be an error of the lake: its message is for people already."""
    try:
        yield
    except kinds as error:
        raise LakeError(str(error)) from error


@dataclass(frozen=True)
class CheckOutcome:
    """One validation of staged rows: its name, whether it held, what was seen, and a sample of what broke it."""

    name: str
    passed: bool
    description: str
    failing: int = 0
    """How many rows broke it, where rows can be counted."""
    sample: tuple[Mapping[str, Any], ...] = ()
    """A few of them: the key, and the columns the check is about."""


class ValidationFailed(LakeError):
    """Staged rows broke a check: nothing was published, the rows published before stand."""

    def __init__(self, table: str, partition: str, checks: tuple[CheckOutcome, ...]) -> None:
        self.checks = checks
        broken = "; ".join(f"{c.name}: {c.description}{_shown(c.sample)}" for c in checks if not c.passed)
        super().__init__(f"{table} [{partition}] was not published: {broken}")


def without_texts(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row for messages and logs, which outlive removals: its numbers; of a text only that it is one."""
    return {name: value if value is None or isinstance(value, int | float) else "…" for name, value in row.items()}


def _shown(sample: tuple[Mapping[str, Any], ...]) -> str:
    return f"; for instance {', '.join(str(without_texts(row)) for row in sample)}" if sample else ""
