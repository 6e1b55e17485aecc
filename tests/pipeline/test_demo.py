"""The demo as a new user runs it: two crawls to the last table, and the filter measured against the truth."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import psutil
import pytest

from laion_assets.delta.states import State
from laion_assets.lake.opening import open_lake
from laion_assets.orchestration.planning.states import current_states
from laion_assets.sample.publish import find_sample
from laion_assets.sample.truth import score
from laion_assets.settings import Settings
from laion_assets.sql.session import connect, query
from tests.pipeline.documented import DEMONSTRATED, commands, queries

MOST_BYTES = 4e9
LEAST_MATCHED = 6_000


def run_demo(folder: Path) -> tuple[str, int]:
    """Run `laion demo` in a folder; its output, and the most memory its processes held together, in bytes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    command = [sys.executable, "-m", "laion_assets", "demo", "--lake", "lake", "--folder", "web"]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        most = 0
        while process.poll() is None:
            most = max(most, held_by(process.pid))
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                continue
    text = (folder / "output").read_text()
    assert process.returncode == 0, text
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
@pytest.mark.timeout(1500)
def test_the_demo_builds_both_crawls_and_its_filter_tells_true_pairs_from_false(tmp_path: Path) -> None:
    folder = tmp_path
    output, most_bytes = run_demo(folder)
    assert "goal (90 % kept in every language, 90 % dropped of the second line): met" in output
    assert "INFO" not in output, "bars and tables are for people, and logs are not"
    assert most_bytes < MOST_BYTES

    sample = find_sample(folder / "web")
    assert sample is not None
    lake = open_lake(str(folder / "lake"), create=False)
    pairs = connect(lake).sql("SELECT url, text, similarity, released AS kept FROM scored_pairs").pl()
    measured = score(sample.truth, pairs)
    assert measured.passes(0.9)
    assert len(measured.kept_by_language) >= 6
    embedded = sample.truth.join(pairs, on=["url", "text"]).filter(pl.col("matched").is_not_null())
    assert embedded["matched"].sum() >= LEAST_MATCHED
    assert 0.30 <= 1 - embedded["matched"].mean() <= 0.40

    settings = Settings(_env_file=folder / "lake" / "settings.env", lake=str(folder / "lake"))
    states = current_states(lake, settings, sample.crawls)
    assert {state.state for state in states} == {State.DONE}

    # One test, since the demo takes minutes: what the documentation asks of it must be answered.
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
    assert "trained on what was kept, and on everything: 32,768 samples each" in output

    shown_commands = ("models list", "recipes", "train", "benchmarks", "evaluate", "lineage", "diff", "report")
    shown_ones = [arguments for file in DEMONSTRATED for arguments in commands(file, *shown_commands)]
    assert len(shown_ones) >= 14
    for arguments in shown_ones:
        shown = laion(folder, *arguments)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert shown.stdout.strip()


def laion(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`laion` on the lake of the demo that ran in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    command = [sys.executable, "-m", "laion_assets", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
