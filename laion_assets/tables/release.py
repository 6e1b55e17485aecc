"""Tables of what is released, and of the thresholds that decide it."""

from laion_assets.delta.table import Read
from laion_assets.tables import groups
from laion_assets.tables.columns import (
    BUCKET,
    CRAWL,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    PAIR_ID,
    STRING,
    SUBSETS,
    TEXT,
    TIME,
    URL,
    column,
)
from laion_assets.tables.declaration import Declaration, FunnelStep, Outside, PairRow, Searched, Shaping
from laion_assets.tables.needs import Need

FILTERED_PAIRS = Declaration(
    name="filtered_pairs",
    description="The released pairs, with the policy and threshold that let each through.",
    key=("pair_id",),
    partition_by=("crawl", "bucket"),
    order_by=("pair_id",),
    group=groups.PAIRS,
    code_version="2",
    reads=(
        *(
            Read(table=table)
            for table in ("unique_pairs", "images", "clip_embeddings", "image_scores", "calibrations")
        ),
        Read(table="takedowns", judged=False),
    ),
    kinds=("duckdb",),
    need=Need(cpus=2),
    shaped_by=(Shaping.FILTER,),
    outside=(Outside.REMOVALS,),
    searched=Searched(
        tables=("unique_pairs", "images"),
        rows="""
            SELECT pair.crawl, pair.bucket, pair.url, pair.pair_id, image.final_url, image.sha256
            FROM unique_pairs AS pair LEFT JOIN images AS image
            ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url = pair.url""",
        compared=("url", "final_url", "pair_id", "sha256"),
    ),
    rerun="pure",
    long=False,
    command="laion build CRAWL",
    remake="`laion build {crawl}` makes it again",
    pair=PairRow(
        shares=("crawl", "bucket", "pair_id"),
        shows=(
            "url", "text", "language", "subset", "similarity", "threshold", "policy", "encoder", "encoder_sha256",
            "sha256",
        ),
    ),
    funnel=FunnelStep(work="filter", takes="unique pairs", rates=("filter_core_seconds",)),
    short="filtered",
    columns=(
        CRAWL,
        BUCKET,
        PAIR_ID,
        URL,
        TEXT,
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
)  # fmt: skip

CALIBRATIONS = Declaration(
    name="calibrations",
    description="The similarity threshold of each encoder and language group, with how well it separates.",
    key=("encoder_sha256", "language_group"),
    partition_by=("encoder_sha256",),
    group=groups.PAIRS,
    code_version="3",
    reads=(),
    kinds=("pytorch",),
    need=Need(pool="gpu", cpus=2, memory_gib=12, gpus=1),
    shaped_by=(Shaping.CALIBRATION, Shaping.ENCODERS),
    outside=(),
    rerun="numeric",
    long=True,
    command="laion build CRAWL",
    remake="`laion build CRAWL` measures it again",
    is_looked_up=True,
    pair=PairRow(
        shares=("encoder_sha256", "language_group"),
        needs="encoder_sha256",
        shows=("language_group", "threshold", "keep_rate", "drop_rate", "method", "picture_domain"),
    ),
    funnel=None,
    short="thresholds",
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
