"""Training sets and checkpoints of recipes: what a selection becomes, and what is learned from it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial

import dagster as dg

from laion_assets.charts.training import training_curves
from laion_assets.clip.device import device_name
from laion_assets.delta.errors import LakeError, as_lake_error
from laion_assets.delta.storage import Storage
from laion_assets.orchestration.assets.metadata import counts_table
from laion_assets.orchestration.assets.pictures import chart
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.orchestration.run_tags import REFRESH_TAG
from laion_assets.sql.project import Project, open_project
from laion_assets.sql.selection import (
    ALWAYS_CURRENT,
    SELECTED,
    TRAINING,
    open_selection,
    refuse_opted_out,
    training_stage,
)
from laion_assets.training.arrangement import batch_collisions
from laion_assets.training.errors import TrainingError
from laion_assets.training.recipe import Recipe
from laion_assets.training.shards import ShardRow, write_shards
from laion_assets.training.train import TrainingSet, train_recipe, training_token
from laion_assets.training.training_set import (
    ChosenSamples,
    choose_samples,
    shards_token,
    source_tars,
    training_set_rows,
)
from laion_assets.webdataset.samples import read_pictures


def training_sets(step: Step) -> Metadata:
    """The pairs a recipe selects as webdataset shards, copies of evaluation pictures left out."""
    recipe = step.settings.recipe(str(step.partition["recipe"]))
    if recipe.shards == "virtual" and not step.lake.storage.is_local:
        raise LakeError(
            f"{recipe.name} learns from virtual shards, which read pictures where they lie, and this lake lies in a "
            "bucket: say `shards: copied` in the recipe"
        )
    project = open_project(step.settings.models)
    versions = _versions(step, recipe, project)
    open_selection(step.build, project, recipe.selection.source, recipe.selection.where, versions)
    refuse_opted_out(step.build, SELECTED, step.settings.consent, TRAINING)
    chosen = choose_samples(
        step.build.con,
        selected=SELECTED,
        recipe=recipe,
        removals=step.removals,
        benchmarks="benchmark_images",
        pictures=partial(_pictures, step.lake.storage),
        folder=step.build.folder.path,
    )
    rows = list(_shards(step, recipe, chosen))
    if chosen.selected != sum(row["samples"] for row in rows) + sum(chosen.drops.values()):
        raise LakeError(
            f"{step.label}: {chosen.selected} pairs selected, {rows} and {chosen.drops} do not account for all of them"
        )
    step.build.rows_in = sum(chosen.arrangement.shards(split) for split in chosen.arrangement.samples)
    step.build.counts.update(chosen.counts)
    step.build.add(training_set_rows(recipe, rows, chosen, step.build.read_versions))
    collisions = batch_collisions(step.build.con, chosen.arrangement, recipe.global_batch_size)
    return {
        "samples": chosen.samples,
        "pairs left out": counts_table(chosen.left_out, "reason"),
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


def _pictures(storage: Storage, places: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], bytes]]:
    tar = places[0][0]
    with storage.local(tar) as file:
        found = read_pictures(file, [key for _, key in places])
    for key, content in found.items():
        yield (tar, key), content


def _shards(step: Step, recipe: Recipe, chosen: ChosenSamples) -> Iterator[ShardRow]:
    """Write the shards, and publish each as it is finished."""
    work = shards_token(step.build.con, recipe, chosen.arrangement)
    folder = step.build.resumable(work).path
    with as_lake_error(TrainingError):
        with step.lake.storage.mirror(source_tars(step.build.con, chosen.arrangement)) as pictures:
            for row in write_shards(
                step.build.con,
                chosen.arrangement,
                root=pictures,
                output=folder / "files" / "training_sets" / recipe.name / work,
                relative_to=folder,
                virtual=recipe.shards == "virtual",
                provenance={"recipe": recipe.name},
                progress=step.progress(chosen.samples, "samples"),
            ):
                step.build.publish_file(folder / row["shard_path"], row["shard_path"])
                yield row
        for sizes in (folder / "files").rglob("sizes.json"):  # for other readers of the shards
            step.lake.storage.publish(sizes, sizes.relative_to(folder).as_posix())


def clip_checkpoints(step: Step) -> Metadata:
    """The weights of each epoch of a recipe, trained by open_clip_train from its training set."""
    recipe = step.settings.recipe(str(step.partition["recipe"]))
    shards = step.frame("training_sets").filter(split="train").sort("shard_path")
    previous = step.lake.commit("clip_checkpoints", step.partition)
    with as_lake_error(TrainingError):
        folder = step.build.resumable(training_token(recipe, shards, previous.version if previous else -1))
        published = f"files/checkpoints/{recipe.name}/{folder.mark}"
        weights = folder.path / "weights" / folder.mark
        with step.lake.storage.mirror(shards["shard_path"]) as root:
            trained = train_recipe(
                recipe,
                TrainingSet(shards=shards, root=root, version=step.build.pinned("training_sets").version),
                compute=step.settings.training,
                work=folder.path / "training",
                output=weights,
                published=published,
                progress=step.progress(recipe.samples_seen, "samples"),
            )
    for file in sorted(weights.iterdir()):
        step.lake.storage.publish(file, f"{published}/{file.name}")
    step.build.device = device_name(trained.placement.device)
    step.build.rows_in = recipe.epochs
    step.build.add(trained.rows)
    last = trained.records[-1]
    curves = training_curves([{"recipe": recipe.name, **asdict(record)} for record in trained.records], [recipe.name])
    return {
        "loss": round(last.loss, 4),
        "samples seen": recipe.samples_seen,
        "samples a second": round(last.samples_per_second),
        "GMACs a sample": round(trained.gmacs_per_sample, 6),
        "weights": dg.MetadataValue.path(step.lake.storage.address(f"{published}/{last.weights}")),
        **chart("curves", curves, "loss and throughput by epoch", recipe.name),
        "recipe": dg.MetadataValue.json(recipe.model_dump(mode="json")),
    }
