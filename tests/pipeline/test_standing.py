"""How everything stands is a table, and it is right after every command that changes it."""

import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from laion_assets.lake.opening import lake_at
from laion_assets.orchestration.planning.overview import Overview
from laion_assets.settings import load_settings
from laion_assets.sql.project import open_project
from tests.pipeline.conftest import Web
from tests.pipeline.places import FIRST, SECOND, Place

TABLE = "partition_states"


@pytest.fixture
def copy(first_crawl: Place, tmp_path: Path) -> Place:
    return Place(Path(shutil.copytree(first_crawl.folder, tmp_path / "copy", symlinks=True)))


def shown(place: Place) -> dict[tuple[str, str, str], int]:
    """How many partitions stand how, by table, crawl and state, as the table has it."""
    rows = pl.read_delta(lake_at(str(place.lake)).path(TABLE))
    counts = rows.group_by("table_name", pl.col("crawl").fill_null(""), "state").len()
    return {(table, crawl, state): count for table, crawl, state, count in counts.iter_rows()}


def version(place: Place) -> int:
    return lake_at(str(place.lake)).ledger(TABLE).version


def is_right(place: Place, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the table says what automation finds now."""
    monkeypatch.setenv("LAION_LAKE", str(place.lake))
    settings = load_settings()
    return not Overview(settings, open_project(settings.models)).look([FIRST]).states_due


def test_a_build_records_it_once_and_one_with_nothing_to_do_does_not(
    copy: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shown(copy)
    assert found["filtered_pairs", FIRST, "done"] == 1
    assert found["funnel", FIRST, "missing"] == 1
    assert is_right(copy, monkeypatch)
    with dg.DagsterInstance.from_config(str(copy.folder / ".dagster")) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey(TABLE)) is not None
    before = version(copy)
    assert "0 partitions built, 0 failed" in copy.good("build", FIRST)
    assert version(copy) == before
    copy.good("models", "run")
    assert shown(copy)["funnel", FIRST, "done"] == 1
    assert (version(copy), is_right(copy, monkeypatch)) == (before + 1, True)


def test_where_it_is_damaged_the_next_build_makes_it_again(copy: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = lake_at(str(copy.lake))
    file = Path(lake.partition_sizes(TABLE, {})[0][0])
    file.write_bytes(file.read_bytes()[:-9])
    found = copy.run("verify", TABLE, "--repair")
    assert "`laion models run`" in found.stdout + found.stderr
    assert not is_right(copy, monkeypatch)
    copy.good("build", FIRST)
    assert is_right(copy, monkeypatch)
    copy.good("verify", TABLE)


def test_what_failed_is_recorded_as_failed_and_then_as_done(copy: Place, small_web: Web, tmp_path: Path) -> None:
    source = shutil.copytree(small_web.root, tmp_path / "source")
    shutil.rmtree(source / "crawl-data" / SECOND / "segments")
    ran = copy.run("build", SECOND, LAION_SOURCE=str(source))
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert shown(copy)["candidate_pairs", SECOND, "failed"] == 1
    copy.good("build", SECOND)
    assert {state for (_, crawl, state) in shown(copy) if crawl == SECOND} == {"done", "missing"}
    assert {table for (table, crawl, state) in shown(copy) if crawl and state == "failed"} == set()


def test_where_it_cannot_be_said_the_command_goes_well_all_the_same(copy: Place) -> None:
    ran = copy.run("models", "run", "--select", "funnel", LAION_DENY__URL_LISTS='["/gone/list.txt"]')
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"warning {TABLE} is as it was: ")
    assert "/gone/list.txt" in line
