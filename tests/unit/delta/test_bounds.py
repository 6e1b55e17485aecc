"""Logs are kept for good: they hold bounds of numbers, and no text of a row; those of earlier versions no longer do."""

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from laion_assets.delta import bounds, opening
from laion_assets.delta.bounds import forget_bounds, without_bounds
from laion_assets.delta.build import lake_build
from laion_assets.delta.catalogue import Catalogue
from laion_assets.delta.commits import Provenance
from laion_assets.delta.lake import Lake
from laion_assets.delta.scope import Scope
from laion_assets.delta.table import Column, Table
from laion_assets.delta.verify import verify_lake
from laion_assets.tables.catalogue import TABLES

PROVENANCE = Provenance(run_id="run", code_version="1", settings_digest="s")
TABLE = Table(
    name="pairs",
    description="Pairs.",
    columns=(
        Column(name="month", type=pa.string(), description="Month."),
        Column(name="number", type=pa.int64(), description="Number."),
        Column(name="url", type=pa.string(), description="Address."),
        Column(name="picture", type=pa.int64(), description="Hash.", is_digest=True),
        Column(name="good", type=pa.bool_(), description="Whether."),
        Column(name="status", type=pa.string(), description="Status.", accepted=("fine", "gone")),
    ),
    key=("number",),
    partition_by=("month",),
    order_by=("number",),
)
URL, HASH, NUMBER = "https://somebody.example/", 4_711_471_147_114_711, 815_081_508
EARLIER = property(lambda _: {"delta.enableExpiredLogCleanup": "false"})


def lake_at(root: Path) -> Lake:
    return opening.open_lake(str(root), Catalogue({"pairs": TABLE}), {})


def publish(lake: Lake, month: str, ends: str = "") -> None:
    with lake_build(lake, "pairs", {"month": month}, PROVENANCE) as build:
        row = {"number": NUMBER, "url": URL + month + ends, "picture": HASH, "good": True, "status": "fine"}
        build.add(pl.DataFrame([row]))
        build.rows_in = 1
        build.publish()


def log_of(lake: Lake) -> bytes:
    """Log, checkpoints and seals; not the data, which goes with its version."""
    folders = ("_delta_log", "_laion")
    return b"".join(path.read_bytes() for name in folders for path in sorted((lake.root / "pairs" / name).iterdir()))


def faults(lake: Lake, *, repair: bool = False) -> list[object]:
    return [*verify_lake(lake, Scope(), archive=lambda *_: None, repair=repair).faults]


def rows_at(lake: Lake, version: int) -> list[tuple[object, ...]]:
    return DeltaTable(lake.path("pairs"), version=version).to_pyarrow_table().sort_by("month").to_pylist()


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """What a version left that let the log know everything: a checkpoint, a version replaced, one that stands."""
    with monkeypatch.context() as patch:
        patch.setattr(Table, "configuration", EARLIER)
        lake = lake_at(tmp_path / "lake")
        for month in ("2026-01", "2026-02"):
            publish(lake, month)
        DeltaTable(lake.path("pairs")).create_checkpoint()
        publish(lake, "2026-01")
    assert URL.encode() in log_of(lake)
    assert str(HASH).encode() in log_of(lake)
    return lake_at(tmp_path / "lake")


def test_the_log_of_a_new_table_knows_numbers_and_fixed_words_alone(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    publish(lake, "2026-01")
    DeltaTable(lake.path("pairs")).create_checkpoint()
    found = log_of(lake)
    assert str(NUMBER).encode() in found
    assert b"fine" in found
    assert URL.encode() not in found
    assert str(HASH).encode() not in found
    (file,) = DeltaTable(lake.path("pairs")).get_add_actions(flatten=True).to_struct_array().to_pylist()
    assert (file["num_records"], file["min.number"], file["max.status"]) == (1, NUMBER, "fine")


def test_an_older_table_learns_nothing_more_with_its_next_write(earlier: Lake) -> None:
    publish(earlier, "2026-03")
    assert DeltaTable(earlier.path("pairs")).metadata().configuration == TABLE.configuration
    assert (URL + "2026-03").encode() not in log_of(earlier)
    assert (URL + "2026-02").encode() in log_of(earlier), "what stood there stands until it is taken out"
    assert faults(earlier) == []
    publish(earlier, "2026-03")
    assert DeltaTable(earlier.path("pairs")).version() == 6, "a write is one commit again"


def test_what_older_logs_knew_is_taken_out_and_every_version_reads_as_before(earlier: Lake) -> None:
    before = [rows_at(earlier, version) for version in range(4)]
    assert forget_bounds(earlier, "pairs") == 3
    found = log_of(earlier)
    assert URL.encode() not in found
    assert str(HASH).encode() not in found
    assert str(NUMBER).encode() in found
    assert [rows_at(earlier, version) for version in range(4)] == before
    assert faults(earlier) == []
    assert lake_at(earlier.root).ledger("pairs").commits.keys() == {"month=2026-01", "month=2026-02"}
    assert forget_bounds(earlier, "pairs") == 0
    publish(earlier, "2026-04")
    assert forget_bounds(earlier, "pairs") == 0
    assert faults(earlier) == []


@pytest.mark.parametrize("writes", range(1, 8))
def test_it_completes_wherever_it_was_ended(earlier: Lake, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    left = writes
    replaced: Callable[..., None] = earlier.storage.replace

    def until_killed(name: str, content: bytes, *, durable: bool = False) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        replaced(name, content, durable=durable)

    with monkeypatch.context() as patch:
        patch.setattr(earlier.storage, "replace", until_killed)
        try:
            forget_bounds(earlier, "pairs")
        except KeyboardInterrupt:
            assert left < 0
    faults(earlier, repair=True)
    forget_bounds(earlier, "pairs")
    assert URL.encode() not in log_of(earlier)
    assert faults(earlier) == []
    assert len(rows_at(earlier, 3)) == 2


def test_of_a_long_log_only_what_came_since_is_looked_at(earlier: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_WORTH_A_NOTE", 2)
    assert forget_bounds(earlier, "pairs") == 3
    looked_at: list[str] = []
    read: Callable[[str], bytes] = earlier.storage.read
    monkeypatch.setattr(earlier.storage, "read", lambda name: looked_at.append(name) or read(name))
    assert forget_bounds(earlier, "pairs") == 0
    assert [name for name in looked_at if "_delta_log" in name] == []


def test_a_log_that_lacks_entries_keeps_its_checkpoint(earlier: Lake) -> None:
    (earlier.root / "pairs" / "_delta_log" / f"{1:020}.json").unlink()
    forget_bounds(earlier, "pairs")
    assert len(rows_at(earlier, 3)) == 2


def test_a_seal_is_on_the_disk_before_its_entry_is_written(earlier: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[str, str]] = []
    flush, rename = os.fsync, Path.replace

    def flushed(opened: int) -> None:
        steps.append(("flushed", str(Path(f"/proc/self/fd/{opened}").readlink().relative_to(earlier.root))))
        flush(opened)

    def renamed(written: Path, target: Path) -> Path:
        steps.append(("written", str(Path(target).relative_to(earlier.root))))
        return rename(written, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    forget_bounds(earlier, "pairs")
    seal, entry = f"pairs/_laion/{1:020}.json", f"pairs/_delta_log/{1:020}.json"
    between = steps[steps.index(("written", seal)) : steps.index(("written", entry))]
    assert between[1] == ("flushed", "pairs/_laion"), "the seal's name"
    assert between[2][0] == "flushed", "the entry's content"
    assert between[2][1].startswith(f"pairs/_delta_log/.{1:020}.json.")
    before = steps[steps.index(("written", seal)) - 1]
    assert before[0] == "flushed"
    assert before[1].startswith(f"pairs/_laion/.{1:020}.json."), "the seal's content"


@pytest.mark.parametrize("broken", ["torn", "without statistics as texts", "with bounds as columns"])
def test_a_checkpoint_that_cannot_be_read_is_made_anew(earlier: Lake, broken: str) -> None:
    log = earlier.root / "pairs" / "_delta_log"
    (old,) = log.glob("*.checkpoint.parquet")
    content = old.read_bytes()
    forget_bounds(earlier, "pairs")
    (new,) = log.glob("*.checkpoint.parquet")
    assert new != old
    if broken == "torn":
        old.write_bytes(content[:-100])
    elif broken == "with bounds as columns":
        add = pa.array([{"path": "a", "stats": None, "stats_parsed": {"minValues": {"url": URL}}}])
        pq.write_table(pa.table({"add": add}), old)
    else:
        pq.write_table(pa.table({"add": pa.array([{"path": "a"}])}), old)
    before = rows_at(earlier, 3)
    forget_bounds(earlier, "pairs")
    assert [*log.glob("*.checkpoint.parquet")] == [new]
    assert "stats_parsed" not in str(pq.read_schema(new)), "else it is made anew each time"
    assert URL.encode() not in log_of(earlier)
    assert rows_at(earlier, 3) == before
    assert faults(earlier) == []


@pytest.mark.parametrize("left", [0, 40])
def test_a_checkpoint_stays_while_an_entry_is_torn(earlier: Lake, left: int) -> None:
    log = earlier.root / "pairs" / "_delta_log"
    entry = log / f"{1:020}.json"
    entry.write_bytes(entry.read_bytes()[:left])
    checkpoints = sorted(log.glob("*.checkpoint.parquet"))
    forget_bounds(earlier, "pairs")
    assert sorted(log.glob("*.checkpoint.parquet")) == checkpoints
    assert len(rows_at(earlier, 3)) == 2
    faults(earlier, repair=True)
    forget_bounds(earlier, "pairs")
    assert URL.encode() not in log_of(earlier)
    assert faults(earlier) == []


def test_an_entry_without_such_bounds_stays_to_the_byte() -> None:
    entry = '{"commitInfo": {"operation": "WRITE"}}\n{"add":{"path":"a b.parquet","stats":"{\\"numRecords\\":1}"}}\n'
    assert without_bounds(entry, {"number"}) == entry


@pytest.mark.parametrize("seals", ["with seals", "without"])
def test_texts_that_hold_ends_of_lines_of_other_kinds_tear_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seals: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Table, "configuration", EARLIER)
        lake = lake_at(tmp_path / "lake")
        for month in ("2026-01", "2026-02"):
            publish(lake, month, ends="\u2028\u2029\x85\x1c\x0b\x0c")
    assert "\u2028".encode() in (lake.root / "pairs" / "_delta_log" / f"{1:020}.json").read_bytes()
    if seals == "without":
        for seal in (lake.root / "pairs" / "_laion").glob("*.json"):
            seal.unlink()
    before = rows_at(lake, 2)
    assert len(before) == 2
    assert faults(lake, repair=True) == []
    assert rows_at(lake, 2) == before
    assert forget_bounds(lake, "pairs") == 2
    assert URL.encode() not in log_of(lake)
    assert faults(lake) == []
    assert rows_at(lake, 2) == before


def test_no_table_of_a_lake_lets_its_log_know_a_text_an_address_or_a_digest() -> None:
    for table in TABLES.values():
        for name in table.bounded:
            column = table.column(name)
            assert column.accepted or not pa.types.is_string(column.type), (table.name, name)
            parts = {*name.split("_")} & {"url", "text", "caption", "sha256", "md5", "hash", "path", "layout"}
            assert not parts or name.endswith("_id") or "recall" in name, (table.name, name)
    assert {"pair_id", "url_id", "bucket"} <= {*TABLES["candidate_pairs"].bounded}, "what readers skip files by"
