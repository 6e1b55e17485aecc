"""Tables of pictures: what each url gave, and the vectors of each pair."""

from laion_assets.consent.signals import SAID
from laion_assets.delta.table import NamedFile, Read
from laion_assets.tables import groups
from laion_assets.tables.columns import (
    BOOL,
    BUCKET,
    CRAWL,
    FAILURES,
    FLOAT,
    INT,
    LONG,
    PAIR_ID,
    STRING,
    TIME,
    URL,
    URL_ID,
    VECTOR,
    column,
)
from laion_assets.tables.declaration import Declaration, FunnelStep, Outside, PairRow, Searched, Shaping
from laion_assets.tables.needs import Need

IMAGES = Declaration(
    name="images",
    description="One row per distinct url attempted: what came back, or why nothing did.",
    key=("crawl", "url"),
    partition_by=("crawl", "bucket"),
    order_by=("url_id",),
    group=groups.PAIRS,
    code_version="2",
    reads=(Read(table="unique_pairs"), Read(table="takedowns", judged=False), Read(table="imports")),
    kinds=("python",),
    need=Need(pool="network", public=True, cpus=4, memory_gib=8, hours=48),
    shaped_by=(),
    outside=(Outside.REMOVALS,),
    searched=Searched(
        tables=("unique_pairs", "images"),
        rows="""
            SELECT crawl, bucket, url, NULL AS final_url, expected_sha256 AS sha256, NULL AS unsaid FROM unique_pairs
            UNION ALL SELECT crawl, bucket, url, NULL, original_sha256, NULL FROM unique_pairs
            UNION ALL SELECT crawl, bucket, url, final_url, sha256, CASE
                WHEN failure IN ('deny_listed', 'hash_listed') AND failure_detail LIKE 'redirect to %' THEN 'address'
                WHEN failure = 'hash_listed' OR (status = 'success' AND attempts = 0) THEN 'body' END FROM images""",
        compared=("url", "final_url", "sha256"),
        unsaid=True,
    ),
    rerun="recorded",
    long=True,
    command="laion build CRAWL --until images",
    remake="`laion build {crawl}` makes it again",
    pair=PairRow(
        shares=("crawl", "bucket", "url_id", "url"),
        needs="url_id",
        shows=(
            "url", "status", "failure", "failure_detail", "http_status", "final_url", "fetched_at", "sha256",
            "shard_path", "sample_key",
        ),
    ),
    funnel=FunnelStep(work="download", takes="urls", rates=("download_core_seconds",)),
    short="images",
    columns=(
        CRAWL,
        BUCKET,
        URL_ID,
        URL,
        column("status", STRING, "Whether a picture was stored.", accepted=("success", "failed")),
        column("failure", STRING, "Kind of failure, null on success.", nullable=True, accepted=FAILURES),
        column("failure_detail", STRING, "What exactly went wrong.", nullable=True),
        column("http_status", INT, "Status of the last response; null where nobody was asked.", nullable=True),
        column("width", INT, "Width of the stored picture in pixels.", nullable=True),
        column("height", INT, "Height of the stored picture in pixels.", nullable=True),
        column("original_width", INT, "Width as downloaded, or in the imported tar, in pixels.", nullable=True),
        column("original_height", INT, "Height as downloaded, or in the imported tar, in pixels.", nullable=True),
        column("final_url", STRING, "Address after redirects.", nullable=True),
        column("content_type", STRING, "Content-Type of the last response; of an import, the format.", nullable=True),
        column("attempts", INT, "Requests made for this url; 0 for an imported picture."),
        column("byte_size", LONG, "Bytes downloaded, or in the imported tar.", nullable=True),
        column("sha256", STRING, "SHA-256 of the bytes as downloaded, or in the imported tar, hex.", nullable=True),
        column("perceptual_hash", LONG, "64-bit perceptual hash of the picture.", nullable=True, is_digest=True),
        column("exif", STRING, "EXIF tags as JSON.", nullable=True),
        column(
            "shard_path",
            STRING,
            "Webdataset tar that holds the picture.",
            nullable=True,
            digested=False,
            file=NamedFile(folder="images", member="sample_key", member_sha256="sha256"),
        ),
        column("sample_key", STRING, "Key of the sample in that tar.", nullable=True, digested=False),
        column("signals", SAID, "What hosts, answers and the picture said of its use.", nullable=True, added=True),
        column(
            "asked_at",
            TIME,
            "When host and answer were last asked what they allow, where that was after the download.",
            nullable=True,
            digested=False,
            added=True,
        ),
        column("expected", STRING, "Digests, hex, of which a list or a tar promised one.", nullable=True, added=True),
        column("fetched_at", TIME, "When the answer came; of an import, what its tar tells.", digested=False),
    ),
)  # fmt: skip

CLIP_EMBEDDINGS = Declaration(
    name="clip_embeddings",
    description="Image and text vector and their similarity, one row per pair and encoder.",
    key=("pair_id", "encoder"),
    partition_by=("crawl", "bucket"),
    group=groups.PAIRS,
    code_version="2",
    reads=(Read(table="unique_pairs"), Read(table="images")),
    kinds=("pytorch",),
    need=Need(pool="gpu", cpus=4, memory_gib=12, gpus=1, hours=24),
    shaped_by=(Shaping.ENCODERS,),
    outside=(),
    rerun="numeric",
    long=True,
    command="laion build CRAWL --until clip_embeddings",
    remake="`laion build {crawl}` makes it again",
    pair=PairRow(
        shares=("crawl", "bucket", "pair_id", "encoder_sha256"),
        shows=("similarity", "encoder", "encoder_sha256", "precision", "text_truncated", "sha256"),
    ),
    funnel=FunnelStep(work="embedding", takes="unique pairs", rates=("embed_gpu_seconds", "embed_core_seconds")),
    short="embed.",
    columns=(
        CRAWL,
        BUCKET,
        PAIR_ID,
        URL_ID,
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
