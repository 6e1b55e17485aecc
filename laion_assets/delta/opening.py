"""Opening a lake, and making it where there is none."""

from collections.abc import Mapping

from laion_assets.delta.catalogue import Catalogue
from laion_assets.delta.errors import LakeError, LakeMismatch
from laion_assets.delta.lake import Lake
from laion_assets.delta.location import open_storage
from laion_assets.delta.marker import MARKER, new_marker, read_marker, told


def open_lake(uri: str, catalogue: Catalogue, shape: Mapping[str, int], *, create: bool = True) -> Lake:
    """The lake at ``uri``, a folder or ``s3://bucket/prefix``; made first if there is none and ``create``.

    Args:
        uri: where it lies.
        catalogue: the tables it is made for.
        shape: how many numbers rows are spread over, by what the catalogue calls them.
        create: make a lake where there is none.

    Raises:
        LakeMismatch: the lake was created with another shape.
        MarkerDamaged: there are tables, and ``lake.json`` is lost or damaged.
        LakeError: there is no lake and ``create`` is false, ``uri`` cannot hold one, or it is of a newer format.
    """
    storage = open_storage(uri)
    recorded = read_marker(storage, catalogue)
    if recorded is None:
        if not create:
            raise LakeError(
                f"there is no lake at {storage.uri}: `laion build` or `laion demo` makes one, --lake names another"
            )
        # Of two creators one wins, and both read its numbers.
        storage.create(MARKER, new_marker(shape).to_bytes())
        recorded = read_marker(storage, catalogue)
    has = recorded.shape if recorded is not None else dict.fromkeys(shape, 0)
    if has != shape:
        raise LakeMismatch(
            f"the lake at {storage.uri} was created with {told(has)}, the settings say "
            f"{' and '.join(map(str, shape.values()))}: set "
            f"{' '.join(f'LAION_{name.upper()}={number}' for name, number in has.items())}, or name another lake"
        )
    lake = Lake(storage, catalogue, shape)
    for table in catalogue.tables.values():
        if table.entered and create:  # whoever only reads writes nothing
            lake.table(table.name)  # there from the first day, so that nobody can forget to read it
    return lake


def recorded_shape(uri: str, catalogue: Catalogue) -> Mapping[str, int] | None:
    """The shape of the lake at ``uri``, or None where there is none.

    Raises:
        MarkerDamaged: there are tables, and ``lake.json`` is lost or damaged.
        LakeError: the lake is of a newer format.
    """
    marker = read_marker(open_storage(uri), catalogue)
    return None if marker is None else marker.shape
