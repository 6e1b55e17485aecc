"""Tables of what was published: a row a release, and every file of each."""

from laion_assets.delta.table import Read
from laion_assets.tables import groups
from laion_assets.tables.columns import BOOL, BUCKET, COUNTS, CRAWL, INT, LONG, STRING, STRINGS, TIME, VERSIONS, column
from laion_assets.tables.declaration import Declaration
from laion_assets.tables.needs import Need

_RELEASE = column("release", STRING, "Name of the release.")
_MADE_FROM = ("unique_pairs", "images", "clip_embeddings", "filtered_pairs")

RELEASES = Declaration(
    name="releases",
    description="One row per release: what was selected, at which versions, and what is said of it.",
    key=("release",),
    partition_by=("release",),
    group=groups.RELEASES,
    code_version="1",
    # What the selection's SQL reads comes on top: see `sql.selection`.
    reads=(
        Read(table="crawl_snapshots", periods="all"),
        *(Read(table=table, periods="all") for table in _MADE_FROM),
        Read(table="takedowns"),
    ),
    kinds=("duckdb",),
    need=Need(pool="memory", cpus=2, memory_gib=8, hours=24),
    shaped_by=(),  # what was asked for is in the row, and stays
    # Removals refuse a release that is being made and make none stale: its feed tells of them.
    outside=(),
    rerun="recorded",
    long=False,
    command="laion release NAME",
    remake="`laion release {release}` makes it again",
    pins_sources=True,
    pair=None,
    funnel=None,
    short="release",
    columns=(
        _RELEASE,
        column("source", STRING, "The table or SQL model that the pairs were selected from."),
        column("selection", STRING, "The SQL predicate that selected them."),
        column("formats", STRINGS, "The formats that it is written in."),
        column("has_pictures", BOOL, "Whether pictures are in it; else links alone."),
        column("destination", STRING, "The folder or s3:// address that it is written to.", digested=False),
        column("description", STRING, "What it is, for its card."),
        column("license", STRING, "The terms of the list itself, not of the pictures."),
        column("license_link", STRING, "Where these terms stand.", nullable=True),
        column("creator", STRING, "Who publishes it."),
        column("contact", STRING, "Where removals are asked for."),
        column("url", STRING, "Its page on the web.", nullable=True),
        column("created_at", TIME, "When it was begun: the date that its files bear."),
        column("pairs", LONG, "Pairs in it."),
        column("pictures", LONG, "Pairs whose picture is in it; 0 where it is links alone."),
        column("part_rows", COUNTS, "Pairs by part, `CRAWL/BUCKET`; parts without pairs are left out."),
        column("crawls", STRINGS, "The lake's crawls in order: what parts are numbered by."),
        column("left_out", COUNTS, "Selected pairs that are not in it, by reason."),
        column("subsets", COUNTS, "Pairs by language group."),
        column("languages", COUNTS, "Pairs by language."),
        column("hosts", COUNTS, "Pairs of the hosts that most are from."),
        column("source_versions", VERSIONS, "Version of every table that it is made from.", digested=False),
    ),
)

RELEASE_FILES = Declaration(
    name="release_files",
    description="One row per file of a release that belongs to one crawl and bucket.",
    key=("release", "path"),
    partition_by=("release", "crawl", "bucket"),
    order_by=("path",),
    group=groups.RELEASES,
    code_version="1",
    reads=(
        Read(table="releases"),
        *(Read(table=table) for table in _MADE_FROM),
        Read(table="takedowns"),
    ),
    kinds=("duckdb",),
    need=Need(pool="memory", cpus=2, memory_gib=8, hours=24),
    shaped_by=(),
    outside=(),
    rerun="pure",
    long=True,
    command="laion release NAME",
    remake="`laion release {release}` writes it again",
    anew=frozenset({"sha256"}),
    pair=None,
    funnel=None,
    short="files",
    columns=(
        _RELEASE,
        CRAWL,
        BUCKET,
        column("path", STRING, "The file, below the release's folder."),
        column("kind", STRING, "The format that it is written in, or `ids`."),
        column("bytes", LONG, "Its size."),
        column("sha256", STRING, "SHA-256 of its bytes, hex."),
        column("rows", LONG, "Pairs in it; null where they are counted in another file.", nullable=True),
        column("part", INT, "Number of its crawl and bucket among all of the release."),
        column("made_from", STRING, "Digest of the rows, vectors and code that it was written from."),
        column(
            "taken_from", STRING, "The earlier release that it was taken from; null: it was written.",
            nullable=True, digested=False,
        ),
    ),
)  # fmt: skip
