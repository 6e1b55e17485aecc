"""What keeps a file of a copy from being cleaned."""

from pathlib import Path

from laion_assets.common.files import BrokenFile


class CannotClean(BrokenFile):
    """A file is not understood, or is damaged.

    Args:
        why: and what to do, without the file's name.
        path: of the file, where it may be another than the one that the others of its unit are known by.
    """

    def __init__(self, why: str, path: Path | None = None) -> None:
        super().__init__(why)
        self.path = path


class CopyError(BrokenFile):
    """A copy cannot be cleaned at all; the message says why."""
