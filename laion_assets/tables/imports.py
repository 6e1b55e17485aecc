"""The table of what is imported: lists of urls, and tars of pictures, each name a crawl of its own."""

from laion_assets.tables import groups
from laion_assets.tables.columns import CRAWL, INT, LONG, STRING, STRINGS, TIME, column
from laion_assets.tables.declaration import Declaration

IMPORTS = Declaration(
    name="imports",
    description="One row per file of an import: a list of urls, or a tar, that is read as a crawl of its own.",
    key=("crawl", "file_number"),
    partition_by=("crawl",),
    order_by=("file_number",),
    group=groups.CRAWL,
    code_version="1",
    reads=(),
    kinds=(),
    need=None,
    shaped_by=(),
    outside=(),
    rerun="pure",
    long=False,
    command="laion import NAME FILE",
    remake="enter its files again with `laion import {crawl}`",
    entered="imports",
    is_looked_up=True,
    pair=None,
    funnel=None,
    short="imports",
    columns=(
        CRAWL,
        column("file_number", INT, "Position among the files of the import, from 0."),
        column("uri", STRING, "Where the file lies, without credentials."),
        column("kind", STRING, "What it holds: rows of urls and texts, or pictures.", accepted=("list", "tars")),
        column("format", STRING, "How it is written: parquet, csv, tsv, jsonl or tar; and how it is compressed."),
        column("rows", LONG, "Rows in it."),
        column("row_groups", INT, "Row groups in it, where it is Parquet.", nullable=True),
        column("bytes", LONG, "Bytes of the file."),
        column("sha256", STRING, "SHA-256 of the file, hex: where lineage ends."),
        column("mapping", STRING, "Which of its columns is taken for what, as JSON."),
        column("left_out", STRINGS, "Its columns that are taken for nothing."),
        column("stamp", STRING, "What told this file from another when it was read: time, ETag.", digested=False),
        column("registered_at", TIME, "When it was entered.", digested=False),
    ),
)
