"""What can be wrong with a list."""

from laion_assets.sources.transfer import UnexpectedContent


class ListError(UnexpectedContent):
    """A file cannot be taken for a list; one line that names it, what was expected, and what was found."""


class ListChanged(ListError):
    """A file is not what it was when it was imported."""
