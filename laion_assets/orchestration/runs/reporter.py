"""Whoever shows how a build goes."""

import sys
from typing import Protocol


class Reporter(Protocol):
    """Is told of a build while it goes on."""

    def begin(self, part: str, total: int) -> None:
        """A stage, or all SQL models, with ``total`` partitions to build begins."""

    def advance(self, part: str) -> None:
        """One of them is behind us, built or not."""

    def failed(self, table: str, partition: str, error: str) -> None:
        """One of them could not be built."""

    def notice(self, text: str) -> None:
        """Something that whoever waits should know."""


class Lines:
    """A line on stderr for each stage and each failure: a reporter for scripts."""

    def begin(self, part: str, total: int) -> None:
        """A stage begins; one that has nothing to build is not told."""
        if total:
            self.notice(f"{part}: {total} partitions to build")

    def advance(self, part: str) -> None:
        """Nothing to tell."""

    def failed(self, table: str, partition: str, error: str) -> None:
        """One partition could not be built."""
        self.notice(f"failed {table} {partition}: {error}")

    def notice(self, text: str) -> None:
        """A line."""
        sys.stderr.write(f"{text}\n")
