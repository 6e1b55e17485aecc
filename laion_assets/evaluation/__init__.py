"""Scores of a CLIP on published benchmarks: zero-shot classification and retrieval, as CLIP_benchmark computes them.

What belongs here: the layout of a benchmark on disk, a model loaded for scoring, and the scores. What does not: where
benchmarks come from (the sample's own are drawn in `sample.benchmarks`), how a model was trained, which scores a lake
keeps. Nothing here knows Dagster, a lake or settings; torch and open_clip are imported only when a model is loaded.
"""

from typing import Final

EVALUATOR_VERSION: Final = "1"
"""Raised when the same model and benchmark would score differently. Part of a score's identity."""
