"""Selections: the pairs that a table or model and a predicate name, with their pictures, to train on or to release."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import duckdb

from laion_assets.consent.policy import ConsentOptions, refusing_sql
from laion_assets.delta.build import PartitionBuild
from laion_assets.delta.errors import LakeError
from laion_assets.delta.partition import Partition, literal
from laion_assets.delta.table import Read
from laion_assets.sql.build import declared, open_inputs, stage_of
from laion_assets.sql.project import Project
from laion_assets.sql.verdicts import refused, verdict
from laion_assets.tables.catalogue import CATALOGUE, TABLES
from laion_assets.tables.declaration import Declaration

SELECTED = "selected"
"""The view that :func:`open_selection` makes."""

ALWAYS_CURRENT = tuple(name for name, table in TABLES.items() if table.is_always_current)
"""What counts as it is now, whatever a selection is pinned to."""

_KEY = ("crawl", "bucket", "pair_id")
_SUBQUERY = re.compile(r"\b(select|from|with|over)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Selector:
    """What pairs are selected for, and how people are told of it."""

    table: str
    """The table that is made of what is selected: its declaration says what all selections for it read."""
    a: str
    the: str
    instead: str
    """What to do where a version that was asked for cannot be read any more."""


TRAINING: Final = Selector(
    "training_sets",
    "a recipe",
    "the recipe",
    "name another version, or select anew with `laion train RECIPE --refresh`",
)


def selection_stage(project: Project, source: str, by: Selector) -> Declaration:
    """What is read to select from ``source``: the declaration of the selector's table, with these reads on top.

    Raises:
        LakeError: there is no such table or model, the model cannot run, or it is no list of pairs.
    """
    stage = TABLES[by.table]
    found = {read.table: read for read in stage.reads}
    if source in TABLES:
        columns = TABLES[source].schema.names
        found.setdefault(source, Read(table=source, periods="all"))
    elif source in project.enabled:
        model = project.models[source]
        columns = [column.name for column in model.columns]
        for read in stage_of(project, source).reads if model.is_view else (Read(table=source, periods="all"),):
            found.setdefault(read.table, replace(read, periods="all"))
    elif source in project.models:
        raise LakeError(f"{by.a} selects from {source}, which cannot run: {project.models[source].disabled}")
    else:
        raise LakeError(
            f"{by.a} selects from {source!r}, and there is no such table or enabled SQL model; `laion tables` and "
            "`laion models list` name them"
        )
    lacking = [name for name in _KEY if name not in columns]
    if lacking:
        raise LakeError(f"{by.a} cannot select from {source}: it has no column {', '.join(lacking)}, which name a pair")
    return replace(stage, reads=tuple(found.values()))


def training_stage(project: Project, source: str) -> Declaration:
    """What a training set selected from ``source`` is built from; see :func:`selection_stage`."""
    return selection_stage(project, source, TRAINING)


def selected_from(sources: Iterable[str], project: Project) -> dict[str, bool]:
    """Every table and table model that selections from ``sources`` read beside what all training sets read, and
    whether it has partitions.

    A source that cannot be selected from is passed over: a recipe that nobody asks for must stop nothing else.
    """
    tables: set[str] = set()
    for source in {*sources}:
        with suppress(LakeError):
            tables.update(read.table for read in training_stage(project, source).reads)
    tables -= {read.table for read in TABLES["training_sets"].reads}
    return {
        name: bool(TABLES[name].partition_by) if name in TABLES else project.models[name].is_incremental
        for name in sorted(tables)
    }


def open_selection(
    build: PartitionBuild,
    project: Project,
    source: str,
    where: str,
    versions: Mapping[str, int],
    *,
    by: Selector = TRAINING,
    only: Partition | None = None,
) -> None:
    """Make the view ``selected`` in the build's connection: each selected pair once, with what leads to its picture.

    Columns: pair_id, url_id, url, text, language, crawl, bucket, page_url, path, record_offset, link_position, sha256,
    shard_path, sample_key, perceptual_hash, width, height, final_url, expected_sha256, original_sha256. Those from
    sha256 to final_url are null where the picture is not stored, the last two where no import told them. There is a
    view of every table that is read, too.

    Args:
        build: of the selector's table, or of what is made with it.
        project: the SQL models.
        source: a table or model.
        where: a predicate over it.
        versions: Delta versions to read tables at; the others are read as they are now.
        by: what it is selected for.
        only: the crawl and bucket to select of; None: of all. What the predicate says of other pairs counts all the
            same. Tables that are partitioned so are then there in this partition alone, where that suffices.

    Raises:
        LakeError: an input is missing or untested, a version is not there, or the predicate is wrong.
    """
    stage = selection_stage(project, source, by)
    declared(build.lake, project)
    _pin(build, stage, versions, by)
    if source in {read.table for read in stage.reads} and not build.pinned(source).commits:
        when = f" at version {versions[source]}" if source in versions else " yet"
        how = f"`laion models run --select {source}`" if source in project.enabled else "`laion build`"
        raise LakeError(f"{by.the} selects from {source}, which holds nothing{when}; {how} builds it")
    alone = only is not None and source in TABLES and not _SUBQUERY.search(where)
    for read in stage.reads:
        names = [CATALOGUE.partition(name) for name in build.pinned(read.table).commits]
        if alone and only is not None and {*only} <= {*build.lake.tables[read.table].partition_by}:
            names = [name for name in names if all(name[column] == value for column, value in only.items())]
        build.view(read.table, read.table, names)
    if source in project.enabled and project.models[source].is_view:
        open_inputs(build, project, source, {}, tables=False)
        build.refuse(source, {}, refused(source, verdict(build.lake, source, {})))
        build.con.execute(f"CREATE VIEW {source} AS {project.models[source].template.render()}")
    within = "".join(f" AND {column} = {literal(value)}" for column, value in (only or {}).items())
    try:
        # On a line of its own, so that a comment at its end takes nothing else with it.
        build.con.execute(
            f"CREATE TEMP TABLE chosen AS SELECT DISTINCT {', '.join(_KEY)} FROM {source} WHERE ({where}\n){within}"
        )
    except duckdb.Error as error:
        raise LakeError(f"{by.the}'s selection from {source} is wrong: {error}") from error
    build.con.execute(f"""
        CREATE VIEW {SELECTED} AS
        SELECT pair.pair_id, pair.url_id, pair.url, pair.text, pair.language, pair.crawl, pair.bucket, pair.page_url,
               pair.path, pair.record_offset, pair.link_position, image.sha256, image.shard_path, image.sample_key,
               image.perceptual_hash, image.width, image.height, image.final_url, pair.expected_sha256,
               pair.original_sha256
        FROM chosen
        JOIN unique_pairs AS pair USING (crawl, bucket, pair_id)
        LEFT JOIN images AS image
            ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url_id = pair.url_id
            AND image.url = pair.url AND image.status = 'success'
    """)


def refuse_opted_out(build: PartitionBuild, pairs: str, consent: ConsentOptions, by: Selector) -> None:
    """Go no further with pairs to whose use a page says no, be it in a crawl that came after theirs.

    What pages said until now counts, whatever else is pinned; it decides whether something is made and never what.

    Args:
        build: of the selector's table.
        pairs: a view with ``crawl, bucket, url``.
        consent: what is obeyed.
        by: what the pairs were selected for.

    Raises:
        LakeError: there are such pairs.
    """
    shards = [CATALOGUE.partition(name) for name in build.pinned("candidate_pairs").commits]
    asked, heard = ("bucket", "url", "page_signals"), "page_signals IS NOT NULL"
    build.view("said_by_pages", "candidate_pairs", shards, columns=asked, where=heard, lineage=False)
    found = build.con.execute(f"""
        SELECT pair.crawl, count(*), list_distinct(flatten(list(refusing)))
        FROM {pairs} AS pair JOIN (
            SELECT bucket, url, flatten(list(refusing)) AS refusing
            FROM (SELECT bucket, url, {refusing_sql("page_signals", consent)} AS refusing FROM said_by_pages)
            GROUP BY bucket, url
        ) AS said ON said.bucket = pair.bucket AND said.url = pair.url
        WHERE len(refusing) > 0 GROUP BY pair.crawl ORDER BY pair.crawl""").fetchall()
    if found:
        total, signals = sum(rows for _, rows, _ in found), sorted({signal for *_, by_ in found for signal in by_})
        crawls = " ".join(crawl for crawl, *_ in found)
        raise LakeError(
            f"pages say no to {total:,} {'pair' if total == 1 else 'pairs'} of {by.the} ({', '.join(signals)}): "
            f'`laion sql "FROM consent_changes"` shows them. `laion build {crawls}` takes out those whose own crawl '
            "says so; put the urls of the others on a deny list (LAION_DENY__URL_LISTS) and build; then "
            f"{by.instead}"
        )


def _pin(build: PartitionBuild, stage: Declaration, versions: Mapping[str, int], by: Selector) -> None:
    """Read the tables at these versions."""
    unknown = sorted(set(versions) - {read.table for read in stage.reads})
    if unknown:
        raise LakeError(
            f"{by.the} pins {', '.join(unknown)}, which it does not read; it reads "
            f"{', '.join(sorted({read.table for read in stage.reads} - {*ALWAYS_CURRENT}))}"
        )
    current = sorted(set(versions) & {*ALWAYS_CURRENT})
    if current:
        raise LakeError(
            f"{by.the} pins {', '.join(current)}: removal requests and evaluation sets count as they are now, take "
            "them out of `versions`"
        )
    for table, version in versions.items():
        build.pin(table, version, instead=by.instead)
