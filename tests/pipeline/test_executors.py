"""Builds whose steps run in processes of their own, places in pools, and an end when somebody asks for it."""

import itertools
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from laion_assets.orchestration.runs.home import POOLS, set_pools
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from laion_assets.sources import sources
from laion_assets.tables.catalogue import ALWAYS
from tests.integration.conftest import serving
from tests.pipeline.conftest import (
    Built,
    MakeSettings,
    Web,
    laion,
    materialise,
    paused_laion,
    rows,
    running,
    wait_until,
)

LakeCopy = Callable[..., Settings]


def span(instance: dg.DagsterInstance, run: dg.DagsterRun, begin: str, end: str) -> tuple[float, float]:
    """When something of a run began and ended."""
    times = {
        entry.dagster_event.event_type_value: entry.timestamp
        for entry in instance.all_logs(run.run_id)
        if entry.dagster_event is not None
    }
    return times[begin], times[end]


def overlapping(spans: list[tuple[float, float]]) -> bool:
    ordered = sorted(spans)
    return any(first[1] > second[0] for first, second in itertools.pairwise(ordered))


@pytest.mark.slow
def test_steps_in_processes_of_their_own_give_the_same_rows_and_share_the_gpu(
    lake_copy: LakeCopy, undisturbed: Built, tmp_path: Path
) -> None:
    """Two builders with several jobs each share an instance, in which the pool of the GPU has one place."""
    settings = lake_copy(without=["clip_embeddings"])
    home = tmp_path / "dagster"
    commands = [
        laion("build", crawl, "--until", "clip_embeddings", "--executor", "multiprocess", "--jobs", "2")
        for crawl in CRAWLS
    ]
    with running(commands[0], settings, home) as one, running(commands[1], settings, home) as other:
        said = [process.communicate(timeout=500)[0] for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], said
    # Another process rounds otherwise: vectors are the same in the sense of their class, all else to the letter.
    found, expected = (rows(lake, "clip_embeddings") for lake in (settings.open_lake(), undisturbed.lake))
    numeric = ["image_embedding", "text_embedding", "similarity"]
    assert found.drop(numeric).equals(expected.drop(numeric))
    assert (found["similarity"] - expected["similarity"]).abs().max() < 1e-3
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = [run for run in instance.get_runs() if run.asset_selection == {dg.AssetKey("clip_embeddings")}]
        assert len(runs) == 4
        assert overlapping([span(instance, run, "PIPELINE_START", "PIPELINE_SUCCESS") for run in runs])
        assert not overlapping([span(instance, run, "STEP_START", "STEP_SUCCESS") for run in runs])
        workers = {
            entry.dagster_event.event_specific_data.metadata["pid"].value
            for run in runs
            for entry in instance.all_logs(run.run_id)
            if entry.dagster_event is not None and entry.dagster_event.event_type_value == "STEP_WORKER_STARTED"
        }
        assert len(workers) == 4, "each in a process of its own"


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_ends_and_begins_nothing_more(
    name: signal.Signals, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path / "lake")
    marker, home = tmp_path / "stopped", tmp_path / "dagster"
    command = paused_laion("laion_assets.orchestration.assets.crawl:extract", "before", 1, marker, "build", *CRAWLS)
    with running(command, settings, home) as process:
        wait_until(marker.exists, process)
        process.send_signal(name)
        said, _ = process.communicate(timeout=100)
    assert process.returncode not in (0, None), said
    assert "Traceback" not in said
    assert_ended(settings, home, runs=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_ends_the_steps_in_other_processes(
    name: signal.Signals, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path / "lake")
    home = tmp_path / "dagster"
    # Begun as a shell begins what stands before `&`: with the signal of Ctrl-C ignored.
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    command = [*ignoring, *laion("build", *CRAWLS, "--executor", "multiprocess", "--jobs", "2")]
    with running(command, settings, home) as process:
        staging = settings.open_lake().staging / "candidate_pairs"
        wait_until(lambda: staging.is_dir() and any(staging.iterdir()), process, seconds=300)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(name)
        said, _ = process.communicate(timeout=100)
        assert process.returncode not in (0, None), said
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
    assert_ended(settings, home, runs=3)  # of four


def assert_ended(settings: Settings, home: Path, *, runs: int) -> None:
    """No run goes on or holds a place in a pool, and none was begun after those that were interrupted."""
    assert settings.open_lake().ledger("unique_pairs").commits == {}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        found = instance.get_runs()
        assert all(run.is_finished for run in found)
        assert {dg.AssetKey("unique_pairs")} not in [run.asset_selection for run in found]
        assert [run.asset_selection for run in found].count(frozenset({dg.AssetKey("candidate_pairs")})) <= runs
        for pool in POOLS:
            assert instance.event_log_storage.get_concurrency_info(pool).claimed_slots == []


def test_a_source_that_fails_for_a_while_costs_tries_and_not_the_partition(
    make_settings: MakeSettings,
    small_web: Web,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The source itself is not patient here: each 503 is one failure of the step."""
    monkeypatch.setattr(sources, "RetryPolicy", partial(sources.RetryPolicy, attempts=1))
    asked: Counter[str] = Counter()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(small_web.root))

        def do_GET(self) -> None:
            asked[self.path] += 1
            if asked[self.path] <= 2 and self.path.endswith("collinfo.json"):
                self.send_error(503)
            else:
                super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as port:
        settings = make_settings(tmp_path / "lake", source=f"http://127.0.0.1:{port}")
        assert materialise(settings, instance, "crawl_snapshots", {"crawl": CRAWLS[0]})
    assert asked["/collinfo.json"] == 3
    (run,) = instance.get_runs()
    kinds = [e.dagster_event.event_type_value for e in instance.all_logs(run.run_id) if e.dagster_event]
    assert kinds.count("STEP_UP_FOR_RETRY") == 2
    assert settings.open_lake().ledger("crawl_snapshots").periods == {CRAWLS[0]}


def test_pools_of_a_new_instance_have_a_size_and_keep_what_somebody_chose(tmp_path: Path) -> None:
    configuration = Path(__file__).resolve().parents[2] / "infra" / "local" / "dagster.yaml"
    (tmp_path / "dagster.yaml").write_text(configuration.read_text())

    def sizes() -> dict[str, int]:
        return {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        set_pools(instance)
        assert sizes() == dict(POOLS)
        instance.event_log_storage.set_concurrency_slots("gpu", 4)
        set_pools(instance)
        assert sizes() == {**POOLS, "gpu": 4}
        for pool in POOLS:
            instance.event_log_storage.delete_concurrency_limit(pool)
        set_pools(instance, {})
        assert sizes() == dict.fromkeys(POOLS, 1), "the default of its configuration"


def test_every_stage_that_a_build_goes_through_can_be_sent_elsewhere() -> None:
    from laion_assets.orchestration.execution.origin import loadable_job

    job = loadable_job("__ASSET_JOB").get_definition()
    assert {dg.AssetKey(table) for table in ALWAYS} <= set(job.asset_layer.executable_asset_keys)
