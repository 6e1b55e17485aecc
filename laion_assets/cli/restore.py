"""``laion restore``: a lost or damaged ``lake.json``, written again from what the tables say."""

import os
from typing import Annotated

import typer

from laion_assets.cli.common import LakeOption, out
from laion_assets.delta.location import open_storage
from laion_assets.delta.marker import MARKER, MOST_PARTITIONS, told
from laion_assets.delta.recovery import restore_marker
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import CATALOGUE


def restore(
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_PARTITIONS, help="Shards, where the tables do not tell.", show_default=False),
    ] = None,
    buckets: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_PARTITIONS, help="Buckets, where the tables do not tell.", show_default=False),
    ] = None,
    lake: LakeOption = None,
) -> None:
    """Write a lost or damaged `lake.json` again, from what the lake's tables say.

    It holds the numbers of shards and buckets, which never change: with other numbers the same pair would be stored
    twice. Commits state them; in older lakes they follow from the rows. Where both are silent, nothing is guessed, and
    you are asked for them. A lake whose `lake.json` is sound is left as it is.
    """
    # Settings are not loaded: they begin with the lake's shape.
    storage = open_storage(lake or os.environ.get("LAION_LAKE", Settings.model_fields["lake"].default))
    marker, written = restore_marker(storage, CATALOGUE, {"shards": shards, "buckets": buckets})
    done = "written again" if written else "sound, and left as it is"
    out.print(
        f"{MARKER} of {storage.uri}: {told(marker.shape, ', ')}, format {marker.format}; {done}",
        soft_wrap=True,
        highlight=False,
    )
