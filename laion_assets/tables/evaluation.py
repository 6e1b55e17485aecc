"""Tables of scores: by recipe and benchmark, and over all recipes."""

from dataclasses import replace

from laion_assets.delta.table import Read
from laion_assets.tables import groups
from laion_assets.tables.columns import BENCHMARK, DOUBLE, EPOCH, INT, LONG, RECIPE, STRING, TIME, column
from laion_assets.tables.declaration import Declaration, Shaping
from laion_assets.tables.needs import Need

_MEASURING = Need(pool="gpu", cpus=2, memory_gib=12, gpus=1)

_SCORED = (
    RECIPE,
    BENCHMARK,
    EPOCH,
    column("checkpoint_sha256", STRING, "SHA-256 of the weights that were measured."),
    column("dataset_sha256", STRING, "Digest of the benchmark."),
    column("precision", STRING, "Arithmetic of the forward pass."),
    column("evaluator_version", STRING, "Version of the method here."),
    column("evaluated_at", TIME, "When it was measured.", digested=False),
)

ZERO_SHOT_SCORES = Declaration(
    name="zero_shot_scores",
    description="One row per checkpoint and classification benchmark: zero-shot accuracy.",
    key=("recipe", "epoch", "benchmark"),
    partition_by=("recipe", "benchmark"),
    order_by=("epoch",),
    group=groups.EVALUATION,
    code_version="1",
    reads=(Read(table="clip_checkpoints"), Read(table="benchmark_images")),
    kinds=("pytorch",),
    need=_MEASURING,
    shaped_by=(Shaping.EVALUATION,),
    outside=(),
    rerun="numeric",
    long=False,
    command="laion evaluate RECIPE",
    remake="`laion evaluate {recipe} --benchmark {benchmark}` measures it again",
    remake_whole="`laion evaluate RECIPE` makes it again",
    anew=frozenset({"precision"}),
    pair=None,
    funnel=None,
    short="zero-shot",
    columns=(
        *_SCORED,
        column("in_distribution_benchmark", STRING, "The benchmark whose shifted version this is.", nullable=True),
        column("top1", DOUBLE, "Share of samples whose class scores highest."),
        column("top5", DOUBLE, "Share of samples whose class is among the first five; null below five.", nullable=True),
        column("mean_per_class_recall", DOUBLE, "Mean over classes of the share of their samples found."),
        column("standard_error", DOUBLE, "Of top1, binomial."),
        column("chance", DOUBLE, "top1 of guessing."),
        column("samples", LONG, "Samples measured."),
        column("classes", INT, "Classes to choose from."),
        column("templates", INT, "Prompt templates averaged."),
    ),
)

RETRIEVAL_SCORES = replace(
    ZERO_SHOT_SCORES,
    name="retrieval_scores",
    description="One row per checkpoint and retrieval benchmark: recall of pictures by text and of texts by picture.",
    short="retrieval",
    columns=(
        *_SCORED,
        *(
            column(f"{what}_recall_at_{k}", DOUBLE, f"Share of {by} with {found} among the first {k}.")
            for what, by, found in (
                ("image", "captions", "their picture"), ("text", "pictures", "one of their captions")
            )
            for k in (1, 5, 10)
        ),
        column("images", LONG, "Pictures measured."),
        column("captions", LONG, "Captions measured."),
    ),
)  # fmt: skip

ROBUSTNESS = Declaration(
    name="robustness",
    description="One row per final checkpoint and shifted benchmark: accuracy there beside accuracy in distribution.",
    key=("recipe", "epoch", "benchmark"),
    partition_by=(),
    order_by=("recipe", "epoch", "benchmark"),
    group=groups.EVALUATION,
    code_version="1",
    reads=(Read(table="zero_shot_scores", periods="all"), Read(table="clip_checkpoints", periods="all")),
    kinds=("polars",),
    need=Need(),
    shaped_by=(),
    outside=(),
    rerun="pure",
    long=False,
    command="laion evaluate RECIPE",
    remake="`laion evaluate RECIPE` makes it again",
    pair=None,
    funnel=None,
    short="robustness",
    columns=(
        RECIPE,
        EPOCH,
        BENCHMARK,
        column("in_distribution_benchmark", STRING, "The benchmark it is a shifted version of."),
        column("in_distribution_accuracy", DOUBLE, "top1 there."),
        column("in_distribution_low", DOUBLE, "Lower end of its 95 % interval."),
        column("in_distribution_high", DOUBLE, "Upper end."),
        column("shifted_accuracy", DOUBLE, "top1 under shift."),
        column("shifted_low", DOUBLE, "Lower end of its 95 % interval."),
        column("shifted_high", DOUBLE, "Upper end."),
        column("effective_robustness", DOUBLE, "Accuracy beyond the baselines; null: not estimable.", nullable=True),
        column("ci_low", DOUBLE, "Lower end of its 95 % interval.", nullable=True),
        column("ci_high", DOUBLE, "Upper end.", nullable=True),
        column("baseline_models", INT, "Models the fit was made of."),
        column("baseline_span", DOUBLE, "From their least to their highest accuracy in distribution."),
        column("reason", STRING, "Why it is not estimable.", nullable=True),
    ),
)

SCALING_LAWS = replace(
    ROBUSTNESS,
    name="scaling_laws",
    description="One row per benchmark and arm: error against compute, of completed schedules.",
    key=("benchmark", "arm"),
    order_by=("benchmark", "arm"),
    reads=tuple(
        Read(table=table, periods="all") for table in ("zero_shot_scores", "retrieval_scores", "clip_checkpoints")
    ),
    short="scaling",
    columns=(
        BENCHMARK,
        column("arm", STRING, "What the recipes have in common."),
        column("error_model", STRING, "What was fitted; null: too little to fit.", nullable=True),
        column("coefficient", DOUBLE, "a of E = a C^-b.", nullable=True),
        column("exponent", DOUBLE, "b.", nullable=True),
        column("intercept", DOUBLE, "Error that no compute removes, where it was fitted.", nullable=True),
        column("ci_low", DOUBLE, "Lower end of the exponent's 95 % interval.", nullable=True),
        column("ci_high", DOUBLE, "Upper end.", nullable=True),
        column("r_squared", DOUBLE, "Of the fit, in logarithms.", nullable=True),
        column("points", INT, "Distinct amounts of compute."),
        column("recipes", INT, "Recipes."),
        column("seeds", INT, "Seeds."),
        column("compute_min", DOUBLE, "Least compute, in GMACs."),
        column("compute_max", DOUBLE, "Most."),
        column("reason", STRING, "Why nothing was fitted.", nullable=True),
    ),
)
