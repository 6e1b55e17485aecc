"""How fast is a list taken in, and in how much memory, beside counting its distinct urls in DuckDB?

Generates Parquet files as LAION's are, and in a process each: enters them as ``laion import`` does; makes the candidate
pairs of one shard as a step does (texts normalised, urls resolved, languages told); counts distinct urls in DuckDB.

    python measurements/list_import.py [--rows 1000000] [--files 2] [--row-group 100000] [--shards 10] [--folder DIR]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl

_TEXT = """
a the of red blue house photo old new city street dog cat woman man tree sea sky portrait vintage wooden table maison
rouge Haus am Meer foto de una casa vista summer dress black white shoes kitchen modern design art
"""
_WORDS = np.array(re.findall(r"\w+", _TEXT))


def generate(folder: Path, rows: int, files: int, group: int) -> list[Path]:
    """Write lists with LAION's columns."""
    random, found = np.random.default_rng(1), []
    for number in range(files):
        count = rows // files
        words = _WORDS[random.integers(0, len(_WORDS), (count, 9))]
        ids = random.integers(0, rows * 2, count)  # some urls are there several times
        frame = pl.DataFrame(
            {
                "URL": [f"https://cdn-{n % 997}.example.org/images/{n:012x}/large-{n % 13}.jpg" for n in ids],
                "TEXT": [" ".join(line) for line in words],
                "WIDTH": pl.Series(random.integers(64, 4000, count), dtype=pl.Int32),
                "HEIGHT": pl.Series(random.integers(64, 4000, count), dtype=pl.Int32),
                "similarity": random.random(count),
                "hash": random.integers(-(2**63), 2**63 - 1, count),
                "punsafe": pl.Series(random.random(count), dtype=pl.Float32),
                "pwatermark": pl.Series(random.random(count), dtype=pl.Float32),
            }
        )
        frame.write_parquet(path := folder / f"part-{number:05}.parquet", row_group_size=group, compression="snappy")
        found.append(path)
    return found


def enter(files: list[str]) -> int:
    """What ``laion import`` reads of lists; gives the rows."""
    from laion_assets.sources.lists.describe import describe
    from laion_assets.sources.lists.streams import Files
    from laion_assets.sources.sources import open_source

    return sum(describe(Files(open_source), file, {}).rows for file in files)


def read(files: list[str]) -> int:
    """The rows of lists, as the reader hands them on; gives how many."""
    from laion_assets.sources.lists.describe import columns_of
    from laion_assets.sources.lists.formats import open_list
    from laion_assets.sources.lists.streams import Files
    from laion_assets.sources.sources import open_source

    opened, rows = Files(open_source), 0
    for file in files:
        columns = list(columns_of(opened, file, {}).taken.values())
        with closing(open_list(opened, file)) as reader:
            rows += sum(batch.num_rows for batch in reader.read(columns, 0, None, 50_000))
    return rows


def extract(files: list[str], shards: int) -> int:
    """The candidate pairs of one shard; gives the rows that it has."""
    from laion_assets.sources.counts import ExtractionCounts
    from laion_assets.sources.extract import ExtractionOptions
    from laion_assets.sources.lists.describe import columns_of
    from laion_assets.sources.lists.formats import open_list
    from laion_assets.sources.lists.pieces import ImportedList
    from laion_assets.sources.lists.streams import Files
    from laion_assets.sources.sources import open_source

    opened, counts, number = Files(open_source), ExtractionCounts(), 0
    for file in files:
        with closing(open_list(opened, file)) as reader:
            rows = sum(reader.row_groups or [])
        with closing(ImportedList(opened, file, columns_of(opened, file, {}).taken, rows)) as pieces:
            for first, count in pieces.units():
                if number % shards == 0:
                    for _ in pieces.pairs(first, count, ExtractionOptions(), counts):
                        pass
                number += 1
    return counts.links


def count_distinct(files: list[str]) -> int:
    """DuckDB's count of distinct urls; gives the rows that it read."""
    import duckdb

    con = duckdb.connect()
    con.execute("SELECT count(DISTINCT URL) FROM read_parquet($1)", [files]).fetchall()
    [(rows,)] = con.execute("SELECT count(*) FROM read_parquet($1)", [files]).fetchall()
    return int(rows)


def measured(work: str, files: list[str], shards: int) -> dict[str, float]:
    """Rows a second and peak memory of one work, in this process."""
    began, cpu = time.perf_counter(), time.process_time()
    rows = {
        "laion import": lambda: enter(files),
        "reading its rows": lambda: read(files),
        "candidate pairs": lambda: extract(files, shards),
        "count(DISTINCT url), DuckDB": lambda: count_distinct(files),
    }[work]()
    seconds, core_seconds = time.perf_counter() - began, time.process_time() - cpu
    # Of this program alone: what getrusage says also counts what was there before it began.
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return {"rows": rows, "seconds": seconds, "core seconds": core_seconds, "peak MiB": int(kilobytes) / 1024}


def main() -> None:
    """Generate the lists, and measure each work in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=2)
    parser.add_argument("--row-group", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        files = sorted(map(str, options.folder.glob("*.parquet")))
        print(json.dumps(measured(options.work, files, options.shards)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        generate(folder, options.rows, options.files, options.row_group)
        print(f"{'':28} {'rows':>12} {'rows/s':>12} {'rows/core-s':>12} {'peak MiB':>9}")
        for work in ("laion import", "reading its rows", "candidate pairs", "count(DISTINCT url), DuckDB"):
            again = [sys.executable, __file__, "--work", work, "--folder", str(folder), "--shards", str(options.shards)]
            told = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
            rates = [told["rows"] / max(told[name], 1e-9) for name in ("seconds", "core seconds")]
            print(f"{work:28} {told['rows']:12,} {rates[0]:12,.0f} {rates[1]:12,.0f} {told['peak MiB']:9,.0f}")


if __name__ == "__main__":
    main()
