"""How far an accuracy may be off, and what a model keeps of it where the pictures are of another kind.

Effective robustness (Taori et al., "Measuring Robustness to Natural Distribution Shifts in Image Classification", 2020)
is accuracy on a shifted benchmark beyond what accuracy on its in-distribution benchmark lets expect. What is to be
expected is a line through other models, on logit axes (Miller et al., "Accuracy on the Line", 2021).
"""

import hashlib
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from laion_assets.common.quantities import counted

FloatArray = NDArray[np.float64]

MIN_BASELINE_MODELS: Final = 8
MIN_BASELINE_SPAN: Final = 0.15
"""Least range of the in-distribution accuracies of the baseline models."""
_SPAN_ROUNDING: Final = 1e-9
"""0.35 - 0.20 is a little less than 0.15."""

SCORE_COLUMNS: Final = (
    "recipe", "epoch", "baseline", "benchmark", "in_distribution_benchmark", "accuracy", "samples",
)  # fmt: skip
ROBUSTNESS_SCHEMA: Final[dict[str, pl.DataType]] = {
    "recipe": pl.String(),
    "epoch": pl.Int64(),
    "benchmark": pl.String(),
    "in_distribution_benchmark": pl.String(),
    "in_distribution_accuracy": pl.Float64(),
    "in_distribution_low": pl.Float64(),
    "in_distribution_high": pl.Float64(),
    "shifted_accuracy": pl.Float64(),
    "shifted_low": pl.Float64(),
    "shifted_high": pl.Float64(),
    "effective_robustness": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "baseline_models": pl.Int32(),
    "baseline_span": pl.Float64(),
    "reason": pl.String(),
}


class ScoresMismatch(ValueError):
    """Scores lack a column, or hold a value that no score can have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scores:
    """In-distribution and shifted accuracies of some models, each with its number of pictures; [models] each."""

    accuracy: FloatArray
    samples: NDArray[np.int64]
    shifted: FloatArray
    shifted_samples: NDArray[np.int64]


def wilson_interval(
    accuracy: ArrayLike, samples: ArrayLike, *, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Score interval of a proportion.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.

    Args:
        accuracy: Proportions, 0 to 1, of any shape.
        samples: How many trials each comes from, at least 1; broadcast against ``accuracy``.
        confidence: Probability that the interval covers the true proportion.

    Returns:
        Low and high ends, float64 of the broadcast shape, within 0 to 1 and around the proportion.

    Raises:
        ScoresMismatch: A proportion or a number of trials is out of its range.
    """
    p, n = np.asarray(accuracy, np.float64), np.asarray(samples, np.float64)
    if not ((p >= 0) & (p <= 1)).all() or not (n >= 1).all():
        raise ScoresMismatch(
            "an accuracy must be 0 to 1, of at least 1 sample: give it as a proportion, not in percent"
        )
    square = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (p + square / (2 * n)) / (1 + square / n)
    half = np.sqrt(square * (p * (1 - p) / n + square / (4 * n * n))) / (1 + square / n)
    # At 0 and 1 an end of the interval is the proportion itself, but for rounding.
    return np.clip(np.minimum(centre - half, p), 0, 1), np.clip(np.maximum(centre + half, p), 0, 1)


def effective_robustness(
    scores: pl.DataFrame, *, seed: int = 0, resamples: int = 2000, confidence: float = 0.95
) -> pl.DataFrame:
    """Effective robustness of every model on every shifted benchmark.

    For each, a line is fitted by least squares to logit(shifted) against logit(in-distribution) of the baseline models,
    without the model in question; its effective robustness is its shifted accuracy less what the line gives at its
    in-distribution accuracy. On logit axes k of n is taken as (k + 0.5) / (n + 1), so that accuracies of 0 and 1 have
    a place. Its interval is a percentile bootstrap: baseline models are drawn again with replacement, and every
    accuracy, the model's own included, is drawn again from its binomial distribution. Epochs of one recipe count as
    models of their own; where they are the baseline, intervals are narrower than they should be.

    With fewer than 8 baseline models, or a range of less than 0.15 of their in-distribution accuracies, a line would
    mean nothing: effective robustness is null and ``reason`` says why.

    Args:
        scores: One row for each model (``recipe``, ``epoch``) and ``benchmark``: ``accuracy`` (0 to 1), ``samples``,
            ``baseline`` (whether the model is one others are measured by) and ``in_distribution_benchmark`` (null: the
            benchmark is none that is shifted).
        seed: Of the bootstrap. The result for a model and benchmark depends on nothing else that is asked for.
        resamples: Of the bootstrap.
        confidence: Of all intervals.

    Returns:
        A row for each score on a shifted benchmark of a model that also has one on its in-distribution benchmark, in
        the columns of ``ROBUSTNESS_SCHEMA``, ordered by recipe, epoch and benchmark. Accuracies, spans and robustness
        are proportions (robustness: -1 to 1); ``low`` and ``high`` of accuracies are Wilson's.

    Raises:
        ScoresMismatch: A column is missing, a value is out of its range, or a model has two scores on a benchmark.
    """
    _check(scores)
    pairs = _with_in_distribution(scores)
    rows = [
        _row(row, pairs, seed=seed, resamples=resamples, confidence=confidence)
        for row in pairs.sort("recipe", "epoch", "benchmark").iter_rows(named=True)  # a bootstrap each, not a cheap row
    ]
    return pl.DataFrame(rows, schema=ROBUSTNESS_SCHEMA, orient="row")


def _check(scores: pl.DataFrame) -> None:
    missing = [name for name in SCORE_COLUMNS if name not in scores.columns]
    if missing:
        raise ScoresMismatch(f"scores need the columns {', '.join(SCORE_COLUMNS)}, but lack {', '.join(missing)}")
    wrong = scores.filter(
        ~(pl.col("accuracy").is_between(0, 1) & (pl.col("samples") >= 1) & pl.col("baseline").is_not_null()).fill_null(
            False
        )
    )
    if len(wrong):
        raise ScoresMismatch(
            f"every score needs an accuracy of 0 to 1, at least 1 sample and a baseline flag, but {len(wrong)} have "
            f"none, the first being {wrong.row(0, named=True)}"
        )
    twice = scores.filter(pl.struct("recipe", "epoch", "benchmark").is_duplicated())
    if len(twice):
        raise ScoresMismatch(
            f"a model has one score on a benchmark, but recipe {twice['recipe'][0]}, epoch {twice['epoch'][0]} has "
            f"several on {twice['benchmark'][0]}: keep one"
        )


def _with_in_distribution(scores: pl.DataFrame) -> pl.DataFrame:
    """Scores on shifted benchmarks with the same model's in-distribution accuracy beside them."""
    own = scores.select(
        "recipe",
        "epoch",
        pl.col("benchmark").alias("in_distribution_benchmark"),
        pl.col("accuracy").alias("in_distribution_accuracy"),
        pl.col("samples").alias("in_distribution_samples"),
    )
    shifted = scores.filter(pl.col("in_distribution_benchmark").is_not_null())
    return shifted.join(own, on=["recipe", "epoch", "in_distribution_benchmark"])


def _row(
    row: dict[str, object], pairs: pl.DataFrame, *, seed: int, resamples: int, confidence: float
) -> tuple[object, ...]:
    names = ("recipe", "epoch", "benchmark", "in_distribution_benchmark")
    key = tuple(row[name] for name in names)
    same = (pl.col("recipe") == row["recipe"]) & (pl.col("epoch") == row["epoch"])
    model = _scores(pairs.filter(same & (pl.col("benchmark") == row["benchmark"])))
    others = pairs.filter(
        pl.col("baseline")
        & ~same
        & (pl.col("benchmark") == row["benchmark"])
        & (pl.col("in_distribution_benchmark") == row["in_distribution_benchmark"])
    ).sort("recipe", "epoch")
    baseline = _scores(others)
    span = float(np.ptp(baseline.accuracy)) if len(others) else 0.0
    low, high = wilson_interval(model.shifted, model.shifted_samples, confidence=confidence)
    own_low, own_high = wilson_interval(model.accuracy, model.samples, confidence=confidence)
    reason = _why_not(len(others), span)
    robustness: tuple[float | None, ...] = (None, None, None)
    if reason is None:
        rng = np.random.default_rng([seed, *hashlib.sha256(repr(key).encode()).digest()])
        robustness = _beyond_the_line(model, baseline, rng, resamples, confidence)
    own = (float(model.accuracy[0]), float(own_low[0]), float(own_high[0]))
    shifted = (float(model.shifted[0]), float(low[0]), float(high[0]))
    return (*key, *own, *shifted, *robustness, len(others), span, reason)


def _scores(rows: pl.DataFrame) -> _Scores:
    return _Scores(
        accuracy=rows["in_distribution_accuracy"].cast(pl.Float64).to_numpy(),
        samples=rows["in_distribution_samples"].cast(pl.Int64).to_numpy(),
        shifted=rows["accuracy"].cast(pl.Float64).to_numpy(),
        shifted_samples=rows["samples"].cast(pl.Int64).to_numpy(),
    )


def _why_not(models: int, span: float) -> str | None:
    """Why no line is fitted; None if one is."""
    if models < MIN_BASELINE_MODELS:
        return f"not estimable: {counted(models, 'baseline model')}, {MIN_BASELINE_MODELS} are needed"
    if span < MIN_BASELINE_SPAN - _SPAN_ROUNDING:
        return f"not estimable: baseline models span {span:.3f} of accuracy, {MIN_BASELINE_SPAN} is needed"
    return None


def _beyond_the_line(
    model: _Scores, baseline: _Scores, rng: np.random.Generator, resamples: int, confidence: float
) -> tuple[float, float, float]:
    """Effective robustness of one model with the ends of its interval."""
    estimate = _residual(
        _smoothed(baseline.accuracy, baseline.samples)[None],
        _smoothed(baseline.shifted, baseline.shifted_samples)[None],
        _smoothed(model.accuracy, model.samples),
        model.shifted,
    )[0]
    drawn = rng.integers(len(baseline.accuracy), size=(resamples, len(baseline.accuracy)))
    own, own_shifted = (
        _redrawn(rng, np.repeat(accuracy, resamples), np.repeat(samples, resamples))
        for accuracy, samples in ((model.accuracy, model.samples), (model.shifted, model.shifted_samples))
    )
    again = _residual(
        _smoothed(_redrawn(rng, baseline.accuracy[drawn], baseline.samples[drawn]), baseline.samples[drawn]),
        _smoothed(
            _redrawn(rng, baseline.shifted[drawn], baseline.shifted_samples[drawn]), baseline.shifted_samples[drawn]
        ),
        _smoothed(own, np.repeat(model.samples, resamples)),
        own_shifted,
    )
    # A resample that is one model many times over has no line.
    low, high = np.nanquantile(again, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(estimate), float(low), float(high)


def _residual(x: FloatArray, y: FloatArray, own_x: FloatArray, own_y: FloatArray) -> FloatArray:
    """Own shifted accuracy less what a line through (logit x, logit y), [n, models] each, gives; [n]."""
    u, v = _logit(x), _logit(y)
    centred = u - u.mean(axis=1, keepdims=True)
    spread = (centred * centred).sum(axis=1)
    covered = (centred * v).sum(axis=1)
    slope = np.divide(covered, spread, out=np.full_like(spread, np.nan), where=spread > 0)
    expected = v.mean(axis=1) + slope * (_logit(own_x) - u.mean(axis=1))
    residual: FloatArray = own_y - 1 / (1 + np.exp(-expected))
    return residual


def _redrawn(rng: np.random.Generator, accuracy: FloatArray, samples: NDArray[np.int64]) -> FloatArray:
    """Accuracies that might as well have come out."""
    drawn: FloatArray = rng.binomial(samples, _smoothed(accuracy, samples)) / samples
    return drawn


def _smoothed(accuracy: FloatArray, samples: NDArray[np.int64]) -> FloatArray:
    """(k + 0.5) / (n + 1): within 0 and 1, never at either."""
    smoothed: FloatArray = (accuracy * samples + 0.5) / (samples + 1)
    return smoothed


def _logit(p: FloatArray) -> FloatArray:
    logit: FloatArray = np.log(p) - np.log1p(-p)
    return logit
