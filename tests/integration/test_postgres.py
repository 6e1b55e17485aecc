"""Dagster's runs, events and partitions in a real PostgreSQL, by the very `dagster.yaml` that is deployed."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.orchestration.partitions import CRAWLS as CRAWL_PARTITIONS
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import ALWAYS
from tests.integration import foreign
from tests.integration.conftest import assert_conserved, rows, serving
from tests.integration.postgres import PostgresServer, postgres_server
from tests.pipeline.conftest import (
    REPOSITORY,
    Command,
    environment,
    kill_9,
    laion,
    paused_laion,
    wait_until,
)
from tests.warm import PYTHONPATH, Forked

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ONE, OTHER = "CC-MAIN-2025-13", "CC-MAIN-2025-18"
TEXTS = {ONE: ["a red square", "ein grüner Kreis", "写真の中の猫"], OTHER: ["a red square", "two blue stars"]}
CONFIGURATION = REPOSITORY / "infra" / "postgres" / "dagster.yaml"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as started:
        yield started


@dataclass
class Site:
    """A lake, a source of two crawls, and a DAGSTER_HOME whose runs are kept in PostgreSQL."""

    settings: Settings
    home: Path
    server: PostgresServer
    changes: dict[str, str | None] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        variables = environment(self.settings, self.home) | self.server.environment | {"PYTHONPATH": PYTHONPATH}
        return {name: value for name, value in (variables | self.changes).items() if value is not None}

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def fork(self, command: Command) -> Forked:
        """The same without its imports, for what is not heard before it ends."""
        return Forked(command.arguments, self.variables, command.pause)

    def succeed(self, *arguments: str) -> None:
        code, said = self._run(*arguments)
        assert code == 0, said

    def fail(self, *arguments: str) -> str:
        code, said = self._run(*arguments)
        assert code == 2, said
        return said

    def _run(self, *arguments: str) -> tuple[int, str]:
        process = self.fork(laion(*arguments))
        try:
            said, _ = process.communicate(timeout=240)
        finally:
            kill_9(process)
        assert process.returncode is not None
        return process.returncode, said

    @property
    def lake(self) -> Lake:
        return self.settings.open_lake(create=False)


@pytest.fixture
def site(
    server: PostgresServer,
    lake_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """A place where nothing is built yet; what earlier tests left in the database is dropped."""
    server.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public; COMMIT; SELECT 1")
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(CONFIGURATION, home / "dagster.yaml")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    with serving(foreign.handler(foreign.pictures())) as port:
        for crawl, texts in TEXTS.items():
            links = [foreign.Link(f"http://127.0.0.1:{port}/noise?{n}", text) for n, text in enumerate(texts)]
            foreign.write(tmp_path / "source", crawl, [[(f"http://pages.test/{crawl}", links)]])
        yield Site(lake_settings(tmp_path / "lake", tmp_path / "source", shards=1), home, server)


def candidates(lake: Lake) -> dict[str, list[str]]:
    """The texts of each crawl."""
    return {crawl: sorted(rows(lake, "candidate_pairs", crawl)["text"]) for crawl in TEXTS}


EXPECTED = {crawl: sorted(texts) for crawl, texts in TEXTS.items()}


def test_two_builders_at_once_keep_their_runs_in_postgres(site: Site) -> None:
    """From an empty database on, so that both make its tables; then one of them goes on to the end."""
    both = [site.fork(laion("build", crawl, "--until", "candidate_pairs")) for crawl in TEXTS]
    try:
        said = [process.communicate(timeout=240)[0] for process in both]
    finally:
        for process in both:
            kill_9(process)
    assert [process.returncode for process in both] == [0, 0], said
    assert candidates(site.lake) == EXPECTED
    site.succeed("build", ONE)
    assert_conserved(site.lake, ONE)

    of_crawls = "SELECT status, count(*) FROM runs WHERE run_body NOT LIKE '%partition_states%' GROUP BY status"
    assert site.server.ask(of_crawls) == [("SUCCESS", 2 * 3 + 4 * 2)]
    assert site.server.ask("SELECT partition FROM dynamic_partitions ORDER BY partition") == [(ONE,), (OTHER,)]
    seen = site.server.ask(
        "SELECT asset_key, count(DISTINCT partition) FROM event_logs "
        "WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key NOT LIKE '%partition_states%' "
        "GROUP BY asset_key"
    )
    per_crawl = {"crawl_snapshots": 2, "wat_files": 2, "candidate_pairs": 2}
    assert dict(seen) == {f'["{table}"]': per_crawl.get(table, 2) for table in ALWAYS}
    with dg.DagsterInstance.from_config(str(site.home)) as instance:
        assert sorted(instance.get_dynamic_partitions(str(CRAWL_PARTITIONS.name))) == [ONE, OTHER]
        assert instance.get_materialized_partitions(dg.AssetKey("wat_files")) == {ONE, OTHER}
    assert list(site.home.glob("**/*.db")) == [], "something went to SQLite"


def test_a_server_that_comes_back_soon_is_waited_for(site: Site, tmp_path: Path) -> None:
    marker = tmp_path / "stopped"
    process = site.start(paused(marker))
    try:
        wait_until(marker.exists, process)
        site.server.die()
        try:
            marker.with_name("stopped.go").touch()
            heard = until_it_says(process, "Retrying failed database connection")
        finally:
            site.server.start()
        said, _ = process.communicate(timeout=240)
    finally:
        kill_9(process)
    assert process.returncode == 0, heard + said
    assert candidates(site.lake) == EXPECTED
    assert site.server.ask("SELECT DISTINCT status FROM runs") == [("SUCCESS",)]


def test_a_server_that_stays_away_ends_the_build_and_the_next_one_goes_on(site: Site, tmp_path: Path) -> None:
    marker = tmp_path / "stopped"
    process = site.fork(paused(marker))
    try:
        wait_until(marker.exists, process)
        site.server.die()
        marker.with_name("stopped.go").touch()
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 2, said
        assert_said(said, "Connection refused", "the same command goes on")
        assert_said(site.fail("build", ONE), "Connection refused")
    finally:
        kill_9(process)
        site.server.start()

    site.succeed("build", *TEXTS, "--until", "candidate_pairs")
    assert candidates(site.lake) == EXPECTED
    unfinished = "SELECT count(*) FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE')"
    assert site.server.ask(unfinished) == [(0,)]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DAGSTER_POSTGRES_PASSWORD", "another", ["password authentication failed"]),
        ("DAGSTER_POSTGRES_PASSWORD", None, ["DAGSTER_POSTGRES_PASSWORD", "not set"]),
    ],
)
def test_what_is_wrong_with_the_address_is_said_before_anything_is_built(
    site: Site, variable: str, value: str | None, words: list[str]
) -> None:
    site.changes[variable] = value
    assert_said(site.fail("build", ONE), *words)
    assert not (Path(site.settings.lake) / "crawl_snapshots").exists()


def assert_said(said: str, *words: str) -> None:
    """The last line tells what is wrong, and no traceback stands before it."""
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert last.startswith("laion: "), said
    for word in words:
        assert word in last


def paused(marker: Path) -> Command:
    """A build of both crawls that stops in its first read of a WAT file."""
    until = ("--until", "candidate_pairs")
    return paused_laion("laion_assets.orchestration.assets.crawl:extract", "before", 1, marker, "build", *TEXTS, *until)


def until_it_says(process: subprocess.Popen[str], words: str) -> str:
    """Read what a process says up to a line with these words."""
    heard = ""
    assert process.stdout is not None
    for line in process.stdout:
        heard += line
        if words in line:
            return heard
    raise AssertionError(f"it ended without saying {words!r}: {heard}")
