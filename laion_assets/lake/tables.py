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

_RECIPE = _c("recipe", _STRING, "Name of the recipe.")
_BENCHMARK = _c("benchmark", _STRING, "Name of the benchmark.")
_EPOCH = _c("epoch", _INT, "Epochs completed.")
_VERSIONS = pa.map_(_STRING, _LONG)

BENCHMARK_IMAGES = Table(
    name="benchmark_images",
    description="One row per picture of a registered evaluation set: what copies of it are known by.",
    key=("benchmark", "sample_key"),
    partition_by=("benchmark",),
    order_by=("sample_key",),
    columns=(
        _BENCHMARK,
        _c("sample_key", _STRING, "Key of the sample in the benchmark's tars."),
        _c("folder", _STRING, "Where the benchmark lies.", digested=False),
        _c("task", _STRING, "What is measured.", accepted=("zeroshot_classification", "zeroshot_retrieval")),
        _c("split", _STRING, "The split that is measured on."),
        _c("in_distribution_benchmark", _STRING, "The benchmark whose shifted version this is.", nullable=True),
        _c("dataset_sha256", _STRING, "Digest of all that decides a score: tars, class names, templates."),
        _c("sha256", _STRING, "SHA-256 of the picture's bytes, hex."),
        _c("perceptual_hash", _LONG, "64-bit perceptual hash; null where it cannot be decoded.", nullable=True),
        _c("colour_layout", pa.binary(), "A small colour thumbnail, the second measure.", nullable=True),
    ),
)

TRAINING_SETS = Table(
    name="training_sets",
    description="One row per webdataset shard of what a recipe learns from.",
    key=("recipe", "shard_path"),
    partition_by=("recipe",),
    order_by=("split", "shard_path"),
    columns=(
        _RECIPE,
        _c("split", _STRING, "Whether it is learned from.", accepted=("train", "validation")),
        _c("shard_path", _STRING, "The tar, below the lake's folder.", digested=False),
        _c("samples", _LONG, "Samples in it."),
        _c("unique_images", _LONG, "Distinct pictures in it."),
        _c("bytes", _LONG, "Size of the tar."),
        _c("sha256", _STRING, "SHA-256 of the tar, hex."),
        _c("policy", _STRING, "The table or SQL model the pairs were selected from."),
        _c("selection", _STRING, "The SQL predicate that selected them."),
        _c("seed", _LONG, "Seed of the order."),
        _c("excluded_benchmark", _LONG, "Pairs of the recipe left out as copies of evaluation pictures."),
        _c("source_versions", _VERSIONS, "Version of every table that was read.", digested=False),
    ),
)

CLIP_CHECKPOINTS = Table(
    name="clip_checkpoints",
    description="One row per epoch of a recipe's training: the weights, and how they came about.",
    key=("recipe", "epoch"),
    partition_by=("recipe",),
    order_by=("epoch",),
    columns=(
        _RECIPE,
        _EPOCH,
        _c("final", _BOOL, "Whether the schedule was completed with it."),
        _c("path", _STRING, "The weights (.safetensors), below the lake's folder.", digested=False),
        _c("sha256", _STRING, "SHA-256 of the weights, hex."),
        _c("model", _STRING, "open_clip's name of the architecture."),
        _c("config_json", _STRING, "open_clip's configuration of it."),
        _c("open_clip_version", _STRING, "Version of open_clip that trained it."),
        _c("precision", _STRING, "Arithmetic of the training."),
        _c("seed", _LONG, "Of initial weights, order and augmentation."),
        _c("arm", _STRING, "What the recipe is compared by."),
        _c("global_batch_size", _LONG, "Samples of one optimiser step, over all processes."),
        _c("steps", _LONG, "Optimiser steps since the beginning."),
        _c("samples_seen", _LONG, "Samples served since the beginning, repeats counted."),
        _c("samples_unique", _LONG, "Different samples among them."),
        _c("loss", _DOUBLE, "Mean contrastive loss of the epoch's reported steps."),
        _c("learning_rate", _DOUBLE, "At the end of the epoch."),
        _c("logit_scale", _DOUBLE, "At the end of the epoch."),
        _c("samples_per_second", _DOUBLE, "Of the epoch, over all processes.", digested=False),
        _c("gmacs_per_sample", _DOUBLE, "Billions of multiply-accumulates of a forward pass over one pair."),
        _c("wall_seconds", _DOUBLE, "Of the epoch.", digested=False),
        _c("device", _STRING, "What trained it: processes x kind.", digested=False),
        _c("resumed_from", _INT, "Epoch after which its process began; null: at the beginning.",
           nullable=True, digested=False),
        _c("training_set_version", _LONG, "Version of training_sets.", digested=False),
        _c("source_versions", _VERSIONS, "Version of every table the training set was made from.", digested=False),
        _c("finished_at", _TIME, "When the epoch ended.", digested=False),
    ),
)  # fmt: skip

_SCORED = (
    _RECIPE,
    _BENCHMARK,
    _EPOCH,
    _c("checkpoint_sha256", _STRING, "SHA-256 of the weights that were measured."),
    _c("dataset_sha256", _STRING, "Digest of the benchmark."),
    _c("precision", _STRING, "Arithmetic of the forward pass."),
    _c("evaluator_version", _STRING, "Version of the method here."),
    _c("evaluated_at", _TIME, "When it was measured.", digested=False),
)

ZERO_SHOT_SCORES = Table(
    name="zero_shot_scores",
    description="One row per checkpoint and classification benchmark: zero-shot accuracy.",
    key=("recipe", "epoch", "benchmark"),
    partition_by=("recipe", "benchmark"),
    order_by=("epoch",),
    columns=(
        *_SCORED,
        _c("in_distribution_benchmark", _STRING, "The benchmark whose shifted version this is.", nullable=True),
        _c("top1", _DOUBLE, "Share of samples whose class scores highest."),
        _c("top5", _DOUBLE, "Share of samples whose class is among the first five; null below five.", nullable=True),
        _c("mean_per_class_recall", _DOUBLE, "Mean over classes of the share of their samples found."),
        _c("standard_error", _DOUBLE, "Of top1, binomial."),
        _c("chance", _DOUBLE, "top1 of guessing."),
        _c("samples", _LONG, "Samples measured."),
        _c("classes", _INT, "Classes to choose from."),
        _c("templates", _INT, "Prompt templates averaged."),
    ),
)

RETRIEVAL_SCORES = Table(
    name="retrieval_scores",
    description="One row per checkpoint and retrieval benchmark: recall of pictures by text and of texts by picture.",
    key=("recipe", "epoch", "benchmark"),
    partition_by=("recipe", "benchmark"),
    order_by=("epoch",),
    columns=(
        *_SCORED,
        *(
            _c(f"{what}_recall_at_{k}", _DOUBLE, f"Share of {by} with {found} among the first {k}.")
            for what, by, found in (
                ("image", "captions", "their picture"), ("text", "pictures", "one of their captions")
            )
            for k in (1, 5, 10)
        ),
        _c("images", _LONG, "Pictures measured."),
        _c("captions", _LONG, "Captions measured."),
    ),
)  # fmt: skip

ROBUSTNESS = Table(
    name="robustness",
    description="One row per final checkpoint and shifted benchmark: accuracy there beside accuracy in distribution.",
    key=("recipe", "epoch", "benchmark"),
    order_by=("recipe", "epoch", "benchmark"),
    columns=(
        _RECIPE,
        _EPOCH,
        _BENCHMARK,
        _c("in_distribution_benchmark", _STRING, "The benchmark it is a shifted version of."),
        _c("in_distribution_accuracy", _DOUBLE, "top1 there."),
        _c("in_distribution_low", _DOUBLE, "Lower end of its 95 % interval."),
        _c("in_distribution_high", _DOUBLE, "Upper end."),
        _c("shifted_accuracy", _DOUBLE, "top1 under shift."),
        _c("shifted_low", _DOUBLE, "Lower end of its 95 % interval."),
        _c("shifted_high", _DOUBLE, "Upper end."),
        _c("effective_robustness", _DOUBLE, "Accuracy beyond what baselines have; null: not estimable.", nullable=True),
        _c("ci_low", _DOUBLE, "Lower end of its 95 % interval.", nullable=True),
        _c("ci_high", _DOUBLE, "Upper end.", nullable=True),
        _c("baseline_models", _INT, "Models the fit was made of."),
        _c("baseline_span", _DOUBLE, "From their least to their highest accuracy in distribution."),
        _c("reason", _STRING, "Why it is not estimable.", nullable=True),
    ),
)

SCALING_LAWS = Table(
    name="scaling_laws",
    description="One row per benchmark and arm: error against compute, of completed schedules.",
    key=("benchmark", "arm"),
    order_by=("benchmark", "arm"),
    columns=(
        _BENCHMARK,
        _c("arm", _STRING, "What the recipes have in common."),
        _c("error_model", _STRING, "What was fitted; null: too little to fit.", nullable=True),
        _c("coefficient", _DOUBLE, "a of E = a C^-b.", nullable=True),
        _c("exponent", _DOUBLE, "b.", nullable=True),
        _c("intercept", _DOUBLE, "Error that no compute removes, where it was fitted.", nullable=True),
        _c("ci_low", _DOUBLE, "Lower end of the exponent's 95 % interval.", nullable=True),
        _c("ci_high", _DOUBLE, "Upper end.", nullable=True),
        _c("r_squared", _DOUBLE, "Of the fit, in logarithms.", nullable=True),
        _c("points", _INT, "Distinct amounts of compute."),
        _c("recipes", _INT, "Recipes."),
        _c("seeds", _INT, "Seeds."),
        _c("compute_min", _DOUBLE, "Least compute, in GMACs."),
        _c("compute_max", _DOUBLE, "Most."),
        _c("reason", _STRING, "Why nothing was fitted.", nullable=True),
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
    )
}
"""Every table by name, in the order in which data flows."""
