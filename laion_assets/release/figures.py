"""The figures of a release's card, from the tables at the versions that the release pins and from their logs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb

from laion_assets.delta.commits import Commit
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.release.facts import CrawlFacts, EncoderFacts, ReleaseFacts, ThresholdFacts
from laion_assets.release.options import Release
from laion_assets.release.parts import ReleaseError
from laion_assets.sql.session import connect
from laion_assets.tables.catalogue import CATALOGUE, FUNNEL

_ADDED_WHEN_PINNED = "candidate_pairs"
"""What is counted of it too: not read by a release, but by what it reads."""


def release_facts(lake: Lake, models: str, release: Release) -> ReleaseFacts:
    """What the files about a whole release say.

    Args:
        lake: the lake, where the versions that the release pins can be read.
        models: folder of the SQL models.
        release: the release.

    Raises:
        ReleaseError: what it was made from cannot be read any more.
    """
    with still_readable(release):
        return _facts(lake, models, release)


@contextmanager
def still_readable(release: Release) -> Iterator[None]:
    """Say in one line what a block says in its own words where the versions are gone that a release was made from.

    Raises:
        ReleaseError: they are.
    """
    try:
        yield
    except (LakeError, duckdb.Error) as error:
        raise ReleaseError(f"what release {release.name} was made from cannot be read any more: {error}") from error


def _facts(lake: Lake, models: str, release: Release) -> ReleaseFacts:
    terms, crawls = release.terms, list(dict.fromkeys(crawl for crawl, _ in release.part_rows))
    commits = pinned_commits(lake, release)
    pinned = {table: version for table, version in release.versions.items() if version >= 0}
    with connect(lake, models=models, at=pinned) as con:
        return ReleaseFacts(
            name=release.name,
            description=terms.description,
            creator=terms.creator,
            contact=terms.contact,
            url=terms.url or "",
            license=terms.license,
            license_link=terms.license_link or "",
            created_at=release.created_at,
            source=terms.source,
            where="" if terms.selection == "true" else terms.selection,
            formats=terms.formats,
            rows=release.pairs,
            pictures=release.pictures,
            subsets=_by_size(release.subsets),
            languages=_by_size(release.languages),
            hosts=tuple(_by_size(release.hosts).items()),
            drops={table: drops for table, found in commits.items() if (drops := _drops(found))},
            crawls=[*_crawls(con, release, crawls)],
            encoders=[*_encoders(con, crawls)],
            policies=_column(con, "SELECT DISTINCT policy FROM filtered_pairs WHERE crawl IN ? ORDER BY 1", crawls),
            thresholds=[*_thresholds(con, crawls)],
            code_versions={
                table: ", ".join(sorted({commit.code_version for commit in found}))
                for table, found in commits.items()
                if found
            },
            versions=dict(sorted(release.versions.items())),
        )


def pinned_commits(lake: Lake, release: Release) -> dict[str, list[Commit]]:
    """By table of the funnel, the records of the partitions that a release's crawls were made from."""
    crawls = list(dict.fromkeys(crawl for crawl, _ in release.part_rows))
    return {table: [*_commits(lake, release, table, crawls)] for table in FUNNEL}


def _commits(lake: Lake, release: Release, table: str, crawls: list[str]) -> Iterator[Commit]:
    """The records of the partitions of some crawls, at the version that the release was made from."""
    version = release.versions.get(table)
    if version is None and table == _ADDED_WHEN_PINNED:
        above = _commits(lake, release, "unique_pairs", crawls)
        version = max((commit.upstreams[table].version for commit in above if table in commit.upstreams), default=None)
    if version is None or version < 0 or not lake.exists(table):
        return
    for name, commit in lake.ledger_at(table, version).commits.items():
        if CATALOGUE.period_of(name) in crawls:
            yield commit


def _drops(commits: list[Commit]) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for commit in commits:
        found.update(commit.drops)
    return _by_size({reason: rows for reason, rows in found.items() if rows})


def _by_size(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _crawls(con: duckdb.DuckDBPyConnection, release: Release, crawls: list[str]) -> Iterator[CrawlFacts]:
    rows: Counter[str] = Counter()
    for (crawl, _), count in release.part_rows.items():
        rows[crawl] += count
    known = {
        crawl: told
        for crawl, *told in _rows(
            con, "SELECT crawl, source_uri, first_capture, last_capture FROM crawl_snapshots WHERE crawl IN ?", crawls
        )
    }
    for crawl in crawls:
        source, first, last = known.get(crawl, ("", None, None))
        yield CrawlFacts(name=crawl, source=source, rows=rows[crawl], first_capture=first, last_capture=last)


def _encoders(con: duckdb.DuckDBPyConnection, crawls: list[str]) -> Iterator[EncoderFacts]:
    for name, sha256, precision, preprocess in _rows(
        con,
        "SELECT DISTINCT encoder, encoder_sha256, precision, preprocess FROM clip_embeddings WHERE crawl IN ? "
        "ORDER BY ALL",
        crawls,
    ):
        yield EncoderFacts(name=name, sha256=sha256, precision=precision, preprocess=preprocess)


def _thresholds(con: duckdb.DuckDBPyConnection, crawls: list[str]) -> Iterator[ThresholdFacts]:
    for subset, encoder, threshold in _rows(
        con,
        "SELECT DISTINCT subset, encoder, threshold FROM filtered_pairs WHERE crawl IN ? AND threshold IS NOT NULL "
        "ORDER BY ALL",
        crawls,
    ):
        yield ThresholdFacts(subset=subset, encoder=encoder, threshold=threshold)


def _rows(con: duckdb.DuckDBPyConnection, query: str, crawls: list[str]) -> list[tuple[Any, ...]]:
    return con.execute(query, [crawls]).fetchall()


def _column(con: duckdb.DuckDBPyConnection, query: str, crawls: list[str]) -> list[str]:
    return [value for (value,) in _rows(con, query, crawls)]
