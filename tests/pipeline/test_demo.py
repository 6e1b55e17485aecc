"""The demo as a new user runs it from the wheel: two crawls to the last table, and the filter measured by the truth."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import polars as pl
import psutil
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.delta.states import State
from laion_assets.lake.opening import open_lake
from laion_assets.orchestration.planning.states import current_states
from laion_assets.sample.publish import SampleCrawl, find_sample
from laion_assets.sample.truth import score
from laion_assets.settings import Settings
from laion_assets.sql.session import connect, query
from tests.installed import Installed, checkout, installed, serving_ui, wheel
from tests.pipeline.documented import DEMONSTRATED, commands, queries

__all__ = ["checkout", "installed", "wheel"]

MOST_BYTES = 4e9
LEAST_MATCHED = 6_000


def run_demo(installed: Installed, *arguments: str) -> tuple[str, int]:
    """Run `laion demo`; its output, and the most memory its processes held together, in bytes."""
    folder = installed.folder
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [installed.laion, "demo", *arguments],
            cwd=folder,
            env=installed.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        most = 0
        while process.poll() is None:
            most = max(most, held_by(process.pid))
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                continue
    text = (folder / "output").read_text()
    assert process.returncode == 0, text
    assert "INFO" not in text, "bars and tables are for people, and logs are not"
    assert "goal (90 % kept in every language, 90 % dropped of the second line): met" in text
    return text, most


def held_by(pid: int) -> int:
    """Memory of a process and all below it, pages they share counted once."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
    return total


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_a_new_user_runs_the_demo_from_the_wheel_alone_and_asks_all_that_is_documented(installed: Installed) -> None:
    """One test, since the demo takes minutes: its quick half, then the rest of it, and what is asked of either."""
    folder = installed.folder
    output, most_bytes = run_demo(installed, "--quick")
    assert most_bytes < MOST_BYTES
    assert "laion ui" in output
    assert "trained on what was kept" not in output
    assert_it_is_on_its_own(installed)

    output, most_bytes = run_demo(installed, "--lake", "lake", "--folder", "sample-web")
    assert most_bytes < MOST_BYTES
    assert "trained on what was kept, and on everything: 32,768 samples each" in output
    sample = find_sample(folder / "sample-web")
    assert sample is not None
    lake = open_lake(str(folder / "lake"), create=False)
    assert_the_filter_tells_true_pairs_from_false(lake, sample)
    settings = Settings(_env_file=folder / "lake" / "settings.env", lake=str(folder / "lake"))  # type: ignore[call-arg]
    states = current_states(lake, settings, sample.crawls)
    assert {state.state for state in states} == {State.DONE}

    with connect(lake) as con:
        for text in (text for file in (*DEMONSTRATED, "dbt_like_sql/README.md") for text in queries(file)):
            rows = query(con, text)
            assert rows is not None, text
            assert rows.fetchone() is not None, text

    # What was trained on the filtered pairs must have learned more than chance, and more than its twin.
    with connect(lake) as con:
        recalls = dict(con.sql("SELECT recipe, image_recall_at_1 FROM retrieval_scores").fetchall())
        scores = con.sql("SELECT recipe, benchmark, samples FROM zero_shot_scores").fetchall()
    assert recalls["sample-filtered-32k"] > 2 * recalls["sample-unfiltered-32k"] > 0
    assert recalls["sample-filtered-32k"] > 0.05
    assert len(scores) == 14

    shown_commands = ("models list", "recipes", "train", "benchmarks", "evaluate", "lineage", "diff", "report")
    shown_ones = [arguments for file in DEMONSTRATED for arguments in commands(file, *shown_commands)]
    assert len(shown_ones) >= 14
    for arguments in shown_ones:
        shown = laion(folder, *arguments)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert shown.stdout.strip()


def assert_it_is_on_its_own(installed: Installed) -> None:
    """What the demo made names nothing of the environment it ran in, and the UI shows it as it is."""
    kept = (installed.folder / "lake" / "settings.env").read_text()
    assert "installed" not in kept
    assert 'LAION_ENCODER__MODEL_CONFIGS="files/encoders"' in kept
    assert (installed.folder / ".dagster" / "dagster.yaml").is_file()
    states = json.loads(installed.good("status", "--json"))["stages"]
    assert {state for counts in states.values() for state, n in counts.items() if n} == {"done"}
    with serving_ui(installed) as address:
        question = {"query": _QUESTION}
        asked = urllib.request.Request(
            f"{address}/graphql", json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        answered = json.loads(urllib.request.urlopen(asked, timeout=60).read())
    assert answered["data"]["repositoriesOrError"]["nodes"] == [{"location": {"name": "laion"}}]
    assert answered["data"]["ours"] == answered["data"]["all"], "the demo's runs are of that location"


def assert_the_filter_tells_true_pairs_from_false(lake: Lake, sample: SampleCrawl) -> None:
    """Pairs are kept and dropped by their truth, and what is sent a byte at a time is given up in time."""
    with connect(lake) as con:
        pairs = con.sql("SELECT url, text, similarity, released AS kept FROM scored_pairs").pl()
        images = con.sql("SELECT url, failure FROM images").pl()
    measured = score(sample.truth, pairs)
    assert measured.passes(0.9)
    assert len(measured.kept_by_language) >= 6
    embedded = sample.truth.join(pairs, on=["url", "text"]).filter(pl.col("matched").is_not_null())
    assert embedded["matched"].sum() >= LEAST_MATCHED
    assert 0.30 <= 1 - embedded["matched"].mean() <= 0.40
    dripping = sample.truth.filter(outcome="timeout").join(images, on="url", how="left")
    assert dripping.height
    assert dripping.select("kind", "url", "failure").filter(pl.col("failure").ne_missing("timeout")).to_dicts() == []


_QUESTION = """{
  repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } }
  all: runsOrError { ... on Runs { count } }
  ours: runsOrError(filter: {tags: [{key: ".dagster/repository", value: "__repository__@laion"}]}) {
    ... on Runs { count }
  }
}"""


def laion(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`laion` of the checkout, on the lake of the demo that ran in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    command = [sys.executable, "-m", "laion_assets", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
