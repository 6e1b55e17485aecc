"""What is due is known without a run: the planner is asked wave by wave, and nothing is built."""

from pathlib import Path

import pytest

from laion_assets.delta.states import PartitionState, State
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.planning.recipes import EvaluationRequest, TrainingRequest
from laion_assets.orchestration.planning.states import is_due
from laion_assets.orchestration.planning.waves import RequestError, Site
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.settings import Settings
from laion_assets.sql.build import declared
from laion_assets.sql.project import open_project
from laion_assets.tables.catalogue import ALWAYS, PER_CRAWL
from laion_assets.training.recipe import RecipeError

OLD, NEW = "CC-MAIN-2024-10", "CC-MAIN-2024-18"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "models").mkdir()
    (tmp_path / "benchmarks").mkdir()
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None,
        lake=str(tmp_path / "lake"),
        shards=2,
        buckets=3,
        models=str(tmp_path / "models"),
        benchmarks=str(tmp_path / "benchmarks"),
    )
    project = open_project(settings.models)
    return Site(settings, declared(settings.open_lake(), project), project)


def test_a_new_crawl_is_due_stage_by_stage_and_its_pairs_after_those_of_the_crawl_before(site: Site) -> None:
    waves = [*CrawlRequest(crawls=[NEW, OLD]).waves(site)]
    parts = [wave.part for wave in waves]
    assert [*dict.fromkeys(parts)] == [*ALWAYS]
    assert {part for part in parts if parts.count(part) > 1} == {"unique_pairs"}
    first, second = (wave for wave in waves if wave.part == "unique_pairs")
    assert ({task.partition["crawl"] for task in first.tasks}, first.total) == ({OLD}, 6)
    assert ({task.partition["crawl"] for task in second.tasks}, second.total) == ({NEW}, None)
    assert len(next(wave for wave in waves if wave.part == "candidate_pairs").tasks) == 2 * 2


def test_a_build_ends_with_the_stage_that_was_named(site: Site) -> None:
    assert [wave.part for wave in CrawlRequest(crawls=[OLD], until="wat_files").waves(site)] == [*PER_CRAWL[:2]]


def test_a_wave_says_what_a_partition_is_built_from(site: Site) -> None:
    (wave,) = (wave for wave in CrawlRequest(crawls=[OLD]).waves(site) if wave.part == "images")
    partition = {"crawl": OLD, "bucket": 1}
    assert {*wave.needs("images", partition)} == {("unique_pairs", f"crawl={OLD}/bucket=1")}


def test_a_recipe_that_is_not_there_is_told_before_anything_is_registered(site: Site) -> None:
    with pytest.raises(RecipeError):
        TrainingRequest(recipes=["no such recipe"]).names(site)


def test_what_was_not_trained_cannot_be_measured(site: Site) -> None:
    with pytest.raises(RequestError, match=r"never: not trained yet; `laion train never` does it"):
        EvaluationRequest(recipes=["never"]).names(site)
    with pytest.raises(RequestError, match="holds no benchmark"):
        EvaluationRequest(recipes=[]).names(site)


@pytest.mark.parametrize(
    ("state", "reasons", "inherited", "due"),
    [
        (State.MISSING, (), (), True),
        (State.STALE, ("settings changed",), (), True),
        (State.STALE, (), ("images is stale",), False),
        (State.DONE, (), (), False),
    ],
)
def test_only_what_a_build_would_mend_is_due(
    state: State, reasons: tuple[str, ...], inherited: tuple[str, ...], due: bool
) -> None:
    found = PartitionState(table="images", partition={}, state=state, reasons=reasons, inherited=inherited)
    assert is_due(found) is due


def test_a_whole_table_that_failed_is_lacking_everywhere() -> None:
    outcome = Outcome(failures=[("total", "all", "broken")], left_out=[("listed", f"crawl={OLD}")])
    assert outcome.lacks("total", f"crawl={OLD}")
    assert outcome.lacks("listed", "all")
    assert not outcome.lacks("listed", f"crawl={NEW}")
