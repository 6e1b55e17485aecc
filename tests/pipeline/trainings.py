"""Recipes and evaluation sets small enough for a test, and training sets looked at as any reader of tars would."""

import dataclasses
import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import polars as pl
import yaml
from PIL import Image

from laion_assets.common.digests import file_sha256
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.evaluation.benchmark import BenchmarkSample, write_benchmark
from laion_assets.evaluation.options import EvaluationOptions
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.planning.recipes import TrainingRequest
from laion_assets.orchestration.registration import register
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.sample.benchmarks import write_sample_benchmarks
from laion_assets.settings import Settings
from laion_assets.training.checkpoint import ensure_model
from laion_assets.training.compute import ComputeOptions
from laion_assets.training.driver import FINAL_WEIGHTS, EpochRecord, Training
from tests.pipeline.conftest import Quiet
from tests.unit.training.tiny import MODEL, write_config

SAMPLES = 16
"""Samples of a shard, if nothing else is said."""

SHARED = {
    "model": MODEL,
    "model_configs": "configs",
    "samples_per_shard": SAMPLES,
    "samples_seen": 4 * SAMPLES,
    "epochs": 2,
    "global_batch_size": SAMPLES,
    "learning_rate": 1e-3,
    "precision": "fp32",
}
"""Four steps in two epochs."""


def write_recipes(folder: Path, recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write recipes, and make an empty folder of benchmarks; gives the settings that name both."""
    write_config(folder / "recipes" / "configs")
    (folder / "benchmarks").mkdir(exist_ok=True)
    content = {**SHARED, "recipes": {name: dict(values) for name, values in recipes.items()}}
    (folder / "recipes" / "recipes.yaml").write_text(yaml.safe_dump(content))
    return {
        "recipes": str(folder / "recipes"),
        "benchmarks": str(folder / "benchmarks"),
        "training": ComputeOptions(workers=0, device="cpu", threads=1, stall_seconds=120.0),
        "evaluation": EvaluationOptions(batch_size=512, device="cpu"),
    }


def write_benchmarks(folder: Path, *names: str, size: int = 20) -> None:
    """Some of the sample's benchmarks."""
    for path in write_sample_benchmarks(folder, size=size):
        if path.name not in names:
            shutil.rmtree(path)


def write_copies(folder: Path, name: str, pictures: Sequence[bytes]) -> None:
    """A retrieval benchmark of pictures that are not what they were: the first as it is, the others smaller."""
    samples = []
    for number, picture in enumerate(pictures):
        changed = picture if number == 0 else _smaller(picture)
        samples.append(BenchmarkSample(f"c{number}", changed, captions=(f"copy {number}",)))
    write_benchmark(folder / name, samples, task="zeroshot_retrieval")


def _smaller(picture: bytes) -> bytes:
    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        size = (image.width * 3 // 4, image.height * 3 // 4)
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=80)
    return out.getvalue()


def train(settings: Settings, instance: dg.DagsterInstance, *names: str, refresh: bool = False) -> Outcome:
    """What ``laion train`` does."""
    return Builder(settings, instance, Quiet()).build(TrainingRequest(recipes=names, refresh=refresh))


def run_one(settings: Settings, instance: dg.DagsterInstance, table: str, partition: Partition) -> str | None:
    """Run one partition, due or not, as somebody would from Dagster's pages; gives what it failed for."""
    partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
    for column, name in partition.items():  # what the pages ask for when a partition is added there
        register(instance, column, [str(name)])
    result = (
        build_definitions(settings)
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(table)],
            partition_key=partitions.key(partition) if partition else None,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    )
    failed = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    assert result.success == (not failed)
    return failed[0].description if failed and failed[0] is not None else None


def learn_nothing(training: Training) -> list[EpochRecord]:
    """What a training leaves behind, made at once: the model's first weights for every epoch, and invented numbers.

    For tests of what happens before a training and after it; those of the training start open_clip_train.
    """
    import open_clip
    import torch
    from safetensors.torch import save_file

    recipe = training.recipe
    ensure_model(recipe.model, recipe.model_configs)
    torch.manual_seed(recipe.seed)
    training.output.mkdir(parents=True, exist_ok=True)
    names = [f"epoch-{epoch}.safetensors" for epoch in range(1, recipe.epochs)] + [FINAL_WEIGHTS]
    weights = training.output / names[0]
    save_file(open_clip.create_model(recipe.model).state_dict(), weights)
    first = EpochRecord(
        epoch=1,
        weights=weights.name,
        weights_sha256=file_sha256(weights),
        state_sha256="",
        steps=recipe.steps_per_epoch,
        samples_seen=recipe.samples_seen // recipe.epochs,
        loss=1.0,
        learning_rate=1e-3,
        logit_scale=14.0,
        samples_per_second=1.0,
        wall_seconds=1.0,
        finished_at=0.0,
        resumed_from=None,
    )
    records = []
    for epoch, name in enumerate(names, 1):
        if epoch > 1:
            shutil.copy(weights, training.output / name)
        times = {"steps": epoch * first.steps, "samples_seen": epoch * first.samples_seen}
        records.append(dataclasses.replace(first, epoch=epoch, weights=name, **times))
    return records


class Sample(NamedTuple):
    """One sample of a shard."""

    key: str
    image: bytes
    text: str
    json: dict[str, Any]


def samples_of(lake: Lake, recipe: str) -> list[Sample]:
    """Every sample of a training set, in order; tars must have the size and the digest that their rows say."""
    shards = pl.scan_delta(lake.path("training_sets")).filter(recipe=recipe).sort("split", "shard_path").collect()
    found = []
    for row in shards.iter_rows(named=True):
        content = (lake.root / row["shard_path"]).read_bytes()
        assert (len(content), sha256(content).hexdigest()) == (row["bytes"], row["sha256"])
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            members = [(member.name.split(".", 1), tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
        for place in range(0, len(members), 3):
            (key, _), image = members[place]
            [(text_key, text_ending), text], [(json_key, json_ending), fields] = members[place + 1 : place + 3]
            assert (text_key, text_ending, json_key, json_ending) == (key, "txt", key, "json")
            found.append(Sample(key, image, text.decode(), json.loads(fields)))
        assert len(members) == 3 * row["samples"]
    return found


def assert_holds(lake: Lake, recipe: str, pairs: set[int], **others: int) -> None:
    """A training set was made of exactly these pairs, but for those that fill no shard.

    Args:
        lake: the lake.
        recipe: the recipe.
        pairs: their pair_ids.
        others: how many pairs were left out for other reasons.
    """
    keys = [int(sample.key) for sample in samples_of(lake, recipe)]
    assert len(keys) == len({*keys}) > 0
    assert {*keys} <= pairs
    remainder = len(pairs) - len(keys)
    assert left_out(lake, recipe) == {**others, **({"remainder": remainder} if remainder else {})}


def source_versions(lake: Lake, table: str, recipe: str) -> dict[str, int]:
    """The versions that the rows of a recipe name; all name the same."""
    rows = pl.scan_delta(lake.path(table)).filter(recipe=recipe).collect()["source_versions"].to_list()
    assert all(row == rows[0] for row in rows)
    return dict(rows[0])


def left_out(lake: Lake, recipe: str) -> dict[str, int]:
    """How many of the selected pairs are no samples, by reason; every pair must be one or the other."""
    commit = lake.commit("training_sets", {"recipe": recipe})
    assert commit is not None
    reasons = {
        name.removeprefix("pairs left out: "): count
        for name, count in commit.counts.items()
        if name.startswith("pairs left out: ")
    }
    assert commit.counts["pairs selected"] == commit.counts["samples"] + sum(reasons.values())
    return reasons
