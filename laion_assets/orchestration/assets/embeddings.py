"""Encoding pictures and texts, and finding the thresholds of the encoders that do it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from laion_assets.charts.pairs import Similarities, binned, similarity
from laion_assets.clip.calibration import CalibrationError, calibrate, calibrations_of, distribution_warning
from laion_assets.clip.calibration_pairs import read_pairs, with_language_groups
from laion_assets.clip.device import device_name
from laion_assets.clip.embed import EmbeddingCounts, embed_tar
from laion_assets.clip.encoder import Encoder, load_encoder
from laion_assets.clip.options import EncoderOptions
from laion_assets.clip.plan import EmbeddingPlan, plan_embeddings, wanted_by_tar
from laion_assets.delta.errors import LakeError
from laion_assets.delta.partition import Partition
from laion_assets.orchestration.assets.metadata import rows_table
from laion_assets.orchestration.assets.pictures import chart
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.columns import SUBSETS

SCORE_CHECK = "score_distribution"


@lru_cache(maxsize=2)
def loaded_encoder(options: EncoderOptions) -> Encoder:
    """The encoder, loaded once a process."""
    return load_encoder(options)


def encoders_to_calibrate(settings: Settings) -> Iterable[Partition]:
    """The partitions of ``calibrations`` that a build writes: one an encoder, none without pairs to measure on."""
    if settings.calibration.pairs is None:
        return []
    return [{"encoder_sha256": loaded_encoder(o).sha256} for o in dict.fromkeys(settings.encoders.values())]


def calibrations(step: Step) -> Metadata:
    """The thresholds of one encoder, measured on held-out pairs."""
    options = step.settings.calibration
    encoder = next(
        e for e in map(loaded_encoder, step.settings.encoders.values()) if e.sha256 == step.partition["encoder_sha256"]
    )
    try:
        held_out = read_pairs(str(options.pairs))
        left_out = dict(held_out.left_out)
        pairs = with_language_groups(held_out.pairs, step.settings.extraction.language_floor)
        measured = calibrate(
            encoder,
            pairs,
            seed=options.seed,
            picture_domain=options.picture_domain,
            keep=options.keep,
            left_out=left_out,
        )
    except CalibrationError as error:
        raise LakeError(f"LAION_CALIBRATION__PAIRS: {error}") from error
    if left_out:
        reasons = ", ".join(f"{rows} {reason}" for reason, rows in left_out.items())
        step.log.warning(f"calibration pairs left out of {options.pairs}: {reasons}")
    step.build.counts.update(left_out)
    step.build.add(measured)
    step.build.rows_in = len(SUBSETS)
    shown = measured.select("language_group", "threshold", "keep_rate", "drop_rate", "roc_auc", "positives", "method")
    return {"encoder": encoder.name, "thresholds": rows_table(shown)}


def clip_embeddings(step: Step) -> Metadata:
    """One row per pair with a picture, by the encoder of its language; rows that are still right are taken over."""
    encoders = {group: loaded_encoder(options) for group, options in step.settings.encoders.items()}
    step.build.device = device_name(encoders["en"].device)
    taken_over = step.build.folder.path / "taken-over.parquet"
    step.build.own_earlier_rows("own_rows")
    plan = plan_embeddings(
        step.build.con,
        pairs=step.read("unique_pairs", columns=("pair_id", "url_id", "url", "text", "language")),
        images=step.read("images", columns=("url", "status", "sha256", "shard_path", "sample_key", "fetched_at")),
        earlier="own_rows",
        encoders=encoders,
        columns=tuple(step.build.schema.names),
        output=taken_over,
        outdated_since=_outdated_since(step),
    )
    step.build.adopt([taken_over])
    step.build.rows_in = plan.pairs
    step.build.counts["taken over"] = plan.taken_over
    counts = _embed(step, encoders, plan)
    step.build.drop_all({**plan.drops, **counts.drops})
    return _scores(step, encoders)


def _outdated_since(step: Step) -> datetime | None:
    """When this partition was published last, where that was done by other code."""
    commit = step.lake.commit("clip_embeddings", step.partition)
    if commit is None or commit.code_version == TABLES["clip_embeddings"].code_version:
        return None
    return datetime.fromtimestamp(commit.timestamp_ms / 1000, UTC)


def _embed(step: Step, encoders: dict[str, Encoder], plan: EmbeddingPlan) -> EmbeddingCounts:
    progress = step.progress(plan.wanted, "pairs")
    by_sha = {encoder.sha256: encoder for encoder in encoders.values()}
    counts = EmbeddingCounts()
    for shard_path, sha256, pairs in wanted_by_tar(step.build.con):
        with step.lake.storage.local(shard_path) as tar:
            for frame in embed_tar(by_sha[sha256], tar, pairs, counts=counts):
                step.build.add(frame)
                progress(frame.height)
    step.build.counts.update({"images encoded": counts.images, "texts truncated": counts.texts_truncated})
    return counts


def _scores(step: Step, encoders: dict[str, Encoder]) -> Metadata:
    """The histogram of similarities, and a warning where they do not look like those of the calibration."""
    scores = step.build.con.execute(f"""
        SELECT subset, similarity FROM {step.build.staged()} JOIN planned USING (pair_id)
    """).pl()
    by_group = {group: scores.filter(subset=group)["similarity"].to_numpy() for group in SUBSETS}
    known = calibrations_of(step.lake_frame("calibrations"), encoders)
    for group, row in known.items():
        strange = distribution_warning(by_group[group], row)
        if strange:
            step.warn(SCORE_CHECK, f"{group}: {strange}")
    thresholds = {group: float(row["threshold"]) for group, row in known.items()}
    groups = [
        Similarities(
            group=group,
            bins=binned(similarities, thresholds.get(group)),
            thresholds=[thresholds[group]] if group in thresholds else [],
        )
        for group, similarities in by_group.items()
    ]
    drawn = similarity(groups, part="at or above the threshold", rest="below the threshold")
    return chart("similarity", drawn, "similarity by language group", step.label)
