"""What others read appears whole, whatever becomes of its writer, and what is left of one can be told."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from laion_assets.common.files import (
    UNFINISHED,
    appearing,
    appearing_folder,
    fresh_path,
    put_into_place,
    remove_unfinished,
    write_file,
)


@pytest.mark.parametrize("content", ["ünfinished\r\n", b"\x00\xff"])
def test_a_file_is_replaced_by_exactly_what_is_written(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "record.json"
    path.write_text("before")
    write_file(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_writer_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), appearing(path) as fresh:
        fresh.write_text("half")
        assert path.read_text() == "before"
        raise KeyboardInterrupt
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"page.html": "before"}


def test_what_a_killed_writer_leaves_is_told_from_what_counts_and_removed(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    killed = (
        "import os, sys; from pathlib import Path; from laion_assets.common.files import appearing\n"
        "with appearing(Path(sys.argv[1])) as fresh:\n    fresh.write_text('half'); os._exit(9)"
    )
    for folder in (tmp_path, tmp_path / "below"):
        (folder / "kept.parquet").write_text("whole")
        assert subprocess.run([sys.executable, "-c", killed, str(folder / "rows.parquet")]).returncode == 9
    left = [p for p in tmp_path.rglob("*") if p.name.endswith(UNFINISHED)]
    assert len(left) == 2
    assert all(p.name.startswith(".rows.parquet.") for p in left)
    assert [p.name for p in tmp_path.glob("*.parquet")] == ["kept.parquet"]
    remove_unfinished(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["below", "kept.parquet", "kept.parquet"]


@pytest.mark.parametrize("umask", [0o022, 0o077], ids=oct)
def test_the_umask_decides_who_may_read_it_whatever_the_writing_library_does(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with appearing(tmp_path / "weights") as fresh:
            private = tmp_path / "private"  # as safetensors does it
            os.close(os.open(private, os.O_CREAT | os.O_WRONLY, 0o600))
            private.replace(fresh)
        write_file(tmp_path / "card", "text")
    finally:
        os.umask(before)
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in tmp_path.iterdir()} == {
        "weights": oct(0o666 & ~umask),
        "card": oct(0o666 & ~umask),
    }


def test_only_what_is_durable_is_flushed_and_its_folder_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        what = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append(("folder" if what == tmp_path else "file", (tmp_path / "record").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_file(tmp_path / "cache", "1")
    assert flushed == []
    write_file(tmp_path / "record", "1", durable=True)
    assert flushed == [("file", False), ("folder", True)]
    (tmp_path / "scratch").write_text("2")
    put_into_place(tmp_path / "scratch", tmp_path / "record", durable=True)
    assert flushed[2:] == [("file", True), ("folder", True)]
    assert (tmp_path / "record").read_text() == "2"


def test_many_writers_of_one_file_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    contents = {str(number) * 100_000 for number in range(8)}
    writers = [threading.Thread(target=write_file, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [path]
    assert fresh_path(path) != fresh_path(path)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sample"
    for number in ("1", "2"):
        with appearing_folder(path) as fresh:
            (fresh / number).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["sample", "sample/2"]
    with pytest.raises(RuntimeError), appearing_folder(path) as fresh:
        (fresh / "3").touch()
        raise RuntimeError
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["sample", "sample/2"]


def test_a_folder_that_cannot_be_put_into_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sample"
    (path / "1").mkdir(parents=True)
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if target == path and not (self / "1").exists():
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="No space left"), appearing_folder(path):
        pass
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["sample", "sample/1"]
