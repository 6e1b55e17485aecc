"""Deduplication and filtering: from candidates to unique pairs, from embedded pairs to released ones."""

import polars as pl

from laion_assets.clip.options import encoder_name
from laion_assets.clip.thresholds import published_thresholds
from laion_assets.orchestration.assets.metadata import counts_table
from laion_assets.orchestration.assets.sheets import pair_sheets
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.pairs.dedup import deduplicate
from laion_assets.pairs.filter import filter_pairs


def unique_pairs(step: Step) -> Metadata:
    """The pairs of one bucket that no earlier crawl holds, each once."""
    bucket = int(step.partition["bucket"])
    output = step.build.folder.path / "unique.parquet"
    counts = deduplicate(
        step.build.con,
        candidates=step.read("candidate_pairs", where=f"bucket = {bucket}"),
        history=step.read("unique_pairs", "earlier_pairs", crawls="earlier", columns=("pair_id", "url", "text")),
        removals=step.removals,
        output=output,
    )
    step.build.adopt([output])
    step.build.rows_in = counts.rows_in
    for reason, rows in counts.drops.items():
        step.build.drop(reason, rows)
    return {}


def filtered_pairs(step: Step) -> Metadata:
    """The released pairs of one bucket under the configured policy."""
    options = step.settings.filter
    output = step.build.folder.path / "kept.parquet"
    dropped = step.build.folder.path / "dropped"
    encoders, thresholds = _thresholds(step)
    counts = filter_pairs(
        step.build.con,
        pairs=step.read("unique_pairs"),
        images=step.read("images"),
        embeddings=step.read("clip_embeddings"),
        thresholds=thresholds,
        threshold_overrides=options.thresholds,
        encoders=encoders,
        policy=options.resolve(),
        removals=step.removals,
        output=output,
        dropped=dropped,
    )
    step.build.adopt([output])
    step.build.rows_in = counts.rows_in
    for reason, rows in counts.drops.items():
        step.build.drop(reason, rows)
    step.build.counts.update({f"subset {name}": rows for name, rows in counts.subsets.items()})
    return {"subsets": counts_table(counts.subsets, "subset"), **pair_sheets(step, output, dropped)}


def _thresholds(step: Step) -> tuple[dict[str, str], pl.DataFrame]:
    """The weights that score each language group here, and the thresholds known for them.

    A calibration of this lake goes before what was published for the encoder.
    """
    calibrations = step.frame("calibrations")
    embedded = step.frame("clip_embeddings", view="embedded_by", columns=("DISTINCT encoder", "encoder_sha256"))
    known = pl.concat([embedded, calibrations.select("encoder", "encoder_sha256")]).unique("encoder")
    weights = dict(known.select("encoder", "encoder_sha256").iter_rows())
    encoders: dict[str, str] = {}
    rows: list[tuple[str, str, float]] = []
    for group, encoder in step.settings.encoders.items():
        name = encoder_name(encoder)
        encoders[group] = weights.get(name, f"not loaded: {name}")
        published = published_thresholds(encoder.model, encoder.pretrained) or {}
        if name not in weights:  # nothing was embedded here, so nothing is compared with the threshold
            published = {group: 1.0}
        rows += [(encoders[group], g, t) for g, t in published.items() if g == group]
    measured = calibrations.select("encoder_sha256", "language_group", "threshold")
    fallback = pl.DataFrame(rows, schema=measured.schema, orient="row").join(
        measured, on=["encoder_sha256", "language_group"], how="anti"
    )
    return encoders, pl.concat([measured, fallback])
