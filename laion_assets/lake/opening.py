"""Opening the lake of this project's tables; its shape is the numbers of shards and buckets."""

from laion_assets.delta import opening
from laion_assets.delta.lake import Lake
from laion_assets.delta.location import open_storage
from laion_assets.tables.catalogue import CATALOGUE


def open_lake(uri: str, *, shards: int = 4, buckets: int = 4, create: bool = True) -> Lake:
    """Open the lake at ``uri``; see :func:`laion_assets.delta.opening.open_lake`."""
    return opening.open_lake(uri, CATALOGUE, {"shards": shards, "buckets": buckets}, create=create)


def recorded_shape(uri: str) -> tuple[int, int] | None:
    """(shards, buckets) of the lake at ``uri``; see :func:`laion_assets.delta.opening.recorded_shape`."""
    shape = opening.recorded_shape(uri, CATALOGUE)
    return None if shape is None else (shape["shards"], shape["buckets"])


def lake_at(uri: str) -> Lake:
    """Open an existing lake, whatever its shape.

    Raises:
        LakeError: there is none.
    """
    shards, buckets = recorded_shape(uri) or (4, 4)
    return open_lake(uri, shards=shards, buckets=buckets, create=False)


def damaged_lake_at(uri: str, shards: int, buckets: int) -> Lake:
    """The lake at ``uri`` as it is, although a table of it may be damaged: nothing is read or made yet."""
    return Lake(open_storage(uri), CATALOGUE, {"shards": shards, "buckets": buckets})
