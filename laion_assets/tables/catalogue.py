"""The catalogue: every table of the lake, declared once; those of training stand in `training_tables`.

Adding a table means adding a declaration here and an asset that fills it. Types follow Delta's.
"""

import pyarrow as pa

from laion_assets.delta.table import Numbered, Read, Table
from laion_assets.download.failures import Failure
from laion_assets.tables.columns import BOOL, DOUBLE, FLOAT, INT, LONG, STRING, TIME, VECTOR, column
from laion_assets.tables.groups import CRAWL, OPERATIONS, PAIRS
from laion_assets.tables.training import (
    BENCHMARK_IMAGES,
    CLIP_CHECKPOINTS,
    RETRIEVAL_SCORES,
    ROBUSTNESS,
    SCALING_LAWS,
    TRAINING_SETS,
    ZERO_SHOT_SCORES,
)
from laion_assets.text.language import LANGUAGE_GROUPS

FAILURES = tuple(map(str, Failure))
SUBSETS = tuple(LANGUAGE_GROUPS)

_CRAWL = column("crawl", STRING, "Common Crawl's name of the snapshot, CC-MAIN-2024-10.", is_period=True)
_SHARD = column(
    "shard", INT, "File number modulo the lake's number of shards.", numbered=Numbered(count="shards", of="file_number")
)
_BUCKET = column(
    "bucket",
    INT,
    "url_id modulo the lake's number of buckets: all pairs of one url share a bucket.",
    numbered=Numbered(count="buckets", of="url_id"),
)
_PAIR_ID = column("pair_id", LONG, "First 64 bits of MurmurHash3-x64-128 over url+text; LAION's `hash`.")
_URL_ID = column("url_id", LONG, "First 64 bits of MurmurHash3-x64-128 over the url.")
_URL = column("url", STRING, "The image's absolute http(s) address.")
_TEXT = column("text", STRING, "The alt text: mojibake repaired, whitespace folded.")

_PAIR_COLUMNS = (
    _PAIR_ID,
    _URL_ID,
    _URL,
    _TEXT,
    column("language", STRING, "ISO code by fastText lid.176, or `nolang` below the confidence floor."),
    column("language_confidence", FLOAT, "Probability of the most likely language."),
    column("page_url", STRING, "The page the link stands on."),
    column("file_number", INT, "Position of the WAT or WARC file in the crawl's list."),
    column("path", STRING, "Path of the WAT or WARC file that was read."),
    column("record_offset", LONG, "Byte offset of the record in that (compressed) file."),
    column("link_position", INT, "Position of the link among the record's image links."),
    column("warc_filename", STRING, "WARC file that holds the page itself.", nullable=True),
    column("warc_offset", LONG, "Byte offset of the page in that WARC file.", nullable=True),
)

CRAWL_SNAPSHOTS = Table(
    name="crawl_snapshots",
    description="One row per Common Crawl snapshot.",
    key=("crawl",),
    partition_by=("crawl",),
    code_version="2",
    group=CRAWL,
    columns=(
        _CRAWL,
        column("name", STRING, "The name Common Crawl gives the snapshot, 'August 2025 Index'."),
        column("wat_file_count", LONG, "WAT files the crawl lists; 0 where it has WARC files only."),
        column("first_capture", TIME, "Time of the first capture, where collinfo.json tells.", nullable=True),
        column("last_capture", TIME, "Time of the last capture, where collinfo.json tells.", nullable=True),
        column("source_uri", STRING, "Where the crawl was read from."),
        column("registered_at", TIME, "When the snapshot was registered.", digested=False),
    ),
)

WAT_FILES = Table(
    name="wat_files",
    description="One row per WAT (or WARC) file of a snapshot that is to be read.",
    key=("crawl", "file_number"),
    partition_by=("crawl",),
    order_by=("file_number",),
    code_version="2",
    reads=(Read(table="crawl_snapshots"),),
    group=CRAWL,
    columns=(
        _CRAWL,
        column("file_number", INT, "Position in the crawl's list, from 0."),
        column("path", STRING, "Path below the source."),
        _SHARD,
    ),
)

CANDIDATE_PAIRS = Table(
    name="candidate_pairs",
    description="One row per image link with alt text.",
    key=("crawl", "file_number", "record_offset", "link_position"),
    partition_by=("crawl", "shard"),
    order_by=("bucket", "file_number", "record_offset", "link_position"),
    code_version="3",
    reads=(Read(table="wat_files"),),
    group=CRAWL,
    columns=(_CRAWL, _SHARD, _BUCKET, *_PAIR_COLUMNS),
)

UNIQUE_PAIRS = Table(
    name="unique_pairs",
    description="One row per distinct (url, text) that no earlier crawl holds.",
    key=("pair_id",),
    partition_by=("crawl", "bucket"),
    order_by=("pair_id",),
    code_version="2",
    reads=(Read(table="candidate_pairs"), Read(table="unique_pairs", periods="earlier"), Read(table="takedowns")),
    group=PAIRS,
    columns=(
        _CRAWL,
        _BUCKET,
        *_PAIR_COLUMNS,
        column("duplicate_count", INT, "Copies of the pair seen in this crawl, this one included."),
    ),
)

IMAGES = Table(
    name="images",
    description="One row per distinct url attempted: what came back, or why nothing did.",
    key=("crawl", "url"),
    partition_by=("crawl", "bucket"),
    order_by=("url_id",),
    code_version="2",
    reads=(Read(table="unique_pairs"), Read(table="takedowns")),
    group=PAIRS,
    columns=(
        _CRAWL,
        _BUCKET,
        _URL_ID,
        _URL,
        column("status", STRING, "Whether a picture was stored.", accepted=("success", "failed")),
        column("failure", STRING, "Kind of failure, null on success.", nullable=True, accepted=FAILURES),
        column("failure_detail", STRING, "What exactly went wrong.", nullable=True),
        column("http_status", INT, "Status of the last response.", nullable=True),
        column("width", INT, "Width of the stored picture in pixels.", nullable=True),
        column("height", INT, "Height of the stored picture in pixels.", nullable=True),
        column("original_width", INT, "Width as downloaded, in pixels.", nullable=True),
        column("original_height", INT, "Height as downloaded, in pixels.", nullable=True),
        column("final_url", STRING, "Address after redirects.", nullable=True),
        column("content_type", STRING, "Content-Type of the last response.", nullable=True),
        column("attempts", INT, "Requests made for this url."),
        column("byte_size", LONG, "Bytes downloaded.", nullable=True),
        column("sha256", STRING, "SHA-256 of the bytes as downloaded, hex.", nullable=True),
        column("perceptual_hash", LONG, "64-bit perceptual hash of the picture.", nullable=True),
        column("exif", STRING, "EXIF tags as JSON.", nullable=True),
        column(
            "shard_path",
            STRING,
            "Webdataset tar that holds the picture.",
            nullable=True,
            digested=False,
            names_file=True,
        ),
        column("sample_key", STRING, "Key of the sample in that tar.", nullable=True, digested=False),
        column("fetched_at", TIME, "When the answer came.", digested=False),
    ),
)

CLIP_EMBEDDINGS = Table(
    name="clip_embeddings",
    description="Image and text vector and their similarity, one row per pair and encoder.",
    key=("pair_id", "encoder"),
    partition_by=("crawl", "bucket"),
    code_version="2",
    reads=(Read(table="unique_pairs"), Read(table="images")),
    group=PAIRS,
    columns=(
        _CRAWL,
        _BUCKET,
        _PAIR_ID,
        _URL_ID,
        column("sha256", STRING, "SHA-256 of the picture that was encoded, as downloaded."),
        column("encoder", STRING, "Name of the encoder: model and weights."),
        column("encoder_sha256", STRING, "SHA-256 of the encoder's weights, hex."),
        column("preprocess", STRING, "How pictures were prepared."),
        column("precision", STRING, "Arithmetic of the forward pass.", accepted=("fp32", "amp_bf16", "amp_fp16")),
        column("image_embedding", VECTOR, "L2-normalised, rounded to float16 precision.", digested=False),
        column("text_embedding", VECTOR, "L2-normalised, rounded to float16 precision.", digested=False),
        column("text_truncated", BOOL, "Whether the text was longer than the encoder reads."),
        column("similarity", FLOAT, "Cosine of the two vectors."),
    ),
)

FILTERED_PAIRS = Table(
    name="filtered_pairs",
    description="The released pairs, with the policy and threshold that let each through.",
    key=("pair_id",),
    partition_by=("crawl", "bucket"),
    order_by=("pair_id",),
    code_version="2",
    reads=(
        Read(table="unique_pairs"),
        Read(table="images"),
        Read(table="clip_embeddings"),
        Read(table="calibrations"),
        Read(table="takedowns"),
    ),
    group=PAIRS,
    columns=(
        _CRAWL,
        _BUCKET,
        _PAIR_ID,
        _URL,
        _TEXT,
        column("width", INT, "Width as downloaded, in pixels.", nullable=True),
        column("height", INT, "Height as downloaded, in pixels.", nullable=True),
        column("license", STRING, "Licence where known.", nullable=True),
        column("language", STRING, "ISO code, or `nolang`."),
        column("similarity", FLOAT, "Cosine of image and text vector by `encoder`."),
        column("punsafe", FLOAT, "Probability of unsafe content; null until scored.", nullable=True),
        column("pwatermark", FLOAT, "Probability of a watermark; null until scored.", nullable=True),
        column("aesthetic_score", FLOAT, "Aesthetic score, 1 to 10; null until scored.", nullable=True),
        column("subset", STRING, "Language group.", accepted=SUBSETS),
        column("sha256", STRING, "SHA-256 of the picture as downloaded."),
        column("policy", STRING, "The filter policy."),
        column("threshold", FLOAT, "Similarity the policy asked for; null where it asks none.", nullable=True),
        column("encoder", STRING, "The encoder that scored the pair."),
        column("encoder_sha256", STRING, "SHA-256 of that encoder's weights."),
    ),
)

CALIBRATIONS = Table(
    name="calibrations",
    description="The similarity threshold of each encoder and language group, with how well it separates.",
    key=("encoder_sha256", "language_group"),
    partition_by=("encoder_sha256",),
    code_version="3",
    group=PAIRS,
    columns=(
        column("encoder_sha256", STRING, "SHA-256 of the encoder's weights."),
        column("encoder", STRING, "Name of the encoder: model and weights."),
        column("language_group", STRING, "Language group.", accepted=SUBSETS),
        column("threshold", DOUBLE, "Cosine at and above which a pair is kept."),
        column("keep_rate", DOUBLE, "Share of true pairs at or above the threshold."),
        column("drop_rate", DOUBLE, "Share of shuffled pairs below it."),
        column("roc_auc", DOUBLE, "Area under the ROC curve, true against shuffled pairs."),
        column("positives", LONG, "True pairs measured."),
        column("negatives", LONG, "Shuffled pairs measured."),
        column("method", STRING, "How the threshold was chosen."),
        column("picture_domain", STRING, "The kind of picture it was measured on."),
        column("positive_mean", DOUBLE, "Mean similarity of true pairs."),
        column("positive_p05", DOUBLE, "5th percentile of true pairs."),
        column("negative_mean", DOUBLE, "Mean similarity of shuffled pairs."),
        column("negative_p95", DOUBLE, "95th percentile of shuffled pairs."),
        column("calibrated_at", TIME, "When it was measured.", digested=False),
    ),
)

TAKEDOWNS = Table(
    name="takedowns",
    description="One row per request to remove an address, a site, a picture or a pair, or to withdraw one of these.",
    key=("kind", "value"),
    partition_by=("kind",),
    code_version="1",
    group=PAIRS,
    columns=(
        column("requested_at", TIME, "When removal was asked for."),
        column("kind", STRING, "What `value` names.", accepted=("url", "domain", "sha256", "pair_id", "withdrawal")),
        column(
            "value", STRING, "The url, domain, hex digest or pair_id; of a withdrawal, kind and value of the request."
        ),
        column("reason", STRING, "Why.", nullable=True),
        column("rows_removed", pa.map_(STRING, LONG), "Rows removed by table.", nullable=True, digested=False),
        column("tainted_checkpoints", pa.list_(STRING), "Checkpoints trained on it.", nullable=True, digested=False),
        column("completed_at", TIME, "When the last row went.", nullable=True, digested=False),
    ),
)

MODEL_TESTS = Table(
    name="model_tests",
    description="What the tests of SQL models found last, one row per test.",
    key=("model", "scope", "test"),
    partition_by=("model", "scope"),
    order_by=("test",),
    group=OPERATIONS,
    columns=(
        column("model", STRING, "The SQL model."),
        column("scope", STRING, "The crawl that was tested, or `all`."),
        column("test", STRING, "Name of the test."),
        column("passed", BOOL, "Whether no row broke it."),
        column("failing_rows", LONG, "Rows that broke it."),
        column("sample", STRING, "A few of them, as a JSON list of objects.", digested=False),
        column("tested_at", TIME, "When it was tested.", digested=False),
    ),
)

PARTITION_STATES = Table(
    name="partition_states",
    description="How every partition stood when it was looked at last: done, stale, missing or failed, and why.",
    key=("table_name", "partition"),
    partition_by=(),
    order_by=("table_name", "partition"),
    code_version="1",
    # Reads the commit records of all tables, and no rows.
    group=OPERATIONS,
    columns=(
        column("table_name", STRING, "The table, or SQL model."),
        column("partition", STRING, "The partition, crawl=CC-MAIN-2024-10/bucket=3."),
        column("crawl", STRING, "Its crawl, where it has one.", nullable=True),
        column("state", STRING, "How it stands.", accepted=("done", "stale", "missing", "failed")),
        column("reasons", STRING, "What is not up to date.", nullable=True),
        column("judged_at", TIME, "When it was looked at.", digested=False),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        CRAWL_SNAPSHOTS,
        WAT_FILES,
        CANDIDATE_PAIRS,
        UNIQUE_PAIRS,
        IMAGES,
        CLIP_EMBEDDINGS,
        FILTERED_PAIRS,
        CALIBRATIONS,
        TAKEDOWNS,
        MODEL_TESTS,
        BENCHMARK_IMAGES,
        TRAINING_SETS,
        CLIP_CHECKPOINTS,
        ZERO_SHOT_SCORES,
        RETRIEVAL_SCORES,
        ROBUSTNESS,
        SCALING_LAWS,
        PARTITION_STATES,
    )
}
"""Every table by name, in the order in which data flows."""
