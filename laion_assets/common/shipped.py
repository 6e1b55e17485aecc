"""What is shipped beside the code: SQL models, recipes, Dagster's files. Knows where it lies, not what is in it.

In a checkout it lies at the top level, where people look for it; a wheel carries it inside the package (``setup.py``).
"""

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parents[1]
_INSTALLED: Final = PACKAGE / "_shipped"


def shipped(name: str) -> Path:
    """Where a file or folder that is shipped lies: ``recipes``, ``infra/local/dagster.yaml``."""
    inside = _INSTALLED / name
    return inside if inside.exists() else PACKAGE.parent / name


def in_repository(file: Path) -> str | None:
    """The path of a file of ours from the top of the repository; None of any other file."""
    path = file.resolve()
    if path.is_relative_to(_INSTALLED):
        return path.relative_to(_INSTALLED).as_posix()
    ours = (PACKAGE, *(PACKAGE.parent / name for name in ("dbt_like_sql", "recipes") if not _INSTALLED.exists()))
    return path.relative_to(PACKAGE.parent).as_posix() if any(path.is_relative_to(folder) for folder in ours) else None


def where_installed(path: str | Path) -> Path:
    """The path; of one that names something of this package elsewhere, such as a checkout that is gone, ours.

    Files that were written beside one installation name the sample's model configurations, which every one has.
    """
    given = Path(path)
    if not given.exists():
        for place, part in enumerate(given.parts):
            ours = PACKAGE.joinpath(*given.parts[place + 1 :])
            if part == PACKAGE.name and given.parts[place + 1 :] and ours.exists():
                return ours
    return given
