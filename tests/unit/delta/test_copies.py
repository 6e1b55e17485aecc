"""Seals hold whole what people entered, for as long as a version with it can be read."""

import os
from pathlib import Path

import pytest

from laion_assets.delta.lake import Lake
from laion_assets.delta.seals import read_seal
from laion_assets.lake.opening import open_lake
from laion_assets.lake.takedowns import request_takedown
from tests.unit.delta.aging import backdate_all, collect


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = open_lake(str(tmp_path / "lake"))
    for url in ("https://somebody.example/1", "https://somebody.example/2"):
        request_takedown(lake, "url", url, None)
    return lake


def copies(lake: Lake) -> list[int]:
    """By version, how many files its seal holds whole."""
    newest = lake.ledger("takedowns").version
    seals = [read_seal(lake.storage, "takedowns", version) for version in range(newest + 1)]
    return [0 if seal is None else len(seal.copies) for seal in seals]


def test_a_copy_goes_with_the_version_that_it_is_of(lake: Lake) -> None:
    assert copies(lake) == [0, 1, 1]
    collect(lake)
    assert copies(lake) == [0, 1, 1], "both versions can be read"
    backdate_all(lake, 60)
    collect(lake)
    assert copies(lake) == [0, 0, 1]
    collect(lake)
    assert copies(lake) == [0, 0, 1]


def test_a_seal_without_its_copy_is_on_the_disk_when_it_counts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    backdate_all(lake, 60)
    flushed: list[str] = []
    flush = os.fsync

    def told(opened: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{opened}").readlink().relative_to(lake.root)))
        flush(opened)

    monkeypatch.setattr(os, "fsync", told)
    collect(lake)
    assert copies(lake) == [0, 0, 1]
    assert "takedowns/_laion" in flushed, "the seal's name"
    assert any(name.startswith(f"takedowns/_laion/.{1:020}.json.") for name in flushed), "and its content"


def test_the_copy_that_heals_stays_whatever_becomes_of_its_file(lake: Lake) -> None:
    backdate_all(lake, 60)
    for file in lake.root.glob("takedowns/kind=url/*.parquet"):
        file.unlink()
    collect(lake)
    assert copies(lake) == [0, 0, 1]
