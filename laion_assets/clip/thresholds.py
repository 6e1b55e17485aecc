"""The similarity thresholds of encoders: those that LAION published, and those that were measured.

A threshold means nothing without its encoder. One for which nothing was published is calibrated (see `calibration`).
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from laion_assets.clip.options import EncoderOptions, encoder_name

LAION_THRESHOLDS: Final[dict[str, float]] = {"en": 0.28, "multi": 0.26, "nolang": 0.26}
"""Least cosine similarity of a kept pair by language group, as LAION-5B was filtered (Schuhmann et al., 2022, section
3)."""

LAION_THRESHOLD_ENCODERS: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("ViT-B-32", "openai"),
        ("ViT-B-32-quickgelu", "openai"),
        ("ViT-B-32", "laion400m_e31"),
        ("ViT-B-32", "laion400m_e32"),
        ("ViT-B-32-quickgelu", "laion400m_e31"),
        ("ViT-B-32-quickgelu", "laion400m_e32"),
        ("ViT-B-32", "laion2b_e16"),
        ("ViT-B-32", "laion2b_s34b_b79k"),
        ("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k"),
    }
)
"""(model, weights tag) of the published B/32 encoders for which those thresholds are in use. LAION itself scored
English with the `openai` weights and the rest with a multilingual text tower on the same image tower; the others were
trained on what these two let through and score in the same range, not identically."""


def published_thresholds(model: str, pretrained: str) -> dict[str, float] | None:
    """Look up the published thresholds of an encoder.

    Returns:
        Threshold by language group, or None if nothing was published for this encoder: calibrate it.
    """
    return dict(LAION_THRESHOLDS) if (model, pretrained) in LAION_THRESHOLD_ENCODERS else None


def thresholds_of(
    encoders: Mapping[str, EncoderOptions], calibrations: pl.DataFrame, embedded: pl.DataFrame
) -> tuple[dict[str, str], pl.DataFrame]:
    """Which weights score each language group, and the thresholds known for them.

    What was measured goes before what was published.

    Args:
        encoders: By language group.
        calibrations: Rows of `calibrations`.
        embedded: Columns `encoder, encoder_sha256`: the encoders that made the vectors at hand.

    Returns:
        The sha256 of the weights by language group; and the columns `encoder_sha256, language_group, threshold`.

    Raises:
        EncoderError: Weights are named by a path, and no file lies there.
    """
    known = pl.concat([embedded, calibrations.select("encoder", "encoder_sha256")]).unique("encoder")
    weights = dict(known.select("encoder", "encoder_sha256").iter_rows())
    scored_by: dict[str, str] = {}
    rows: list[tuple[str, str, float]] = []
    for group, options in encoders.items():
        name = encoder_name(options)
        scored_by[group] = weights.get(name, f"not loaded: {name}")
        published = published_thresholds(options.model, options.pretrained) or {}
        if name not in weights:  # nothing was embedded, so nothing is compared with the threshold
            published = {group: 1.0}
        rows += [(scored_by[group], g, t) for g, t in published.items() if g == group]
    measured = calibrations.select("encoder_sha256", "language_group", "threshold")
    fallback = pl.DataFrame(rows, schema=measured.schema, orient="row").join(
        measured, on=["encoder_sha256", "language_group"], how="anti"
    )
    return scored_by, pl.concat([measured, fallback])
