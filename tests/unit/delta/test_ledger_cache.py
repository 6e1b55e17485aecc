"""Ledgers that are kept between processes: quicker, and never anything else than the log says."""

import shutil
from pathlib import Path

import pytest

from laion_assets.delta import lake as lakes
from laion_assets.delta import ledger_cache
from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from tests.unit.delta.conftest import files_frame


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, that keeps ledgers from the second new entry on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ledger_cache, "_WORTH_KEEPING", 2)
    return tmp_path / "cache" / "laion-lakehouse"


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many log entries were read, each time that any were."""
    counts: list[int] = []
    real = lakes._entries

    def counted(delta, count):  # type: ignore[no-untyped-def]
        counts.append(count)
        return real(delta, count)

    monkeypatch.setattr(lakes, "_entries", counted)
    return counts


def write(lake: Lake, crawl: str, *paths: str) -> None:
    with lake_build(
        lake, "wat_files", {"crawl": crawl}, Provenance(run_id="r", code_version="1", settings_digest="s")
    ) as build:
        build.add(files_frame(list(paths)))
        build.rows_in = len(paths)
        build.publish()


def opened(lake: Lake) -> Lake:
    """The lake as another process opens it."""
    return open_lake(str(lake.root), shards=lake.shape["shards"], buckets=lake.shape["buckets"], create=False)


def told(lake: Lake) -> dict[str, str]:
    return {name: commit.content_digest for name, commit in lake.ledger("wat_files").commits.items()}


@pytest.fixture
def written(lake: Lake) -> Lake:
    """A lake with four entries in the log, whose ledger is kept."""
    for crawl in ("CC-1", "CC-2", "CC-3"):
        write(lake, crawl, crawl)
    opened(lake).ledger("wat_files")
    return lake


def test_a_new_process_reads_only_what_is_newer(written: Lake, entries: list[int]) -> None:
    write(written, "CC-4", "four")
    entries.clear()
    again = opened(written)
    assert told(again) == told(written)
    assert again.ledger("wat_files").touched == {"CC-1": 1, "CC-2": 2, "CC-3": 3, "CC-4": 4}
    # The newest that is known, to see that it is this log's, and the one that came after it.
    assert entries[:2] == [2, 1]


def test_a_ledger_that_is_kept_is_equal_to_the_one_that_was_read(written: Lake, entries: list[int]) -> None:
    kept = opened(written).ledger("wat_files")
    assert entries == [1, 0]
    shutil.rmtree(ledger_cache._file(written.path("wat_files")).parent)
    assert opened(written).ledger("wat_files") == kept


@pytest.mark.parametrize("damage", [b"", b"\x00\xff nonsense", None])
def test_what_cannot_be_read_is_passed_over(written: Lake, damage: bytes | None) -> None:
    file = ledger_cache._file(written.path("wat_files"))
    file.write_bytes(file.read_bytes()[:-9] if damage is None else damage)
    assert told(opened(written)) == told(written)


def test_a_copy_that_went_its_own_way_is_not_taken_for_the_other(written: Lake, tmp_path: Path) -> None:
    """The same table id at the same place: a lake that was put back from a copy, and then written to."""
    copy = tmp_path / "copy"
    shutil.copytree(written.root, copy)
    write(written, "CC-4", "four")
    write(written, "CC-5", "five")
    opened(written).ledger("wat_files")
    shutil.rmtree(written.root)
    shutil.copytree(copy, written.root)
    back = opened(written)
    assert set(told(back)) == {"crawl=CC-1", "crawl=CC-2", "crawl=CC-3"}
    write(back, "CC-4", "another four")
    write(back, "CC-6", "six")
    found = opened(back)
    assert set(told(found)) == {"crawl=CC-1", "crawl=CC-2", "crawl=CC-3", "crawl=CC-4", "crawl=CC-6"}
    assert told(found)["crawl=CC-4"] == told(back)["crawl=CC-4"]


def test_another_table_in_the_same_place_is_not_taken_for_it(written: Lake) -> None:
    shutil.rmtree(written.path("wat_files"))
    write(opened(written), "CC-9", "nine")
    assert set(told(opened(written))) == {"crawl=CC-9"}
