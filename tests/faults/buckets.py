"""A lake in a bucket that is too busy to answer, or whose answers get lost."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.faults.points import Kind, Point
from tests.s3 import BUCKET, environment, troubled

_TABLES = ("wat_files", "unique_pairs", "filtered_pairs")


@contextmanager
def _variables(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _upload(point: Point) -> None:
    """Put the copy into the bucket, as somebody does who moves a lake."""
    storage = point.place.settings.open_lake().storage
    for path in point.root.rglob("*"):
        if path.is_file() and ".staging" not in path.parts:
            storage.publish(path, path.relative_to(point.root).as_posix())


def _troubled(**trouble: Any) -> Callable[[Point], None]:
    def happen(point: Point) -> None:
        table = point.chance.choice(_TABLES)
        point.without(table)
        scratch = point.place.folder / "scratch"
        found = environment(point.ground.s3, scratch)
        variables = {name: found[name] for name in found if name.startswith("AWS_") or name == "LAION_SCRATCH"}
        point.place = replace(point.place, uri=f"s3://{BUCKET}/{point.place.folder.name}", variables=variables)
        done: Counter[str] = Counter()
        with _variables(variables):
            _upload(point)
            with troubled(point.ground.s3, done, seed=point.seed, **trouble) as busy:
                quiet, point.place = point.place, replace(point.place, variables=variables | {"AWS_ENDPOINT_URL": busy})
                ran = point.hear(point.place.build(until=table))
                if ran.code:
                    point.advice(ran)
                point.place = quiet
            assert bool(done["unheard"]) == ("unheard" in trouble), f"{point}: {done}"
            assert done["refused"], f"{point}: {done}"
            point.verify()
            point.build()
            point.judge()

    return happen


KINDS = [
    Kind("S3 answers 503 for a while", _troubled(refused=0.03, late=0.01), 1),
    Kind("S3 loses answers to commits", _troubled(refused=0.03, late=0.01, unheard=2), 1),
]
