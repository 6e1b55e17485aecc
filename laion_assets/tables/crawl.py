"""Tables of what a crawl is: its snapshot, and the files of it that are to be read."""

from laion_assets.delta.table import Read
from laion_assets.tables import groups
from laion_assets.tables.columns import CRAWL, INT, LONG, SHARD, STRING, TIME, column
from laion_assets.tables.declaration import Declaration, PairRow
from laion_assets.tables.needs import Need

CRAWL_SNAPSHOTS = Declaration(
    name="crawl_snapshots",
    description="One row per Common Crawl snapshot.",
    key=("crawl",),
    partition_by=("crawl",),
    group=groups.CRAWL,
    code_version="2",
    reads=(),
    kinds=("s3",),
    need=Need(pool="network", public=True, memory_gib=4, hours=1),
    shaped_by=(),
    outside=(),
    rerun="recorded",
    long=False,
    command="laion build CRAWL --until crawl_snapshots",
    remake="`laion build {crawl}` makes it again",
    pair=PairRow(shares=("crawl",), needs="crawl", shows=("name", "source_uri", "first_capture", "last_capture")),
    funnel=None,
    short="listed",
    columns=(
        CRAWL,
        column("name", STRING, "The name Common Crawl gives the snapshot, 'August 2025 Index'."),
        column("wat_file_count", LONG, "WAT files the crawl lists; 0 where it has WARC files only."),
        column("first_capture", TIME, "Time of the first capture, where collinfo.json tells.", nullable=True),
        column("last_capture", TIME, "Time of the last capture, where collinfo.json tells.", nullable=True),
        column("source_uri", STRING, "Where the crawl was read from."),
        column("registered_at", TIME, "When the snapshot was registered.", digested=False),
    ),
)

WAT_FILES = Declaration(
    name="wat_files",
    description="One row per WAT (or WARC) file of a snapshot that is to be read.",
    key=("crawl", "file_number"),
    partition_by=("crawl",),
    order_by=("file_number",),
    group=groups.CRAWL,
    code_version="2",
    reads=(Read(table="crawl_snapshots"),),
    kinds=("s3",),
    need=Need(pool="network", public=True, memory_gib=4, hours=1),
    shaped_by=(),
    outside=(),
    rerun="recorded",
    long=False,
    command="laion build CRAWL --until wat_files",
    remake="`laion build {crawl}` makes it again",
    pair=PairRow(shares=("crawl", "file_number"), needs="file_number", shows=("path", "file_number")),
    funnel=None,
    short="files",
    columns=(
        CRAWL,
        column("file_number", INT, "Position in the crawl's list, from 0."),
        column("path", STRING, "Path below the source."),
        SHARD,
    ),
)
