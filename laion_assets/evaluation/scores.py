"""Scores of final checkpoints beside each other: what robustness and scaling laws are computed from."""

import polars as pl


def final_scores(scores: pl.DataFrame, checkpoints: pl.DataFrame) -> pl.DataFrame:
    """The scores of every recipe's final checkpoint, with what it took to train it.

    Args:
        scores: rows of ``zero_shot_scores`` or ``retrieval_scores``.
        checkpoints: rows of ``clip_checkpoints``.

    Returns:
        The columns of the scores, and ``seed, arm, gmacs_per_sample`` and ``samples_seen``. A score of weights that
        were replaced since is no longer one of the recipe.
    """
    final = checkpoints.filter("final").rename({"sha256": "checkpoint_sha256"})
    return scores.join(
        final.select("recipe", "epoch", "checkpoint_sha256", "seed", "arm", "gmacs_per_sample", "samples_seen"),
        on=["recipe", "epoch", "checkpoint_sha256"],
    )


def scaling_points(classified: pl.DataFrame, retrieved: pl.DataFrame) -> pl.DataFrame:
    """Error against compute, a point for each recipe and benchmark, as ``fit_scaling`` takes it.

    Args:
        classified: what ``final_scores`` gives of ``zero_shot_scores``; the error is that of the first guess.
        retrieved: the same of ``retrieval_scores``; the error is that at 1, the mean of both directions.
    """
    recall = (pl.col("image_recall_at_1") + pl.col("text_recall_at_1")) / 2
    compute = pl.col("gmacs_per_sample") * pl.col("samples_seen")
    return pl.concat(
        frame.select("benchmark", "arm", "recipe", "seed", error=1 - right, compute=compute)
        for frame, right in ((classified, pl.col("top1")), (retrieved, recall))
    )
