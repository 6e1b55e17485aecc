"""Staging: what survives a kill, and what is never taken for finished."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from laion_assets.lake.errors import PartitionBusy
from laion_assets.lake.staging import StagingFolder

SCHEMA = pa.schema([("x", pa.int64())])


def test_a_finished_part_is_found_again_with_its_note(tmp_path: Path) -> None:
    with StagingFolder(tmp_path, "work") as folder, folder.part("a", SCHEMA) as part:
        part.append(pl.DataFrame({"x": [1, 2]}))
        part.finish("2 rows")
    with StagingFolder(tmp_path, "work") as folder:
        assert folder.finished("a")
        assert folder.note("a") == "2 rows"
        assert pl.read_parquet(folder.parts())["x"].to_list() == [1, 2]


def test_an_unfinished_part_does_not_count(tmp_path: Path) -> None:
    with StagingFolder(tmp_path, "work") as folder:
        part = folder.part("a", SCHEMA)
        part.append(pl.DataFrame({"x": [1]}))
        assert not folder.finished("a")
        assert folder.parts() == []


def test_a_part_that_fails_half_way_does_not_count(tmp_path: Path) -> None:
    with StagingFolder(tmp_path, "work") as folder:
        with pytest.raises(RuntimeError), folder.part("a", SCHEMA) as part:
            part.append(pl.DataFrame({"x": [1]}))
            raise RuntimeError
        assert not folder.finished("a")


def test_two_builders_of_the_same_work_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        StagingFolder(tmp_path, "work"),
        pytest.raises(PartitionBusy, match="another process"),
        StagingFolder(tmp_path, "work"),
    ):
        pass


def test_clearing_leaves_what_another_builder_holds(tmp_path: Path) -> None:
    with StagingFolder(tmp_path, "left-over"):
        pass
    with StagingFolder(tmp_path, "held"), StagingFolder(tmp_path, "mine") as mine:
        mine.clear()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["held"]
