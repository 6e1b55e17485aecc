"""The table of what heads say of pictures."""

from laion_assets.delta.table import Read
from laion_assets.scoring.head import KINDS
from laion_assets.tables import groups
from laion_assets.tables.columns import BUCKET, CRAWL, FLOAT, INT, STRING, column
from laion_assets.tables.declaration import Declaration, PairRow, Shaping
from laion_assets.tables.needs import Need

IMAGE_SCORES = Declaration(
    name="image_scores",
    description="What heads say of pictures: unsafe content, watermarks, aesthetics. One row per picture and head.",
    key=("sha256", "head"),
    partition_by=("crawl", "bucket"),
    order_by=("sha256", "head"),
    group=groups.PAIRS,
    code_version="1",
    reads=(Read(table="images"), Read(table="clip_embeddings")),
    optional=True,
    is_looked_up=True,
    kinds=("duckdb",),
    need=Need(pool="gpu", cpus=2, memory_gib=12, gpus=1),
    shaped_by=(Shaping.SCORES,),
    outside=(),
    rerun="numeric",
    long=False,
    command="laion build CRAWL --until image_scores",
    remake="`laion build {crawl}` makes it again",
    pair=PairRow(shares=("crawl", "bucket", "sha256"), needs="sha256", shows=("head", "measures", "value", "encoder")),
    funnel=None,
    short="score",
    columns=(
        CRAWL,
        BUCKET,
        column("sha256", STRING, "SHA-256 of the picture that was scored, as downloaded."),
        column("head", STRING, "Name of the head."),
        column("head_sha256", STRING, "SHA-256 of the head's file."),
        column("measures", STRING, "What the head measures.", accepted=KINDS),
        column("priority", INT, "Place of the head among all: released pairs carry what the first of its kind says."),
        column("encoder", STRING, "The encoder whose vector was scored; null where pixels were.", nullable=True),
        column("encoder_sha256", STRING, "SHA-256 of that encoder's weights.", nullable=True),
        column(
            "preprocess",
            STRING,
            "How pictures were prepared for the head; null of imported scores.",
            nullable=True,
        ),
        column("precision", STRING, "Arithmetic of that.", nullable=True, accepted=("fp32", "amp_bf16", "amp_fp16")),
        column("value", FLOAT, "The score: a probability, or about 1 to 10 for aesthetics."),
    ),
)
