"""What is wrong with a release is found, each in a line, and without a lake."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from laion_assets.consent.removals import Removals, load_removals
from laion_assets.delta.folder import FolderStorage
from laion_assets.release.feed import feed_lines, requests_of
from laion_assets.release.parts import ReleaseError
from laion_assets.release.verify import verify_release
from tests.unit.release.made import CRAWL, row, write_release

ROWS = {(CRAWL, 0): [row(1), row(2)], (CRAWL, 1): [row(3)]}
FEED = b'{"n":1,"date":"2026-11-30","kind":"pair_id","pair_id":"9","reason":"other"}\n'
FILE = "data/en/part-000001.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_release("some", ROWS, tmp_path / "one", tmp_path / "work", feed=FEED)
    return tmp_path / "one"


def faults(folder: Path, removals: Removals | None = None, **options: bool) -> list[str]:
    return [fault.line for fault in verify_release(FolderStorage(folder), removals, **options)]


def test_a_sound_release_has_no_fault(folder: Path) -> None:
    assert faults(folder) == []
    assert faults(folder, Removals.none()) == []


def flipped(folder: Path) -> None:
    content = bytearray((folder / FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / FILE).write_bytes(content)


def longer(folder: Path) -> None:
    (folder / FILE).write_bytes((folder / FILE).read_bytes() + b"x")


@pytest.mark.parametrize(
    ("happens", "line"),
    [
        (flipped, f"{FILE}: the file is not as it was written (SHA-256)"),
        (longer, f"{FILE}: the file has "),
        (lambda folder: (folder / FILE).unlink(), f"{FILE}: the file is gone"),
        (lambda folder: (folder / "data/mine.txt").write_text("x"), "data/mine.txt: not in the manifest; remove it"),
        (lambda folder: (folder / ".a.1-2.unfinished").write_text("x"), ".a.1-2.unfinished: left by a process that"),
        (lambda folder: (folder / "removals.jsonl").unlink(), "removals.jsonl: the removals feed is gone"),
        (lambda folder: (folder / "removals.jsonl").write_bytes(b""), "removals.jsonl: does not begin with the feed"),
        (
            lambda folder: (folder / "removals.jsonl").write_bytes(FEED + FEED.replace(b'"n":1', b'"n":2')),
            "removals.jsonl: goes on after what the manifest knows",
        ),
    ],
)
def test_each_fault_is_a_line(folder: Path, happens: Callable[[Path], object], line: str) -> None:
    happens(folder)
    [found] = faults(folder)
    assert found.startswith(line)


def test_a_quick_look_reads_no_file(folder: Path) -> None:
    flipped(folder)
    assert faults(folder, content=False) == []
    longer(folder)
    assert len(faults(folder, content=False)) == 1


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        ("pair_id", "3", FILE),
        ("url", "HTTPS://example.org:443/1.jpg", "data/en/part-000000.parquet"),
        ("sha256", f"{2:064X}", "data/en/part-000000.parquet"),
    ],
)
def test_what_is_to_be_removed_by_now_is_told(folder: Path, kind: str, value: str, path: str) -> None:
    removals = load_removals(pl.DataFrame({"kind": [kind], "value": [value]}))
    [found] = faults(folder, removals)
    assert found.startswith(f"{path}: 1 row is to be removed by now")


def test_a_site_is_removed_with_all_its_pictures(folder: Path) -> None:
    removals = load_removals(pl.DataFrame({"kind": ["domain"], "value": ["example.org"]}))
    assert [line.split(":")[0] for line in faults(folder, removals)] == ["data/en/part-000000.parquet", FILE]


def test_without_a_lake_it_is_held_against_its_own_feed(tmp_path: Path) -> None:
    asked = pl.DataFrame(
        {"kind": ["url", "pair_id"], "value": ["HTTPS://example.org:443/1.jpg", "3"], "reason": [None, "privacy: no"]}
    ).with_columns(requested_at=pl.lit(datetime(2026, 11, 30, tzinfo=UTC)))
    write_release("told", ROWS, tmp_path / "told", tmp_path / "work", feed=feed_lines(requests_of(asked)))
    [first, second] = faults(tmp_path / "told")
    assert first.startswith("data/en/part-000000.parquet: 1 row is to be removed by now")
    assert second.startswith(f"{FILE}: 1 row is to be removed by now")
    assert faults(tmp_path / "told", Removals.none()) == [], "a lake knows better what was withdrawn"


def test_where_no_release_is_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="holds no release: there is no manifest"):
        faults(tmp_path / "nothing")
