"""Run points by hand: ``python -m tests.faults --points 2000 --seed 7 [--kind WORD] [--write]``."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.disks import may_mount
from tests.faults.ground import Ground, undisturbed_ground
from tests.faults.kinds import KINDS, POINTS, seeds
from tests.faults.points import Kind, Result, run_point
from tests.faults.table import write_table


def main() -> int:
    """Run them one after the other; exit code 1 if anything was wrong, with the seeds that show it again."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--points", type=int, default=POINTS, help="about how many, over all kinds")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of each kind")
    parser.add_argument("--kind", default="", help="only kinds with this in their name")
    parser.add_argument("--write", action="store_true", help="put what came of it into docs/design/recovery.md")
    parser.add_argument("--keep", type=Path, help="a file of results: goes on from it, and adds to it")
    given = parser.parse_args()
    results = _kept(given.keep)
    known = {(result.kind, result.seed) for result in results}
    kinds = [kind for kind in KINDS.values() if given.kind in kind.name]
    asked = [(kind, seed) for kind in kinds for seed in seeds(kind, given.points, given.seed)]
    for result in _all_tried([(kind, seed) for kind, seed in asked if (kind.name, seed) not in known]):
        results.append(result)
        if given.keep and not result.wrong:
            with given.keep.open("a") as kept:
                kept.write(f"{result.to_json()}\n")
    wrong = [result for result in results if result.wrong]
    print(f"{len(results)} points, {len(wrong)} wrong")
    for result in wrong:
        print(f"  {result.kind}, seed {result.seed}")
    if given.write:
        write_table(results)
    return 1 if wrong else 0


def _kept(path: Path | None) -> list[Result]:
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    return [Result(**{**given, "recovery": tuple(given["recovery"])}) for given in map(json.loads, lines)]


def _all_tried(points: list[tuple[Kind, int]]) -> Iterator[Result]:
    if not points:
        return
    with tempfile.TemporaryDirectory(prefix="laion-faults-") as folder, undisturbed_ground(Path(folder)) as ground:
        unable = may_mount(Path(folder))
        for kind, seed in points:
            if kind.needs_mount and unable:
                print(f"left out: {kind.name}: {unable}", flush=True)
            else:
                yield _tried(ground, kind, seed)


def _tried(ground: Ground, kind: Kind, seed: int) -> Result:
    began = time.monotonic()
    try:
        result = run_point(ground, kind, seed)
    except Exception as error:  # noqa: BLE001 - the other points are tried all the same
        result = Result(kind.name, seed, wrong=f"{type(error).__name__}: {error}")
    told = f"WRONG {kind.name}, seed {seed}: {result.wrong}" if result.wrong else f"good  {kind.name}, seed {seed}"
    print(f"{time.monotonic() - began:5.1f} s  {told}", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
