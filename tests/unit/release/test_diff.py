"""Two releases are compared by their files of ids alone."""

import shutil
from pathlib import Path

import pytest

from laion_assets.delta.folder import FolderStorage
from laion_assets.release.diff import ChangedPair, ReleaseDiff, diff_releases
from laion_assets.release.ids import COMPARED
from laion_assets.release.parts import RELEASED_COLUMNS, ReleaseError
from tests.unit.release.made import CRAWL, Rows, row, write_release

LATER = "CC-MAIN-2026-08"
BEFORE = {(CRAWL, 0): [row(1), row(2), row(4)], (CRAWL, 1): [row(3)]}
AFTER = {
    (CRAWL, 0): [row(1), row(2, text="other words", similarity=0.25)],
    (CRAWL, 1): [row(3, sample_key="000000001", shard_path="files/images/elsewhere.tar")],
    (LATER, 0): [row(-5), row(4)],
}


def diff(tmp_path: Path, before: Rows, after: Rows, show: int = 0) -> ReleaseDiff:
    for name, rows in (("a", before), ("b", after)):
        write_release(name, rows, tmp_path / name, tmp_path / "work")
        shutil.rmtree(tmp_path / name / "data")  # only the ids are needed
    return diff_releases(FolderStorage(tmp_path / "a"), FolderStorage(tmp_path / "b"), show=show)


def test_rows_added_removed_and_changed_are_told_with_the_columns(tmp_path: Path) -> None:
    found = diff(tmp_path, BEFORE, AFTER, show=9)
    assert (found.added, found.removed, found.changed, found.same) == (1, 0, 2, 2)
    assert dict(found.columns) == {"text": 1, "similarity": 1, "crawl": 1}
    assert found.shown == [
        ChangedPair(-5, "added"),
        ChangedPair(2, "changed", ("text", "similarity")),
        ChangedPair(4, "changed", ("crawl",)),
    ]


def test_a_release_differs_from_itself_in_nothing(tmp_path: Path) -> None:
    found = diff(tmp_path, BEFORE, BEFORE, show=9)
    assert (found.added, found.removed, found.changed, found.same, found.shown) == (0, 0, 0, 4, [])


def test_releases_of_other_buckets_are_compared_too(tmp_path: Path) -> None:
    spread = {(CRAWL, bucket): [row(bucket + 1)] for bucket in range(4)}
    found = diff(tmp_path, BEFORE, spread, show=0)
    assert (found.added, found.removed, found.changed, found.same) == (0, 0, 0, 4)


def test_so_many_pairs_are_named_as_were_asked_for(tmp_path: Path) -> None:
    many = {(CRAWL, bucket): [row(bucket * 10 + place) for place in range(5)] for bucket in range(2)}
    one = {(CRAWL, bucket): [row(bucket * 10)] for bucket in range(2)}
    assert diff(tmp_path, one, many, show=3).shown == [ChangedPair(n, "added") for n in (1, 2, 3)]


@pytest.mark.parametrize("column", COMPARED)
def test_a_change_in_any_column_is_a_change(tmp_path: Path, column: str) -> None:
    kind = str(RELEASED_COLUMNS.field(column).type)
    other = {"string": "something else", "int32": 7, "float": 0.5, "double": 0.5}[kind]
    if column == "crawl":
        found = diff(tmp_path, {(CRAWL, 0): [row(1)]}, {(LATER, 0): [row(1)]})
    else:
        found = diff(tmp_path, {(CRAWL, 0): [row(1)]}, {(CRAWL, 0): [row(1, **{column: other})]})
    assert dict(found.columns) == {column: 1}


def test_nothing_and_an_empty_text_are_not_the_same(tmp_path: Path) -> None:
    found = diff(tmp_path, {(CRAWL, 0): [row(1)]}, {(CRAWL, 0): [row(1, license="")]})
    assert dict(found.columns) == {"license": 1}


def test_a_file_of_ids_that_is_gone_is_told(tmp_path: Path) -> None:
    write_release("a", BEFORE, tmp_path / "a", tmp_path / "work")
    (tmp_path / "a/ids/part-000001.parquet").unlink()
    with pytest.raises(ReleaseError, match=r"ids/part-000001.parquet is gone"):
        diff_releases(FolderStorage(tmp_path / "a"), FolderStorage(tmp_path / "a"))
