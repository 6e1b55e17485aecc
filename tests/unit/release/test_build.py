"""Writing parts and manifests: the same bytes each time, and what another release has is taken from there."""

import json
import shutil
from pathlib import Path

import pytest

from laion_assets.delta.folder import FolderStorage
from laion_assets.release.build import Earlier, ensure_free
from laion_assets.release.manifest import MANIFEST, Manifest, publish_feed, read_manifest
from laion_assets.release.parts import ReleaseError
from tests.unit.release.made import CRAWL, contents, row, write_release

ROWS = {(CRAWL, 0): [row(1), row(2, subset="multi")], (CRAWL, 1): [row(3)]}
FIRST = b'{"n":1,"date":"2026-11-30","kind":"pair_id","pair_id":"3","reason":"other"}\n'
SECOND = b'{"n":2,"date":"2026-12-01","kind":"pair_id","pair_id":"2","reason":"other"}\n'


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for place in ("one", "two"):
        write_release("some", ROWS, tmp_path / place, tmp_path / f"work-{place}")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert {"manifest.json", "removals.jsonl", "data/multi/part-000000.parquet"} <= {*contents(tmp_path / "one")}


def test_a_manifest_says_of_every_file_what_it_is(tmp_path: Path) -> None:
    write_release("some", ROWS, tmp_path / "one", tmp_path / "work")
    told = json.loads((tmp_path / "one" / MANIFEST).read_text())
    assert (told["format"], told["release"], told["pairs"], told["versions"]) == (1, "some", 3, {"unique_pairs": 3})
    of_second = [file for file in told["files"] if file["bucket"] == 1]
    assert [(file["path"], file["kind"], file["rows"]) for file in of_second] == [
        ("data/en/part-000001.parquet", "laion", 1),
        ("ids/part-000001.parquet", "ids", 1),
    ]
    place = FolderStorage(tmp_path / "one")
    assert read_manifest(place).to_bytes() == (tmp_path / "one" / MANIFEST).read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected the manifest of a release"),
        (b"[]", "expected the manifest of a release"),
        (b'{"format": 1}', "expected the manifest of a release"),
        (b'{"format": 2, "release": "x"}', "format 2, and this version reads 1"),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(ReleaseError, match=said):
        Manifest.of_bytes(content, "there")


def test_a_part_of_the_same_rows_is_taken_from_the_earlier_release(tmp_path: Path) -> None:
    first = write_release("one", ROWS, tmp_path / "one", tmp_path / "work")
    known = {
        made_from: Earlier(
            release="one", place=str(tmp_path / "one"), files=[w.file for w in first if w.made_from == made_from]
        )
        for made_from in {w.made_from for w in first}
    }
    changed = {**ROWS, (CRAWL, 1): [row(3, text="another")]}
    second = write_release("two", changed, tmp_path / "two", tmp_path / "work", known=known.get)
    assert {(w.file.bucket, w.taken_from) for w in second} == {(0, "one"), (1, None)}
    alone = write_release("two", changed, tmp_path / "alone", tmp_path / "alone-work")
    assert contents(tmp_path / "two") == contents(tmp_path / "alone")
    assert {w.taken_from for w in alone} == {None}


def test_a_damaged_file_of_an_earlier_release_is_not_taken(tmp_path: Path) -> None:
    first = write_release("one", ROWS, tmp_path / "one", tmp_path / "work")
    damaged = tmp_path / "one" / first[0].file.path
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    mine = [w.file for w in first if w.made_from == first[0].made_from]
    known = {first[0].made_from: Earlier(release="one", place=str(tmp_path / "one"), files=mine)}
    second = write_release("two", ROWS, tmp_path / "two", tmp_path / "work", known=known.get)
    assert {w.taken_from for w in second} == {None}
    assert (tmp_path / "two" / first[0].file.path).read_bytes() != damaged.read_bytes()


def test_a_release_does_not_come_among_other_files(tmp_path: Path) -> None:
    ensure_free(FolderStorage(tmp_path / "nothing yet"))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ReleaseError, match=r"is not empty \(it holds mine.txt\)"):
        ensure_free(FolderStorage(tmp_path))


# -- the feed ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> FolderStorage:
    write_release("some", ROWS, tmp_path / "one", tmp_path / "work", feed=FIRST)
    return FolderStorage(tmp_path / "one")


def test_a_feed_grows_and_the_manifest_knows_each_of_its_versions(place: FolderStorage) -> None:
    publish_feed(place, FIRST + SECOND, "2026-12-01")
    versions = [(v.rows, v.bytes, v.at) for v in read_manifest(place).feed]
    assert versions == [(1, len(FIRST), "2026-11-30"), (2, len(FIRST + SECOND), "2026-12-01")]
    assert place.read("removals.jsonl") == FIRST + SECOND
    before = contents(place.root)
    publish_feed(place, FIRST + SECOND, "2026-12-02")
    assert contents(place.root) == before


def test_a_feed_that_was_written_before_its_manifest_is_recorded_by_the_next_try(place: FolderStorage) -> None:
    place.replace("removals.jsonl", FIRST + SECOND)  # and then the power went
    publish_feed(place, FIRST + SECOND, "2026-12-01")
    assert read_manifest(place).feed[-1].rows == 2


@pytest.mark.parametrize("feed", [b"", SECOND])
def test_a_feed_that_lost_rows_is_refused(place: FolderStorage, feed: bytes) -> None:
    with pytest.raises(ReleaseError, match="a feed only grows"):
        publish_feed(place, feed, "2026-12-01")
    assert place.read("removals.jsonl") == FIRST


def test_rows_that_only_the_file_has_are_not_lost_either(place: FolderStorage) -> None:
    place.replace("removals.jsonl", FIRST + SECOND)  # which the manifest does not know yet
    with pytest.raises(ReleaseError, match="a feed only grows"):
        publish_feed(place, FIRST, "2026-12-01")
    assert place.read("removals.jsonl") == FIRST + SECOND


def test_a_feed_whose_file_is_gone_still_goes_on_from_what_the_manifest_knows(place: FolderStorage) -> None:
    place.delete(["removals.jsonl"])
    with pytest.raises(ReleaseError, match="a feed only grows"):
        publish_feed(place, SECOND, "2026-12-01")
    publish_feed(place, FIRST, "2026-12-01")
    assert (place.read("removals.jsonl"), len(read_manifest(place).feed)) == (FIRST, 1)


def test_a_feed_of_where_no_release_is_is_refused(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "nothing", ignore_errors=True)
    with pytest.raises(ReleaseError, match="holds no release"):
        publish_feed(FolderStorage(tmp_path / "nothing"), FIRST, "2026-12-01")
