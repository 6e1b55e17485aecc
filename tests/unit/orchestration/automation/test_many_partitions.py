"""What a look at a lake of many partitions costs: work that is counted, for seconds depend on the machine.

`measurements/many_partitions.py` measures ten times as many, in seconds.
"""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.delta import lake as lakes
from laion_assets.delta.flow import partitions_of
from laion_assets.orchestration.automation.condition import Decisions
from laion_assets.orchestration.keys import Keys
from laion_assets.orchestration.partitions import CRAWLS
from laion_assets.orchestration.planning.backlog import items_of
from laion_assets.orchestration.planning.overview import Overview
from laion_assets.settings import Settings
from laion_assets.sql.project import load_project
from laion_assets.tables.catalogue import PER_CRAWL
from measurements.many_partitions import SHARDS, crawl_names, write_log

pytestmark = pytest.mark.slow
NAMES = crawl_names(20)
BUCKETS = 128


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a lake with 2,560 buckets in each of four tables, and their commit records."""
    folder = tmp_path_factory.mktemp("many")
    made = Settings(_env_file=None, lake=str(folder / "lake"), shards=SHARDS, buckets=BUCKETS)  # type: ignore[call-arg]
    (folder / "project").mkdir()
    made = made.model_copy(update={"models": str(folder / "project")})
    write_log(made, NAMES)
    return made


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], int]:
    """How many log entries were read since this was asked last; the cache is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    counts: list[int] = []
    real = lakes._entries

    def counted(delta, count):  # type: ignore[no-untyped-def]
        counts.append(max(0, count))
        return real(delta, count)

    monkeypatch.setattr(lakes, "_entries", counted)

    def since() -> int:
        found = sum(counts)
        counts.clear()
        return found

    return since


def test_a_look_costs_what_has_changed_since_the_last(settings: Settings, entries: Callable[[], int]) -> None:
    lake, project = settings.open_lake(), load_project(settings.models)
    every = sum(len(partitions_of(lake, table, crawl)) for table in PER_CRAWL for crawl in NAMES)
    overview = Overview(settings, project)
    picture = overview.look(NAMES)
    assert {name for name, group in picture.groups.items() if group.open} == set()
    assert overview.judge.judged == every
    assert entries() >= every
    overview.look(NAMES)
    assert overview.judge.judged == every, "nothing changed, so nothing is judged"
    assert entries() == 0
    # A new process judges all, and reads of each log that was kept the newest entry.
    Overview(settings, project).look(NAMES)
    assert entries() < 4 * len(NAMES) + 20


def test_what_is_due_of_many_is_few_runs(settings: Settings, entries: Callable[[], int]) -> None:
    del entries
    stricter = settings.model_copy(update={"filter": settings.filter.__class__(policy="none")})
    project = load_project(settings.models)
    overview = Overview(stricter, project)
    decisions = Decisions(overview, Keys(stricter, project))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(CRAWLS.name), NAMES)
        runs = decisions.decide(instance)
    assert len(runs) == settings.automation.runs_at_once
    assert {item.asset for item in items_of(runs)} == {"filtered_pairs"}
    # Four runs over a range for each of the oldest crawls.
    assert [item.name for item in items_of(runs)] == [
        f"crawl={crawl}/bucket={bucket}" for crawl in NAMES[:5] for bucket in range(BUCKETS)
    ]
