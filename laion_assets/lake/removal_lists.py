"""The lists of removals that partitions were built against, each kept once under its digest: ``_laion/removals``.

A commit records the digest alone. The list itself is needed to say what came and went since, for deny lists are files
that anybody may change. Addresses stand in it as digests. Where one is lost nothing is judged wrongly: what was built
against it counts as concerned by every change.
"""

from pathlib import Path
from typing import Final

import polars as pl

from laion_assets.consent.changes import as_kept
from laion_assets.consent.removals import Removals
from laion_assets.delta.lake import Lake

_FOLDER: Final = "_laion/removals"


def keep_list(lake: Lake, removals: Removals, scratch: Path) -> None:
    """Keep a list in the lake, if it is not there.

    Args:
        lake: the lake.
        removals: the list.
        scratch: a file of this machine to write it to.
    """
    name = _name(removals.digest)
    if not lake.storage.exists(name):
        as_kept(removals).write(scratch)
        lake.storage.publish(scratch, name)


def kept_list(lake: Lake, digest: str) -> Removals | None:
    """The list of this digest, as it is kept; None where it is not there or cannot be read."""
    name = _name(digest)
    try:
        if not lake.storage.exists(name):
            return None
        with lake.storage.local(name) as file:
            return Removals(pl.read_parquet(file, columns=["kind", "value"]))
    except (OSError, pl.exceptions.PolarsError):
        return None


def _name(digest: str) -> str:
    return f"{_FOLDER}/{digest}.parquet"
