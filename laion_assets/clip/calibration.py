"""The similarity threshold of an encoder, found on pairs known to be clean.

A threshold belongs to one encoder and one kind of picture. Equally good runs of one training place it anywhere
between 0.35 and 0.73, so it is measured each time and never carried over.

It is where a stated share of the clean pairs is kept, and not where clean and shuffled pairs are parted best: that
optimum is flat. Between the two humps of similarities hardly a pair lies, keep rate and drop rate change by little over
a long way, and differences of the last bits decide where on it the maximum falls; see docs/design/filtering.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from laion_assets.clip.encoder import Encoder, cosine_similarity
from laion_assets.text.language import LANGUAGE_GROUPS

CALIBRATION_SCHEMA: Final[dict[str, pl.DataType]] = {
    "encoder_sha256": pl.String(),
    "encoder": pl.String(),
    "language_group": pl.String(),
    "threshold": pl.Float64(),
    "keep_rate": pl.Float64(),
    "drop_rate": pl.Float64(),
    "roc_auc": pl.Float64(),
    "positives": pl.Int64(),
    "negatives": pl.Int64(),
    "method": pl.String(),
    "picture_domain": pl.String(),
    "positive_mean": pl.Float64(),
    "positive_p05": pl.Float64(),
    "negative_mean": pl.Float64(),
    "negative_p95": pl.Float64(),
    "calibrated_at": pl.Datetime("us", "UTC"),
}
"""Columns that `calibrate` returns."""

SHUFFLES: Final = 4
"""Negatives made of each clean pair."""

LEAST_PAIRS: Final = 100
"""A language group with fewer clean pairs takes its threshold from all pairs together."""

KEEP: Final = 0.95
"""Share of the clean pairs that is kept unless somebody says otherwise."""

CONFIDENCE: Final = 0.95
"""Chance that the interval of a threshold holds the threshold of endlessly many pairs."""

LEAST_SIMILARITIES: Final = 100
"""Fewer similarities say nothing about a distribution."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationOptions:
    """Where an encoder's thresholds are measured."""

    pairs: str | None = None
    """Parquet file of held-out true pairs (image bytes, text); None: published thresholds are used."""
    picture_domain: str = "unspecified"
    """The kind of picture in it, recorded with the thresholds."""
    seed: int = 0
    """Seed of the shuffling that makes the negatives."""
    keep: float = KEEP
    """Share of the true pairs that the threshold keeps, more than 0 and less than 1."""

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 < self.keep < 1:
            raise ValueError(f"keep: expected more than 0 and less than 1, found {self.keep:g}")


class CalibrationError(Exception):
    """The pairs given cannot calibrate an encoder. The message says what they lack."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and how well it parts clean pairs from shuffled ones. A pair is kept at or above it."""

    value: float
    low: float
    """The lower end of its interval."""
    high: float
    """The upper end of its interval."""
    keep_rate: float
    """Clean pairs kept, 0 to 1."""
    drop_rate: float
    """Shuffled pairs dropped, 0 to 1."""
    roc_auc: float
    """Chance that a clean pair scores above a shuffled one, ties counted half."""


class Scores(NamedTuple):
    """Similarities of pictures with texts."""

    positives: FloatArray
    """Of clean pairs."""
    negatives: FloatArray
    """Of shuffled ones."""


def roc_auc(positives: FloatArray, negatives: FloatArray) -> float:
    """Area under the ROC curve: the Mann-Whitney statistic scaled to 0 to 1, ties counted half.

    Raises:
        ValueError: one of the two is empty.
    """
    if not len(positives) or not len(negatives):
        raise ValueError(f"expected scores on both sides, found {len(positives)} positives, {len(negatives)} negatives")
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left")
    not_above = np.searchsorted(ordered, positives, side="right")
    return float((below + not_above).mean() / 2 / len(negatives))


def keeping_threshold(positives: FloatArray, negatives: FloatArray, keep: float) -> Threshold:
    """Find the threshold that keeps a share of the clean pairs: a quantile of their similarities.

    Its interval is that of order statistics (David and Nagaraja, Order Statistics, 2003, section 7.1): it holds the
    quantile of all such pairs with a chance of `CONFIDENCE`, whatever their distribution. Its ends are similarities of
    pairs at hand, the outermost where there are too few for that chance.

    Args:
        positives: Similarities of clean pairs.
        negatives: Similarities of shuffled pairs. They decide nothing, and say what the threshold is worth.
        keep: The share to keep, more than 0 and less than 1.

    Raises:
        ValueError: one of the two is empty, or `keep` is no such share.
    """
    if not 0 < keep < 1:
        raise ValueError(f"keep: expected more than 0 and less than 1, found {keep:g}")
    area = roc_auc(positives, negatives)
    ordered = np.sort(positives)
    value = float(np.quantile(ordered, 1 - keep))
    first, last = _ranks(len(ordered), 1 - keep)
    return Threshold(
        value=value,
        low=float(ordered[first]),
        high=float(ordered[last]),
        keep_rate=float((positives >= value).mean()),
        drop_rate=float((negatives < value).mean()),
        roc_auc=area,
    )


def _ranks(n: int, share: float) -> tuple[int, int]:
    """Places, from 0, of the two order statistics of `n` that hold the quantile at `share` between them."""
    logs = np.log(np.arange(1, n + 1))
    factorials = np.concatenate([[0.0], np.cumsum(logs)])
    below = np.arange(n + 1)
    chances = factorials[n] - factorials[below] - factorials[n - below]
    chances += below * np.log(share) + (n - below) * np.log1p(-share)
    at_most = np.cumsum(np.exp(chances))  # of so many pairs below the quantile, or fewer: binomial
    tail = (1 - CONFIDENCE) / 2
    first = int(np.searchsorted(at_most, tail, side="right")) - 1
    last = int(np.searchsorted(at_most, 1 - tail, side="left"))
    return max(first, 0), min(last, n - 1)


def calibrate(
    encoder: Encoder,
    pairs: pl.DataFrame,
    *,
    seed: int,
    picture_domain: str,
    keep: float = KEEP,
    left_out: dict[str, int] | None = None,
) -> pl.DataFrame:
    """Calibrate an encoder per language group: clean pairs against the same pictures with each other's texts.

    The pairs must be clean, and their pictures must occur neither in the encoder's training nor in what it will
    filter. Texts are shuffled within a language group; a text equal to the picture's own is no negative.

    Args:
        encoder: The encoder.
        pairs: Columns `image` (encoded bytes), `text`, `language_group` (en | multi | nolang).
        seed: Of the shuffles.
        picture_domain: What the pictures are, as a person would say it; recorded.
        keep: The share of the clean pairs that the threshold keeps.
        left_out: Is told how many pictures are `undecodable`, if there are any.

    Returns:
        Three rows of `CALIBRATION_SCHEMA`, one a language group. Its `method` says the share and the interval of the
        threshold. A group with fewer than 100 clean pairs gets the threshold of all groups together, and its `method`
        says so.

    Raises:
        CalibrationError: fewer than 100 pictures can be decoded, or no two of their texts differ.
    """
    scores = _group_scores(encoder, pairs, np.random.default_rng(seed), left_out)
    pooled = Scores(*(np.concatenate(side) for side in zip(*scores.values(), strict=True)))
    if not len(pooled.negatives):
        raise CalibrationError("expected texts that differ, found the same text on every picture of a language group")
    same = {
        "encoder_sha256": encoder.sha256,
        "encoder": encoder.name,
        "picture_domain": picture_domain,
        "calibrated_at": datetime.now(UTC),
    }
    rows = []
    for group, own in scores.items():
        of_all = len(own.positives) < LEAST_PAIRS or not len(own.negatives)
        used = pooled if of_all else own
        found = keeping_threshold(*used, keep)
        method = f"keeps {keep:.4g} of the true pairs; {CONFIDENCE:.0%} interval {found.low:.4f} to {found.high:.4f}"
        method += f"; {SHUFFLES} shuffles within the language group{'; all groups together' if of_all else ''}"
        rows.append({**same, "language_group": group, "method": method, **_measures(found, used)})
    return pl.DataFrame(rows, schema=pl.Schema(CALIBRATION_SCHEMA))


def _group_scores(
    encoder: Encoder, pairs: pl.DataFrame, rng: np.random.Generator, left_out: dict[str, int] | None
) -> dict[str, Scores]:
    """Encode the pairs, and compare them by language group, each picture with its own text and with others'."""
    unknown = set(pairs["language_group"].unique()) - set(LANGUAGE_GROUPS)
    if unknown:
        raise CalibrationError(
            f"language_group: expected {', '.join(LANGUAGE_GROUPS)}, found {sorted(map(str, unknown))}"
        )
    images, ok = encoder.encode_images(pairs["image"].to_list())
    if left_out is not None and not ok.all():
        left_out["undecodable"] = int((~ok).sum())
    if ok.sum() < LEAST_PAIRS:
        raise CalibrationError(f"expected at least {LEAST_PAIRS} pictures that decode, found {ok.sum()} of {len(ok)}")
    texts, _ = encoder.encode_texts(pairs["text"].to_list())
    groups = pairs["language_group"].to_numpy()
    text_ids = pairs["text"].rank("dense").to_numpy()
    scores = {}
    for group in LANGUAGE_GROUPS:
        rows = np.flatnonzero(ok & (groups == group))
        scores[group] = _scores(images[rows], texts[rows], text_ids[rows], rng)
    return scores


def _scores(
    images: npt.NDArray[np.float32],
    texts: npt.NDArray[np.float32],
    text_ids: npt.NDArray[Any],
    rng: np.random.Generator,
) -> Scores:
    negatives = [np.empty(0, np.float64)]
    if len(images) > 1:
        for _ in range(SHUFFLES):
            # A cyclic shift of a random order: no picture meets its own text.
            order = rng.permutation(len(images))
            other = np.empty_like(order)
            other[order] = np.roll(order, 1)
            differs = text_ids != text_ids[other]
            negatives.append(cosine_similarity(images[differs], texts[other[differs]]).astype(np.float64))
    return Scores(cosine_similarity(images, texts).astype(np.float64), np.concatenate(negatives))


def _measures(found: Threshold, scores: Scores) -> dict[str, float | int]:
    positives, negatives = scores
    return {
        "threshold": found.value,
        "keep_rate": found.keep_rate,
        "drop_rate": found.drop_rate,
        "roc_auc": found.roc_auc,
        "positives": len(positives),
        "negatives": len(negatives),
        "positive_mean": float(positives.mean()),
        "positive_p05": float(np.quantile(positives, 0.05)),
        "negative_mean": float(negatives.mean()),
        "negative_p95": float(np.quantile(negatives, 0.95)),
    }


def calibrations_of(calibrations: pl.DataFrame, encoders: Mapping[str, Encoder]) -> dict[str, dict[str, Any]]:
    """By language group, the row of `calibrations` that was measured of the encoder which scores the group.

    Args:
        calibrations: Rows of `calibrations`.
        encoders: By language group.
    """
    rows = calibrations.to_dicts()
    return {
        row["language_group"]: row for row in rows if row["encoder_sha256"] == encoders[row["language_group"]].sha256
    }


def distribution_warning(similarities: npt.ArrayLike, calibration: dict[str, Any]) -> str | None:
    """Say whether a crawl's similarities look like those the encoder was calibrated on.

    In pictures of the calibrated kind, the kept pairs score about as clean pairs did and the dropped ones about as
    shuffled pairs did. In pictures the encoder does not understand, the scores scatter, and what passes the threshold
    barely passes it.

    Args:
        similarities: Of one language group's pairs.
        calibration: That group's row of `calibrations`.

    Returns:
        A sentence for a person, or None: nothing strange, or fewer than 100 similarities.
    """
    scores = np.asarray(similarities, np.float64)
    if len(scores) < LEAST_SIMILARITIES:
        return None
    threshold, clean = calibration["threshold"], calibration["positive_mean"]
    kept = scores[scores >= threshold]
    share = len(kept) / len(scores)
    domain = calibration["picture_domain"]
    remedy = f"the encoder was calibrated on {domain}: calibrate it on pairs like these before trusting what was kept"
    if len(kept) < max(5, 0.01 * len(scores)):
        return f"only {share:.1%} of {len(scores)} pairs reach the threshold {threshold:.3f}; {remedy}"
    kept_mean = float(kept.mean())
    if kept_mean - threshold < 0.5 * (clean - threshold):
        return (
            f"the {share:.1%} of pairs that are kept score {kept_mean:.3f} on average, clean pairs scored {clean:.3f} "
            f"(threshold {threshold:.3f}); {remedy}"
        )
    return None
