"""Training sets and checkpoints of recipes: what a selection becomes, and what is learned from it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import polars as pl

from laion_assets.charts.training import training_curves
from laion_assets.clip.device import device_name
from laion_assets.common.digests import text_digest
from laion_assets.delta.errors import LakeError
from laion_assets.evaluation.decontamination import find_contaminated
from laion_assets.orchestration.assets.metadata import counts_table, picture
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.orchestration.run_tags import REFRESH_TAG
from laion_assets.sql.project import Project, open_project
from laion_assets.sql.selection import ALWAYS_CURRENT, SELECTED, open_selection, training_stage
from laion_assets.training.arrangement import Arrangement, ShardOptions, arrange, batch_collisions
from laion_assets.training.checkpoint import CheckpointError, config_json, gmacs_per_sample, open_model
from laion_assets.training.compute import Placement, PlacementError, place
from laion_assets.training.driver import EpochRecord, Training, TrainingFailed
from laion_assets.training.model_card import write_model_card
from laion_assets.training.recipe import Recipe
from laion_assets.training.schedule import Schedule, ScheduleError
from laion_assets.training.shards import ShardError, ShardRow, verify_shards, write_shards
from laion_assets.webdataset.samples import read_pictures


def training_sets(step: Step) -> Metadata:
    """The pairs a recipe selects as webdataset shards, copies of evaluation pictures left out."""
    recipe = step.settings.recipe(str(step.partition["recipe"]))
    project = open_project(step.settings.models)
    versions = _versions(step, recipe, project)
    open_selection(step.build, project, recipe.selection.source, recipe.selection.where, versions)
    removed, excluded = _clean(step, recipe)
    options = ShardOptions(
        samples_per_shard=recipe.samples_per_shard,
        seed=recipe.seed,
        validation_fraction=recipe.validation_fraction,
    )
    arrangement = arrange(step.build.con, pairs="clean", options=options, output=step.build.folder.path / "arranged")
    rows = list(_shards(step, recipe, arrangement))
    selected = _count(step, SELECTED)
    drops = {**arrangement.drops, "removed": removed, "copy_of_evaluation_picture": excluded}
    if selected != sum(row["samples"] for row in rows) + sum(drops.values()):
        raise LakeError(f"{step.label}: {selected} pairs selected, {rows} and {drops} do not account for all of them")
    step.build.rows_in = sum(arrangement.shards(split) for split in arrangement.samples)
    step.build.counts.update({"pairs selected": selected, "samples": sum(row["samples"] for row in rows)})
    step.build.counts.update({f"pairs left out: {reason}": count for reason, count in drops.items() if count})
    _stage_shards(step, recipe, rows, excluded)
    collisions = batch_collisions(step.build.con, arrangement, recipe.global_batch_size)
    return {
        "samples": sum(row["samples"] for row in rows),
        "pairs left out": counts_table({reason: count for reason, count in drops.items() if count}, "reason"),
        "same picture in a batch": round(collisions.same_image, 4),
        "same caption in a batch": round(collisions.same_caption, 4),
        "recipe": dg.MetadataValue.json(recipe.model_dump(mode="json")),
    }


def _versions(step: Step, recipe: Recipe, project: Project) -> dict[str, int]:
    """The table versions to select from: those the recipe names, else those of the set that is made again."""
    before = step.lake.commit("training_sets", step.partition)
    if before is None or before.settings_digest != step.build.provenance.settings_digest:
        return dict(recipe.selection.versions)
    if step.run_tags.get(REFRESH_TAG) == "true":
        return dict(recipe.selection.versions)
    reads = {read.table for read in training_stage(project, recipe.selection.source).reads} - {*ALWAYS_CURRENT}
    known = {table: upstream.version for table, upstream in before.upstreams.items() if table in reads}
    return {**known, **recipe.selection.versions}


def _count(step: Step, relation: str) -> int:
    row = step.build.con.execute(f"SELECT count(*) FROM {relation}").fetchone()
    return int(row[0]) if row else 0


def _clean(step: Step, recipe: Recipe) -> tuple[int, int]:
    """Make the view ``clean`` of what may be learned from; gives how many pairs were removed, and how many copies."""
    con = step.build.con
    removals = step.removals.register(con)
    annotated = removals.annotate(SELECTED, final_url="final_url", pair_id="pair_id", sha256="sha256")
    con.execute(f"CREATE TEMP TABLE kept AS SELECT * EXCLUDE (removal) FROM ({annotated}) WHERE removal IS NULL")
    removed = _count(step, SELECTED) - _count(step, "kept")
    copies = step.build.folder.path / "copies"
    con.execute("CREATE TEMP TABLE copies (sha256 VARCHAR)")
    if recipe.decontamination is not None:
        con.execute("""
            CREATE TEMP TABLE pictures AS
            SELECT sha256, any_value(perceptual_hash) AS perceptual_hash, min(shard_path) AS shard_path,
                   arg_min(sample_key, shard_path) AS sample_key
            FROM kept WHERE shard_path IS NOT NULL GROUP BY sha256
        """)
        found = find_contaminated(
            con,
            images="pictures",
            benchmarks="benchmark_images",
            options=recipe.decontamination,
            pictures=lambda places: _pictures(step, places),
            output=copies,
        )
        con.execute(f"INSERT INTO copies SELECT sha256 FROM read_parquet('{copies}')")
        step.build.counts.update(
            {
                "copies: same file": found.exact,
                "copies: near and of the same colours": found.confirmed,
                "near, of other colours": found.refuted,
            }
        )
    con.execute("CREATE VIEW clean AS SELECT * FROM kept WHERE sha256 IS NULL OR sha256 NOT IN (FROM copies)")
    return removed, _count(step, "kept") - _count(step, "clean")


def _pictures(step: Step, places: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], bytes]]:
    tar = places[0][0]
    with step.lake.storage.local(tar) as file:
        found = read_pictures(file, [key for _, key in places])
    for key, content in found.items():
        yield (tar, key), content


def _shards(step: Step, recipe: Recipe, arrangement: Arrangement) -> Iterator[ShardRow]:
    # Of everything that a shard holds: shards of other content must not be written over those that are published.
    digest = hashlib.sha256(json.dumps(recipe.of_training_set(), sort_keys=True).encode())
    for split in arrangement.samples:
        content = step.build.con.execute(f"""
            SELECT sum(md5_number_lower(sample::VARCHAR)::HUGEINT)
            FROM read_parquet('{arrangement.file(split)}') AS sample
        """).fetchone()
        digest.update(repr((split, content)).encode())
    work = digest.hexdigest()[:32]
    folder = step.build.resumable(work)
    files = ", ".join(f"'{arrangement.file(split)}'" for split in arrangement.samples)
    tars = step.build.con.execute(f"SELECT DISTINCT shard_path FROM read_parquet([{files}]) ORDER BY 1").fetchall()
    try:
        with step.lake.storage.mirror(tar for (tar,) in tars) as pictures:
            for row in write_shards(
                step.build.con,
                arrangement,
                root=pictures,
                output=folder.path / "files" / "training_sets" / recipe.name / work,
                relative_to=folder.path,
                provenance={"recipe": recipe.name},
                progress=step.progress(sum(arrangement.samples.values()), "samples"),
            ):
                step.build.publish_file(folder.path / row["shard_path"], row["shard_path"])
                yield row
        for sizes in (folder.path / "files").rglob("sizes.json"):  # for other readers of the shards
            step.lake.storage.publish(sizes, sizes.relative_to(folder.path).as_posix())
    except ShardError as error:
        raise LakeError(str(error)) from error


def _stage_shards(step: Step, recipe: Recipe, rows: Sequence[ShardRow], excluded: int) -> None:
    step.build.add(
        pl.DataFrame(
            {
                "split": [row["split"] for row in rows],
                "shard_path": [row["shard_path"] for row in rows],
                "samples": [row["samples"] for row in rows],
                "unique_images": [row["unique_images"] for row in rows],
                "bytes": [row["bytes"] for row in rows],
                "sha256": [row["sha256"] for row in rows],
            },
            schema_overrides={"split": pl.String, "shard_path": pl.String, "sha256": pl.String},
        ).with_columns(
            policy=pl.lit(recipe.selection.source),
            selection=pl.lit(recipe.selection.where),
            seed=pl.lit(recipe.seed, pl.Int64),
            excluded_benchmark=pl.lit(excluded, pl.Int64),
            source_versions=_map(step.build.read_versions, len(rows)),
        )
    )


def _map(versions: Mapping[str, int], rows: int) -> pl.Series:
    return pl.Series("source_versions", [dict(sorted(versions.items()))] * rows, pl.Map(pl.String, pl.Int64))


def clip_checkpoints(step: Step) -> Metadata:
    """The weights of each epoch of a recipe, trained by open_clip_train from its training set."""
    recipe = step.settings.recipe(str(step.partition["recipe"]))
    shards = step.frame("training_sets").filter(split="train").sort("shard_path")
    if shards.is_empty():
        raise LakeError(
            f"the training set of {recipe.name} has no shard: its selection is smaller than one shard of "
            f"{recipe.samples_per_shard:,} samples; lower samples_per_shard or select more"
        )
    try:
        with step.lake.storage.mirror(shards["shard_path"]) as root:
            verify_shards(_rows(shards), root)
            training = _training(step, recipe, shards, root)
            step.build.device = device_name(training.placement.device)
            records = training.run()
        model = open_model(recipe.model, training.output / records[-1].weights, recipe.model_configs)
        gmacs = gmacs_per_sample(model)
    except (ShardError, ScheduleError, PlacementError, TrainingFailed, CheckpointError) as error:
        raise LakeError(str(error)) from error
    training_set = step.build.pinned("training_sets")
    origin: dict[str, int] = shards["source_versions"][0]
    samples, described = int(shards["samples"].sum()), (config_json(recipe.model), model.visual.preprocess_cfg)
    write_model_card(training.output, recipe, records, origin, samples, *described)
    folder = _publish(step, training)
    step.build.rows_in = recipe.epochs
    step.build.add(_checkpoint_rows(training, folder, records, gmacs, training_set.version, origin))
    return {
        "loss": round(records[-1].loss, 4),
        "samples seen": recipe.samples_seen,
        "samples a second": round(records[-1].samples_per_second),
        "GMACs a sample": round(gmacs, 6),
        "weights": dg.MetadataValue.path(step.lake.storage.address(f"{folder}/{records[-1].weights}")),
        **picture("curves", training_curves(records, title=recipe.name), "loss and throughput by epoch"),
        "recipe": dg.MetadataValue.json(recipe.model_dump(mode="json")),
    }


def _publish(step: Step, training: Training) -> str:
    """Publish the weights and what lies beside them; gives their folder in the lake."""
    folder = f"files/checkpoints/{training.recipe.name}/{training.output.name}"
    for file in sorted(training.output.iterdir()):
        step.lake.storage.publish(file, f"{folder}/{file.name}")
    return folder


def _rows(shards: pl.DataFrame) -> list[ShardRow]:
    names = ("split", "shard_path", "samples", "unique_images", "bytes", "sha256")
    return [ShardRow(**row) for row in shards.select(names).iter_rows(named=True)]  # type: ignore[typeddict-item]


def _training(step: Step, recipe: Recipe, shards: pl.DataFrame, root: Path) -> Training:
    placement: Placement = place(recipe, step.settings.training)
    schedule = Schedule(
        shards=tuple(str(root / path) for path in shards["shard_path"]),
        samples_per_shard=recipe.samples_per_shard,
        samples_seen=recipe.samples_seen,
        epochs=recipe.epochs,
        loaders=placement.loaders,
        loader_batch_size=placement.batch_size,
        seed=recipe.seed,
    )
    previous = step.lake.commit("clip_checkpoints", step.partition)
    # After a kill the same training goes on; one that was published and is asked for again begins anew.
    what = (recipe.of_training(), recipe.config_digest, sorted(shards["sha256"]), previous.version if previous else -1)
    folder = step.build.resumable(text_digest(repr(what), digits=32))
    progress = step.progress(recipe.samples_seen, "samples")

    def say(message: str) -> None:
        progress.note = message
        step.log.info(message)

    return Training(
        recipe=recipe,
        schedule=schedule,
        placement=placement,
        compute=step.settings.training,
        work=folder.path / "training",
        output=folder.path / "weights" / folder.mark,
        say=say,
        resumed=progress.say,
        progress=progress,
    )


def _checkpoint_rows(
    training: Training,
    folder: str,
    records: Sequence[EpochRecord],
    gmacs: float,
    training_set_version: int,
    origin: Mapping[str, int],
) -> pl.DataFrame:
    recipe = training.recipe
    same = {
        "model": recipe.model,
        "config_json": config_json(recipe.model),
        "open_clip_version": version("open_clip_torch"),
        "precision": recipe.precision,
        "seed": recipe.seed,
        "arm": recipe.arm,
        "global_batch_size": recipe.global_batch_size,
        "gmacs_per_sample": gmacs,
        "device": f"{training.placement.processes} x {training.placement.device}",
        "training_set_version": training_set_version,
    }
    rows = [
        {
            "epoch": record.epoch,
            "final": record.epoch == recipe.epochs,
            "path": f"{folder}/{record.weights}",
            "sha256": record.weights_sha256,
            "steps": record.steps,
            "samples_seen": record.samples_seen,
            "samples_unique": training.schedule.distinct_samples(record.epoch),
            "loss": record.loss,
            "learning_rate": record.learning_rate,
            "logit_scale": record.logit_scale,
            "samples_per_second": record.samples_per_second,
            "wall_seconds": record.wall_seconds,
            "resumed_from": record.resumed_from,
            "finished_at": datetime.fromtimestamp(record.finished_at, UTC),
            **same,
        }
        for record in records
    ]
    frame = pl.DataFrame(rows, schema_overrides={"resumed_from": pl.Int32, "finished_at": pl.Datetime("us", "UTC")})
    return frame.with_columns(_map(origin, len(rows)))
