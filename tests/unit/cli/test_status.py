"""``laion status``: the picture of a lake, and what Dagster remembers of attempts that failed."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from laion_assets.cli import status as command
from laion_assets.cli.status import bar, look
from laion_assets.delta.partition import partition_name
from laion_assets.delta.states import State
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.keys import Keys
from laion_assets.orchestration.partitions import CRAWLS, Partitions
from laion_assets.orchestration.planning.models import ModelRequest
from laion_assets.orchestration.planning.parts import MODELS
from laion_assets.orchestration.planning.recipes import TrainingRequest
from laion_assets.orchestration.planning.states import current_states
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.history import RunHistory
from laion_assets.orchestration.runs.home import dagster_instance
from laion_assets.orchestration.runs.status import STATES, LakeStatus, Standing, as_object, lake_status
from laion_assets.settings import Settings
from laion_assets.sql.project import open_project
from laion_assets.tables.catalogue import PER_CRAWL
from tests.pipeline.conftest import Quiet
from tests.pipeline.trainings import write_recipes
from tests.unit.sql.model_files import write_model, write_test
from tests.unit.sql.shipped_lake import NEW, OLD, shipped_lake

RECIPE = "lost"
LATER = "CC-MAIN-2026-12"


@pytest.mark.parametrize(
    ("counts", "drawn"),
    [
        ({"done": 10}, "█" * 10),
        ({"done": 5, "missing": 5}, "█" * 5 + "·" * 5),
        ({"done": 9_999, "failed": 1}, "█" * 9 + "!"),
        ({"done": 1, "missing": 9_999}, "█" + "·" * 9),
        ({"done": 1, "running": 1, "stale": 1, "failed": 1, "missing": 1}, "██▓▓▒▒!!··"),
        ({"stale": 1, "failed": 1, "missing": 1}, "▒▒▒▒!!!···"),
        ({"done": 100, "running": 1, "stale": 1, "failed": 1, "missing": 1}, "██████▓▒!·"),
    ],
)
def test_a_bar_shows_every_state_that_is_there_and_is_of_one_width(counts: dict[str, int], drawn: str) -> None:
    assert bar(counts, 10).plain == drawn


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lake of two built crawls, and a source that has no third one."""
    shipped_lake(str(tmp_path / "lake"))
    (tmp_path / "source").mkdir()
    return Settings(  # type: ignore[call-arg]
        _env_file=None, lake=str(tmp_path / "lake"), source=str(tmp_path / "source"), shards=1, buckets=2
    )


Run = Callable[[str, dict[str, str | int]], bool]


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def run(settings: Settings, instance: dg.DagsterInstance) -> Run:
    """Run one partition in Dagster; says whether it went well."""
    partitions = Partitions(shards=1, buckets=2)
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()

    def once(table: str, partition: dict[str, str | int]) -> bool:
        instance.add_dynamic_partitions(str(CRAWLS.name), [str(partition["crawl"])])
        return job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(table)],
            partition_key=partitions.key(partition),
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        ).success

    return once


def picture(settings: Settings, instance: dg.DagsterInstance) -> tuple[LakeStatus, RunHistory]:
    states = current_states(settings.open_lake(create=False), settings, [LATER])
    attempts = RunHistory(instance, Keys(settings, open_project(settings.models)), PER_CRAWL)
    return lake_status(settings.lake, states, attempts), attempts


def test_what_failed_is_shown_with_how_often_and_why(
    settings: Settings, instance: dg.DagsterInstance, run: Run
) -> None:
    place = {"crawl": LATER, "bucket": 1}
    assert not run("images", place)
    assert not run("images", place)
    assert not run("crawl_snapshots", {"crawl": LATER})
    found, attempts = picture(settings, instance)
    assert found.counts["images", LATER] == {"missing": 1, "failed": 1}
    assert found.counts["crawl_snapshots", LATER] == {"failed": 1}
    assert found.counts["unique_pairs", LATER] == {"missing": 2}
    failures = attempts.failures(attempts.failed)
    image = failures["images", partition_name(place)]
    assert image.times == 2
    assert image.error == (f"unique_pairs [crawl={LATER}/bucket=1] has not been built, and images needs it")
    assert image.at is not None
    assert failures["crawl_snapshots", f"crawl={LATER}"].times == 1
    told = as_object(found, failures)
    assert told["stages"]["images"] == {"done": 0, "running": 0, "stale": 4, "failed": 1, "missing": 1}
    [written] = [p for p in told["partitions"] if p["table"] == "images" and p["state"] == "failed"]
    assert (written["failures"], written["error"], written["partition"]) == (2, image.error, partition_name(place))
    assert json.loads(json.dumps(told)) == told


def test_a_done_partition_is_done_whatever_dagster_remembers(
    settings: Settings, instance: dg.DagsterInstance, run: Run
) -> None:
    """What is in the lake counts, whoever wrote it; a stale one that could not be built again has failed."""
    assert not run("crawl_snapshots", {"crawl": OLD})
    states = current_states(settings.open_lake(create=False), settings, [])
    attempts = RunHistory(instance, Keys(settings, open_project(settings.models)), PER_CRAWL)
    mended = [replace(state, state=State.DONE, reasons=(), inherited=()) for state in states]
    assert lake_status("lake", states, attempts).counts["crawl_snapshots", OLD] == {"failed": 1}
    assert lake_status("lake", mended, attempts).counts["crawl_snapshots", OLD] == {"done": 1}


def test_a_run_that_has_begun_is_running(settings: Settings, instance: dg.DagsterInstance) -> None:
    partitions = Partitions(shards=1, buckets=2)
    instance.add_dynamic_partitions(str(CRAWLS.name), [LATER])
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    key = partitions.key({"crawl": LATER, "bucket": 0})
    made = job.get_subset(asset_selection={dg.AssetKey("images")})
    run = instance.create_run_for_job(
        made, asset_selection=frozenset({dg.AssetKey("images")}), tags={"dagster/partition": str(key)}
    )
    instance.report_run_canceling(run)
    found, _ = picture(settings, instance)
    assert found.counts["images", LATER] == {"running": 1, "missing": 1}


BROKEN = "SELECT no_such_column AS n FROM {{ source('crawl_snapshots') }}"


def test_models_count_too_and_say_what_is_wrong_with_them(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    write_model(folder, "sound", "SELECT count(*) AS n FROM {{ source('crawl_snapshots') }}")
    write_model(folder, "never", "SELECT count(*) AS n FROM {{ source('images') }}")
    write_model(folder, "wrong", BROKEN)
    write_model(folder, "on_it", "SELECT n FROM {{ ref('wrong') }}")
    write_model(folder, "tested", "SELECT 1 AS n FROM {{ source('crawl_snapshots') }} LIMIT 1")
    write_test(folder, "never_right", "SELECT * FROM {{ ref('tested') }}")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    ours = settings.model_copy(update={"models": str(folder)})
    with dagster_instance() as instance:
        built = Builder(ours, instance, Quiet()).build(ModelRequest(models=["sound", "tested"]))
    assert (built.built, [failure[0] for failure in built.failures]) == (1, ["tested"])
    found, attempts = look(ours)
    states = {s.table: (s.partition, s.state) for s in found.standings if s.part == MODELS}
    assert states == {
        "sound": ("all", "stale"),  # for the stages below it are
        "never": ("all", "missing"),
        "tested": ("all", "failed"),
        "wrong": ("all", "failed"),
        "on_it": ("all", "missing"),
    }
    failure = attempts.failures(attempts.failed)["tested", "all"]
    assert failure.times == 1
    assert "never_right" in failure.error
    assert as_object(found, {})["models"]["sound"] == dict.fromkeys(STATES, 0) | {"stale": 1}
    told = "\n".join(printed(monkeypatch, lambda: (command._print_bars(found), command._print_models(found)), 100))
    assert "SQL models" in told
    assert "0 of 5, 1 stale, 2 failed" in told
    assert "failed SQL models: tested, wrong" in told
    of_one, _ = look(ours, [OLD])
    assert {s.crawl for s in of_one.standings} == {OLD}


def test_a_training_that_failed_is_shown_though_the_lake_holds_nothing_of_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    recipe = {"selection": {"source": "unique_pairs", "where": "no_such_column > 1"}}
    ours = settings.model_copy(update=write_recipes(tmp_path, {RECIPE: recipe}))
    with dagster_instance() as instance:
        outcome = Builder(ours, instance, Quiet()).build(TrainingRequest(recipes=[RECIPE]))
    assert [failure[0] for failure in outcome.failures] == ["training_sets"]
    found, attempts = look(ours)
    assert {s.table: s.state for s in found.standings if s.recipe} == {
        "training_sets": "failed",
        "clip_checkpoints": "missing",
    }
    assert attempts.failures(attempts.failed)["training_sets", f"recipe={RECIPE}"].error == " ".join(
        outcome.failures[0][2].split()
    )
    [line] = [text for text in printed(monkeypatch, lambda: command._print_recipes(found), 80) if RECIPE in text]
    assert "1!" in line


def many(crawls: int, buckets: int = 4) -> LakeStatus:
    """A lake in which the newest crawls are not downloaded, one old crawl has a failure and another is stale."""
    made = []
    for number in range(crawls):
        crawl = f"CC-MAIN-{2010 + number // 10}-{number % 10:02d}"
        for table in PER_CRAWL:
            for bucket in range(buckets):
                state = "missing" if number >= crawls - 30 and table in PER_CRAWL[-4:] else "done"
                if bucket == 0 and table == "images" and number in (3, 5):
                    state = "failed" if number == 3 else "stale"
                made.append(Standing(table, crawl, f"crawl={crawl}/bucket={bucket}", state))
    return LakeStatus("/lake", made)


def printed(monkeypatch: pytest.MonkeyPatch, show: Callable[[], None], width: int) -> list[str]:
    out = io.StringIO()
    monkeypatch.setattr(command, "out", Console(file=out, width=width, emoji=False))
    show()
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 140])
def test_a_hundred_crawls_fit_the_terminal_and_what_failed_stands_first(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    found = many(100)
    lines = printed(monkeypatch, lambda: command._print_crawls(found, 10), width)
    rows = [line.split() for line in lines if line.lstrip().startswith("CC-MAIN")]
    assert [row[0] for row in rows[:3]] == ["CC-MAIN-2010-03", "CC-MAIN-2010-05", "CC-MAIN-2019-09"]
    assert rows[0][5:7] == ["75%", "1!"]
    assert len(rows) == 10
    assert "68 crawls done in every stage; 22 more" in " ".join(lines)
    bars = printed(monkeypatch, lambda: command._print_bars(found), width)
    assert len(bars) == 1 + len(PER_CRAWL)
    assert max(map(len, [*lines, *bars])) <= width
    assert "278 of 400, 1 stale, 1 failed" in " ".join(bars)


def test_few_crawls_are_shown_in_full_within_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    standings = [
        Standing(table, crawl, f"crawl={crawl}/bucket={n}", STATES[n])
        for table in PER_CRAWL
        for crawl in (OLD, NEW)
        for n in range(5)
    ]
    found = LakeStatus("/lake", standings)
    lines = printed(monkeypatch, lambda: command.out.print(command._table_in_full(found)), 80)
    assert max(map(len, lines)) <= 80
    assert sum(OLD in line for line in lines) == len(PER_CRAWL)
