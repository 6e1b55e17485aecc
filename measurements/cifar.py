"""Real pictures through every stage: CIFAR-10 published as a crawl, collected, learned from, and recognised.

    python measurements/cifar.py PACK.zip [--folder WORK] [--samples 212992] [--goal 0.6]

PACK.zip holds `train/CLASS/*.jpg` and `test/CLASS/*.jpg`. The training pictures are put on web pages, each once, with a
phrase about its class as alt text, and the pages are published in Common Crawl's own layout; the pictures are served on
loopback. The pipeline's own builder takes them from the crawl to `filtered_pairs` (policy `none`: the encoder is
untrained, so that nothing but the pipeline itself is measured), a recipe is trained on what it collected, and its
zero-shot accuracy is measured on the test pictures, of which copies were left out of the training.

Run again with the same folder it goes on where it was. `laion --lake WORK/lake` commands work on what it left.
"""

import argparse
import json
import logging
import os
import random
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from rich.console import Console

from laion_assets.clip.cpu import prepare_cpu
from laion_assets.delta.lake import Lake
from laion_assets.evaluation.benchmark import BenchmarkSample, write_benchmark
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.planning.recipes import EvaluationRequest, TrainingRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.reporter import Lines
from laion_assets.sample.archive import write_crawl
from laion_assets.sample.encoder import MODEL, MODEL_CONFIGS
from laion_assets.sample.pages import ImageTag, Page
from laion_assets.settings import Settings, load_settings, write_lake_settings
from laion_assets.sql.session import connect

CRAWL = "CC-MAIN-2026-30"
BENCHMARK = "cifar"
RECIPE = "cifar"
PICTURES_PER_PAGE = 40

CAPTIONS = (
    "a photo of a {c}",
    "a small photo of a {c}",
    "a picture of the {c}",
    "one {c} in a photo",
    "photo: a {c}, seen close",
    "this is a {c}",
    "a blurry photo of a {c}",
    "the {c} in the picture",
    "an image of a {c}",
    "look at this {c}!",
)
"""What pages say about a picture."""

TEMPLATES = ("a photo of a {c}", "a small photo of a {c}", "a picture of the {c}", "an image of a {c}", "this is a {c}")
"""What the benchmark asks."""

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1, "mlp_ratio": 2.0},
}

RECIPE_VALUES: dict[str, Any] = {
    "description": "CIFAR-10 from scratch on a CPU.",
    "model": "cifar-rn",
    "model_configs": ".",
    "selection": {"source": "filtered_pairs"},
    "samples_per_shard": 512,
    "epochs": 8,
    "global_batch_size": 128,
    "learning_rate": 0.004,
    "weight_decay": 0.1,
    "beta1": 0.9,
    "beta2": 0.98,
    "precision": "fp32",
    "augmentation": {"scale": [0.6, 1.0]},
}


def read_pack(pack: Path, split: str) -> Iterator[tuple[str, str, bytes]]:
    """Class, file name and bytes of each picture of a split, in the order of their names."""
    with zipfile.ZipFile(pack) as archive:
        for name in sorted(archive.namelist()):
            parts = name.split("/")
            if len(parts) == 3 and parts[0] == split and parts[2]:
                yield parts[1], parts[2], archive.read(name)


def publish(pack: Path, folder: Path) -> tuple[int, dict[str, bytes]]:
    """Publish the training pictures as a crawl below ``folder``, unless they are.

    Returns:
        The port that the pages link to, and the pictures by path.
    """
    pictures, tags = {}, []
    chosen = random.Random(0)
    for number, (label, _, content) in enumerate(read_pack(pack, "train")):
        path = f"/pictures/{number:05d}.jpg"
        pictures[path] = content
        tags.append(ImageTag(f"..{path}", chosen.choice(CAPTIONS).format(c=label)))
    chosen.shuffle(tags)
    noted = folder / "port"
    if not noted.is_file():
        port = _free_port()
        pages = (
            Page(url=f"http://127.0.0.1:{port}/pages/{first}.html", images=tags[first : first + PICTURES_PER_PAGE])
            for first in range(0, len(tags), PICTURES_PER_PAGE)
        )
        write_crawl(folder, CRAWL, pages, wat_files=4)
        noted.write_text(str(port))  # last: without it the crawl is published again
    return int(noted.read_text()), pictures


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(port: int, pictures: dict[str, bytes]) -> Iterator[None]:
    """Serve pictures on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together

        def do_GET(self) -> None:
            content = pictures.get(self.path, b"")
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "image/jpeg" if content else "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def untrained_encoder(weights: Path) -> None:
    """Write seeded random weights of the sample's model, unless they are there."""
    if weights.is_file():
        return
    prepare_cpu()  # before torch is imported
    import open_clip
    import torch
    from safetensors.torch import save_file

    open_clip.add_model_config(MODEL_CONFIGS)
    torch.manual_seed(0)
    logging.disable(logging.WARNING)  # that nothing was loaded is what is wanted
    model = open_clip.create_model(MODEL)
    logging.disable(logging.NOTSET)
    staged = weights.with_suffix(".staged")
    save_file(model.state_dict(), staged)
    staged.replace(weights)


def write_recipe(folder: Path, samples: int) -> None:
    """Write the recipe, of so many samples seen, and the configuration of its model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{RECIPE_VALUES['model']}.json").write_text(json.dumps(MODEL_CONFIG, indent=4))
    steps = samples // RECIPE_VALUES["global_batch_size"]
    values = {**RECIPE_VALUES, "samples_seen": samples, "warmup_steps": min(100, steps // 4)}
    (folder / "cifar.yaml").write_text(yaml.safe_dump({"recipes": {RECIPE: values}}, sort_keys=False))


def write_test_pictures(pack: Path, folder: Path) -> int:
    """Write the test pictures as a zero-shot benchmark, unless they are; gives how many classes there are."""
    test = list(read_pack(pack, "test"))
    classes = sorted({label for label, _, _ in test})
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        samples = (
            BenchmarkSample(f"{label}-{Path(name).stem}", content, label=classes.index(label))
            for label, name, content in test
        )
        write_benchmark(folder, samples, task="zeroshot_classification", classnames=classes, templates=TEMPLATES)
    return len(classes)


def lake_settings(lake: Path, source: Path, recipes: Path) -> Settings:
    """Give the lake its settings, so that `laion` finds them too, and read them."""
    weights = lake.parent / "untrained.safetensors"
    untrained_encoder(weights)
    write_lake_settings(
        str(lake),
        {
            "LAION_SOURCE": str(source),
            "LAION_RECIPES": str(recipes),
            "LAION_ENCODER__MODEL": MODEL,
            "LAION_ENCODER__PRETRAINED": str(weights),
            "LAION_ENCODER__MODEL_CONFIGS": MODEL_CONFIGS,
            "LAION_FILTER__POLICY": "none",
            "LAION_SHARDS": "2",
            "LAION_BUCKETS": "2",
            "LAION_DOWNLOAD__ALLOWED_NETWORKS": '["127.0.0.0/8", "::1/128"]',
            "LAION_DOWNLOAD__CONNECTIONS_PER_HOST": "64",
            "LAION_DOWNLOAD__MIN_IMAGE_SIZE": "32",
        },
    )
    os.environ["LAION_LAKE"] = str(lake)
    return load_settings()


@contextmanager
def stage(console: Console, what: str) -> Iterator[None]:
    """Say what begins, and how long it took: on the clock, and of processors, which other work disturbs less."""
    console.print(f"== {what}", highlight=False)
    started, before = time.monotonic(), sum(os.times()[:4])
    yield
    console.print(
        f"   {time.monotonic() - started:.0f} s, {sum(os.times()[:4]) - before:.0f} s of processors", highlight=False
    )


def print_funnel(lake: Lake, links: int, console: Console) -> None:
    """Print how many rows each stage has."""
    tables = ("candidate_pairs", "unique_pairs", "images", "clip_embeddings", "filtered_pairs")
    con = connect(lake)
    counts = {table: con.sql(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in tables}
    told = ", ".join(f"{table} {count:,}" for table, count in counts.items())
    console.print(f"   links {links:,}, {told}", highlight=False)


def print_result(lake: Lake, goal: float, console: Console) -> float:
    """Print how the training went and what it scored; gives the accuracy."""
    con = connect(lake)
    samples, left_out = con.sql(
        f"SELECT sum(samples), any_value(excluded_benchmark) FROM training_sets WHERE recipe = '{RECIPE}'"
    ).fetchall()[0]
    seen, seconds, loss = con.sql(f"""
        SELECT max(samples_seen), sum(wall_seconds), arg_min(loss, -epoch) FROM clip_checkpoints
        WHERE recipe = '{RECIPE}'
    """).fetchall()[0]
    top1, error, chance, pictures = con.sql(f"""
        SELECT top1, standard_error, chance, samples FROM zero_shot_scores
        WHERE recipe = '{RECIPE}' AND benchmark = '{BENCHMARK}' ORDER BY epoch DESC
    """).fetchall()[0]
    console.print(
        f"training set {samples:,} pairs, {left_out} copies of test pictures left out\n"
        f"trained on {seen:,} samples ({seen / samples:.1f} passes) in {seconds:.0f} s, "
        f"{seen / seconds:,.0f} samples a second, last loss {loss:.3f}\n"
        f"zero-shot top-1 on {pictures:,} test pictures: {top1:.1%} ± {error:.1%} (chance {chance:.0%}); "
        f"goal {goal:.0%}: {'met' if top1 >= goal else 'NOT met'}",
        highlight=False,
    )
    return float(top1)


def main() -> None:
    """Publish, build, train, measure."""
    parser = argparse.ArgumentParser(description="CIFAR-10 from a crawl to a zero-shot score.")
    parser.add_argument("pack", type=Path, help="zip with train/CLASS/*.jpg and test/CLASS/*.jpg")
    parser.add_argument("--folder", type=Path, default=Path("cifar"), help="where to work, and to go on")
    parser.add_argument(
        "--samples", type=int, default=212_992, help="samples seen by the training, a multiple of 4,096"
    )
    parser.add_argument("--goal", type=float, default=0.60, help="accuracy below which the exit code is 1")
    given = parser.parse_args()
    console = Console(width=None if Console().is_terminal else 160)
    pack, work = given.pack.expanduser().resolve(), given.folder.expanduser().resolve()
    lake, source, recipes = work / "lake", work / "web", work / "recipes"
    source.mkdir(parents=True, exist_ok=True)

    with stage(console, "publishing the crawl and the benchmark"):
        port, pictures = publish(pack, source)
        write_recipe(recipes, given.samples)
        write_test_pictures(pack, lake / "files" / "benchmarks" / BENCHMARK)
        settings = lake_settings(lake, source, recipes)
    with dg.DagsterInstance.ephemeral() as instance:
        builder = Builder(settings, instance, Lines())
        with stage(console, f"building {CRAWL}"), serving(port, pictures):
            failures = builder.build(CrawlRequest(crawls=[CRAWL])).failures
        _stop_at(failures)
        print_funnel(settings.open_lake(), len(pictures), console)
        with stage(console, "making the training set and training"):
            failures = builder.build(TrainingRequest(recipes=[RECIPE])).failures
        _stop_at(failures)
        with stage(console, "measuring"):
            failures = builder.build(EvaluationRequest(recipes=[RECIPE])).failures
        _stop_at(failures)
    if print_result(settings.open_lake(), given.goal, console) < given.goal:
        raise SystemExit(1)


def _stop_at(failures: list[tuple[str, str, str]]) -> None:
    if failures:
        raise SystemExit("\n".join(": ".join(failure) for failure in failures))


if __name__ == "__main__":
    main()
