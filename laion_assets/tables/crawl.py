"""Tables of what a crawl is: its snapshot, and the files of it that are to be read."""

from laion_assets.delta.table import Read
from laion_assets.tables import groups
from laion_assets.tables.columns import CRAWL, INT, LONG, SHARD, STRING, TIME, column
from laion_assets.tables.declaration import Declaration, PairRow
from laion_assets.tables.needs import Need

CRAWL_SNAPSHOTS = Declaration(
    name="crawl_snapshots",
    description="One row per crawl: a Common Crawl snapshot, or an import.",
    key=("crawl",),
    partition_by=("crawl",),
    group=groups.CRAWL,
    code_version="2",
    reads=(Read(table="imports"),),
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
        column("name", STRING, "The name Common Crawl gives the snapshot, 'August 2025 Index'; of an import its own."),
        column("wat_file_count", LONG, "WAT files the crawl lists; 0 where it has WARC files only, or is an import."),
        column("first_capture", TIME, "Time of the first capture, where collinfo.json tells.", nullable=True),
        column("last_capture", TIME, "Time of the last capture, where collinfo.json tells.", nullable=True),
        column("source_uri", STRING, "Where the crawl was read from; of an import the folder its files share."),
        column("registered_at", TIME, "When the snapshot was registered.", digested=False),
    ),
)

WAT_FILES = Declaration(
    name="wat_files",
    description="One row per WAT (or WARC) file of a snapshot that is to be read, or per row group of an import.",
    key=("crawl", "file_number"),
    partition_by=("crawl",),
    order_by=("file_number",),
    group=groups.CRAWL,
    code_version="2",
    reads=(Read(table="crawl_snapshots"), Read(table="imports")),
    kinds=("s3",),
    need=Need(pool="network", public=True, memory_gib=4, hours=1),
    shaped_by=(),
    outside=(),
    rerun="recorded",
    long=False,
    command="laion build CRAWL --until wat_files",
    remake="`laion build {crawl}` makes it again",
    pair=PairRow(shares=("crawl", "file_number"), needs="file_number", shows=("path", "file_number", "file_sha256")),
    funnel=None,
    short="files",
    columns=(
        CRAWL,
        column("file_number", INT, "Position in the crawl's list, from 0; of an import, of the row group."),
        column("path", STRING, "Path below the source; of an import, where the file lies."),
        SHARD,
        column("file_sha256", STRING, "Of an import: SHA-256 of the file, hex.", nullable=True, added=True),
        column("first_row", LONG, "Of an import: number of the first row in the file.", nullable=True, added=True),
        column("row_count", LONG, "Of an import: rows from there on.", nullable=True, added=True),
    ),
)
