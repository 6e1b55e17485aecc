"""Where pages and pictures of a lake are to be found, below the address of whatever serves them."""

from typing import Final, Literal, TypeAlias
from urllib.parse import quote

from laion_assets.delta.partition import Partition, partition_name

PREFIX: Final = "/laion"
Kind: TypeAlias = Literal["kept", "dropped"]
"""Which pairs of a partition of filtered_pairs, and of those that the filter dropped of it."""
KINDS: Final[tuple[Kind, ...]] = ("kept", "dropped")


def strip_address(kind: Kind, partition: Partition) -> str:
    """Of a row of pictures, an SVG file."""
    return f"{PREFIX}/pictures/{kind}/{_path(partition)}"


def pairs_address(kind: Kind, partition: Partition) -> str:
    """Of a page of pairs."""
    return f"{PREFIX}/pairs/{kind}/{_path(partition)}"


def rows_address(table: str, partition: Partition) -> str:
    """Of a page with the first rows of a partition."""
    return f"{PREFIX}/rows/{table}/{_path(partition)}"


def _path(partition: Partition) -> str:
    return quote(partition_name(partition), safe="=/")
