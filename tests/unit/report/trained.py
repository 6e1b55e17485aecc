"""Rows of three trained recipes, two measured benchmarks and one for retrieval, as a lake would hold them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Put = Callable[[str, Sequence[Mapping[str, Any]]], None]

LONG, SHORT, OTHER = "filtered-32k", "filtered-4k", "unfiltered-32k"
SEEN = {LONG: 32_768, SHORT: 4_096, OTHER: 32_768}
TOP1 = {LONG: 0.134, SHORT: 0.02, OTHER: 0.036}
SHIFTED = {LONG: 0.092, SHORT: 0.0, OTHER: 0.104}


def trained(put: Put, names: Mapping[str, str] | None = None, arms: Mapping[str, str] | None = None) -> None:
    """Fill every table of training; ``names`` calls recipes otherwise, ``arms`` their arms."""
    called = {recipe: (names or {}).get(recipe, recipe) for recipe in SEEN}
    arm = {recipe: (arms or {}).get(recipe, recipe.rpartition("-")[0]) for recipe in SEEN}
    put("training_sets", [
        {"recipe": called[recipe], "split": split, "shard_path": f"{recipe}/{number}.tar", "samples": 256,
         "policy": "scored_pairs", "selection": "released" if recipe != OTHER else "similarity > 0.1",
         "excluded_benchmark": 12}
        for recipe in SEEN for number, split in enumerate(["train"] * 4 + ["validation"])
    ])  # fmt: skip
    put("clip_checkpoints", [
        {"recipe": called[recipe], "epoch": epoch, "final": epoch == 2, "sha256": f"{recipe} {epoch}",
         "model": "sample-rn", "seed": 0, "arm": arm[recipe], "samples_seen": seen * epoch // 2,
         "samples_unique": 1_024, "loss": 5.0 - epoch, "samples_per_second": 500.0, "gmacs_per_sample": 0.01,
         "wall_seconds": seen / 2 / 500, "device": "1 x cpu"}
        for recipe, seen in SEEN.items() for epoch in (1, 2)
    ])  # fmt: skip
    put("zero_shot_scores", [
        {"recipe": called[recipe], "benchmark": benchmark, "epoch": 2, "checkpoint_sha256": f"{recipe} 2",
         "top1": top1[recipe], "standard_error": 0.01, "chance": 0.005, "samples": 1_000, "classes": 192,
         "in_distribution_benchmark": own}
        for benchmark, own, top1 in (("seen", None, TOP1), ("unseen", "seen", SHIFTED)) for recipe in SEEN
    ])  # fmt: skip
    put("retrieval_scores", [
        {"recipe": called[recipe], "benchmark": "captions", "epoch": 2, "checkpoint_sha256": f"{recipe} 2",
         **{f"{what}_recall_at_{k}": k / 20 for what in ("image", "text") for k in (1, 5, 10)},
         "images": 500, "captions": 1_244}
        for recipe in SEEN
    ])  # fmt: skip
    put("robustness", [
        {"recipe": called[recipe], "epoch": 2, "benchmark": "unseen", "in_distribution_benchmark": "seen",
         "in_distribution_accuracy": TOP1[recipe], "in_distribution_low": TOP1[recipe] * 0.8,
         "in_distribution_high": TOP1[recipe] * 1.2, "shifted_accuracy": SHIFTED[recipe],
         "shifted_low": SHIFTED[recipe] * 0.8, "shifted_high": SHIFTED[recipe] * 1.2 + 0.004, "baseline_models": 2,
         "baseline_span": 0.1, "reason": "not estimable: 2 baseline models, 8 are needed"}
        for recipe in SEEN
    ])  # fmt: skip
    put("scaling_laws", [
        {"benchmark": benchmark, "arm": one, "points": points, "recipes": points, "seeds": 1, "compute_min": 40.96,
         "compute_max": 327.68, "reason": f"not fitted: {points} compute points, 5 are needed"}
        for benchmark in ("seen", "unseen", "captions") for one, points in ((arm[SHORT], 2), (arm[OTHER], 1))
    ])  # fmt: skip
    put("benchmark_images", [
        {"benchmark": benchmark, "sample_key": f"{n}"} for benchmark in ("seen", "unseen", "captions") for n in range(4)
    ])  # fmt: skip
    counts = {
        "pairs selected": 1_400,
        "samples": 1_280,
        "pairs left out: remainder": 107,
        "pairs left out: copy_of_evaluation_picture": 12,
        "pairs left out: duplicate_id": 1,
        "copies: same file": 3,
        "copies: near and of the same colours": 9,
        "near, of other colours": 292,
    }
    put("commits", [
        {"table_name": "training_sets", "partition": f"recipe={name}",
         "counts": {"key": list(counts), "value": list(counts.values())}}
        for name in called.values()
    ])  # fmt: skip
