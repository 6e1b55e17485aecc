"""`laion ui` on a lake with a Dagster home that has never heard of it: the pages show what the lake holds."""

import os
from pathlib import Path

import pytest

from tests.browser.ui import serving
from tests.pipeline.conftest import encoder, first_crawl, free_port, small_web
from tests.pipeline.places import Place

__all__ = ["encoder", "first_crawl", "small_web"]
pytestmark = [pytest.mark.slow, pytest.mark.integration]


def test_a_new_home_is_told_of_every_partition(first_crawl: Place, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    own = {"LAION_LAKE": str(first_crawl.lake), "DAGSTER_HOME": str(tmp_path / "home")}
    with serving(kept | own, free_port(), tmp_path / "ui.log") as server:
        there = {"materialized": 1, "materializing": 0, "failed": 0}
        for table in ("crawl_snapshots", "candidate_pairs", "filtered_pairs"):
            server.wait_for(table, lambda table=table: server.partitions(table) == there)  # type: ignore[misc]
        assert "Dagster is told of" in server.log.read_text()
