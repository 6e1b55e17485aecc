"""``lake.json``: what it says, and what happens to a lake that lost it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from laion_assets.delta.build import lake_build
from laion_assets.delta.errors import LakeError, MarkerDamaged
from laion_assets.delta.lake import Lake
from laion_assets.delta.location import open_storage
from laion_assets.delta.marker import FORMAT, LAKE_KEY, Marker, read_marker
from laion_assets.delta.recovery import restore_marker
from laion_assets.delta.storage import Storage
from laion_assets.lake.opening import lake_at, open_lake, recorded_shape
from laion_assets.pairs.identity import bucket, url_id
from laion_assets.tables.catalogue import CATALOGUE
from tests.s3 import BUCKET, environment, s3_server
from tests.unit.delta.conftest import PROVENANCE
from tests.unit.delta.tables_made import FIRST, made, pair, record


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a lake can be made."""
    if request.param == "folder":
        return str(tmp_path / "lake")
    for name, value in environment(request.getfixturevalue("server"), tmp_path / "scratch").items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


def lost(uri: str) -> Storage:
    """The lake without its ``lake.json``."""
    storage = open_storage(uri)
    storage.delete(["lake.json"])
    return storage


def restored(storage: Storage, **given: int) -> tuple[Marker, bool]:
    return restore_marker(storage, CATALOGUE, given)


def content(storage: Storage) -> dict[str, object]:
    return dict(json.loads(storage.read("lake.json")))


def test_a_new_lake_says_its_format(place: str) -> None:
    lake = open_lake(place, shards=2, buckets=3)
    assert content(lake.storage)["format"] == FORMAT
    assert read_marker(lake.storage, CATALOGUE) == Marker(
        {"shards": 2, "buckets": 3}, str(content(lake.storage)["created_at"])
    )


def test_a_lake_of_before_formats_were_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "lake.json").write_text('{"shards": 2, "buckets": 8, "created_at": "2026-01-01T00:00:00+00:00"}')
    assert recorded_shape(str(tmp_path)) == (2, 8)


def test_a_place_that_holds_tables_is_never_taken_for_an_empty_one(place: str) -> None:
    open_lake(place, shards=2, buckets=3)
    lost(place)
    for opening in (
        lambda: open_lake(place, shards=2, buckets=3),
        lambda: open_lake(place, create=False),
        lambda: recorded_shape(place),
        lambda: lake_at(place),
    ):
        with pytest.raises(MarkerDamaged, match=r"\(imports, takedowns\), but its lake.json is gone: `laion restore`"):
            opening()
    assert not open_storage(place).exists("lake.json"), "nothing was written"


def test_what_is_left_of_a_table_without_its_log_counts_as_a_table(tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path))
    made(lake, "crawl_snapshots", f"crawl={FIRST}", [{}])
    lost(lake.uri)
    for log in tmp_path.rglob("_delta_log"):
        shutil.rmtree(log)
    with pytest.raises(MarkerDamaged, match="crawl_snapshots"):
        open_lake(str(tmp_path))


def test_other_folders_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "files" / "encoders").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    assert recorded_shape(str(tmp_path)) is None
    open_lake(str(tmp_path), shards=2, buckets=2)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b'{"shards": 2, "buck',
        b"\xff\xfe\x00",
        b"[2, 3]",
        b"7",
        b"null",
        b'{"shards": 2}',
        b'{"shards": "2", "buckets": 3}',
        b'{"shards": 0, "buckets": 3}',
        b'{"shards": true, "buckets": 3}',
        b'{"shards": 2, "buckets": 20000}',
        b'{"shards": 2, "buckets": 3, "format": "one"}',
        b'{"shards": 2, "buckets": 3, "format": 0}',
    ],
)
def test_a_torn_or_wrong_marker_is_one_line_with_the_way_out(broken: bytes, tmp_path: Path) -> None:
    made_lake = open_lake(str(tmp_path), shards=2, buckets=3)
    before = content(made_lake.storage)
    (tmp_path / "lake.json").write_bytes(broken)
    with pytest.raises(MarkerDamaged, match="`laion restore` writes it again") as told:
        lake_at(str(tmp_path))
    assert "\n" not in str(told.value)
    marker, written = restored(made_lake.storage)
    assert (marker.shape["shards"], marker.shape["buckets"], written) == (2, 3, True)
    assert {**content(made_lake.storage), "created_at": 0, "digest": 0} == {**before, "created_at": 0, "digest": 0}


def test_any_flipped_bit_of_the_marker_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    storage = open_lake(str(tmp_path), shards=2, buckets=3).storage
    sound = storage.read("lake.json")
    noticed = 0
    for position in range(len(sound) * 8):
        flipped = bytearray(sound)
        flipped[position // 8] ^= 1 << position % 8
        storage.replace("lake.json", bytes(flipped))
        try:
            found = read_marker(storage, CATALOGUE)
        except LakeError:
            noticed += 1
            continue
        assert found is not None
        assert (found.shape, found.format) == ({"shards": 2, "buckets": 3}, 1), flipped
    assert noticed > len(sound) * 7


def test_a_lake_of_a_newer_format_is_refused_in_one_line_and_left_alone(tmp_path: Path) -> None:
    storage = open_lake(str(tmp_path), shards=2, buckets=3).storage
    newer = b'{"format": 7, "tables": "elsewhere"}'
    storage.replace("lake.json", newer)
    for action in (lambda: lake_at(str(tmp_path)), lambda: restored(storage)):
        with pytest.raises(LakeError, match="has format 7, and this version of laion reads formats up to 1") as told:
            action()
        assert not isinstance(told.value, MarkerDamaged)
    assert storage.read("lake.json") == newer


def test_every_commit_says_which_lake_it_was_made_in(lake: Lake) -> None:
    made(lake, "crawl_snapshots", f"crawl={FIRST}", [{}])
    for table in ("takedowns", "crawl_snapshots"):
        for entry in DeltaTable(lake.path(table)).history():
            assert json.loads(entry[LAKE_KEY]) == {"format": 1, "shards": 4, "buckets": 4}


def test_a_lost_marker_is_written_again_from_any_commit(place: str) -> None:
    open_lake(place, shards=2, buckets=3)
    storage = lost(place)
    marker, written = restored(storage)
    assert (marker.shape["shards"], marker.shape["buckets"], written) == (2, 3, True)
    lake = open_lake(place, shards=2, buckets=3, create=False)
    assert read_marker(lake.storage, CATALOGUE) == marker
    assert restored(storage) == (marker, False)


def test_a_sound_marker_is_not_changed(lake: Lake) -> None:
    with pytest.raises(LakeError, match="is sound and says 4 shards and 4 buckets"):
        restored(lake.storage, shards=5)


def test_where_there_is_nothing_nothing_is_restored(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="there is no lake"):
        restored(open_storage(str(tmp_path)))


# -- lakes whose commits do not say --------------------------------------------------------------------------------


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], Lake]:
    """A lake as it was made before commits said which lake they are of."""

    def make(shards: int, buckets: int) -> Lake:
        monkeypatch.setattr(Lake, "metadata", property(lambda _: {}))
        return open_lake(str(tmp_path / "lake"), shards=shards, buckets=buckets)

    return make


def files(lake: Lake, count: int) -> None:
    rows = [{"file_number": n, "path": f"{n}.wat.gz", "shard": n % lake.shape["shards"]} for n in range(count)]
    made(lake, "wat_files", f"crawl={FIRST}", rows)


def candidates(lake: Lake, count: int) -> None:
    urls = pl.DataFrame({"url": [f"http://a.example/{n}.jpg" for n in range(count)]})
    frame = urls.with_columns(url_id=url_id("url")).with_columns(bucket=bucket("url_id", lake.shape["buckets"]))
    rows = [pair(n, **record(0, n)) | row for n, row in enumerate(frame.iter_rows(named=True))]
    made(lake, "candidate_pairs", f"crawl={FIRST}/shard=0", rows)


@pytest.mark.parametrize(("shards", "buckets"), [(2, 3), (64, 256), (1, 1), (7, 12)])
def test_the_numbers_of_an_older_lake_follow_from_its_rows(
    shards: int, buckets: int, silent: Callable[[int, int], Lake]
) -> None:
    lake = silent(shards, buckets)
    files(lake, 2 * shards + 1)
    candidates(lake, max(40, 3 * buckets))
    marker, _ = restored(lost(lake.uri))
    assert (marker.shape["shards"], marker.shape["buckets"]) == (shards, buckets)


def test_the_shards_of_an_older_lake_follow_from_what_deduplication_read(silent: Callable[[int, int], Lake]) -> None:
    """Of four shards each has one file at most: the files' numbers alone would fit any number of shards."""
    lake = silent(4, 3)
    files(lake, 3)
    candidates(lake, 40)
    shards = [f"crawl={FIRST}/shard={n}" for n in range(4)]
    for name in shards[1:]:
        made(lake, "candidate_pairs", name)
    with lake_build(lake, "unique_pairs", {"crawl": FIRST, "bucket": 0}, PROVENANCE) as build:
        build.files("candidate_pairs", [{"crawl": FIRST, "shard": n} for n in range(4)])
        build.publish()
    marker, _ = restored(lost(lake.uri))
    assert (marker.shape["shards"], marker.shape["buckets"]) == (4, 3)


def test_what_an_older_lake_does_not_tell_is_asked_for_and_never_guessed(silent: Callable[[int, int], Lake]) -> None:
    lake = silent(4, 3)
    files(lake, 3)
    candidates(lake, 40)
    storage = lost(lake.uri)
    with pytest.raises(LakeError, match=r"do not tell how many shards .* `laion restore --shards N`"):
        restored(storage)
    assert not storage.exists("lake.json")
    with pytest.raises(LakeError, match="--shards 2: that does not fit their rows"):
        restored(storage, shards=2)
    with pytest.raises(LakeError, match="--buckets 4: the tables say 3"):
        restored(storage, shards=4, buckets=4)
    marker, _ = restored(storage, shards=4)
    assert (marker.shape["shards"], marker.shape["buckets"]) == (4, 3)
