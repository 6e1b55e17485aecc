"""All kinds of faults, and how many points of each a run has."""

from tests.faults import buckets, damage, disks, kills
from tests.faults.points import Kind

KINDS: dict[str, Kind] = {kind.name: kind for module in (kills, damage, disks, buckets) for kind in module.KINDS}
"""By name, in the order of the table."""

POINTS = sum(kind.share for kind in KINDS.values())
"""Points of one build of this project."""


def seeds(kind: Kind, points: int, first: int = 0) -> range:
    """The seeds of a kind in a run of so many points altogether; one at least."""
    return range(first, first + max(1, round(kind.share * points / POINTS)))
