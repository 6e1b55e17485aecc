"""``kill -9`` where much is under way, and the same command again: the rows of an undisturbed build.

Any moment of any stage is one of ``tests/faults``.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from laion_assets.orchestration.assets import crawl
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from tests.pipeline.conftest import (
    Built,
    Quiet,
    assert_same_rows,
    finished_results,
    kill_9,
    laion,
    paused_laion,
    rows,
    running,
    tars,
    unfinished,
    wait_until,
)

LakeCopy = Callable[..., Settings]
BuildAgain = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The DAGSTER_HOME of the killed process and of the one after it."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    configuration = Path(__file__).resolve().parents[2] / "infra" / "local" / "dagster.yaml"
    (folder / "dagster.yaml").write_text(configuration.read_text())
    return folder


@pytest.fixture
def build_again(home: Path) -> Iterator[BuildAgain]:
    """Build on, as the next ``laion build`` with the same DAGSTER_HOME would."""
    with dg.DagsterInstance.from_config(str(home)) as instance:

        def build(settings: Settings, until: str) -> Outcome:
            outcome = Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=CRAWLS, until=until))
            left = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            assert left == [], "the killed run is to end, and to give its place in its pool back"
            return outcome

        yield build


def holds_files(folder: Path) -> bool:
    try:
        return any(path.is_file() and path.stat().st_size for path in folder.rglob("*"))
    except FileNotFoundError:  # it went while we looked
        return False


def assert_undisturbed(settings: Settings, undisturbed: Built) -> None:
    """Every table has the rows of the undisturbed build, and nothing is due."""
    assert_same_rows(settings.open_lake(), undisturbed.lake, places=False)
    assert unfinished(settings) == {}


def left_over(settings: Settings) -> list[Path]:
    """Unfinished files that nobody will go on from."""
    return [path for path in settings.open_lake().staging.rglob("*") if path.is_file() and "hosts" not in path.parts]


@pytest.mark.parametrize("table", ["candidate_pairs", "images"])
def test_killed_in_the_middle_of_a_stage(
    table: str, lake_copy: LakeCopy, home: Path, build_again: BuildAgain, undisturbed: Built
) -> None:
    settings = lake_copy(without=[table])
    lake = settings.open_lake()
    with running(laion("build", *CRAWLS, "--until", table), settings, home) as process:
        # A download has begun once its own folder has something; what is known is written before.
        begun = "files/images" if table == "images" else ""
        wait_until(lambda: any(map(holds_files, (lake.staging / table).glob(f"*/*/{begun}"))), process)
        kill_9(process)
        assert process.returncode == -9
    built = len(lake.ledger(table).commits)
    outcome = build_again(settings, table)
    assert outcome.failures == []
    assert outcome.built == len(undisturbed.lake.ledger(table).commits) - built > 0
    assert_undisturbed(settings, undisturbed)
    assert left_over(settings) == []


@pytest.mark.parametrize(
    ("function", "when", "published"),
    [
        ("write_deltalake", "before", 0),
        ("write_deltalake", "after", 1),
    ],
)
def test_killed_around_the_commit(
    function: str,
    when: str,
    published: int,
    lake_copy: LakeCopy,
    home: Path,
    build_again: BuildAgain,
    undisturbed: Built,
    tmp_path: Path,
) -> None:
    """A commit is there or not; one that Dagster never heard of counts."""
    settings = lake_copy(without=["unique_pairs"])
    marker = tmp_path / "stopped"
    target = f"laion_assets.delta.writing:{function}"
    command = paused_laion(target, when, 1, marker, "build", *CRAWLS, "--until", "unique_pairs")
    with running(command, settings, home) as process:
        wait_until(marker.exists, process)
        kill_9(process)
    assert len(settings.open_lake().ledger("unique_pairs").commits) == published
    outcome = build_again(settings, "unique_pairs")
    assert (outcome.failures, outcome.built) == ([], 4 - published)
    assert_undisturbed(settings, undisturbed)
    assert published or left_over(settings) == []


def test_a_killed_extraction_reads_only_unfinished_files_again(
    lake_copy: LakeCopy,
    home: Path,
    build_again: BuildAgain,
    undisturbed: Built,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = lake_copy(without=["candidate_pairs"])
    marker = tmp_path / "stopped"
    target = "laion_assets.orchestration.assets.crawl:extract"
    command = paused_laion(target, "before", 2, marker, "build", *CRAWLS, "--until", "candidate_pairs")
    with running(command, settings, home) as process:
        wait_until(marker.exists, process)
        kill_9(process)
    finished = list((settings.open_lake().staging / "candidate_pairs").rglob("*.parquet"))
    assert [path.name for path in finished] == ["00000000.parquet"]
    read: Counter[str] = Counter()
    real = crawl.extract

    def extract(source: Any, path: str, **options: Any) -> Any:
        read[path] += 1
        return real(source, path, **options)

    monkeypatch.setattr(crawl, "extract", extract)
    assert build_again(settings, "candidate_pairs").failures == []
    first = undisturbed.lake.rows("wat_files", {"crawl": CRAWLS[0]}, ["file_number", "path"])
    second = undisturbed.lake.rows("wat_files", {"crawl": CRAWLS[1]}, ["path"])
    expected = [*first.filter(first["file_number"] != 0)["path"], *second["path"]]
    assert read == Counter(expected)
    assert_undisturbed(settings, undisturbed)
    assert left_over(settings) == []


@pytest.mark.slow
def test_a_killed_download_fetches_no_finished_tar_again(
    lake_copy: LakeCopy,
    home: Path,
    build_again: BuildAgain,
    undisturbed: Built,
) -> None:
    """Here the workers are left to themselves: they must notice, and the next build must wait for them.

    A bucket has more tars than are handed to the worker at once.
    """
    usual = undisturbed.settings.download
    settings = lake_copy(without=["images"], download=dataclasses.replace(usual, processes=1, urls_per_tar=12))
    lake = settings.open_lake()
    with running(laion("build", *CRAWLS, "--until", "images"), settings, home) as process:
        wait_until(lambda: bool(finished_results(lake)), process)
        kill_9(process, children=False)
    assert len(lake.ledger("images").commits) == 0, "it was killed in its first partition"
    finished = tars(lake)
    assert finished
    assert build_again(settings, "images").failures == []
    after = tars(lake)
    assert {tar: after[tar] for tar in finished} == finished
    lake = settings.open_lake()
    named = {*rows(lake, "images")["shard_path"].drop_nulls()}
    assert named == set(after), "every tar is named by rows, those from before the kill too"
    assert len(named) > len(finished)
    assert_same_rows(lake, undisturbed.lake, ["images"], places=False)
    assert unfinished(settings) == {}
    assert left_over(settings) == []
