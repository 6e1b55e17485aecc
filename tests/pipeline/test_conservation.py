"""A row that gets lost in a stage is noticed before that stage publishes anything."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import dagster as dg
import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from laion_assets.cli.main import app
from laion_assets.clip.calibration import CalibrationOptions
from laion_assets.delta.build import PartitionBuild
from laion_assets.delta.staging import Part
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import TABLES
from tests.pipeline.conftest import BUILT, Built, assert_same_rows, environment, evaluations, unfinished, versions

CRAWL = CRAWLS[1]
Lose = Callable[[pytest.MonkeyPatch], None]


def lose_while_appending(patch: pytest.MonkeyPatch) -> None:
    """The first row of every part that is staged goes missing."""
    real = Part.append

    def append(part: Part, frame: pl.DataFrame) -> None:
        whole = getattr(part, "lost", False)
        part.lost = True  # type: ignore[attr-defined]
        real(part, frame if whole else frame[1:])

    patch.setattr(Part, "append", append)


def lose_while_adopting(patch: pytest.MonkeyPatch) -> None:
    """The first row of every file that a library wrote goes missing."""
    real = PartitionBuild.adopt

    def adopt(build: PartitionBuild, files: Iterable[Path]) -> None:
        files = list(files)
        for file in files:
            table = pq.read_table(file)
            pq.write_table(table.slice(1), file)
        real(build, files)

    patch.setattr(PartitionBuild, "adopt", adopt)


LOSSES = [
    ("crawl_snapshots", lose_while_appending),
    pytest.param("wat_files", lose_while_appending, marks=pytest.mark.slow),
    pytest.param("candidate_pairs", lose_while_appending, marks=pytest.mark.slow),
    ("candidate_pairs", lose_while_adopting),
    pytest.param("unique_pairs", lose_while_adopting, marks=pytest.mark.slow),
    pytest.param("images", lose_while_appending, marks=pytest.mark.slow),
    ("images", lose_while_adopting),
    ("clip_embeddings", lose_while_adopting),
    ("filtered_pairs", lose_while_adopting),
]


@pytest.fixture
def laion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run ``laion`` in this process, on the lake of the settings given."""

    def run(settings: Settings, *arguments: str) -> Result:
        for name, value in environment(settings, tmp_path / "dagster").items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(app, arguments)

    return run


def heard(folder: Path, table: str) -> set[tuple[str | None, bool]]:
    """What Dagster's event log says of the conservation of rows, by partition."""
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        return set(evaluations(instance, table, "conservation"))


@pytest.mark.parametrize(("table", "lose"), LOSSES)
def test_a_lost_row_is_caught_before_the_commit(
    table: str,
    lose: Lose,
    lake_copy: Callable[..., Settings],
    laion: Callable[..., Result],
    undisturbed: Built,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings = lake_copy()
    before = versions(settings.open_lake())
    monkeypatch.setitem(TABLES, table, dataclasses.replace(TABLES[table], code_version="next"))
    with monkeypatch.context() as patch:
        lose(patch)
        # Without it, rows are only appended where a download is tried again, and chance puts those into buckets.
        refetch = ["--refetch"] if (table, lose) == ("images", lose_while_appending) else []
        result = laion(settings, "build", CRAWL, "--until", table, *refetch)
    assert result.exit_code == 1, result.output
    assert "was not published: conservation" in result.output
    assert "rows lost" in result.output
    lake = settings.open_lake()
    assert versions(lake) == before
    assert_same_rows(lake, undisturbed.lake)
    partitions = {p for p, _ in heard(tmp_path, table)}
    assert heard(tmp_path, table) == {(p, False) for p in partitions}
    assert len(partitions) == len([name for name in lake.ledger(table).commits if CRAWL in name])
    assert all(CRAWL in str(partition) for partition in partitions)

    healed = laion(settings, "build", CRAWL, "--until", table)
    assert healed.exit_code == 0, healed.output
    # Pictures that other code may have got wrong are fetched again, into other tars.
    assert_same_rows(settings.open_lake(), undisturbed.lake, places=table != "images")
    assert {p for p, passed in heard(tmp_path, table) if passed} == partitions


def test_a_lost_new_embedding_is_caught_before_the_first_commit(
    lake_copy: Callable[..., Settings], laion: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = lake_copy(without=["clip_embeddings", "filtered_pairs"])
    with monkeypatch.context() as patch:
        lose_while_appending(patch)
        result = laion(settings, "build", CRAWL)
    assert result.exit_code == 1, result.output
    lake = settings.open_lake()
    assert lake.ledger("clip_embeddings").commits == {}
    assert lake.ledger("filtered_pairs").commits == {}, "it is built on what is not there"
    assert {passed for _, passed in heard(tmp_path, "clip_embeddings")} == {False}
    assert heard(tmp_path, "filtered_pairs") == set()


def test_a_lost_threshold_is_caught(
    lake_copy: Callable[..., Settings],
    laion: Callable[..., Result],
    undisturbed: Built,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pairs = undisturbed.settings.calibration.pairs
    settings = lake_copy(calibration=CalibrationOptions(pairs=pairs, seed=5))
    with monkeypatch.context() as patch:
        lose_while_appending(patch)
        result = laion(settings, "build", CRAWL)
    assert result.exit_code == 1, result.output
    assert_same_rows(settings.open_lake(), undisturbed.lake, BUILT)
    assert heard(tmp_path, "calibrations") == {(None, False)}
    assert unfinished(settings) == {}, "the thresholds in force are those published before"
