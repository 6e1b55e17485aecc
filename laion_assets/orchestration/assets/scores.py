"""What heads say of pictures, all heads in one step."""

from laion_assets.clip.device import device_name
from laion_assets.delta.errors import LakeError
from laion_assets.orchestration.assets.metadata import rows_table
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.scoring.head import Head, feeder_name
from laion_assets.scoring.imports import imported_scores
from laion_assets.scoring.score import plan_scores, score_vectors, wanted_heads, wanted_pixels
from laion_assets.scoring.shapes import vector_scorer
from laion_assets.scoring.tensors import HeadError
from laion_assets.scoring.watermark import WatermarkScorer, score_tar
from laion_assets.scoring.weights import tensors_of


def image_scores(step: Step) -> Metadata:
    """One row per picture and head; rows that are still right are taken over."""
    try:
        return _scored(step)
    except HeadError as error:
        raise LakeError(f"LAION_SCORES__HEADS: {error}") from error


def _scored(step: Step) -> Metadata:
    heads = step.settings.heads
    taken_over = step.build.folder.path / "taken-over.parquet"
    step.own_rows_of_this_code("own_rows")
    embeddings = step.read("clip_embeddings")
    plan = plan_scores(
        step.build.con,
        images=step.read("images", columns=("url_id", "status", "sha256", "shard_path", "sample_key")),
        embeddings=embeddings,
        earlier="own_rows",
        heads=[(head, feeder_name(head, step.settings.encoders)) for head in heads],
        output=taken_over,
    )
    step.build.adopt([taken_over])
    step.build.rows_in = plan.rows_in
    step.build.counts["taken over"] = plan.taken_over
    step.build.drop_all(plan.drops)
    wanted = wanted_heads(step.build.con)
    on_vectors = {h.name: vector_scorer(h, tensors_of(h)) for h in heads if h.made_for and h.name in wanted}
    step.build.adopt(score_vectors(step.build.con, embeddings, on_vectors, step.build.folder.path))
    for head in heads:
        if head.sees == "pixels" and head.name in wanted:
            _score_pixels(step, head)
        elif head.sees == "table" and head.name in wanted:
            file, lacking = imported_scores(step.build.con, embeddings, head, step.build.folder.path)
            step.build.adopt([file])
            step.build.drop("not_in_table", lacking)
    summary = step.build.con.execute(f"""
        SELECT head, measures, count(*) AS pictures, min(value) AS least, median(value) AS median, max(value) AS most
        FROM {step.build.staged()} GROUP BY head, measures ORDER BY head""").pl()
    return {"scores": rows_table(summary)}


def _score_pixels(step: Step, head: Head) -> None:
    scorer = WatermarkScorer(head, tensors_of(head), step.settings.encoder.device)
    step.build.device = device_name(scorer.device)
    for shard_path, pictures in wanted_pixels(step.build.con, head.name):
        with step.lake.storage.local(shard_path) as tar:
            for frame in score_tar(scorer, tar, pictures):
                scored = frame.drop_nulls("value")
                step.build.drop("undecodable", frame.height - scored.height)
                step.build.add(scored)
