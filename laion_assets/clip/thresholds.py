"""The similarity thresholds that LAION published, and the encoders they belong to.

A threshold means nothing without its encoder. Any other encoder is calibrated (see `calibration`).
"""

from typing import Final

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
