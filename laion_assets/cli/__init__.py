"""The command line: ``laion``. It shows and starts; what it starts is in ``definitions`` and the libraries."""

from laion_assets.cli.main import main

__all__ = ["main"]
