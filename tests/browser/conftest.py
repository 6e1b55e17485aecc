"""A small lake that lacks its last stage, and the Dagster UI on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from laion_assets.cli.build import Builder, Request
from laion_assets.cli.home import dagster_instance
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
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

__all__ = ["encoder", "make_settings", "small_web"]


@dataclass(frozen=True)
class Site:
    """A lake with the UI on it."""

    settings: Settings
    server: Server


@pytest.fixture(scope="session")
def embedded(make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """Settings of a lake with both crawls in every table but the last, and the Dagster home of those runs."""
    folder = tmp_path_factory.mktemp("ui")
    settings = make_settings(folder / "lake")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder / "home"))
        with dagster_instance() as instance:
            outcome = Builder(settings, instance, Quiet()).build(Request(crawls=CRAWLS, until="clip_embeddings"))
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
        yield Site(settings, server)
