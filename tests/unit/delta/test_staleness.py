"""Staleness: what makes a partition stale, and what does not."""

import polars as pl
import pytest

from laion_assets.delta import staleness
from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.flow import partitions_read
from laion_assets.delta.lake import Lake
from laion_assets.delta.staleness import lake_states
from laion_assets.delta.states import Expectation, State
from laion_assets.tables.catalogue import STAGES, TABLES
from tests.unit.delta.conftest import files_frame

EXPECTED = dict.fromkeys(STAGES, Expectation(settings_digest="s"))


def publish(
    lake: Lake, table: str, crawl: str, rows: pl.DataFrame, *, settings: str = "s", code: str | None = None
) -> None:
    provenance = Provenance(run_id="r", code_version=code or TABLES[table].code_version, settings_digest=settings)
    partition = {"crawl": crawl}
    with lake_build(lake, table, partition, provenance) as build:
        for read in TABLES[table].reads:
            build.view(read.table, read.table, partitions_read(lake, read, partition))
        build.add(rows)
        build.rows_in = rows.height
        build.publish()


def snapshot(name: str) -> pl.DataFrame:
    from datetime import UTC, datetime

    return pl.DataFrame(
        {
            "name": [name],
            "wat_file_count": [1],
            "first_capture": [None],
            "last_capture": [None],
            "source_uri": ["x"],
            "registered_at": [datetime.now(UTC)],
        }
    )


def state_of(lake: Lake, table: str, expected: dict[str, Expectation] = EXPECTED) -> staleness.PartitionState:
    states = lake_states(lake, ["CC-1"], expected, until="wat_files")
    return next(s for s in states if s.table == table)


@pytest.fixture
def built(lake: Lake) -> Lake:
    publish(lake, "crawl_snapshots", "CC-1", snapshot("one"))
    publish(lake, "wat_files", "CC-1", files_frame(["a"]))
    return lake


def test_what_nobody_built_is_missing(lake: Lake) -> None:
    assert state_of(lake, "wat_files").state is State.MISSING


def test_what_was_built_is_done(built: Lake) -> None:
    assert state_of(built, "wat_files").state is State.DONE


def test_rebuilding_an_input_with_the_same_content_changes_nothing(built: Lake) -> None:
    publish(built, "crawl_snapshots", "CC-1", snapshot("one"))
    assert state_of(built, "wat_files").state is State.DONE


def test_changed_content_of_an_input_makes_stale(built: Lake) -> None:
    publish(built, "crawl_snapshots", "CC-1", snapshot("other"))
    state = state_of(built, "wat_files")
    assert (state.state, state.reasons) == (State.STALE, ("crawl_snapshots changed",))


def test_changed_settings_make_stale(built: Lake) -> None:
    expected = {**EXPECTED, "wat_files": Expectation(settings_digest="t")}
    assert state_of(built, "wat_files", expected).reasons == ("settings changed",)


def test_a_changed_outside_input_makes_stale(built: Lake) -> None:
    expected = {**EXPECTED, "wat_files": Expectation(settings_digest="s", externals={"removals": "new"})}
    assert state_of(built, "wat_files", expected).reasons == ("removals changed",)


def test_what_is_built_on_something_stale_says_so_and_is_mended_by_building_that(built: Lake) -> None:
    expected = {**EXPECTED, "crawl_snapshots": Expectation(settings_digest="t")}
    state = state_of(built, "wat_files", expected)
    assert state.state is State.STALE
    assert not state.reasons
    assert state.inherited == ("built on stale crawl_snapshots [crawl=CC-1]",)
    publish(built, "crawl_snapshots", "CC-1", snapshot("one"), settings="t")
    assert state_of(built, "wat_files", expected).state is State.DONE


def test_a_new_code_version_makes_stale(lake: Lake) -> None:
    publish(lake, "crawl_snapshots", "CC-1", snapshot("one"), code="0")
    assert state_of(lake, "crawl_snapshots").reasons == (
        f"code version 0, now {TABLES['crawl_snapshots'].code_version}",
    )
