"""Which pairs removals find, as a session sees a lake, and what was selected from such pairs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from laion_assets.common.duck import number
from laion_assets.consent.removals import RegisteredRemovals, Removals
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.relations import hive_relation
from laion_assets.sql.session import connect
from laion_assets.tables.catalogue import TABLES

_TRAININGS: Final = """
    SELECT DISTINCT ON (recipe) recipe, policy, selection, map_entries(source_versions) FROM training_sets
    ORDER BY recipe
"""
_RELEASES: Final = "SELECT release, source, selection, map_entries(source_versions) FROM releases ORDER BY release"


@dataclass(frozen=True)
class Selection:
    """Pairs that were selected once."""

    name: str
    """Of the recipe or release."""
    source: str
    """The table or model."""
    where: str
    """The predicate."""
    versions: Mapping[str, int]
    """Of the tables that were read; -1: it was not there."""


def training_selections(lake: Lake, models: Path | str) -> list[Selection]:
    """What the training sets that there are were selected from."""
    return _selections(lake, models, _TRAININGS)


def release_selections(lake: Lake, models: Path | str) -> list[Selection]:
    """What the releases that there are were selected from."""
    return _selections(lake, models, _RELEASES)


def _selections(lake: Lake, models: Path | str, query: str) -> list[Selection]:
    with connect(lake, models=models) as con:
        found = con.execute(query).fetchall()
    return [Selection(*row, {entry["key"]: entry["value"] for entry in read}) for *row, read in found]


def pairs_selected(lake: Lake, models: Path | str, removals: Removals, selection: Selection) -> int | None:
    """How many of the selected pairs removals find, at the versions that were read; None where these are gone."""
    absent = [table for table, version in selection.versions.items() if version < 0]
    if not TABLES.keys() >= {*absent}:  # a SQL model's: what its columns were then nobody can say
        return None
    there = {table: version for table, version in selection.versions.items() if version >= 0}
    try:
        with connect(lake, models=models, at=there) as con:
            for table in absent:
                con.execute(f"CREATE OR REPLACE VIEW {table} AS FROM {hive_relation(TABLES[table], [])}")
            find_removed(con, removals.register(con))
            selected = f"(FROM {selection.source} WHERE ({selection.where}\n))"
            return number(con, f"SELECT count(*) FROM {selected} SEMI JOIN hit USING (crawl, bucket, pair_id)")
    except (LakeError, duckdb.Error):  # a version is gone, or the model that was selected from
        return None


def holding(
    lake: Lake, models: Path | str, removals: Removals, selections: list[Selection]
) -> Iterator[tuple[str, int | None]]:
    """Those of the selections in which removals find pairs, and how many; None where nobody can say any more."""
    for selection in selections:
        pairs = pairs_selected(lake, models, removals, selection)
        if pairs != 0:
            yield selection.name, pairs


def find_removed(con: duckdb.DuckDBPyConnection, known: RegisteredRemovals) -> None:
    """Make the table ``hit`` of the pairs that are to be removed, themselves or by their picture."""
    pairs = """(
        SELECT pair.crawl, pair.bucket, pair.pair_id, pair.url, image.final_url, image.sha256 FROM unique_pairs AS pair
        LEFT JOIN images AS image
            ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url = pair.url
    )"""
    annotated = known.annotate(pairs, final_url="final_url", pair_id="pair_id", sha256="sha256")
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE hit AS SELECT DISTINCT crawl, bucket, pair_id FROM ({annotated}) "
        "WHERE removal IS NOT NULL"
    )
