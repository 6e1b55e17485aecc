"""A small lake with something in every table, packed up: what an earlier version built, for tests of later ones.

``python -m tests.pipeline.earlier_lake FOLDER FILE`` builds one in an empty folder with the code of this checkout, and
packs it up. Table formats keep the folder's name: let it say nothing of a machine.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa

PACKED = Path(__file__).with_name("earlier_lake.tar.zst")
"""The lake that the code before the present arrangement of rooms built."""
CRAWLS = ("CC-MAIN-2026-04", "CC-MAIN-2026-08")
RECIPE, MODEL, BENCHMARKS = "kept", "kept-vit", ("sample-seen", "sample-retrieval")
REMOVED = "nobody.example"
"""A domain whose removal was asked for, and that no link leads to."""
_CONFIG = {
    "embed_dim": 4,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 8, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 4, "heads": 1, "layers": 1},
}
_RECIPES = {
    "model": MODEL, "model_configs": ".", "samples_per_shard": 16, "samples_seen": 32, "epochs": 1,
    "global_batch_size": 16, "learning_rate": 1e-3, "precision": "fp32",
    "recipes": {RECIPE: {"arm": "all", "selection": {"source": "scored_pairs"}}},
}  # fmt: skip


def settings_of(folder: Path) -> dict[str, str]:
    """The settings of the lake in ``folder``, as a process' environment."""
    files, lake = folder / "files", folder / "lake"
    return {
        "LAION_LAKE": str(lake),
        "LAION_SOURCE": str(folder / "web"),
        "LAION_SHARDS": "2",
        "LAION_BUCKETS": "2",
        "LAION_ENCODER__MODEL": MODEL,
        "LAION_ENCODER__PRETRAINED": str(files / "encoder.safetensors"),
        "LAION_ENCODER__MODEL_CONFIGS": str(files),
        "LAION_CALIBRATION__PAIRS": str(files / "calibration.parquet"),
        "LAION_FILTER__POLICY": "none",
        "LAION_DENY__DOMAIN_LISTS": str(files / "deny.txt"),
        "LAION_RECIPES": str(files / "recipes"),
        "LAION_BENCHMARKS": str(files / "benchmarks"),
        "LAION_TRAINING__WORKERS": "0",
        "LAION_TRAINING__DEVICE": "cpu",
        "LAION_TRAINING__THREADS": "1",
        "LAION_EVALUATION__DEVICE": "cpu",
        "LAION_DOWNLOAD__ALLOWED_NETWORKS": '["127.0.0.0/8", "::1/128"]',
        "LAION_DOWNLOAD__TIMEOUT_SECONDS": "2",
        "LAION_DOWNLOAD__DEADLINE_SECONDS": "4",
        "LAION_DOWNLOAD__RETRIES": "0",
        "LAION_DOWNLOAD__CONNECTIONS_PER_HOST": "64",
        "LAION_DOWNLOAD__MIN_IMAGE_SIZE": "8",
        "DAGSTER_HOME": str(folder / "dagster"),
        "COLUMNS": "200",
    }


def laion(folder: Path, *arguments: str) -> str:
    """What ``laion`` says, run on the lake in ``folder``; it must end well."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "laion_assets", *arguments],
        env=kept | {"PYTHONPATH": os.pathsep.join(sys.path)} | settings_of(folder),
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def unpack(folder: Path, packed: Path = PACKED) -> Path:
    """The packed lake, in a folder of its own."""
    with (
        pa.CompressedInputStream(pa.OSFile(str(packed)), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        tar.extractall(folder, filter="data")
    return folder


def _write_files(folder: Path) -> None:
    from laion_assets.sample.benchmarks import write_sample_benchmarks
    from laion_assets.sample.encoder import write_calibration

    (folder / "recipes").mkdir(parents=True)
    (folder / f"{MODEL}.json").write_text(json.dumps(_CONFIG))
    shutil.copy(folder / f"{MODEL}.json", folder / "recipes")
    (folder / "recipes" / "recipes.yaml").write_text(json.dumps(_RECIPES))
    (folder / "deny.txt").write_text("nowhere.example\n")
    write_calibration(folder / "calibration.parquet", 100)
    for path in write_sample_benchmarks(folder / "benchmarks", size=12):
        if path.name not in BENCHMARKS:
            shutil.rmtree(path)
    _write_weights(folder)


def _write_weights(folder: Path) -> None:
    """Weights that pack well: numbers that repeat."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    open_clip.add_model_config(folder / f"{MODEL}.json")
    weights = open_clip.create_model(MODEL).state_dict()
    pattern = {
        name: ((torch.arange(value.numel()) * 37 % 101 - 50) / 64).reshape(value.shape).to(value.dtype)
        if value.is_floating_point() and value.dim() > 1 else value
        for name, value in weights.items()
    }  # fmt: skip
    save_file(pattern, folder / "encoder.safetensors")


def build(folder: Path) -> None:
    """Build the lake, and all that it needs, in an empty folder."""
    from laion_assets.sample.options import SampleOptions
    from laion_assets.sample.publish import publish
    from laion_assets.sample.server import SampleServer

    publish(folder / "web", SampleOptions(pairs=40, wat_files=2, port=0x7A11))
    _write_files(folder / "files")
    with SampleServer(folder / "web"):
        laion(folder, "build", *CRAWLS, "--until", "crawl_snapshots")
        laion(folder, "takedown", "domain", REMOVED, "--reason", "asked for", "--yes")
        laion(folder, "build", *CRAWLS)
    laion(folder, "models", "run")
    laion(folder, "train", RECIPE)
    laion(folder, "evaluate", RECIPE)


def pack(folder: Path, packed: Path) -> None:
    """Pack up all of it but Dagster's storage."""

    def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return None if ".staging" in member.name or member.name.endswith("web.zip") else member

    with (
        pa.CompressedOutputStream(pa.OSFile(str(packed), "wb"), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        for name in ("lake", "web", "files"):
            tar.add(folder / name, name, filter=kept)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
