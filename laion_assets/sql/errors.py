"""What can be wrong with a SQL model. Every fault names its file and line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong, and where."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"

    @property
    def short(self) -> str:
        """The same for a page that others read: not where the folder of models lies on this machine."""
        return f"{self.file.parent.name}/{self.file.name}:{self.line}: {self.message}"


class ModelError(Exception):
    """SQL models that cannot be run as they stand; one line for each fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(map(str, self.faults)))
