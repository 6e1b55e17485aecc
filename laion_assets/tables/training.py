"""Tables of training and evaluation: by recipe, by benchmark, and over all recipes."""

import pyarrow as pa

from laion_assets.delta.table import Read, Table
from laion_assets.tables.columns import BOOL, DOUBLE, INT, LONG, STRING, TIME, column
from laion_assets.tables.groups import EVALUATION, TRAINING

_RECIPE = column("recipe", STRING, "Name of the recipe.")
_BENCHMARK = column("benchmark", STRING, "Name of the benchmark.")
_EPOCH = column("epoch", INT, "Epochs completed.")
_VERSIONS = pa.map_(STRING, LONG)

BENCHMARK_IMAGES = Table(
    name="benchmark_images",
    description="One row per picture of a registered evaluation set: what copies of it are known by.",
    key=("benchmark", "sample_key"),
    partition_by=("benchmark",),
    order_by=("sample_key",),
    code_version="2",
    group=TRAINING,
    columns=(
        _BENCHMARK,
        column("sample_key", STRING, "Key of the sample in the benchmark's tars."),
        column(
            "folder", STRING, "Where the benchmark lies; below the lake's folder, if it lies there.", digested=False
        ),
        column("task", STRING, "What is measured.", accepted=("zeroshot_classification", "zeroshot_retrieval")),
        column("split", STRING, "The split that is measured on."),
        column("in_distribution_benchmark", STRING, "The benchmark whose shifted version this is.", nullable=True),
        column("dataset_sha256", STRING, "Digest of all that decides a score: tars, class names, templates."),
        column("sha256", STRING, "SHA-256 of the picture's bytes, hex."),
        column("perceptual_hash", LONG, "64-bit perceptual hash; null where it cannot be decoded.", nullable=True),
        column("colour_layout", pa.binary(), "A small colour thumbnail, the second measure.", nullable=True),
    ),
)

TRAINING_SETS = Table(
    name="training_sets",
    description="One row per webdataset shard of what a recipe learns from.",
    key=("recipe", "shard_path"),
    partition_by=("recipe",),
    order_by=("split", "shard_path"),
    pins_sources=True,
    code_version="2",
    # What the selection's SQL reads comes on top: see `sql.selection`.
    reads=(
        Read(table="unique_pairs", periods="all"),
        Read(table="images", periods="all"),
        Read(table="benchmark_images", periods="all"),
        Read(table="takedowns"),
    ),
    group=TRAINING,
    columns=(
        _RECIPE,
        column("split", STRING, "Whether it is learned from.", accepted=("train", "validation")),
        column("shard_path", STRING, "The tar, below the lake's folder.", digested=False, file_sha256="sha256"),
        column("samples", LONG, "Samples in it."),
        column("unique_images", LONG, "Distinct pictures in it."),
        column("bytes", LONG, "Size of the tar."),
        column("sha256", STRING, "SHA-256 of the tar, hex."),
        column("policy", STRING, "The table or SQL model the pairs were selected from."),
        column("selection", STRING, "The SQL predicate that selected them."),
        column("seed", LONG, "Seed of the order."),
        column("excluded_benchmark", LONG, "Pairs of the recipe left out as copies of evaluation pictures."),
        column("source_versions", _VERSIONS, "Version of every table that was read.", digested=False),
    ),
)

CLIP_CHECKPOINTS = Table(
    name="clip_checkpoints",
    description="One row per epoch of a recipe's training: the weights, and how they came about.",
    key=("recipe", "epoch"),
    partition_by=("recipe",),
    order_by=("epoch",),
    pins_sources=True,
    code_version="1",
    reads=(Read(table="training_sets"),),
    group=TRAINING,
    columns=(
        _RECIPE,
        _EPOCH,
        column("final", BOOL, "Whether the schedule was completed with it."),
        column(
            "path", STRING, "The weights (.safetensors), below the lake's folder.", digested=False, file_sha256="sha256"
        ),
        column("sha256", STRING, "SHA-256 of the weights, hex."),
        column("model", STRING, "open_clip's name of the architecture."),
        column("config_json", STRING, "open_clip's configuration of it."),
        column("open_clip_version", STRING, "Version of open_clip that trained it."),
        column("precision", STRING, "Arithmetic of the training."),
        column("seed", LONG, "Of initial weights, order and augmentation."),
        column("arm", STRING, "What the recipe is compared by."),
        column("global_batch_size", LONG, "Samples of one optimiser step, over all processes."),
        column("steps", LONG, "Optimiser steps since the beginning."),
        column("samples_seen", LONG, "Samples served since the beginning, repeats counted."),
        column("samples_unique", LONG, "Different samples among them."),
        column("loss", DOUBLE, "Mean contrastive loss of the epoch's reported steps."),
        column("learning_rate", DOUBLE, "At the end of the epoch."),
        column("logit_scale", DOUBLE, "At the end of the epoch."),
        column("samples_per_second", DOUBLE, "Of the epoch, over all processes.", digested=False),
        column("gmacs_per_sample", DOUBLE, "Billions of multiply-accumulates of a forward pass over one pair."),
        column("wall_seconds", DOUBLE, "Of the epoch.", digested=False),
        column("device", STRING, "What trained it: processes x kind.", digested=False),
        column("resumed_from", INT, "Epoch after which its process began; null: at the beginning.",
           nullable=True, digested=False),
        column("training_set_version", LONG, "Version of training_sets.", digested=False),
        column("source_versions", _VERSIONS, "Version of every table the training set was made from.", digested=False),
        column("finished_at", TIME, "When the epoch ended.", digested=False),
    ),
)  # fmt: skip

_SCORED = (
    _RECIPE,
    _BENCHMARK,
    _EPOCH,
    column("checkpoint_sha256", STRING, "SHA-256 of the weights that were measured."),
    column("dataset_sha256", STRING, "Digest of the benchmark."),
    column("precision", STRING, "Arithmetic of the forward pass."),
    column("evaluator_version", STRING, "Version of the method here."),
    column("evaluated_at", TIME, "When it was measured.", digested=False),
)

ZERO_SHOT_SCORES = Table(
    name="zero_shot_scores",
    description="One row per checkpoint and classification benchmark: zero-shot accuracy.",
    key=("recipe", "epoch", "benchmark"),
    partition_by=("recipe", "benchmark"),
    order_by=("epoch",),
    code_version="1",
    reads=(Read(table="clip_checkpoints"), Read(table="benchmark_images")),
    group=EVALUATION,
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

RETRIEVAL_SCORES = Table(
    name="retrieval_scores",
    description="One row per checkpoint and retrieval benchmark: recall of pictures by text and of texts by picture.",
    key=("recipe", "epoch", "benchmark"),
    partition_by=("recipe", "benchmark"),
    order_by=("epoch",),
    code_version="1",
    reads=(Read(table="clip_checkpoints"), Read(table="benchmark_images")),
    group=EVALUATION,
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

ROBUSTNESS = Table(
    name="robustness",
    description="One row per final checkpoint and shifted benchmark: accuracy there beside accuracy in distribution.",
    key=("recipe", "epoch", "benchmark"),
    order_by=("recipe", "epoch", "benchmark"),
    code_version="1",
    reads=(Read(table="zero_shot_scores", periods="all"), Read(table="clip_checkpoints", periods="all")),
    group=EVALUATION,
    columns=(
        _RECIPE,
        _EPOCH,
        _BENCHMARK,
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

SCALING_LAWS = Table(
    name="scaling_laws",
    description="One row per benchmark and arm: error against compute, of completed schedules.",
    key=("benchmark", "arm"),
    order_by=("benchmark", "arm"),
    code_version="1",
    reads=(
        Read(table="zero_shot_scores", periods="all"),
        Read(table="retrieval_scores", periods="all"),
        Read(table="clip_checkpoints", periods="all"),
    ),
    group=EVALUATION,
    columns=(
        _BENCHMARK,
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
