"""What do virtual shards save, and what do they cost? Beside copied ones, on the same pictures, in one run.

    python measurements/shards.py [--pictures 8192] [--bytes 12000] [--rounds 3]

Both kinds are written of the same samples; then the training's own reader serves a pass of each in turn. Pictures are
not decoded: what is measured is what differs. Files are in the page cache in every round but the first.
"""

import argparse
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import numpy as np
import polars as pl

from laion_assets.training import loading
from laion_assets.training.arrangement import ShardOptions, arrange
from laion_assets.training.schedule import Schedule
from laion_assets.training.shards import write_shards
from laion_assets.webdataset.writer import write_samples

PER_TAR = PER_SHARD = 1_024


def write_tars(root: Path, pictures: int, size: int) -> pl.DataFrame:
    """Tars of noise as a download leaves them, and the pairs of their pictures."""
    rng = np.random.default_rng(0)
    for first in range(0, pictures, PER_TAR):
        numbers = range(first, min(first + PER_TAR, pictures))
        samples = ((f"{n:09d}", {"jpg": rng.bytes(size), "json": b"{}"}) for n in numbers)
        write_samples(root / f"{first // PER_TAR:05d}.tar", samples)
    return pl.DataFrame({"n": pl.int_range(pictures, eager=True)}).select(
        pair_id="n",
        url_id="n",
        url=pl.format("https://h.example/{}.jpg", "n"),
        text=pl.format("picture number {}", "n"),
        sha256=pl.format("{}", "n"),
        shard_path=pl.concat_str((pl.col("n") // PER_TAR).cast(pl.String).str.zfill(5), pl.lit(".tar")),
        sample_key=pl.col("n").cast(pl.String).str.zfill(9),
    )


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, its seconds on the clock and of the processor."""
    wall, spent = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - spent


def serve(shards: list[Path], root: str) -> int:
    """One pass of the training's reader; gives the samples."""
    schedule = Schedule(
        shards=tuple(map(str, shards)), samples_per_shard=PER_SHARD, samples_seen=PER_SHARD * len(shards), epochs=1,
        loaders=1, loader_batch_size=256, seed=0, root=root,
    )  # fmt: skip
    args = Namespace(rank=0, workers=0, batch_size=256, world_size=1)
    data = loading.data_source(schedule)(args, (len, None), 0, lambda text: [len(text)])["train"]
    return sum(len(texts) for _, texts in data.dataloader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=8_192)
    parser.add_argument("--bytes", type=int, default=12_000, help="of a picture")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    loading._picture = lambda _, content: content  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as made:
        folder, root = Path(made), Path(made) / "images"
        root.mkdir()
        connection = duckdb.connect(config={"threads": 2})
        connection.register("pairs", write_tars(root, given.pictures, given.bytes).to_arrow())
        options = ShardOptions(samples_per_shard=PER_SHARD)
        arranged = arrange(connection, pairs="pairs", options=options, output=folder / "arranged")
        shards: dict[str, list[Path]] = {}
        for kind in ("copied", "virtual"):
            write = partial(
                write_shards, connection, arranged, root=root, output=folder / kind, relative_to=folder,
                virtual=kind == "virtual",
            )  # fmt: skip
            rows, wall, spent = timed(partial(list, write()))
            shards[kind] = [folder / row["shard_path"] for row in rows]
            size = sum(row["bytes"] for row in rows)
            print(f"{kind:8} written in {wall:6.2f} s ({spent:.2f} of a processor), {size / 1e6:9.2f} MB")
        rates: dict[str, list[float]] = {kind: [] for kind in shards}
        for _ in range(given.rounds):
            for kind, paths in shards.items():
                samples, _, spent = timed(partial(serve, paths, str(root) if kind == "virtual" else ""))
                rates[kind].append(samples / spent)
        for kind, found in rates.items():
            print(f"{kind:8} served, samples a processor second: {', '.join(f'{rate:,.0f}' for rate in found)}")
        print(f"virtual : copied = {median(rates['virtual']) / median(rates['copied']):.2f}")


if __name__ == "__main__":
    main()
