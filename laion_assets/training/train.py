"""From a training set to the checkpoints of a recipe, and to what is known of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from laion_assets.common.digests import text_digest
from laion_assets.common.progress import Progress
from laion_assets.training.checkpoint import config_json, gmacs_per_sample, open_model
from laion_assets.training.compute import ComputeOptions, Placement, place
from laion_assets.training.driver import EpochRecord, Training
from laion_assets.training.errors import TrainingError
from laion_assets.training.model_card import write_model_card
from laion_assets.training.recipe import Recipe
from laion_assets.training.schedule import Schedule
from laion_assets.training.shards import ShardRow, verify_shards


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What a recipe learns from."""

    shards: pl.DataFrame
    """Rows of the split ``train`` of ``training_sets``, ordered by ``shard_path``."""
    root: Path
    """Folder that their ``shard_path`` is relative to."""
    version: int
    """Of the table ``training_sets``."""

    @property
    def sources(self) -> dict[str, int]:
        """The version of every table that it was selected from."""
        origin: dict[str, int] = self.shards["source_versions"][0]
        return origin


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A recipe trained to its end."""

    records: Sequence[EpochRecord]
    """One an epoch, in order."""
    placement: Placement
    gmacs_per_sample: float
    rows: pl.DataFrame
    """Rows of ``clip_checkpoints``, one an epoch."""


def training_token(recipe: Recipe, shards: pl.DataFrame, previous: int) -> str:
    """Names the work folder of a training: after a kill the same training goes on.

    Args:
        recipe: what is trained.
        shards: what it learns from: rows with ``sha256``.
        previous: version of the checkpoints that stand there, -1 for none: one that was published and is asked for
            again begins anew.

    Raises:
        TrainingError: there are no shards.
    """
    if shards.is_empty():
        raise TrainingError(
            f"the training set of {recipe.name} has no shard: its selection is smaller than one shard of "
            f"{recipe.samples_per_shard:,} samples; lower samples_per_shard or select more"
        )
    what = (recipe.of_training(), recipe.config_digest, sorted(shards["sha256"]), previous)
    return text_digest(repr(what), digits=32)


def train_recipe(
    recipe: Recipe,
    training_set: TrainingSet,
    *,
    compute: ComputeOptions,
    work: Path,
    output: Path,
    published: str,
    progress: Progress,
) -> Trained:
    """Train a recipe to its end, from where the work folder stands, and write the model card beside its weights.

    Args:
        recipe: what is trained.
        training_set: what it learns from; every shard is read before anything is trained.
        compute: on what.
        work: folder of the training's states. Hold its lock meanwhile.
        output: folder for the weights and all that is published beside them.
        published: folder that the rows name weights in.
        progress: of the samples; is told how it goes.

    Raises:
        TrainingError: shards are not as written, cannot be dealt evenly or do not fit the machine, or the training
            failed.
    """
    verify_shards(shard_rows(training_set.shards), training_set.root)
    placement = place(recipe, compute)

    def say(message: str) -> None:
        progress.note = message
        progress.log(message)

    training = Training(
        recipe=recipe,
        schedule=_schedule(recipe, training_set, placement),
        placement=placement,
        compute=compute,
        work=work,
        output=output,
        say=say,
        resumed=progress.say,
        progress=progress,
    )
    records = training.run()
    model = open_model(recipe.model, output / records[-1].weights, recipe.model_configs)
    samples, preprocess = int(training_set.shards["samples"].sum()), model.visual.preprocess_cfg
    write_model_card(output, recipe, records, training_set.sources, samples, config_json(recipe.model), preprocess)
    gmacs = gmacs_per_sample(model)
    same = {**_of_recipe(training, gmacs), "training_set_version": training_set.version}
    rows = pl.DataFrame(
        [{**_of_epoch(training, record, published), **same} for record in records],
        schema_overrides={"resumed_from": pl.Int32, "finished_at": pl.Datetime("us", "UTC")},
    ).with_columns(versions_column(training_set.sources, len(records)))
    return Trained(records=records, placement=placement, gmacs_per_sample=gmacs, rows=rows)


def shard_rows(shards: pl.DataFrame) -> list[ShardRow]:
    """Rows of ``training_sets`` as :func:`verify_shards` takes them."""
    names = ("split", "shard_path", "samples", "unique_images", "bytes", "sha256")
    return [ShardRow(**row) for row in shards.select(names).iter_rows(named=True)]  # type: ignore[typeddict-item]


def versions_column(versions: Mapping[str, int], rows: int) -> pl.Series:
    """The column ``source_versions``, the same in all rows."""
    return pl.Series("source_versions", [dict(sorted(versions.items()))] * rows, pl.Map(pl.String, pl.Int64))


def _schedule(recipe: Recipe, training_set: TrainingSet, placement: Placement) -> Schedule:
    return Schedule(
        shards=tuple(str(training_set.root / path) for path in training_set.shards["shard_path"]),
        samples_per_shard=recipe.samples_per_shard,
        samples_seen=recipe.samples_seen,
        epochs=recipe.epochs,
        loaders=placement.loaders,
        loader_batch_size=placement.batch_size,
        seed=recipe.seed,
        root=str(training_set.root) if recipe.shards == "virtual" else "",
    )


def _of_recipe(training: Training, gmacs: float) -> dict[str, Any]:
    recipe = training.recipe
    return {
        "model": recipe.model,
        "config_json": config_json(recipe.model),
        "open_clip_version": version("open_clip_torch"),
        "precision": recipe.precision,
        "seed": recipe.seed,
        "arm": recipe.arm,
        "global_batch_size": recipe.global_batch_size,
        "gmacs_per_sample": gmacs,
        "device": f"{training.placement.processes} x {training.placement.device}",
    }


def _of_epoch(training: Training, record: EpochRecord, published: str) -> dict[str, Any]:
    return {
        "epoch": record.epoch,
        "final": record.epoch == training.recipe.epochs,
        "path": f"{published}/{record.weights}",
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
    }
