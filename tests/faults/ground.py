"""The undisturbed lake that points start from: two small crawls through every stage, a removal request, a model."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from laion_assets.delta.lake import Lake
from laion_assets.sample.encoder import write_calibration
from laion_assets.sample.options import CRAWLS, SampleOptions
from laion_assets.sample.publish import publish
from laion_assets.sample.server import SampleServer
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import PER_CRAWL
from laion_assets.tables.needs import RetryOptions
from tests.faults.forked import Happening, Ran, Running, start
from tests.pipeline.conftest import environment, free_port, let_nothing_drip, untrained_encoder, usual_settings
from tests.s3 import s3_server

NOBODY = "nobody.example"
"""A domain whose removal was asked for, and that no link leads to."""
MODEL = "funnel"
"""The SQL model that is built."""


@dataclass(frozen=True)
class Place:
    """A lake, a Dagster home beside it, and ``laion`` on both."""

    folder: Path
    usual: dict[str, Any]
    uri: str = ""
    """Where the lake is, if not in the folder."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment, beside those that settings make."""

    @property
    def root(self) -> Path:
        return self.folder / "lake"

    @property
    def settings(self) -> Settings:
        return Settings(_env_file=None, lake=self.uri or str(self.root), **self.usual)  # type: ignore[call-arg]

    @property
    def lake(self) -> Lake:
        return self.settings.open_lake(create=False)

    def start(self, *arguments: str, happening: Happening | None = None, name: str = "one") -> Running:
        """Start ``laion``; ``name`` tells processes apart that run at once."""
        variables = environment(self.settings, self.folder / "dagster") | self.variables
        return start(arguments, variables, self.folder / f"{name}.said", happening)

    def laion(self, *arguments: str, happening: Happening | None = None) -> Ran:
        """Run ``laion`` to its end."""
        return self.start(*arguments, happening=happening).ended()

    def build(self, *, until: str = PER_CRAWL[-1], happening: Happening | None = None) -> Ran:
        """``laion build`` of both crawls."""
        return self.laion("build", *CRAWLS, "--until", until, happening=happening)


@dataclass
class Ground:
    """The undisturbed lake; copies of it are made below ``scratch``."""

    place: Place
    scratch: Path
    stack: ExitStack
    """What was started for all points, and ends with them."""

    @cached_property
    def s3(self) -> str:
        """The address of an S3 server with an empty bucket, started when it is first asked for."""
        return self.stack.enter_context(s3_server(self.scratch.with_name("s3.log")))

    def copy(self, name: str) -> Place:
        """A copy of the lake and its Dagster home at a place of its own."""
        target = replace(self.place, folder=self.scratch / name)
        shutil.rmtree(target.folder, ignore_errors=True)
        shutil.copytree(self.place.folder, target.folder, ignore=shutil.ignore_patterns("*.said"))
        return target


@contextmanager
def undisturbed_ground(folder: Path) -> Iterator[Ground]:
    """Publish a small web, build the lake from it, and serve its pictures while the block lasts."""
    options = SampleOptions(pairs=60, wat_files=2, port=free_port())
    publish(folder / "web", options)
    let_nothing_drip(folder / "web")
    calibration = folder / "calibration.parquet"
    write_calibration(calibration, 120)
    (folder / "encoder").mkdir()
    usual = usual_settings(folder / "web", untrained_encoder(folder / "encoder"), calibration)
    usual |= {"shards": 1, "buckets": 1, "retries": RetryOptions(times=2, seconds=0.05)}
    usual["download"] = replace(usual["download"], processes=1)
    place = Place(folder / "undisturbed", usual)
    place.folder.mkdir()
    with SampleServer(folder / "web"), ExitStack() as stack:
        for ran in (
            place.build(until="crawl_snapshots"),
            place.laion("takedown", "domain", NOBODY, "--reason", "asked for", "--yes"),
            place.build(),
            place.laion("models", "run", "--select", MODEL),
        ):
            assert ran.code == 0, ran.said
        yield Ground(place, folder / "copies", stack)
