"""Where things of one user lie, between processes and apart from any lake: the XDG Base Directory Specification.

The library ``platformdirs``, which others have installed here, gives the same folders on Linux. It is not used: where
nobody knows the user's home it names a folder ``~`` in the working directory, where this raises, and on macOS it would
part people from the history that they have.
"""

import os
from pathlib import Path
from typing import Final

_NAME: Final = "laion-lakehouse"


def user_cache() -> Path:
    """The folder for what can be made again; it may not be there yet.

    Raises:
        RuntimeError: nobody knows this user's home.
    """
    return _base("XDG_CACHE_HOME", ".cache") / _NAME


def user_state() -> Path:
    """The folder for what is kept although nothing depends on it, such as history; it may not be there yet.

    Raises:
        RuntimeError: nobody knows this user's home.
    """
    return _base("XDG_STATE_HOME", ".local/state") / _NAME


def _base(variable: str, below_home: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / below_home)
