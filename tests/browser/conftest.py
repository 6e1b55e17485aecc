"""A small lake that lacks its last stage, and the Dagster UI on it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from laion_assets.cli.building import record_states
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.planning.models import ModelRequest
from laion_assets.orchestration.planning.recipes import EvaluationRequest, TrainingRequest
from laion_assets.orchestration.planning.releases import ReleaseRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.home import dagster_instance
from laion_assets.release.options import ReleaseOptions
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from laion_assets.sql.project import open_project
from laion_assets.training.driver import Training
from laion_assets.training.recipe import RECIPES
from tests.browser.ui import Server, find_chromium, serving
from tests.pipeline.conftest import (
    MakeSettings,
    Quiet,
    encoder,
    environment,
    free_port,
    make_settings,
    materialise,
    small_web,
)
from tests.pipeline.trainings import learn_nothing, write_benchmarks, write_recipes

__all__ = ["encoder", "make_settings", "small_web"]


ASKED_FOR = "tiny"
"""The recipe that is trained; the published ones lie beside it."""
BENCHMARKS = ("sample-seen", "sample-retrieval")


@dataclass(frozen=True)
class Site:
    """A lake with the UI on it."""

    settings: Settings
    server: Server
    home: Path


@pytest.fixture(scope="session")
def embedded(make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """Settings of a lake with both crawls in every table but the last, and the Dagster home of those runs."""
    folder = tmp_path_factory.mktemp("ui")
    own = write_recipes(folder, {ASKED_FOR: {}})
    for file in RECIPES.glob("*.yaml"):
        shutil.copy(file, folder / "recipes")
    write_benchmarks(folder / "benchmarks", *BENCHMARKS)
    settings = make_settings(folder / "lake", **own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder / "home"))
        with dagster_instance() as instance:
            outcome = Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=CRAWLS, until="clip_embeddings"))
            assert outcome.failures == []
            assert materialise(settings, instance, "calibrations", {})
    return settings, folder / "home"


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """The UI on that lake; the test is skipped where there is no browser to look at it."""
    if find_chromium() is None:
        pytest.skip("there is no browser: neither Chromium nor Chrome is on the path")
    settings, home = request.getfixturevalue("embedded")
    with serving(environment(settings, home), free_port(), home.parent / "ui.log") as server:
        yield Site(settings, server, home)


def finish(site: Site) -> None:
    """Do on the lake what the demo does after its pictures are embedded, but for the learning itself."""
    settings = site.settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(site.home))
        patch.setattr(Training, "run", learn_nothing)
        with dagster_instance() as instance:
            assert Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=CRAWLS)).failures == []
            models = ModelRequest(models=list(open_project(settings.models).enabled))
            assert Builder(settings, instance, Quiet()).build(models).failures == []
            record_states(settings, instance, Console(quiet=True))
            trainer = Builder(settings, instance, Quiet())
            assert trainer.build(TrainingRequest(recipes=[ASKED_FOR])).failures == []
            assert trainer.build(EvaluationRequest(recipes=[ASKED_FOR])).failures == []
            options = ReleaseOptions(destination=str(site.home.parent / "release"))
            assert trainer.build(ReleaseRequest(name="some", options=options)).failures == []
