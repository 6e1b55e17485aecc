"""Every private name of Dagster that is used is still where it was, and does what it is used for."""

import ast
import importlib
import inspect
import itertools
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessStateChange

from laion_assets.common.shipped import shipped
from laion_assets.orchestration import dagster_internals as internals

PACKAGE = Path(__file__).resolve().parents[3] / "laion_assets"
ROOM = PACKAGE / "orchestration" / "dagster_internals.py"


def private_imports(file: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that a file imports from Dagster's private modules; name empty: the module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster._"):
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("dagster._"))


@pytest.mark.parametrize(("module", "name"), sorted(private_imports(ROOM)))
def test_a_private_name_is_where_it_was(module: str, name: str) -> None:
    moved = f"Dagster moved {name}: it was in {module}, and {ROOM.name} says what it is used for"
    try:
        there = hasattr(importlib.import_module(module), name)
    except ImportError:
        there = False
    assert there, f"{moved} (this is dagster {dg.__version__})"


def test_nobody_else_imports_private_names() -> None:
    others = [
        file for file in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "measurements").glob("*.py")] if file != ROOM
    ]
    found = {str(file.relative_to(PACKAGE.parent)): [*private_imports(file)] for file in others}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


LETTERS = dg.StaticPartitionsDefinition(["a", "b", "c"])


@dg.asset(partitions_def=LETTERS)
def only_a(context: dg.AssetExecutionContext) -> None:
    """An asset of which one partition goes well."""
    if context.partition_key != "a":
        raise ValueError(context.partition_key)


def test_the_tags_of_runs_are_those_that_dagster_keeps_in_its_storage(instance: dg.DagsterInstance) -> None:
    found = dg.materialize([only_a], instance=instance, partition_key="a").dagster_run.tags
    assert found[internals.PARTITION_TAG] == "a"
    tags = {internals.RANGE_START_TAG: "a", internals.RANGE_END_TAG: "b"}
    assert all(name.startswith("dagster/asset_partition_range_") for name in tags)


def test_partitions_whose_last_run_failed_are_known(instance: dg.DagsterInstance) -> None:
    for key in ("a", "b"):
        dg.materialize([only_a], instance=instance, partition_key=key, raise_on_error=False)
    assert internals.failed_keys(instance, "only_a", ["a", "b", "c"], LETTERS) == {"b"}


def test_a_cron_string_ticks_in_utc() -> None:
    noon = 1_767_225_600.0 + 12 * 3600
    assert [*itertools.islice(internals.ticks_of("0 12 * * *", noon - 1), 2)] == [noon, noon + 86_400]


def test_a_job_has_an_origin_and_can_be_loaded_by_its_name() -> None:
    origin = internals.workspace_job(shipped("workspace.yaml"), "some_job")
    assert (origin.job_name, origin.repository_origin.get_label()) == ("some_job", "__repository__@laion")
    assert internals.loadable_job("laion_assets.definitions", "defs", "some_job").job_name == "some_job"


def test_only_a_policy_that_failed_makes_overdue() -> None:
    kinds = internals.FreshnessState
    for state, overdue in ((kinds.FAIL, True), (kinds.WARN, False), (kinds.PASS, False)):
        change = FreshnessStateChange(
            key=dg.AssetKey("a"), new_state=state, previous_state=kinds.PASS, state_change_timestamp=0.0
        )
        event = dg.DagsterEvent("FRESHNESS_STATE_CHANGE", "job", event_specific_data=change)
        assert internals.became_overdue(event) is overdue


def test_a_run_that_dagster_starts_again_says_so(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions([only_a]).resolve_implicit_global_asset_job_def()
    again = instance.create_run_for_job(job, tags={"dagster/will_retry": "true"})
    assert internals.is_retried(again)
    assert not internals.is_retried(instance.create_run_for_job(job))


def test_the_requests_of_a_tick_can_be_replaced() -> None:
    @dg.sensor(job_name="a")
    def asks(_: dg.SensorEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest("one")

    data = asks.evaluate_tick(dg.build_sensor_context())
    assert isinstance(data, internals.SensorResult)
    other = internals.with_requests(data, [], "nothing is due")
    assert (other.run_requests, other.skip_message) == ([], "nothing is due")
    assert len(data.run_requests or ()) == 1


def test_an_interrupt_is_found_by_whoever_looks_for_one() -> None:
    from dagster._utils.interrupts import check_captured_interrupt

    internals.ask_executors_to_stop()
    assert check_captured_interrupt()
    internals.ask_executors_to_stop()
    internals.forget_interrupt()
    assert not check_captured_interrupt()


def test_no_daemon_beats_and_nothing_is_on_in_a_new_instance(instance: dg.DagsterInstance) -> None:
    assert internals.beating_daemons(instance) == []
    assert internals.running_instigators(instance) == set()


def test_another_web_server_takes_the_place_of_dagster_s(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._cli import dev

    started: list[list[str]] = []
    monkeypatch.setattr(dev, "open_ipc_subprocess", lambda parts, **_: started.append(parts))
    assert internals.dev_command_with("our.server") is dev.dev_command
    for module in ("dagster_webserver", "dagster._daemon"):
        assert f'"{module}"' in inspect.getsource(dev.dev_command_impl)
        dev.open_ipc_subprocess(["python", "-m", module, "--port", "1"])
    assert [parts[2] for parts in started] == ["our.server", "dagster._daemon"]
