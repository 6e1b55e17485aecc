"""Deduplication and filtering: from candidates to unique pairs, from embedded pairs to released ones."""

from laion_assets.clip.thresholds import thresholds_of
from laion_assets.orchestration.assets.metadata import counts_table
from laion_assets.orchestration.assets.pictures import pairs_to_see
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
        consent=step.settings.consent,
        told_sha256=("expected_sha256", "original_sha256") if step.is_import else None,
        output=output,
    )
    step.build.adopt([output])
    step.build.rows_in = counts.rows_in
    step.build.drop_all(counts.drops)
    return {}


def filtered_pairs(step: Step) -> Metadata:
    """The released pairs of one bucket under the configured policy."""
    options = step.settings.filter
    output = step.build.folder.path / "kept.parquet"
    encoders, thresholds = thresholds_of(
        step.settings.encoders,
        step.frame("calibrations"),
        step.frame("clip_embeddings", view="embedded_by", columns=("DISTINCT encoder", "encoder_sha256")),
    )
    counts = filter_pairs(
        step.build.con,
        pairs=step.read("unique_pairs"),
        images=step.read("images"),
        embeddings=step.read("clip_embeddings"),
        scores=step.read("image_scores"),
        thresholds=thresholds,
        threshold_overrides=options.thresholds,
        encoders=encoders,
        policy=options.resolve(),
        removals=step.removals,
        output=output,
    )
    step.build.adopt([output])
    step.build.rows_in = counts.rows_in
    step.build.drop_all(counts.drops)
    step.build.counts.update({f"subset {name}": rows for name, rows in counts.subsets.items()})
    return {"subsets": counts_table(counts.subsets, "subset"), **pairs_to_see(step.partition)}
