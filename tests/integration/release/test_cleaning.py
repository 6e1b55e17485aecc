"""A release in every format, cleaned as somebody who copied it does: it is then a whole release of less."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from laion_assets.common.digests import file_sha256
from laion_assets.consent.removals import load_removals
from laion_assets.release.cleaning.clean import clean
from laion_assets.release.feed import FEED, Feed, append_feed, feed_lines, read_feed, requests_of
from laion_assets.release.ids import IDS, ids_path, write_ids
from laion_assets.release.manifest import MANIFEST, Manifest, feed_version
from laion_assets.release.parts import ReleasedFile
from laion_assets.release.place import open_place
from laion_assets.release.refresh import refresh_feed
from laion_assets.release.verify import verify_release
from tests.integration.release.made_parts import Made

DAY = datetime(2026, 12, 1, tzinfo=UTC)


def takedowns(*requests: tuple[str, str]) -> pl.DataFrame:
    kinds, values = ([request[place] for request in requests] for place in (0, 1))
    return pl.DataFrame(
        {"kind": kinds, "value": values, "requested_at": [DAY] * len(kinds), "reason": [None] * len(kinds)},
        schema_overrides={"reason": pl.String},
    )


def manifest_of(folder: Path) -> Manifest:
    """Of all that lies in a folder, with an empty feed."""
    files = [
        ReleasedFile(
            path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=file_sha256(path),
            kind=path.relative_to(folder).parts[0],
            rows=pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None,
        )
        for path in sorted(folder.rglob("*")) if path.is_file()
    ]  # fmt: skip
    feed = [feed_version(b"", "2026-11-30")]
    return Manifest(release="tiny-pairs", files=files, feed=feed, versions={"filtered_pairs": 7})


@pytest.fixture(scope="module")
def release(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With its files of ids, an empty feed and a manifest."""
    import duckdb

    folder = Path(shutil.copytree(made.folder, tmp_path_factory.mktemp("whole") / "release"))
    with duckdb.connect() as con:
        for part in made.parts:
            write_ids(con, part.rows, folder / ids_path(part.number))
    manifest = manifest_of(folder)
    (folder / FEED).write_bytes(b"")
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    assert [*verify_release(open_place(str(folder)))] == []
    return folder


@pytest.fixture(scope="module")
def gone(made: Made) -> pl.DataFrame:
    """One pair by each kind of request."""
    return made.rows.sort("pair_id")[[0, 9, 21]]


@pytest.fixture(scope="module")
def feed(gone: pl.DataFrame) -> Feed:
    url, pair_id, sha256 = gone["url"][0], gone["pair_id"][1], gone["sha256"][2]
    requests = takedowns(("url", f"{url}#x"), ("pair_id", str(pair_id)), ("sha256", sha256))
    return read_feed(feed_lines(requests_of(requests)))


@pytest.fixture(scope="module")
def cleaned(release: Path, feed: Feed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = Path(shutil.copytree(release, tmp_path_factory.mktemp("cleaned") / "copy"))
    assert clean(copy, feed).faults == []
    return copy


def test_a_cleaned_copy_is_a_whole_release_of_less(release: Path, cleaned: Path, feed: Feed) -> None:
    place = open_place(str(cleaned))
    assert [fault.line for fault in verify_release(place, feed.removals)] == []
    before, after = (Manifest.of_bytes((folder / MANIFEST).read_bytes(), "") for folder in (release, cleaned))
    assert [file.path for file in after.files] == [file.path for file in before.files]
    rows = lambda manifest: sum(file.rows or 0 for file in manifest.files if file.kind == "data")  # noqa: E731
    assert (rows(before), rows(after)) == (40, 37)
    assert [version.rows for version in after.feed] == [0, 3]
    assert (cleaned / FEED).read_bytes() == feed.content
    faults = {fault.path for fault in verify_release(open_place(str(release)), feed.removals)}
    assert {path.split("/")[0] for path in faults} <= {"data", "webdataset", "clip-retrieval"}
    assert faults, "the release itself still holds them"


def test_no_file_of_the_copy_holds_what_is_gone(made: Made, cleaned: Path, gone: pl.DataFrame) -> None:
    for row in gone.iter_rows(named=True):
        picture = made.pictures[row["pair_id"]]
        for path in sorted(cleaned.rglob("*")):
            if path.is_file() and path.name != FEED:
                content = path.read_bytes()
                decoded = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else ""
                for mark in (row["url"], str(row["pair_id"]), row["sha256"]):
                    assert mark.encode() not in content, path
                    assert mark not in decoded, path
                assert picture not in content, path


def test_vectors_and_ids_are_those_of_the_rows_that_are_left(made: Made, cleaned: Path, gone: pl.DataFrame) -> None:
    vectors = {(row["pair_id"], row["encoder_sha256"][:8]): row for row in made.vectors.iter_rows(named=True)}
    seen = 0
    for metadata in sorted(cleaned.glob("clip-retrieval/*/metadata/*.parquet")):
        number, encoder = metadata.stem.rpartition("_")[2], metadata.parent.parent.name[-8:]
        ids = pl.read_parquet(metadata)["pair_id"].to_list()
        for kind, column in (("img_emb", "image_embedding"), ("text_emb", "text_embedding")):
            found = np.load(metadata.parent.parent / kind / f"{kind}_{number}.npy")
            assert np.array_equal(found, np.array([vectors[one, encoder][column] for one in ids], dtype=np.float16))
        seen += len(ids)
    assert seen == made.vectors.filter(~pl.col("pair_id").is_in(gone["pair_id"].implode())).height
    left = pl.read_parquet(cleaned / IDS / "*.parquet")["pair_id"]
    assert {*left} == {*made.rows["pair_id"]} - {*gone["pair_id"]}


def test_the_card_says_how_many_rows_there_are(cleaned: Path) -> None:
    matter = yaml.safe_load((cleaned / "README.md").read_text().split("---\n")[1])
    for info in matter["dataset_info"]:
        pattern = "data/*/*.parquet" if info["config_name"] == "all" else f"data/{info['config_name']}/*.parquet"
        files = sorted(cleaned.glob(pattern))
        [split] = info["splits"]
        assert split["num_examples"] == sum(pq.read_metadata(file).num_rows for file in files)
        assert info["dataset_size"] == split["num_bytes"] == sum(file.stat().st_size for file in files)
    sizes = json.loads((cleaned / "webdataset/sizes.json").read_text())
    assert sum(sizes.values()) == 37


def test_a_feed_that_does_not_go_on_from_the_copy_s_cleans_it_and_leaves_its_own(
    release: Path, made: Made, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(release, tmp_path / "copy"))
    own = feed_lines(requests_of(takedowns(("domain", "a.example"))))
    refresh_feed(open_place(str(copy)), requests_of(takedowns(("domain", "a.example"))), load_removals(), DAY)
    other = feed_lines(requests_of(takedowns(("pair_id", str(made.rows["pair_id"][0])))))
    assert clean(copy, read_feed(other)).faults == []
    assert (copy / FEED).read_bytes() == own
    assert [*verify_release(open_place(str(copy)))] == []


def test_an_old_release_learns_of_removals_without_being_made_anew(release: Path, made: Made, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(release, tmp_path / "copy"))
    place, files = open_place(str(copy)), {path: path.stat().st_mtime_ns for path in copy.rglob("*.parquet")}
    listed = tmp_path / "denied.txt"
    listed.write_text(f"{made.rows['sha256'][4]}\n")
    lists = load_removals(hash_lists=(str(listed),))
    requests = requests_of(takedowns(("domain", "gone.example")))
    assert refresh_feed(place, requests, lists, DAY) == (0, 3)
    assert refresh_feed(place, requests, lists, datetime(2027, 1, 1, tzinfo=UTC)) == (3, 3)
    rows = read_feed(copy / FEED).rows
    assert [(row.kind, row.reason) for row in rows] == [("domain", "other"), ("sha256", "listed"), ("url", "listed")]
    assert "127.0.0.1" not in (copy / FEED).read_text()
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*.parquet")} == files
    assert [version.rows for version in Manifest.of_bytes((copy / MANIFEST).read_bytes(), "").feed] == [0, 3]
    told = [fault.line for fault in verify_release(place)]
    assert told, "it still holds them"
    assert all(": 1 row is to be removed by now" in line for line in told)


def test_killed_between_feed_and_manifest_the_feed_is_known_after_the_next_refreshing(
    release: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(release, tmp_path / "copy"))
    place, requests = open_place(str(copy)), requests_of(takedowns(("domain", "gone.example")))
    (copy / FEED).write_bytes(append_feed(b"", requests))
    assert ["goes on after what the manifest knows" in fault.what for fault in verify_release(place)] == [True]
    assert refresh_feed(place, requests, load_removals(), DAY) == (1, 1)
    assert [*verify_release(place)] == []
