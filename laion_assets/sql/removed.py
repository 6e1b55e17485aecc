"""Which pairs removals find, as a session sees a lake, and what was selected from such pairs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final, TypeAlias

import duckdb

from laion_assets.common.duck import number
from laion_assets.consent.changes import merged
from laion_assets.consent.removals import RegisteredRemovals, Removals
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.relations import hive_relation
from laion_assets.sql.session import connect
from laion_assets.tables.catalogue import CATALOGUE, TABLES

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
    return [_selection(name, source, where, read) for name, source, where, read in found]


def _selection(name: str, source: str, where: str, read: Sequence[Mapping[str, Any]]) -> Selection:
    return Selection(name, source, where, {entry["key"]: entry["value"] for entry in read})


def training_selection(lake: Lake, models: Path | str, recipe: str, version: int) -> Selection | None:
    """What the training set of a recipe was selected from, at a version of ``training_sets``; None where it is gone."""
    query = "SELECT policy, selection, map_entries(source_versions) FROM training_sets WHERE recipe = ? LIMIT 1"
    try:
        with connect(lake, models=models, at={"training_sets": version}) as con:
            found = con.execute(query, [recipe]).fetchone()
    except (LakeError, duckdb.Error):
        return None
    return None if found is None else _selection(recipe, *found)


def rows_at(
    lake: Lake, models: Path | str, requests: Sequence[Removals], at: Mapping[str, int]
) -> list[dict[str, int]] | None:
    """The same as :func:`rows_found`, of a lake as it was.

    Args:
        lake: the lake.
        models: folder of the SQL models.
        requests: what to look for.
        at: version by table; -1: it was not there. Those that are not named are read as they are now.

    Returns:
        None where a version is gone.
    """
    try:
        with connect(lake, models=models, at={table: version for table, version in at.items() if version >= 0}) as con:
            _without(con, at)
            return rows_found(con, requests)
    except (LakeError, duckdb.Error):
        return None


@dataclass(frozen=True)
class Found:
    """What one request finds in a lake."""

    rows: Mapping[str, int]
    """By table."""
    things: Removals
    """The pairs that it stands for, by pair_id: of some tables' rows nothing else can be said."""
    tars: Sequence[str]
    """The tars in which its pictures are stored."""
    picture_bytes: int
    """Of these pictures, as they were downloaded."""


def found_at(lake: Lake, models: Path | str, request: Removals, at: Mapping[str, int]) -> Found | None:
    """What a request finds in a lake as it was; see :func:`rows_at`."""
    try:
        with connect(lake, models=models, at={table: version for table, version in at.items() if version >= 0}) as con:
            _without(con, at)
            [rows] = rows_found(con, [request])
            things = con.execute(
                "SELECT DISTINCT 'pair_id' AS kind, pair_id::VARCHAR AS value FROM hit ORDER BY ALL"
            ).pl()
            stored = con.execute(
                "SELECT DISTINCT shard_path, byte_size, url FROM images SEMI JOIN found_images USING (url, sha256) "
                "WHERE status = 'success'"
            ).fetchall()
    except (LakeError, duckdb.Error):
        return None
    tars = sorted({path for path, _, _ in stored if path})
    return Found(rows, Removals(things), tars, sum(size or 0 for _, size, _ in stored))


def _without(con: duckdb.DuckDBPyConnection, at: Mapping[str, int]) -> None:
    """Empty the views of tables that were not there."""
    for table, version in at.items():
        if version < 0:
            con.execute(f"CREATE OR REPLACE VIEW {table} AS FROM {hive_relation(TABLES[table], [])}")


def pairs_selected(lake: Lake, models: Path | str, removals: Removals, selection: Selection) -> int | None:
    """How many of the selected pairs removals find, at the versions that were read; None where these are gone."""
    if any(version < 0 and table not in TABLES for table, version in selection.versions.items()):
        return None  # a SQL model's: what its columns were nobody can say
    there = {table: version for table, version in selection.versions.items() if version >= 0}
    try:
        with connect(lake, models=models, at=there) as con:
            _without(con, selection.versions)
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


def rows_found(con: duckdb.DuckDBPyConnection, requests: Sequence[Removals]) -> list[dict[str, int]]:
    """By table, the rows that each of some removals finds, as a session sees a lake; of ``images`` stored pictures.

    Each table is read once for all of them. Tables in which nothing is found are left out.
    """
    if not requests:
        return []
    known = reduce(merged, requests).register(con)
    find_removed(con, known)
    for name, rows, by in _COMPARED:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE found_{name} AS "
            f"SELECT * EXCLUDE (removal) FROM ({known.annotate(f'({rows})', **by)}) WHERE removal IS NOT NULL"
        )
    for table, key in _followers():
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE found_{table} AS SELECT {key} FROM {table} SEMI JOIN hit USING ({key})"
        )
    return [dict(_rows_of(con, one.register(con))) for one in requests]


def _rows_of(con: duckdb.DuckDBPyConnection, known: RegisteredRemovals) -> Iterator[tuple[str, int]]:
    """The same of one request, among what is found already."""
    find_removed(con, known, "hit", "hit_by_one")
    counts = [
        (name, f"SELECT count(*) FROM ({known.annotate(f'found_{name}', **by)}) WHERE removal IS NOT NULL")
        for name, _, by in _COMPARED
    ]
    counts += [
        (table, f"SELECT count(*) FROM found_{table} SEMI JOIN hit_by_one USING ({key})") for table, key in _followers()
    ]
    for name, query in counts:
        rows = number(con, query)
        if rows:
            yield name, rows


AS_CRAWLED: Final = "candidate_pairs"
"""What was extracted from crawls, from which no build takes anything."""

_BY: TypeAlias = dict[str, Any]
_TOLD: Final = ("expected_sha256", "original_sha256")
"""What an import tells of a picture's bytes, whatever was made of them since."""
_BY_PAIR: Final[_BY] = {"pair_id": "pair_id", "sha256": _TOLD}
_BY_PICTURE: Final[_BY] = {"final_url": "final_url", "sha256": "sha256"}
_COMPARED: Final[tuple[tuple[str, str, _BY], ...]] = (
    (AS_CRAWLED, f"SELECT url, pair_id, {', '.join(_TOLD)} FROM {AS_CRAWLED}", _BY_PAIR),
    ("unique_pairs", f"SELECT url, pair_id, {', '.join(_TOLD)} FROM unique_pairs", _BY_PAIR),
    ("images", "SELECT url, final_url, sha256 FROM images WHERE status = 'success'", _BY_PICTURE),
)
"""Tables whose rows are compared themselves: what of them, and by which columns."""


def _followers() -> Iterator[tuple[str, str]]:
    """Tables that say of a pair or a picture which it is and no more, and what they share with it."""
    for name, table in TABLES.items():
        shares = table.pair.shares if table.pair is not None else ()
        if "url" not in shares and {"pair_id", "sha256"} & {*shares}:
            yield name, ", ".join(column for column in shares if column in ("crawl", "bucket", "pair_id", "sha256"))


FOLLOWED: Final = tuple(name for name, *_ in _COMPARED if name != AS_CRAWLED)
"""Tables of pairs and pictures, whose rows are compared themselves and lead to all others."""
FOLLOWING: Final = tuple(name for name, _ in _followers() if name in CATALOGUE.by_period)
"""Tables whose rows are found by theirs."""

_PAIRS: Final = """(
    SELECT pair.crawl, pair.bucket, pair.pair_id, pair.url, pair.expected_sha256, pair.original_sha256,
           image.final_url, image.sha256
    FROM unique_pairs AS pair
    LEFT JOIN images AS image ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url = pair.url
)"""


def find_removed(
    con: duckdb.DuckDBPyConnection, known: RegisteredRemovals, pairs: str = _PAIRS, table: str = "hit"
) -> None:
    """Make a table of the pairs that are to be removed, themselves or by their picture.

    Args:
        con: a session.
        known: the removals.
        pairs: among which.
        table: what it is to be called: ``crawl, bucket, pair_id, url, final_url, sha256`` and what imports tell.
    """
    annotated = known.annotate(pairs, final_url="final_url", pair_id="pair_id", sha256=("sha256", *_TOLD))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT DISTINCT * EXCLUDE (removal) FROM ({annotated}) "
        "WHERE removal IS NOT NULL"
    )
