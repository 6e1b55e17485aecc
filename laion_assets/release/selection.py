"""Which pairs a release has, and the rows and vectors of each of its parts."""

# Names of relations and columns, never values, are put into SQL here.

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from laion_assets.common.duck import number
from laion_assets.consent.policy import ConsentOptions
from laion_assets.consent.removals import Removals
from laion_assets.delta.build import PartitionBuild
from laion_assets.release.ids import write_parquet
from laion_assets.release.options import Release, Terms
from laion_assets.release.parts import EMBEDDING_COLUMNS, RELEASED_COLUMNS, ReleaseError
from laion_assets.sql.macros import MACROS
from laion_assets.sql.project import Project
from laion_assets.sql.selection import ALWAYS_CURRENT, SELECTED, Selector, open_selection, refuse_opted_out
from laion_assets.text.language import language_group_sql

RELEASING: Final = Selector(
    "releases", "a release", "the release", "begin another release, which reads the tables as they are now"
)
NO_PICTURE: Final = "no picture"
_HOSTS: Final = 20


def begin_release(
    build: PartitionBuild,
    project: Project,
    name: str,
    terms: Terms,
    *,
    removals: Removals,
    consent: ConsentOptions,
    created_at: datetime,
    versions: Mapping[str, int],
) -> Release:
    """Select the pairs of a release and count them.

    Args:
        build: of the release's row; its reads are what the release pins.
        project: the SQL models.
        name: of the release.
        terms: what it is.
        removals: takedowns and deny lists as they are now.
        consent: what is obeyed of what pages said, in whatever crawl, until now.
        created_at: when it was begun.
        versions: of tables to read; the others are read as they are now.

    Raises:
        LakeError: the source or the predicate is wrong, or cannot be read, or a page says no to a pair.
        ReleaseError: nothing is selected, or something that is to be removed.
    """
    _select(build, project, terms, versions)
    selected = number(build.con, f"SELECT count(*) FROM {SELECTED}")
    _keep(build, terms, removals)
    refuse_opted_out(build, "kept", consent, RELEASING)
    con = build.con
    parts = con.execute("SELECT crawl, bucket, count(*) FROM kept GROUP BY ALL ORDER BY ALL").fetchall()
    pairs = sum(rows for *_, rows in parts)
    if not pairs:
        where = "" if terms.selection == "true" else f" WHERE {terms.selection}"
        pictures = (
            f": none of the {selected:,} selected pairs has a picture, `--links-only` needs none" if selected else ""
        )
        raise ReleaseError(f"the release would be empty: {terms.source}{where} names no pair{pictures}")
    group, host = language_group_sql("language"), MACROS["url_host(url)"]

    def counts(of: str, most: int | None = None) -> dict[str, int]:
        limit = "" if most is None else f"ORDER BY rows DESC, value LIMIT {most}"
        found = con.execute(
            f"SELECT {of} AS value, count(*) AS rows FROM kept WHERE value IS NOT NULL GROUP BY value {limit}"
        )
        return dict(found.fetchall())

    return Release(
        name=name,
        terms=terms,
        created_at=created_at,
        pairs=pairs,
        pictures=pairs if terms.has_pictures else 0,
        part_rows={(crawl, bucket): rows for crawl, bucket, rows in parts},
        crawls=build.lake.order.sorted(build.pinned("unique_pairs").periods),
        left_out={NO_PICTURE: selected - pairs} if selected > pairs else {},
        subsets=counts(group),
        languages=counts("language"),
        hosts=counts(host, _HOSTS),
        versions={table: version for table, version in build.read_versions.items() if table not in ALWAYS_CURRENT},
    )


def stage_part(
    build: PartitionBuild, project: Project, release: Release, *, removals: Removals, folder: Path, vectors: bool
) -> tuple[Path, Path | None]:
    """Write the rows of the part that ``build`` is of, and their vectors; gives both files.

    Args:
        build: of the files of one crawl and bucket.
        project: the SQL models.
        release: the release.
        removals: takedowns and deny lists as they are now.
        folder: to write to.
        vectors: whether those are asked for.

    Raises:
        LakeError: what the release was selected from cannot be read any more.
        ReleaseError: something in it is to be removed, or other pairs are selected than when it was begun.
    """
    crawl, bucket = str(build.partition["crawl"]), int(build.partition["bucket"])
    _select(build, project, release.terms, release.versions, only={"crawl": crawl, "bucket": bucket})
    _keep(build, release.terms, removals)
    rows, embeddings = folder / "rows.parquet", folder / "embeddings.parquet"
    names = ("sample_key", "shard_path")
    place = ", ".join(f"image.{name}" if release.terms.has_pictures else f"NULL AS {name}" for name in names)
    # A vector of a picture that was replaced since says nothing about the one the url has now.
    build.con.execute("""
        CREATE VIEW vectors AS
        SELECT kept.pair_id, vector.encoder, vector.encoder_sha256, vector.similarity, vector.image_embedding,
               vector.text_embedding
        FROM kept
        JOIN clip_embeddings AS vector
            ON vector.crawl = kept.crawl AND vector.bucket = kept.bucket AND vector.pair_id = kept.pair_id
            AND vector.url_id = kept.url_id AND vector.sha256 = kept.sha256
    """)
    # Where no filter gave a verdict a pair has the similarity by its only encoder.
    written = write_parquet(
        build.con.execute(f"""
            SELECT kept.pair_id, kept.url, kept.text, kept.language, {language_group_sql("kept.language")} AS subset,
                   coalesce(verdict.similarity, alone.similarity)::DOUBLE AS similarity, image.width, image.height,
                   image.original_width, image.original_height, coalesce(verdict.license, pair.license) AS license,
                   verdict.punsafe, verdict.pwatermark, verdict.aesthetic_score, image.sha256,
                   coalesce(verdict.encoder, alone.encoder) AS encoder,
                   coalesce(verdict.encoder_sha256, alone.encoder_sha256) AS encoder_sha256, verdict.policy,
                   verdict.threshold, kept.crawl, kept.bucket, kept.page_url, image.exif,
                   {place}
            FROM kept
            LEFT JOIN images AS image
                ON image.crawl = kept.crawl AND image.bucket = kept.bucket AND image.url_id = kept.url_id
                AND image.url = kept.url AND image.status = 'success'
            JOIN unique_pairs AS pair
                ON pair.crawl = kept.crawl AND pair.bucket = kept.bucket AND pair.pair_id = kept.pair_id
            LEFT JOIN filtered_pairs AS verdict
                ON verdict.crawl = kept.crawl AND verdict.bucket = kept.bucket AND verdict.pair_id = kept.pair_id
                AND verdict.url = kept.url
            LEFT JOIN (
                SELECT pair_id, any_value(similarity) AS similarity, any_value(encoder) AS encoder,
                       any_value(encoder_sha256) AS encoder_sha256
                FROM vectors GROUP BY pair_id HAVING count(*) = 1
            ) AS alone ON alone.pair_id = kept.pair_id
            ORDER BY kept.pair_id
        """),
        rows,
        RELEASED_COLUMNS,
    )
    expected = release.part_rows[crawl, bucket]
    if written != expected:
        raise ReleaseError(
            f"{crawl} bucket {bucket} gives {written:,} pairs to release {release.name}, and gave {expected:,} when it "
            "was begun: the predicate is no function of the rows (does it use random() or the date?)"
        )
    if not vectors:
        return rows, None
    wanted = f"SELECT {', '.join(EMBEDDING_COLUMNS.names)} FROM vectors ORDER BY pair_id, encoder, encoder_sha256"
    write_parquet(build.con.execute(wanted), embeddings, EMBEDDING_COLUMNS)
    return rows, embeddings


def _select(
    build: PartitionBuild,
    project: Project,
    terms: Terms,
    versions: Mapping[str, int],
    only: Mapping[str, str | int] | None = None,
) -> None:
    open_selection(build, project, terms.source, terms.selection, versions, by=RELEASING, only=only)


def _keep(build: PartitionBuild, terms: Terms, removals: Removals) -> None:
    """Make the view ``kept`` of the selected pairs that are released.

    Raises:
        ReleaseError: some are to be removed.
    """
    pictured = "WHERE shard_path IS NOT NULL" if terms.has_pictures else ""
    build.con.execute(f"CREATE VIEW kept AS FROM {SELECTED} {pictured}")
    digests = ("sha256", "expected_sha256", "original_sha256")
    annotated = removals.register(build.con).annotate("kept", final_url="final_url", pair_id="pair_id", sha256=digests)
    found = build.con.execute(
        f"SELECT crawl, count(*) FROM ({annotated}) WHERE removal IS NOT NULL GROUP BY crawl ORDER BY crawl"
    ).fetchall()
    if found:
        raise ReleaseError(refusal(dict(found)))


def refusal(rows: Mapping[str, int]) -> str:
    """Why a release is refused that holds rows, by crawl, which are to be removed."""
    total = sum(rows.values())
    return (
        f"{total:,} {'pair' if total == 1 else 'pairs'} of the release would be on a takedown or a deny list: "
        f"`laion build {' '.join(rows)}` takes them out, then begin a new release"
    )
