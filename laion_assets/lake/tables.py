"""The catalogue: every table of the lake, declared once.

Adding a table means adding a declaration here and an asset that fills it. Types follow Delta's.
"""

import pyarrow as pa

from laion_assets.lake.catalogue import Column, Table

_STRING, _INT, _LONG = pa.string(), pa.int32(), pa.int64()
_FLOAT, _DOUBLE, _BOOL = pa.float32(), pa.float64(), pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")
_VECTOR = pa.list_(pa.float32())

SUBSETS = ("en", "multi", "nolang")
FAILURES = (
    "dns",
    "connect",
    "timeout",
    "http_4xx",
    "http_5xx",
    "not_an_image",
    "decode",
    "too_small",
    "too_large",
    "aspect",
    "opted_out",
    "blocked_address",
    "hash_listed",
    "deny_listed",
    "other",
)


def _c(
    name: str,
    type_: pa.DataType,
    description: str,
    *,
    nullable: bool = False,
    accepted: tuple[str, ...] = (),
    digested: bool = True,
) -> Column:
    return Column(
        name=name, type=type_, description=description, nullable=nullable, accepted=accepted, digested=digested
    )


_CRAWL = _c("crawl", _STRING, "Common Crawl's name of the snapshot, CC-MAIN-2024-10.")
_SHARD = _c("shard", _INT, "File number modulo the lake's number of shards.")
_BUCKET = _c("bucket", _INT, "url_id modulo the lake's number of buckets: all pairs of one url share a bucket.")
_PAIR_ID = _c("pair_id", _LONG, "First 64 bits of MurmurHash3-x64-128 over url+text; LAION's `hash`.")
_URL_ID = _c("url_id", _LONG, "First 64 bits of MurmurHash3-x64-128 over the url.")
_URL = _c("url", _STRING, "The image's absolute http(s) address.")
_TEXT = _c("text", _STRING, "The alt text: mojibake repaired, whitespace folded.")

_PAIR_COLUMNS = (
    _PAIR_ID,
    _URL_ID,
    _URL,
    _TEXT,
    _c("language", _STRING, "ISO code by fastText lid.176, or `nolang` below the confidence floor."),
    _c("language_confidence", _FLOAT, "Probability of the most likely language."),
    _c("page_url", _STRING, "The page the link stands on."),
    _c("file_number", _INT, "Position of the WAT or WARC file in the crawl's list."),
    _c("path", _STRING, "Path of the WAT or WARC file that was read."),
    _c("record_offset", _LONG, "Byte offset of the record in that (compressed) file."),
    _c("link_position", _INT, "Position of the link among the record's image links."),
    _c("warc_filename", _STRING, "WARC file that holds the page itself.", nullable=True),
    _c("warc_offset", _LONG, "Byte offset of the page in that WARC file.", nullable=True),
)

CRAWL_SNAPSHOTS = Table(
    name="crawl_snapshots",
    description="One row per Common Crawl snapshot.",
    key=("crawl",),
    partition_by=("crawl",),
    columns=(
        _CRAWL,
        _c("name", _STRING, "The name Common Crawl gives the snapshot, 'August 2025 Index'."),
        _c("wat_file_count", _LONG, "WAT files the crawl lists; 0 where it has WARC files only."),
        _c("first_capture", _TIME, "Time of the first capture, where collinfo.json tells.", nullable=True),
        _c("last_capture", _TIME, "Time of the last capture, where collinfo.json tells.", nullable=True),
        _c("source_uri", _STRING, "Where the crawl was read from."),
        _c("registered_at", _TIME, "When the snapshot was registered.", digested=False),
    ),
)

WAT_FILES = Table(
    name="wat_files",
    description="One row per WAT (or WARC) file of a snapshot that is to be read.",
    key=("crawl", "file_number"),
    partition_by=("crawl",),
    order_by=("file_number",),
    columns=(
        _CRAWL,
        _c("file_number", _INT, "Position in the crawl's list, from 0."),
        _c("path", _STRING, "Path below the source."),
        _SHARD,
    ),
)

CANDIDATE_PAIRS = Table(
    name="candidate_pairs",
    description="One row per image link with alt text.",
    key=("crawl", "file_number", "record_offset", "link_position"),
    partition_by=("crawl", "shard"),
    order_by=("bucket", "file_number", "record_offset", "link_position"),
    columns=(_CRAWL, _SHARD, _BUCKET, *_PAIR_COLUMNS),
)

UNIQUE_PAIRS = Table(
    name="unique_pairs",
    description="One row per distinct (url, text) that no earlier crawl holds.",
    key=("pair_id",),
    partition_by=("crawl", "bucket"),
    order_by=("pair_id",),
    columns=(
        _CRAWL,
        _BUCKET,
        *_PAIR_COLUMNS,
        _c("duplicate_count", _INT, "Copies of the pair seen in this crawl, this one included."),
    ),
)

IMAGES = Table(
    name="images",
    description="One row per distinct url attempted: what came back, or why nothing did.",
    key=("crawl", "url"),
    partition_by=("crawl", "bucket"),
    order_by=("url_id",),
    columns=(
        _CRAWL,
        _BUCKET,
        _URL_ID,
        _URL,
        _c("status", _STRING, "Whether a picture was stored.", accepted=("success", "failed")),
        _c("failure", _STRING, "Kind of failure, null on success.", nullable=True, accepted=FAILURES),
        _c("failure_detail", _STRING, "What exactly went wrong.", nullable=True),
        _c("http_status", _INT, "Status of the last response.", nullable=True),
        _c("width", _INT, "Width of the stored picture in pixels.", nullable=True),
        _c("height", _INT, "Height of the stored picture in pixels.", nullable=True),
        _c("original_width", _INT, "Width as downloaded, in pixels.", nullable=True),
        _c("original_height", _INT, "Height as downloaded, in pixels.", nullable=True),
        _c("final_url", _STRING, "Address after redirects.", nullable=True),
        _c("content_type", _STRING, "Content-Type of the last response.", nullable=True),
        _c("attempts", _INT, "Requests made for this url."),
        _c("byte_size", _LONG, "Bytes downloaded.", nullable=True),
        _c("sha256", _STRING, "SHA-256 of the bytes as downloaded, hex.", nullable=True),
        _c("perceptual_hash", _LONG, "64-bit perceptual hash of the picture.", nullable=True),
        _c("exif", _STRING, "EXIF tags as JSON.", nullable=True),
        _c("shard_path", _STRING, "Webdataset tar that holds the picture.", nullable=True, digested=False),
        _c("sample_key", _STRING, "Key of the sample in that tar.", nullable=True, digested=False),
        _c("fetched_at", _TIME, "When the answer came.", digested=False),
    ),
)

CLIP_EMBEDDINGS = Table(
    name="clip_embeddings",
    description="Image and text vector and their similarity, one row per pair and encoder.",
    key=("pair_id", "encoder"),
    partition_by=("crawl", "bucket"),
    columns=(
        _CRAWL,
        _BUCKET,
        _PAIR_ID,
        _URL_ID,
        _c("sha256", _STRING, "SHA-256 of the picture that was encoded, as downloaded."),
        _c("encoder", _STRING, "Name of the encoder: model and weights."),
        _c("encoder_sha256", _STRING, "SHA-256 of the encoder's weights, hex."),
        _c("preprocess", _STRING, "How pictures were prepared."),
        _c("precision", _STRING, "Arithmetic of the forward pass.", accepted=("fp32", "amp_bf16", "amp_fp16")),
        _c("image_embedding", _VECTOR, "L2-normalised, rounded to float16 precision.", digested=False),
        _c("text_embedding", _VECTOR, "L2-normalised, rounded to float16 precision.", digested=False),
        _c("text_truncated", _BOOL, "Whether the text was longer than the encoder reads."),
        _c("similarity", _FLOAT, "Cosine of the two vectors."),
    ),
)

FILTERED_PAIRS = Table(
    name="filtered_pairs",
    description="The released pairs, with the policy and threshold that let each through.",
    key=("pair_id",),
    partition_by=("crawl", "bucket"),
    order_by=("pair_id",),
    columns=(
        _CRAWL,
        _BUCKET,
        _PAIR_ID,
        _URL,
        _TEXT,
        _c("width", _INT, "Width as downloaded, in pixels.", nullable=True),
        _c("height", _INT, "Height as downloaded, in pixels.", nullable=True),
        _c("license", _STRING, "Licence where known.", nullable=True),
        _c("language", _STRING, "ISO code, or `nolang`."),
        _c("similarity", _FLOAT, "Cosine of image and text vector by `encoder`."),
        _c("punsafe", _FLOAT, "Probability of unsafe content; null until scored.", nullable=True),
        _c("pwatermark", _FLOAT, "Probability of a watermark; null until scored.", nullable=True),
        _c("aesthetic_score", _FLOAT, "Aesthetic score, 1 to 10; null until scored.", nullable=True),
        _c("subset", _STRING, "Language group.", accepted=SUBSETS),
        _c("sha256", _STRING, "SHA-256 of the picture as downloaded."),
        _c("policy", _STRING, "The filter policy."),
        _c("threshold", _FLOAT, "Similarity the policy asked for; null where it asks none.", nullable=True),
        _c("encoder", _STRING, "The encoder that scored the pair."),
        _c("encoder_sha256", _STRING, "SHA-256 of that encoder's weights."),
    ),
)

CALIBRATIONS = Table(
    name="calibrations",
    description="The similarity threshold of each encoder and language group, with how well it separates.",
    key=("encoder_sha256", "language_group"),
    partition_by=("encoder_sha256",),
    columns=(
        _c("encoder_sha256", _STRING, "SHA-256 of the encoder's weights."),
        _c("encoder", _STRING, "Name of the encoder: model and weights."),
        _c("language_group", _STRING, "Language group.", accepted=SUBSETS),
        _c("threshold", _DOUBLE, "Cosine at and above which a pair is kept."),
        _c("keep_rate", _DOUBLE, "Share of true pairs at or above the threshold."),
        _c("drop_rate", _DOUBLE, "Share of shuffled pairs below it."),
        _c("roc_auc", _DOUBLE, "Area under the ROC curve, true against shuffled pairs."),
        _c("positives", _LONG, "True pairs measured."),
        _c("negatives", _LONG, "Shuffled pairs measured."),
        _c("method", _STRING, "How the threshold was chosen."),
        _c("picture_domain", _STRING, "The kind of picture it was measured on."),
        _c("positive_mean", _DOUBLE, "Mean similarity of true pairs."),
        _c("positive_p05", _DOUBLE, "5th percentile of true pairs."),
        _c("negative_mean", _DOUBLE, "Mean similarity of shuffled pairs."),
        _c("negative_p95", _DOUBLE, "95th percentile of shuffled pairs."),
        _c("calibrated_at", _TIME, "When it was measured.", digested=False),
    ),
)

TAKEDOWNS = Table(
    name="takedowns",
    description="One row per request to remove an address, a site, a picture or a pair. Nothing brings them back.",
    key=("kind", "value"),
    partition_by=("kind",),
    columns=(
        _c("requested_at", _TIME, "When removal was asked for."),
        _c("kind", _STRING, "What `value` names.", accepted=("url", "domain", "sha256", "pair_id")),
        _c("value", _STRING, "The url, domain, hex digest or pair_id."),
        _c("reason", _STRING, "Why.", nullable=True),
        _c("rows_removed", pa.map_(_STRING, _LONG), "Rows removed by table.", nullable=True, digested=False),
        _c("tainted_checkpoints", pa.list_(_STRING), "Checkpoints trained on it.", nullable=True, digested=False),
        _c("completed_at", _TIME, "When the last row went.", nullable=True, digested=False),
    ),
)

MODEL_TESTS = Table(
    name="model_tests",
    description="What the tests of SQL models found last, one row per test.",
    key=("model", "scope", "test"),
    partition_by=("model", "scope"),
    order_by=("test",),
    columns=(
        _c("model", _STRING, "The SQL model."),
        _c("scope", _STRING, "The crawl that was tested, or `all`."),
        _c("test", _STRING, "Name of the test."),
        _c("passed", _BOOL, "Whether no row broke it."),
        _c("failing_rows", _LONG, "Rows that broke it."),
        _c("sample", _STRING, "A few of them, as a JSON list of objects.", digested=False),
        _c("tested_at", _TIME, "When it was tested.", digested=False),
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
    )
}
"""Every table by name, in the order in which data flows."""
