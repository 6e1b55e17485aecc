"""How often a step runs, as Dagster runs it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from laion_assets.delta.engine import open_engine
from laion_assets.delta.errors import CheckOutcome, PartitionBusy, UpstreamMissing, ValidationFailed
from laion_assets.delta.folder import FolderStorage
from laion_assets.delta.partition import Partition
from laion_assets.orchestration.assets.publishing import Places, Published, keys_of, publish_each
from laion_assets.settings import Settings
from laion_assets.tables.limits import Sizes
from laion_assets.tables.needs import RetryOptions

BROKEN = (CheckOutcome("unique_key", passed=False, description="2 rows have one key", failing=2),)
KEYS = ("a", "b", "c")

_ENDLESS = "CREATE TABLE n AS SELECT sum(a.range * b.range) FROM range(100_000_000) AS a, range(10_000_000) AS b"

Build = Callable[[Partition], Published]


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **{"retries": RetryOptions(times=3, seconds=0.01), **changes})  # type: ignore[call-arg]


def ran(build: Build, chosen: Settings, *, keys: tuple[str, ...] = ("a",)) -> dg.ExecuteInProcessResult:
    """Run an asset that is built so, for one partition or for several in one step."""

    @dg.asset(
        name="wat_files",
        partitions_def=dg.StaticPartitionsDefinition(list(KEYS)),
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("unique_key", asset="wat_files")],
        output_required=False,
    )
    def asset(context: dg.AssetExecutionContext) -> Iterator[Any]:
        places: Places = [(key, {"crawl": key}) for key in keys_of(context) if key]
        yield from publish_each(context, chosen, "wat_files", places, build)

    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([asset], instance=instance, tags=tags, raise_on_error=False)


def failing(errors: list[Exception], tries: list[str]) -> Build:
    """Fails with one error after the other, and then no more."""

    def build(partition: Partition) -> Published:
        tries.append(str(partition["crawl"]))
        if len(tries) <= len(errors):
            raise errors[len(tries) - 1]
        return Published({}, "digest", [CheckOutcome("unique_key", passed=True, description="fine")])

    return build


def description(result: dg.ExecuteInProcessResult) -> str:
    data = result.get_step_failure_events()[0].step_failure_data
    assert data.user_failure_data is not None
    return str(data.user_failure_data.description)


def test_what_passes_is_tried_until_it_has_passed():
    tries: list[str] = []
    result = ran(failing([PartitionBusy("busy"), ConnectionResetError("reset")], tries), settings())
    assert result.success
    assert tries == ["a", "a", "a"]
    assert [e.event_type_value for e in result.all_events].count("STEP_UP_FOR_RETRY") == 2


def test_what_does_not_pass_is_given_up_and_says_why():
    tries: list[str] = []
    result = ran(failing([PartitionBusy("another process is building it")] * 9, tries), settings())
    assert not result.success
    assert len(tries) == 4
    assert description(result) == "another process is building it"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValidationFailed("wat_files", "crawl=a", BROKEN), "was not published: unique_key: 2 rows have one key"),
        (UpstreamMissing("crawl_snapshots is not built"), "crawl_snapshots is not built"),
        (KeyError("height"), "KeyError: 'height'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_fail_again_runs_once(error, said):
    tries: list[str] = []
    result = ran(failing([error] * 9, tries), settings())
    assert not result.success
    assert tries == ["a"]
    assert said in description(result)
    shown = [e.event_specific_data for e in result.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
    assert [check.passed for check in shown] == ([False] if isinstance(error, ValidationFailed) else [])


def test_a_limit_ends_a_step_once_and_names_the_setting():
    tries: list[str] = []

    def slow(partition: Partition) -> Published:
        tries.append(str(partition["crawl"]))
        time.sleep(60)
        raise AssertionError("nobody stopped it")

    result = ran(slow, settings(limits={"wat_files": Sizes(hours=0.3 / 3600)}))
    assert not result.success
    assert tries == ["a"]
    assert "raise LAION_LIMITS__WAT_FILES__HOURS" in description(result)


def test_the_limit_is_one_of_a_partition_not_of_a_range():
    tries: list[str] = []

    def build(partition: Partition) -> Published:
        tries.append(str(partition["crawl"]))
        time.sleep(0.8)
        return Published({}, "digest", [CheckOutcome("unique_key", passed=True, description="fine")])

    assert ran(build, settings(limits={"wat_files": Sizes(hours=1.8 / 3600)}), keys=KEYS).success
    assert tries == list(KEYS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_that_is_stopped_in_a_query_is_canceled_and_has_not_failed(
    number: signal.Signals, tmp_path: Path
) -> None:
    """DuckDB makes an error of its own of the interrupt, which looks like a fault of the query; and ends the query."""

    def build(_: Partition) -> Published:
        threading.Timer(0.5, lambda: os.kill(os.getpid(), number)).start()
        with open_engine(tmp_path / "spill", FolderStorage(tmp_path)) as con:
            con.execute(_ENDLESS)
        raise AssertionError("nobody stopped it")

    kinds = {event.event_type for event in ran(build, settings()).all_events}
    assert dg.DagsterEventType.PIPELINE_CANCELED in kinds
    assert dg.DagsterEventType.PIPELINE_FAILURE not in kinds
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1, "its threads go on with the query"
