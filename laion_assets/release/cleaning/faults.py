"""What keeps a file of a copy from being cleaned."""

from laion_assets.common.files import BrokenFile


class CannotClean(BrokenFile):
    """A file is not understood, or is damaged; the message says why, and what to do, without the file's name."""


class CopyError(BrokenFile):
    """A copy cannot be cleaned at all; the message says why."""
