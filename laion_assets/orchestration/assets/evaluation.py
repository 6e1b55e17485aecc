"""Evaluation sets, what checkpoints score on them, and what the scores say together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import dagster as dg
import polars as pl

from laion_assets.charts.scores import accuracy_under_shift, error_by_compute
from laion_assets.clip.options import EncoderError
from laion_assets.common.digests import file_sha256
from laion_assets.common.progress import Progress
from laion_assets.delta.errors import LakeError, as_lake_error
from laion_assets.delta.partition import Partition
from laion_assets.evaluation import EVALUATOR_VERSION
from laion_assets.evaluation.benchmark import Benchmark, BenchmarkError, Task, dataset_sha256
from laion_assets.evaluation.model import LoadedModel, load_model
from laion_assets.evaluation.registry import fingerprints, registered
from laion_assets.evaluation.retrieval import retrieval
from laion_assets.evaluation.robustness import effective_robustness
from laion_assets.evaluation.scaling import fit_scaling
from laion_assets.evaluation.scores import final_scores, scaling_points
from laion_assets.evaluation.zero_shot import zero_shot
from laion_assets.orchestration.assets.pictures import chart
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.settings import Settings
from laion_assets.training.model_card import CARD, SCORES, add_scores


def whole(_: Settings) -> Iterable[Partition]:
    """The one partition of a table over all recipes."""
    return [{}]


def benchmark_images(step: Step) -> Metadata:
    """The pictures of an evaluation set, so that copies of them are found in what is learned from."""
    benchmark = _benchmark(step)
    same = {
        "folder": _place(step, benchmark.folder),
        "task": benchmark.task,
        "split": benchmark.split,
        "in_distribution_benchmark": benchmark.in_distribution,
        "dataset_sha256": _digest(benchmark),
    }
    for frame in fingerprints(benchmark):
        step.build.add(frame.with_columns(**{name: pl.lit(value, pl.String) for name, value in same.items()}))
        step.build.rows_in += frame.height
    return {"task": benchmark.task, "classes": len(benchmark.classnames), "templates": len(benchmark.templates)}


def _place(step: Step, folder: Path) -> str:
    """Where an evaluation set lies: named from the lake on if it lies there, for lakes are moved."""
    if step.settings.benchmarks is None:
        return f"files/benchmarks/{folder.name}"
    if step.lake.storage.holds(folder):
        return folder.resolve().relative_to(step.lake.root).as_posix()
    return str(folder.resolve())


def _benchmark(step: Step) -> Benchmark:
    with as_lake_error(BenchmarkError):
        return registered(step.settings.benchmark_folder, str(step.partition["benchmark"]))


def _digest(benchmark: Benchmark) -> str:
    with as_lake_error(BenchmarkError):
        return dataset_sha256(benchmark)


def zero_shot_scores(step: Step) -> Metadata:
    """How well the checkpoints of a recipe name the pictures of a benchmark; none where it is one for retrieval."""

    def measure(loaded: LoadedModel, benchmark: Benchmark, progress: Progress) -> dict[str, Any]:
        score = zero_shot(loaded, benchmark, batch_size=step.settings.evaluation.batch_size, progress=progress)
        templates = len(benchmark.templates)
        return {"in_distribution_benchmark": benchmark.in_distribution, **asdict(score), "templates": templates}

    return _scored(step, "zeroshot_classification", measure)


def retrieval_scores(step: Step) -> Metadata:
    """How well the checkpoints of a recipe find pictures by text and texts by picture; none for classification."""

    def measure(loaded: LoadedModel, benchmark: Benchmark, progress: Progress) -> dict[str, Any]:
        score = retrieval(loaded, benchmark, batch_size=step.settings.evaluation.batch_size, progress=progress)
        return {**score.recalls, "images": score.images, "captions": score.captions}

    return _scored(step, "zeroshot_retrieval", measure)


def _scored(step: Step, task: Task, measure: Callable[[LoadedModel, Benchmark, Progress], dict[str, Any]]) -> Metadata:
    """Measure the checkpoints on the benchmark if it is one of this task, and still the one that was registered."""
    benchmark = _benchmark(step)
    known = step.frame("benchmark_images", columns=("dataset_sha256",))
    step.frame("clip_checkpoints")  # an input, also where there is nothing to measure
    if benchmark.task != task:
        return {"task": f"not a {task.removeprefix('zeroshot_')} benchmark"}
    digest = _digest(benchmark)
    if known["dataset_sha256"].unique().to_list() != [digest]:
        raise LakeError(
            f"benchmark {benchmark.name} changed since its pictures were registered, and what is a copy of them may "
            "have been learned: build its benchmark_images again, then the training set and the checkpoint"
        )
    rows = []
    for checkpoint in _checkpoints(step):
        said = {
            "epoch": checkpoint["epoch"],
            "checkpoint_sha256": checkpoint["sha256"],
            "dataset_sha256": digest,
            "precision": step.settings.evaluation.precision,
            "evaluator_version": EVALUATOR_VERSION,
        }
        measured = measure(_load(step, checkpoint), benchmark, step.progress(known.height, "pictures"))
        rows.append({**said, "evaluated_at": datetime.now(UTC), **measured})
    return _stage_scores(step, rows)


def _checkpoints(step: Step) -> list[dict[str, Any]]:
    rows = step.frame("clip_checkpoints").sort("epoch")
    chosen = (rows if step.settings.evaluation.all_epochs else rows.filter("final")).to_dicts()
    step.build.rows_in += len(chosen)
    return chosen


def _load(step: Step, checkpoint: Mapping[str, Any]) -> LoadedModel:
    recipe = step.settings.recipe(str(step.partition["recipe"]))
    options = step.settings.evaluation
    with step.lake.storage.local(checkpoint["path"]) as weights:
        if not weights.is_file() or file_sha256(weights) != checkpoint["sha256"]:
            raise LakeError(
                f"{step.lake.storage.address(checkpoint['path'])} is missing or is not what clip_checkpoints says: "
                f"train {recipe.name} again, or put it back"
            )
        with as_lake_error(EncoderError):
            return load_model(
                checkpoint["model"],
                str(weights),
                model_configs=recipe.model_configs,
                device=options.device,
                precision=options.precision,
            )


def _stage_scores(step: Step, rows: Sequence[Mapping[str, Any]]) -> Metadata:
    step.build.add(pl.DataFrame(rows, infer_schema_length=None))
    shown = [{**row, "benchmark": step.partition["benchmark"]} for row in rows]
    for folder in {str(PurePosixPath(row["path"]).parent) for row in step.frame("clip_checkpoints").to_dicts()}:
        _note_scores(step, folder, shown)
    left_out = {"epoch", "checkpoint_sha256", "dataset_sha256", "precision", "evaluator_version", "evaluated_at"}
    last = {name: value for name, value in rows[-1].items() if name not in left_out and value is not None}
    return {
        name.replace("_", " "): round(value, 4) if isinstance(value, float) else value for name, value in last.items()
    }


def _note_scores(step: Step, folder: str, shown: Sequence[Mapping[str, Any]]) -> None:
    """Bring the model card beside a checkpoint up to date, and the scores beside it."""
    storage, here = step.lake.storage, step.build.folder.path / "card"
    here.mkdir()
    for name in (CARD, SCORES):
        if storage.exists(f"{folder}/{name}"):
            (here / name).write_bytes(storage.read(f"{folder}/{name}"))
    add_scores(here, step.table, shown)
    for file in here.iterdir():
        storage.replace(f"{folder}/{file.name}", file.read_bytes())


def robustness(step: Step) -> Metadata:
    """Accuracy under shift beside accuracy in distribution, of every recipe's final checkpoint."""
    scores = final_scores(step.frame("zero_shot_scores"), step.frame("clip_checkpoints"))
    found = effective_robustness(
        scores.select(
            "recipe", "epoch", "benchmark", "in_distribution_benchmark", "samples", accuracy="top1"
        ).with_columns(baseline=pl.lit(value=True))
    )
    step.build.add(found)
    step.build.rows_in = scores.filter(pl.col("in_distribution_benchmark").is_not_null()).height
    step.build.drop("in-distribution benchmark not measured", step.build.rows_in - found.height)
    what = "accuracy under shift against accuracy in distribution"
    recipes = found["recipe"].unique().sort().to_list()
    return chart("shift", accuracy_under_shift(found.to_dicts(), recipes), what, what.capitalize())


def scaling_laws(step: Step) -> Metadata:
    """Error against compute of completed schedules, by benchmark and arm, with a fit where there is enough for one."""
    checkpoints = step.frame("clip_checkpoints")
    points = scaling_points(
        *(final_scores(step.frame(table), checkpoints) for table in ("zero_shot_scores", "retrieval_scores"))
    )
    laws = fit_scaling(points)
    step.build.add(laws)
    step.build.rows_in = points.select("benchmark", "arm").n_unique()
    drawn = error_by_compute(points.to_dicts(), laws.to_dicts())
    return {
        **chart("scaling", drawn, "error against compute", "Error against compute"),
        "laws": dg.MetadataValue.int(laws.filter(pl.col("error_model").is_not_null()).height),
    }
