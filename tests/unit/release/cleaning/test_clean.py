"""A copy is cleaned of all that a feed lists, in every layout, and of nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from laion_assets.release.cleaning.clean import clean
from laion_assets.release.cleaning.faults import CopyError
from laion_assets.release.feed import Feed, feed_lines, read_feed, requests_of
from laion_assets.webdataset.samples import read_samples
from tests.unit.release.cleaning.copies import (
    Pair,
    clip_retrieval_part,
    contents,
    img2dataset_shard,
    laion_list,
    pairs,
    vectors_of,
)

ALL = pairs(40)
BY_URL, BY_BYTES, BY_ID, BY_SITE = ALL[3], ALL[11], ALL[17], ALL[29]
FAILED = Pair(90, "https://www.gone.example/x.png", "never fetched", b"")
ALL[29] = BY_SITE = Pair(29, "https://a.b.gone.example/p/29.png", ALL[29].text, ALL[29].picture)
GONE = {BY_URL, BY_BYTES, BY_ID, BY_SITE}
KEPT = [pair for pair in ALL if pair not in GONE]
RECEIPT = "removals-receipt.json"


def feed_of(*requests: tuple[str, str]) -> Feed:
    rows = {
        "kind": [kind for kind, _ in requests],
        "value": [value for _, value in requests],
        "requested_at": [datetime(2026, 1, day, tzinfo=UTC) for day, _ in enumerate(requests, start=1)],
        "reason": ["privacy: Mrs Jones"] * len(requests),
    }
    return read_feed(feed_lines(requests_of(pl.DataFrame(rows))))


@pytest.fixture(scope="module")
def feed() -> Feed:
    return feed_of(
        ("url", BY_URL.url.replace("https://cdn", "HTTP://user@CDN").replace("%20", " ") + "#top"),
        ("sha256", BY_BYTES.sha256.upper()),
        ("pair_id", str(BY_ID.pair_id)),
        ("domain", "gone.example"),
    )


def make_copy(folder: Path) -> Path:
    laion_list(folder / "data/en/part-0.parquet", ALL[:25])
    laion_list(folder / "data/en/part-1.parquet", [pair for pair in ALL[25:] if pair not in GONE])
    laion_list(folder / "data/multi/part-0.parquet", ALL[25:])
    (folder / "README.md").write_text("---\npretty_name: copy\n---\nhttps://example.org/about\n")
    for shard, start in (("00000", 0), ("00001", 20)):
        img2dataset_shard(folder / "webdataset", shard, ALL[start : start + 20], [FAILED] if start else [])
        clip_retrieval_part(folder / "clip-retrieval", shard[-1], ALL[start : start + 20])
    (folder / "webdataset/sizes.json").write_text(json.dumps({"00000.tar": 20, "00001.tar": 20}))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_copy(tmp_path_factory.mktemp("made") / "copy")


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture(scope="module")
def cleaned(made: Path, feed: Feed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("cleaned") / "copy"))
    assert clean(folder, feed).faults == []
    return folder


def ids(path: Path, name: str = "URL") -> list[str]:
    return pq.read_table(path)[name].to_pylist()


def test_a_list_loses_the_listed_rows_and_no_others(cleaned: Path) -> None:
    kept = [*ids(cleaned / "data/en/part-0.parquet"), *ids(cleaned / "data/multi/part-0.parquet")]
    assert kept == [pair.url for pair in KEPT]


def test_parquet_keeps_its_columns_its_codec_and_its_metadata(made: Path, cleaned: Path) -> None:
    before, after = (pq.ParquetFile(folder / "data/en/part-0.parquet") for folder in (made, cleaned))
    assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True)
    assert after.metadata.row_group(0).column(0).compression == "ZSTD"
    assert after.num_row_groups == before.num_row_groups


def test_tars_lose_the_samples_and_keep_every_other_byte(made: Path, cleaned: Path) -> None:
    for shard in ("00000", "00001"):
        before, after = ([*read_samples(folder / f"webdataset/{shard}.tar")] for folder in (made, cleaned))
        gone = {pair.key for pair in GONE}
        assert after == [sample for sample in before if sample[0] not in gone]
        assert len(after) < len(before)
        assert ids(cleaned / f"webdataset/{shard}.parquet", "key") == [key for key, _ in after]


def test_counts_are_of_what_is_left(cleaned: Path) -> None:
    first, second = (json.loads((cleaned / f"webdataset/0000{n}_stats.json").read_text()) for n in (0, 1))
    assert (first["count"], first["successes"], first["status_dict"]) == (17, 17, {"success": 17})
    assert (second["count"], second["successes"], second["failed_to_download"]) == (19, 19, 0)
    assert second["status_dict"] == {"success": 19}, "an error names the site"
    assert json.loads((cleaned / "webdataset/sizes.json").read_text()) == {"00000.tar": 17, "00001.tar": 19}


def test_vectors_stay_beside_the_rows_that_they_are_of(cleaned: Path) -> None:
    for number, rows in (("0", ALL[:20]), ("1", ALL[20:])):
        kept = [pair for pair in rows if pair not in GONE]
        folder = cleaned / "clip-retrieval"
        assert ids(folder / f"metadata/metadata_{number}.parquet", "image_path") == [pair.key for pair in kept]
        for name, salt in (("img_emb", 1.0), ("text_emb", 2.0)):
            found = np.load(folder / f"{name}/{name}_{number}.npy")
            assert np.array_equal(found, vectors_of(kept, salt))
            assert found.dtype == np.float16


def test_nothing_of_what_is_gone_is_left_anywhere(made: Path, cleaned: Path) -> None:
    for pair in GONE:
        marks = [pair.url, pair.text, str(pair.pair_id), pair.sha256, json.dumps(pair.text)[1:-1]]
        needles = [*(mark.encode() for mark in marks), pair.picture, pair.pair_id.to_bytes(8, "little", signed=True)]
        assert any(needles[0] in content for content in contents(made).values()), "the copy held it"
        for name, content in contents(cleaned).items():
            decoded = str(pq.read_table(cleaned / name).to_pylist()).encode() if name.endswith(".parquet") else b""
            assert [needle for needle in needles if needle in content or needle in decoded] == [], name
    assert not any(b"gone.example" in content for content in contents(cleaned).values())


def test_files_that_hold_nothing_listed_are_not_touched(copy: Path, feed: Feed) -> None:
    quiet = [copy / "data/en/part-1.parquet", copy / "README.md"]
    before = [(path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in quiet]
    clean(copy, feed)
    assert [(path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in quiet] == before


def test_the_receipt_says_what_was_done(made: Path, cleaned: Path, feed: Feed) -> None:
    import hashlib

    [cleaning] = json.loads((cleaned / RECEIPT).read_text())["cleanings"]
    assert (cleaning["feed_sha256"], cleaning["feed_rows"]) == (feed.digest, 4)
    removed = {file["path"]: file["rows_removed"] for file in cleaning["files"]}
    assert removed["data/en/part-0.parquet"] == 3
    assert removed["webdataset/00001.tar"] == 1
    assert removed["webdataset/00001.parquet"] == 2
    for file in cleaning["files"]:
        for folder, said in ((made, "sha256_before"), (cleaned, "sha256_after")):
            assert hashlib.sha256((folder / file["path"]).read_bytes()).hexdigest() == file[said]
    changed = {name for name, content in contents(made).items() if contents(cleaned)[name] != content}
    assert changed == removed.keys()
    assert set(contents(cleaned)) - set(contents(made)) == {RECEIPT}


def test_a_dry_run_says_the_same_and_changes_nothing(copy: Path, feed: Feed, cleaned: Path) -> None:
    before = contents(copy)
    outcome = clean(copy, feed, dry_run=True)
    assert contents(copy) == before
    [cleaning] = json.loads((cleaned / RECEIPT).read_text())["cleanings"]
    said = {file["path"]: file["rows_removed"] for file in cleaning["files"]}
    assert {**outcome.removed, **dict.fromkeys(outcome.mended, 0), "webdataset/sizes.json": 0} == said


def test_cleaning_again_changes_nothing(cleaned: Path, feed: Feed) -> None:
    before = contents(cleaned)
    assert clean(cleaned, feed).removed == {}
    assert contents(cleaned) == before


class Killed(BaseException):
    pass


def killed_before(step: int, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do some work as a process that dies before its ``step``-th change of the disk: nobody tidies up after it.

    Returns:
        whether there were so many.
    """
    done, real = 0, {name: getattr(owner, name) for owner, name in CHANGES}

    def dying(name: str) -> Callable[..., object]:
        def change(*args: object, **options: object) -> object:
            nonlocal done
            done += 1
            if done >= step:
                raise Killed
            return real[name](*args, **options)

        return change

    with monkeypatch.context() as patched:
        for owner, name in CHANGES:
            patched.setattr(owner, name, dying(name))
        try:
            work()
        except Killed:
            return True
    return False


CHANGES = [(os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (shutil, "rmtree")]


SLOW = [pytest.param(first, marks=pytest.mark.slow) for first in range(2, 9)]


@pytest.mark.parametrize("first", [1, *SLOW])
def test_killed_anywhere_and_run_again_it_ends_with_the_same_bytes(
    feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """Every eighth point, and the others in the other tests."""
    made = tmp_path / "made"
    img2dataset_shard(made, "00001", ALL[20:32], [FAILED])
    (made / "sizes.json").write_text('{"00001.tar": 12}')
    clip_retrieval_part(made / "vectors", "0", ALL[:12])
    whole = Path(shutil.copytree(made, tmp_path / "whole"))
    clean(whole, feed)
    wanted = contents(whole)
    assert len(wanted[RECEIPT]) > 1000
    for step in range(first, 500, 8):
        copy = Path(shutil.copytree(made, tmp_path / f"copy{step}"))
        if not killed_before(step, lambda copy=copy: clean(copy, feed), monkeypatch):
            break
        clean(copy, feed)
        assert contents(copy) == wanted, f"killed before change {step}"
    assert step > 40


def test_a_unit_changes_as_a_whole_also_for_a_feed_that_grew_meanwhile(
    made: Path, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed run did by one feed is in the receipt of the next, which goes by a longer one."""
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    assert killed_before(60, lambda: clean(copy, feed_of(("pair_id", str(BY_ID.pair_id)))), monkeypatch)
    clean(copy, feed)
    direct = Path(shutil.copytree(made, tmp_path / "direct"))
    clean(direct, feed)
    assert contents(copy) == contents(direct)


def test_a_process_that_is_killed_for_good(made: Path, feed: Feed, cleaned: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    (tmp_path / "feed").write_bytes(feed.content)
    code = f"""
import os, pathlib
from laion_assets.release.cleaning.clean import clean
from laion_assets.release.feed import read_feed
real, left = pathlib.Path.replace, 12
def replace(self, target):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
    return real(self, target)
pathlib.Path.replace = replace
clean(pathlib.Path({str(copy)!r}), read_feed(pathlib.Path({str(tmp_path / "feed")!r})))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    clean(copy, feed)
    assert contents(copy) == contents(cleaned)


def test_what_cleans_needs_neither_the_lake_nor_a_model() -> None:
    code = """
import sys
import laion_assets.release.cleaning.clean, laion_assets.release.cleaning.fetching, laion_assets.release.feed
print([name for name in ("torch", "open_clip", "deltalake", "dagster", "img2dataset") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_two_at_once_do_not_meet(copy: Path, feed: Feed) -> None:
    from laion_assets.common.locks import locked

    with locked(copy), pytest.raises(CopyError, match="is being cleaned by another process"):
        clean(copy, feed)
    with pytest.raises(CopyError, match="expected the folder of a copy, found nothing"):
        clean(copy / "absent", feed)


@pytest.mark.parametrize("said", [b"[]x", b'[{"path": 1}]', b"OUTSIDE"], ids=["torn", "no path", "outside"])
def test_records_that_came_with_a_copy_move_nothing_outside_of_it(said: bytes, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    laion_list(copy / "list.parquet", ALL)
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".victim.cleaned").write_text("theirs")
    record = {
        "path": "../victim",
        "rows": 1,
        "removed": 1,
        "before": "",
        "after": "",
        "bytes_before": 1,
        "bytes_after": 1,
    }
    (copy / ".laion-clean").mkdir()
    (copy / ".laion-clean" / "1.json").write_bytes(json.dumps([record]).encode() if said == b"OUTSIDE" else said)
    with pytest.raises(CopyError, match=r"no record of a cleaning: remove the folder \.laion-clean"):
        clean(copy, feed_of(("url", BY_URL.url)))
    assert (tmp_path / "victim").read_text() == "mine"
