"""How tables declare their columns: short names of Arrow's types and of a column, and the columns that several have."""

import pyarrow as pa

from laion_assets.delta.table import Column, Numbered
from laion_assets.download.failures import Failure
from laion_assets.text.language import LANGUAGE_GROUPS

STRING, INT, LONG = pa.string(), pa.int32(), pa.int64()
FLOAT, DOUBLE, BOOL = pa.float32(), pa.float64(), pa.bool_()
TIME = pa.timestamp("us", tz="UTC")
STRINGS = pa.list_(pa.string())
VECTOR = pa.list_(pa.float32())
COUNTS = VERSIONS = pa.map_(STRING, LONG)

FAILURES = tuple(map(str, Failure))
SUBSETS = tuple(LANGUAGE_GROUPS)


column = Column
"""A column by name, type and meaning; what else is true of it is said by name."""

CRAWL = column(
    "crawl",
    STRING,
    "Common Crawl's name of the snapshot, CC-MAIN-2024-10, or the one that an import was given.",
    is_period=True,
)
SHARD = column(
    "shard", INT, "File number modulo the lake's number of shards.", numbered=Numbered(count="shards", of="file_number")
)
BUCKET = column(
    "bucket",
    INT,
    "url_id modulo the lake's number of buckets: all pairs of one url share a bucket.",
    numbered=Numbered(count="buckets", of="url_id"),
)
PAIR_ID = column("pair_id", LONG, "First 64 bits of MurmurHash3-x64-128 over url+text; LAION's `hash`.")
URL_ID = column("url_id", LONG, "First 64 bits of MurmurHash3-x64-128 over the url.")
URL = column("url", STRING, "The image's absolute http(s) address.")
TEXT = column("text", STRING, "The alt text: mojibake repaired, whitespace folded.")

RECIPE = column("recipe", STRING, "Name of the recipe.")
BENCHMARK = column("benchmark", STRING, "Name of the benchmark.")
EPOCH = column("epoch", INT, "Epochs completed.")
