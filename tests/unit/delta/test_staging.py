"""Staging: what survives a kill, and what is never taken for finished."""

import threading
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from laion_assets.delta.errors import PartitionBusy
from laion_assets.delta.staging import StagingFolder

SCHEMA = pa.schema([("x", pa.int64())])


def test_a_finished_part_is_found_again_with_its_note(tmp_path: Path) -> None:
    with StagingFolder(tmp_path, "work") as folder, folder.part("a", SCHEMA) as part:
        part.append(pl.DataFrame({"x": [1, 2]}))
        part.finish("2 rows")
    with StagingFolder(tmp_path, "work") as folder:
        assert folder.note("a") == "2 rows"
        assert pl.read_parquet(folder.parts())["x"].to_list() == [1, 2]


def test_an_unfinished_part_does_not_count(tmp_path: Path) -> None:
    with StagingFolder(tmp_path, "work") as folder:
        part = folder.part("a", SCHEMA)
        part.append(pl.DataFrame({"x": [1]}))
        assert folder.note("a") is None
        assert folder.parts() == []


def test_a_part_that_fails_half_way_does_not_count(tmp_path: Path) -> None:
    with StagingFolder(tmp_path, "work") as folder:
        with pytest.raises(RuntimeError), folder.part("a", SCHEMA) as part:
            part.append(pl.DataFrame({"x": [1]}))
            raise RuntimeError
        assert folder.note("a") is None


def test_a_part_that_power_was_lost_over_does_not_count(tmp_path: Path) -> None:
    with StagingFolder(tmp_path, "work") as folder:
        with folder.part("a", SCHEMA) as part:
            part.append(pl.DataFrame({"x": [1]}))
            part.finish("1 row")
        whole = (folder.path / "a.parquet").read_bytes()
        for size in range(len(whole)):
            (folder.path / "a.parquet").write_bytes(whole[:size])
            assert folder.note("a") is None
        mark = folder.mark
        assert folder.mark == mark
        for torn in ("", mark[:7]):
            (folder.path / "mark").write_text(torn)
            assert len(folder.mark) == len(mark)


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


def test_what_is_cleared_meanwhile_is_never_taken_for_a_folder_of_ones_own(tmp_path: Path) -> None:
    """Between making a folder and locking it another builder, which is done, may take it for left over."""
    done = threading.Event()

    def clear() -> None:
        while not done.is_set():
            StagingFolder(tmp_path, "done").clear()

    clearing = threading.Thread(target=clear)
    clearing.start()
    try:
        for number in range(500):
            with StagingFolder(tmp_path, f"7-{number}") as folder:
                (folder.path / "file").touch()
    finally:
        done.set()
        clearing.join()


def test_who_looks_whether_work_is_held_keeps_nobody_from_it(tmp_path: Path) -> None:
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            StagingFolder(tmp_path, "work").is_held()

    looking = [threading.Thread(target=look) for _ in range(2)]
    for thread in looking:
        thread.start()
    try:
        for _ in range(100):
            with StagingFolder(tmp_path, "work") as folder:
                assert StagingFolder(tmp_path, "work").is_held()
            folder.remove()
    finally:
        done.set()
        for thread in looking:
            thread.join()


def test_what_a_killed_process_had_not_finished_is_gone_when_its_work_is_gone_on_with(tmp_path: Path) -> None:
    with StagingFolder(tmp_path, "work") as folder:
        folder.part("a", SCHEMA).append(pl.DataFrame({"x": [1]}))
        (folder.path / "weights").mkdir()
        (folder.path / "weights" / ".epoch-1.safetensors.7-0.unfinished").touch()
    assert len(list((tmp_path / "work").iterdir())) == 2
    with StagingFolder(tmp_path, "work") as folder:
        assert [path.name for path in folder.path.rglob("*")] == ["weights"]
