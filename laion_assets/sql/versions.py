"""Time travel: which version of a table a session reads."""

from collections.abc import Iterable, Mapping

from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake


class NoSuchVersion(LakeError):
    """A session was asked for a version that a table does not have."""


def ensure_versions(lake: Lake, tables: Iterable[str], at: Mapping[str, int]) -> None:
    """Make sure that the lake has these versions of these tables.

    Args:
        lake: the lake.
        tables: the names of all tables, those of SQL models among them.
        at: version by table, as :func:`laion_assets.sql.connect` takes them.

    Raises:
        NoSuchVersion: it has not; the message names what is there.
    """
    known = list(tables)
    for name, version in at.items():
        if name not in known:
            raise NoSuchVersion(f"there is no table {name!r} to read at a version, there are {', '.join(known)}")
        if not lake.exists(name):
            raise NoSuchVersion(f"{name} has no version yet: nobody has built it")
        newest = lake.table(name).version()
        if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= newest:
            raise NoSuchVersion(f"{name} has the versions 0 to {newest}, not {version!r}")
