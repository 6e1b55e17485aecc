"""What a build of whole crawls leaves for those who run it: measurements, a status, a plan made from both."""

import json
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from laion_assets.cli.main import app
from laion_assets.orchestration.keys import Keys
from laion_assets.orchestration.planning.states import current_states
from laion_assets.orchestration.runs.history import RunHistory
from laion_assets.orchestration.runs.status import lake_status
from laion_assets.sample.options import CRAWLS
from laion_assets.sql.project import open_project
from laion_assets.sql.session import connect
from laion_assets.tables.catalogue import ALWAYS
from tests.pipeline.conftest import Built, environment


@pytest.fixture(scope="module")
def con(undisturbed: Built):
    with connect(undisturbed.lake) as made:
        yield made


def test_every_step_says_what_it_cost(con: duckdb.DuckDBPyConnection) -> None:
    wrong = con.sql("""
        SELECT table_name, "partition" FROM step_metrics
        WHERE seconds IS NULL OR cpu_seconds IS NULL OR peak_memory_bytes < 20_000_000 OR device != 'cpu' OR cpus < 1
           OR host IS NULL OR rows_in != "rows" + dropped
    """).fetchall()
    assert wrong == []
    counted = con.sql("SELECT count(*), count(DISTINCT run_id) FROM step_metrics WHERE crawl IS NOT NULL").fetchone()
    assert counted == (2 * (2 + 2 + 4 * 2),) * 2


def test_bytes_are_those_of_the_tables(undisturbed: Built, con: duckdb.DuckDBPyConnection) -> None:
    found = dict(con.sql("SELECT table_name, sum(bytes)::BIGINT FROM step_metrics WHERE latest GROUP BY 1").fetchall())
    assert {name: found[name] for name in ALWAYS} == {n: undisturbed.lake.sizes(n)["bytes"] for n in ALWAYS}


def test_downloads_are_counted_by_what_became_of_them(con: duckdb.DuckDBPyConnection) -> None:
    """In the first crawl, which knows nothing of any other."""
    of_first = f"crawl = '{CRAWLS[0]}'"
    counts = con.sql(f"""
        SELECT entry.key, sum(entry.value)::BIGINT FROM step_metrics, unnest(map_entries(counts)) AS e(entry)
        WHERE table_name = 'images' AND {of_first} GROUP BY 1
    """).fetchall()
    counted = dict(counts)
    fetched = f"FROM images WHERE {of_first}"
    [(pictures, size, requests)] = con.sql(
        f"SELECT count(*) FILTER (status = 'success'), sum(byte_size)::BIGINT, sum(attempts)::BIGINT {fetched}"
    ).fetchall()
    failures = dict(con.sql(f"SELECT failure, count(*) {fetched} AND failure IS NOT NULL GROUP BY 1").fetchall())
    assert counted["known"] == 0
    assert (counted["succeeded"], counted["bytes downloaded"], counted["requests"]) == (pictures, size, requests)
    assert {k.removeprefix("failure: "): n for k, n in counted.items() if k.startswith("failure: ")} == failures
    assert counted["attempted"] == pictures + sum(failures.values())
    assert counted["bytes of tars"] > size / 2
    [(failed,)] = con.sql(
        f"SELECT sum(failures)::BIGINT FROM step_metrics WHERE table_name = 'images' AND {of_first}"
    ).fetchall()
    assert failed == sum(failures.values())


def test_files_and_bytes_of_the_crawl_are_counted(undisturbed: Built, con: duckdb.DuckDBPyConnection) -> None:
    [(files, read)] = con.sql("""
        SELECT sum(counts['files'])::BIGINT, sum(counts['bytes read'])::BIGINT
        FROM step_metrics WHERE table_name = 'candidate_pairs'
    """).fetchall()
    paths = [path for (path,) in con.sql("SELECT path FROM wat_files").fetchall()]
    sizes = [(Path(undisturbed.settings.source) / path).stat().st_size for path in paths]
    assert files == len(paths)
    assert sum(sizes) <= read <= 2 * sum(sizes)  # damaged files are read again from where they broke


def test_status_says_that_all_is_done(undisturbed: Built) -> None:
    states = current_states(undisturbed.lake, undisturbed.settings, CRAWLS)
    attempts = RunHistory(
        undisturbed.instance, Keys(undisturbed.settings, open_project(undisturbed.settings.models)), ALWAYS
    )
    assert (attempts.failed, attempts.running) == (set(), set())
    picture = lake_status(str(undisturbed.lake.root), states, attempts)
    assert all(picture.is_done(crawl) for crawl in CRAWLS)


def test_a_plan_is_made_of_what_was_measured(undisturbed: Built, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(undisturbed.settings, tmp_path).items():
        monkeypatch.setenv(name, value)
    ran = CliRunner().invoke(app, ["plan", *CRAWLS, "--json"])
    assert ran.exit_code == 0, ran.exception
    told = json.loads(ran.stdout)
    measured = {a["name"]: a["partitions"] for a in told["assumptions"] if a["partitions"]}
    assert measured["extract_core_seconds"] == 4
    assert measured["download_core_seconds"] == 4
    assert measured["embed_core_seconds"] == 4
    assert len(measured) == 20
    with connect(undisturbed.lake) as con:
        ends = ("candidate_pairs", "filtered_pairs")
        first, last = (con.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in ends)
    # The same crawls over again: the plan's funnel ends where the lake's does.
    assert told["funnel"]["candidates"]["value"] == pytest.approx(first)
    assert told["funnel"]["kept"]["value"] == pytest.approx(last, rel=0.01)
