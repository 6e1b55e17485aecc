"""Tables of pairs as crawls have them: every link with a text, and each pair once."""

from laion_assets.consent.signals import SAID
from laion_assets.delta.table import Read
from laion_assets.tables import groups
from laion_assets.tables.columns import (
    BUCKET,
    CRAWL,
    FLOAT,
    INT,
    LONG,
    PAIR_ID,
    SHARD,
    STRING,
    STRINGS,
    TEXT,
    TIME,
    URL,
    URL_ID,
    column,
)
from laion_assets.tables.declaration import Declaration, FunnelStep, Outside, PairRow, Searched, Shaping
from laion_assets.tables.needs import Need

_PAIR_COLUMNS = (
    PAIR_ID,
    URL_ID,
    URL,
    TEXT,
    column("language", STRING, "ISO code by fastText lid.176, or `nolang` below the confidence floor."),
    column("language_confidence", FLOAT, "Probability of the most likely language."),
    column("page_url", STRING, "The page the link stands on, where that is known.", nullable=True),
    column("file_number", INT, "Position of the WAT or WARC file in the crawl's list; of an import, of the row group."),
    column("path", STRING, "Path of the WAT or WARC file that was read; of an import, where the file lies."),
    column(
        "record_offset",
        LONG,
        "Byte offset of the record in that (compressed) file; of an imported tar, of the picture's header.",
        nullable=True,
    ),
    column("link_position", INT, "Position of the link among the record's image links.", nullable=True),
    column("warc_filename", STRING, "WARC file that holds the page itself.", nullable=True),
    column("warc_offset", LONG, "Byte offset of the page in that WARC file.", nullable=True),
    column("row_number", LONG, "Of an import: number of the row in the file, from 0.", nullable=True, added=True),
    column("source_hash", STRING, "Of an import: what the row is called there.", nullable=True, added=True),
    column("source_similarity", FLOAT, "Of an import: its similarity, by another encoder.", nullable=True, added=True),
    column("source_punsafe", FLOAT, "Of an import: its probability of being unsafe.", nullable=True, added=True),
    column("source_pwatermark", FLOAT, "Of an import: its probability of a watermark.", nullable=True, added=True),
    column("license", STRING, "Of an import: the licence that it names.", nullable=True, added=True),
    column("expected_md5", STRING, "Of an import: MD5 that the picture must have, hex.", nullable=True, added=True),
    column("expected_sha256", STRING, "Of an import: SHA-256 the picture must have, hex.", nullable=True, added=True),
    column(
        "original_sha256",
        STRING,
        "Of imported tars: SHA-256 of the picture as it was downloaded, before it was encoded anew, hex.",
        nullable=True,
        added=True,
    ),
    column(
        "page_signals",
        SAID,
        "What the page said of its use, by headers and meta elements: signal, raw value, and the uses that it forbids "
        "(train, index; none of an explicit yes); null where it said nothing, and in lakes before it was read.",
        nullable=True,
        added=True,
    ),
    column(
        "page_seen_at",
        TIME,
        "When the page was captured; null where it said nothing of its use.",
        nullable=True,
        digested=False,
        added=True,
    ),
)
_PLACE = ("file_number", "record_offset", "link_position", "row_number")

CANDIDATE_PAIRS = Declaration(
    name="candidate_pairs",
    description="One row per image link with alt text, or row of an import.",
    key=("crawl", *_PLACE),
    partition_by=("crawl", "shard"),
    order_by=("bucket", *_PLACE),
    group=groups.CRAWL,
    code_version="3",
    reads=(Read(table="wat_files"), Read(table="imports")),
    kinds=("s3", "polars"),
    need=Need(public=True, hours=24),
    shaped_by=(Shaping.EXTRACTION,),
    outside=(),
    rerun="pure",
    long=True,
    command="laion build CRAWL --until candidate_pairs",
    remake="`laion build {crawl}` makes it again",
    pair=PairRow(shares=("crawl", "bucket", "pair_id", "url", "text")),
    funnel=FunnelStep(work="extraction", takes="image links", rates=("extract_core_seconds",)),
    short="candid.",
    columns=(
        CRAWL,
        SHARD,
        BUCKET,
        *_PAIR_COLUMNS,
    ),
)

UNIQUE_PAIRS = Declaration(
    name="unique_pairs",
    description="One row per distinct (url, text) that no earlier crawl holds.",
    key=("pair_id",),
    partition_by=("crawl", "bucket"),
    order_by=("pair_id",),
    group=groups.PAIRS,
    code_version="2",
    reads=(
        Read(table="candidate_pairs"),
        Read(table="unique_pairs", periods="earlier"),
        Read(table="takedowns", judged=False),
    ),
    kinds=("duckdb",),
    need=Need(pool="memory", cpus=2, memory_gib=8),
    shaped_by=(Shaping.CONSENT,),
    outside=(Outside.REMOVALS,),
    searched=Searched(
        tables=("candidate_pairs",),
        rows="SELECT crawl, bucket, url, pair_id, expected_sha256 AS sha256 FROM candidate_pairs "
        "UNION ALL SELECT crawl, bucket, url, pair_id, original_sha256 FROM candidate_pairs",
        compared=("url", "pair_id", "sha256"),
    ),
    rerun="pure",
    long=False,
    command="laion build CRAWL --until unique_pairs",
    remake="`laion build {crawl}` makes it again",
    pair=PairRow(
        shares=("crawl", "bucket", "pair_id", "url", "text"), shows=("url", "text", "language", "duplicate_count")
    ),
    funnel=FunnelStep(work="deduplication", takes="candidate pairs", rates=("dedup_core_seconds",)),
    short="unique",
    columns=(
        CRAWL,
        BUCKET,
        *_PAIR_COLUMNS,
        column("duplicate_count", INT, "Copies of the pair seen in this crawl, this one included."),
        column(
            "let_in_despite",
            STRINGS,
            "Signals by which a page of this crawl said no to the use of the picture, and which `LAION_CONSENT__…` "
            "passed over; null where there are none.",
            nullable=True,
            added=True,
        ),
    ),
)
