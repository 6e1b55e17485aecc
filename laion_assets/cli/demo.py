"""The demo: a sample web with known truth, from publishing to the filter's measured quality."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from laion_assets.delta.lake import Lake
from laion_assets.sample.encoder import MODEL, MODEL_CONFIGS, PICTURE_DOMAIN, training_pairs, write_calibration
from laion_assets.sample.truth import Score, score
from laion_assets.settings import Settings, load_settings, write_lake_settings

if TYPE_CHECKING:
    from laion_assets.orchestration.planning.waves import Request

_TRAINING_PICTURES = 12_000
_CALIBRATION_PICTURES = 3_000
_BENCHMARK_PICTURES = 600
_ARMS = ("sample-filtered-32k", "sample-unfiltered-32k")
_RELEASE = "sample"


def run_demo(lake: Path, folder: Path, console: Console, *, quick: bool = False) -> None:
    """Publish, build, measure the filter, release, then train on what was kept and on all; what is done is left out.

    Args:
        lake: folder of the lake.
        folder: folder of the sample web.
        console: where to tell about it.
        quick: stop before the training on what was collected.
    """
    from laion_assets.cli.building import record_states
    from laion_assets.orchestration.planning.crawls import CrawlRequest
    from laion_assets.orchestration.planning.models import ModelRequest
    from laion_assets.orchestration.runs.home import dagster_instance
    from laion_assets.sample.options import SampleOptions
    from laion_assets.sample.publish import publish
    from laion_assets.sample.server import SampleServer
    from laion_assets.sql.project import open_project

    started = time.monotonic()
    lake, folder = lake.resolve(), folder.resolve()
    with _bar(console, "rendering the sample web") as progress:
        sample = publish(folder, SampleOptions(), progress=progress)
    os.environ.update(LAION_LAKE=str(lake), LAION_SOURCE=str(folder))
    encoders = lake / "files" / "encoders"
    weights = _encoder(encoders, console)
    _beside_the_weights(encoders)
    write_lake_settings(str(lake), _demo_settings(folder, weights, encoders))
    settings = load_settings()
    console.print(f"building {' and '.join(sample.crawls)} into {lake}", highlight=False)
    with SampleServer(folder):
        built = _build(settings, CrawlRequest(crawls=sample.crawls), console)
    built += _build(settings, ModelRequest(models=list(open_project(settings.models).enabled)), console)
    record_states(settings, dagster_instance(), console)
    opened = settings.open_lake()
    print_funnel(opened, console)
    print_score(opened, sample.truth, console)
    built += _release(settings, lake.parent / "sample-release", console)
    if not quick:
        built += _train_arms(settings, console)
    console.print(
        f"\n{f'{built} partitions built' if built else 'nothing to do, all of it is up to date'} in "
        f"{time.monotonic() - started:.0f} s. "
        "Next: `laion ui`, `laion status`, `laion sql`",
        highlight=False,
    )


def _build(settings: Settings, request: "Request", console: Console) -> int:
    """Partitions that were built; the demo ends where one failed."""
    from laion_assets.cli.building import build

    outcome = build(settings, request, console)
    if outcome.failures:
        raise SystemExit(1)
    return outcome.built


def _release(settings: Settings, folder: Path, console: Console) -> int:
    """Release the English pairs that were kept, with their pictures, as a folder that other tools read."""
    from laion_assets.orchestration.planning.releases import ReleaseRequest
    from laion_assets.release.begun import begun_release
    from laion_assets.release.manifest import MANIFEST
    from laion_assets.release.options import ReleaseOptions
    from laion_assets.release.place import open_place

    if begun_release(settings.open_lake(), _RELEASE) is None and (folder / MANIFEST).is_file():
        shutil.rmtree(folder)  # of a demo whose lake is gone
    options = ReleaseOptions(
        selection="subset = 'en'",
        has_pictures=True,
        destination=open_place(str(folder)).uri,
        description="English pairs of the sample web: drawn shapes, and texts that name them.",
        license="CC0-1.0",
        creator="laion demo",
        contact="whoever ran the demo",
    )
    built = _build(settings, ReleaseRequest(name=_RELEASE, options=options), console)
    told = begun_release(settings.open_lake(), _RELEASE)
    if told is not None:
        console.print(
            f"released {told.pairs:,} English pairs with their pictures in {folder}: `README.md` there is its card",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    return built


def _train_arms(settings: Settings, console: Console) -> int:
    """Train one recipe on what the filter kept and its twin on every pair, for equal samples seen, and measure both."""
    from laion_assets.cli.training import print_scores
    from laion_assets.evaluation.registry import benchmark_names
    from laion_assets.orchestration.planning.recipes import EvaluationRequest, TrainingRequest
    from laion_assets.sample.benchmarks import NAMES, write_sample_benchmarks

    if not {*NAMES} <= {*benchmark_names(settings.benchmark_folder)}:
        with _bar(console, "drawing the benchmarks"):
            write_sample_benchmarks(settings.benchmark_folder, size=_BENCHMARK_PICTURES)
    built = _build(settings, TrainingRequest(recipes=_ARMS), console)
    built += _build(settings, EvaluationRequest(recipes=_ARMS), console)
    seen = settings.recipe(_ARMS[0]).samples_seen
    print_scores(
        settings.open_lake(), _ARMS, title=f"trained on what was kept, and on everything: {seen:,} samples each"
    )
    return built


def _demo_settings(folder: Path, weights: Path, encoders: Path) -> dict[str, str]:
    return {
        "LAION_SOURCE": str(folder),
        "LAION_ENCODER__MODEL": MODEL,
        "LAION_ENCODER__PRETRAINED": str(weights),
        "LAION_ENCODER__MODEL_CONFIGS": str(encoders),
        "LAION_CALIBRATION__PAIRS": str(encoders / "calibration.parquet"),
        "LAION_CALIBRATION__PICTURE_DOMAIN": PICTURE_DOMAIN,
        "LAION_FILTER__POLICY": "laion_clean",
        # The sample's pictures are small and lie on loopback, some of them behind answers that never end.
        "LAION_DOWNLOAD__ALLOWED_NETWORKS": '["127.0.0.0/8", "::1/128"]',
        "LAION_DOWNLOAD__TIMEOUT_SECONDS": "2",
        "LAION_DOWNLOAD__DEADLINE_SECONDS": "4",
        "LAION_DOWNLOAD__RETRIES": "0",
        "LAION_DOWNLOAD__CONNECTIONS_PER_HOST": "64",
        "LAION_DOWNLOAD__MIN_IMAGE_SIZE": "16",
    }


def _encoder(encoders: Path, console: Console) -> Path:
    """The sample's encoder, trained on clean pairs the first time and kept in the lake."""
    from laion_assets.clip.training import TrainingOptions, TrainingPairs, train_in_process

    weights = encoders / f"{MODEL}.safetensors"
    if weights.is_file():
        return weights
    options = TrainingOptions()
    with _bar(console, "training the encoder", options.samples) as progress:
        pairs = training_pairs(_TRAINING_PICTURES, seed=0)
        return train_in_process(
            TrainingPairs(pairs.images, pairs.captions, pairs.image_indices),
            model=MODEL,
            model_configs=MODEL_CONFIGS,
            options=options,
            output=weights,
            progress=progress,
        )


def _beside_the_weights(encoders: Path) -> None:
    """The held-out pairs, and the model's configuration: kept in the lake, which is then whole wherever it goes."""
    configuration = f"{MODEL}.json"
    (encoders / configuration).write_bytes((Path(MODEL_CONFIGS) / configuration).read_bytes())
    if not (encoders / "calibration.parquet").is_file():
        write_calibration(encoders / "calibration.parquet", _CALIBRATION_PICTURES)


@contextmanager
def _bar(console: Console, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar: with a total it is told how much is done, without one how much more."""
    columns = (TextColumn("{task.description:<24}"), BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        if not console.is_terminal:
            console.print(what)
        task = bars.add_task(what, total=total)

        def moved(count: int) -> None:
            bars.update(task, completed=count) if total else bars.advance(task, count)

        yield moved
        bars.update(task, total=1, completed=1)


def print_funnel(lake: Lake, console: Console) -> None:
    """Print what each stage let through, by crawl and language subset."""
    from laion_assets.sql.session import connect

    rows = connect(lake).sql("SELECT * FROM funnel ORDER BY crawl, subset").fetchall()
    table = Table(title="funnel", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("crawl", no_wrap=True)
    table.add_column("subset")
    for heading in ("candidates", "unique", "downloaded", "embedded", "kept"):
        table.add_column(heading, justify="right")
    for crawl, subset, *counts in rows:
        table.add_row(crawl, subset, *(f"{count:,}" for count in counts))
    totals = [sum(column) for column in list(zip(*rows, strict=True))[2:]]
    table.add_section()
    table.add_row("all", "", *(f"{total:,}" for total in totals))
    console.print(table)


def print_score(lake: Lake, truth: pl.DataFrame, console: Console) -> Score:
    """Print how well the filter did against the sample's truth."""
    from laion_assets.sql.session import connect

    measured = score(truth, connect(lake).sql("SELECT url, text, similarity, released AS kept FROM scored_pairs").pl())
    kept = Table("language of the caption", title="pairs that match their picture")
    dropped = Table("what the caption contradicts", title="pairs that do not")
    for table, verb in ((kept, "kept"), (dropped, "dropped")):
        table.add_column("pairs", justify="right")
        table.add_column(verb, justify="right")
    dropped.add_column("ROC-AUC", justify="right")
    names = {"plain": "two or more, colour or shape among them", "all": "all"}
    for measure, group, pairs, rate, auc in measured.to_frame().iter_rows():
        cells = [f"{pairs:,}", "" if rate is None else f"{rate:.1%}"]
        if measure == "kept":
            kept.add_row(group, *cells)
        else:
            dropped.add_row(names.get(group, f"{group} alone"), *cells, "" if auc is None else f"{auc:.3f}")
    console.print(kept)
    console.print(dropped)
    verdict = "met" if measured.passes() else "[red]NOT met[/]"
    console.print(f"goal (90 % kept in every language, 90 % dropped of the second line): {verdict}")
    return measured


def serve_forever(folder: Path, console: Console) -> None:
    """Serve a published sample web until interrupted."""
    from laion_assets.sample.server import SampleServer

    with SampleServer(folder) as server:
        console.print(f"serving {folder} at {server.url}; Ctrl-C ends it", highlight=False)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            console.print("ended")
