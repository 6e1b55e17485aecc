"""A lake's files, in a folder and in a bucket: the same behaviour, seen through the same tests."""

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import write_deltalake

from laion_assets.delta.errors import LakeError, StorageUnavailable
from laion_assets.delta.folder import FolderStorage
from laion_assets.delta.location import open_storage
from laion_assets.delta.space import disk_trouble
from laion_assets.delta.storage import Storage
from tests.s3 import BUCKET, environment, s3_server, troubled


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A lake of this test's own in the bucket."""
    for name, value in environment(server, tmp_path / "scratch").items():
        monkeypatch.setenv(name, value)
    return open_storage(f"s3://{BUCKET}/{tmp_path.name}/lake/")


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(str(tmp_path / "lake"))
    found: Storage = request.getfixturevalue("bucket")
    return found


def names(storage: Storage, folder: str = "") -> list[str]:
    return sorted(file.name for file in storage.files(folder))


def test_a_small_file_is_made_once_and_replaced_any_number_of_times(storage: Storage) -> None:
    assert not storage.exists("lake.json")
    with pytest.raises(FileNotFoundError, match=r"lake\.json"):
        storage.read("lake.json")
    assert storage.create("lake.json", b"first")
    assert not storage.create("lake.json", b"second")
    assert not storage.create("lake.json", b"first"), "also where it would be the same"
    assert storage.read("lake.json") == b"first"
    storage.replace("lake.json", b"third")
    storage.replace("a/b/new.txt", b"")
    assert (storage.read("lake.json"), storage.read("a/b/new.txt")) == (b"third", b"")
    assert storage.exists("a/b/new.txt")
    assert not storage.exists("a/b"), "a folder is no file"


def test_of_many_who_make_one_file_one_succeeds(storage: Storage) -> None:
    together = threading.Barrier(8)

    def make(number: int) -> bool:
        together.wait()
        return storage.create("lake.json", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert made.count(True) == 1
    assert storage.read("lake.json") == b"%d" % made.index(True)
    assert names(storage) == ["lake.json"], "nothing else is left"


def test_files_and_folders_are_listed(storage: Storage) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    for name in ("lake.json", "images/_delta_log/0.json", "images-more/x", "files/images/crawl=CC-1/a b/0.tar"):
        storage.replace(name, b"12345")
    (storage.scratch / "work").mkdir(parents=True)
    (storage.scratch / "work" / "x").write_bytes(b"1")
    assert names(storage) == [
        "files/images/crawl=CC-1/a b/0.tar",
        "images-more/x",
        "images/_delta_log/0.json",
        "lake.json",
    ]
    assert names(storage, "images") == ["images/_delta_log/0.json"], "and not what begins with the same letters"
    assert names(storage, "nowhere") == []
    (file,) = storage.files("images-more")
    assert file.bytes == 5
    assert before < file.modified_at < datetime.now(UTC) + timedelta(seconds=2)
    assert storage.folders() == ["files", "images", "images-more"]
    assert storage.folders("files/images") == ["files/images/crawl=CC-1"]
    assert storage.folders("nowhere") == []


def test_what_is_deleted_is_gone_and_what_was_gone_is_passed_over(storage: Storage) -> None:
    for number in range(5):
        storage.replace(f"files/{number}/x", b"")
    storage.delete(f"files/{number}/x" for number in (0, 1, 2, 7))
    assert names(storage) == ["files/3/x", "files/4/x"]
    assert storage.folders("files") == ["files/3", "files/4"]
    storage.delete([])


def test_more_is_deleted_than_fits_into_one_request(bucket: Storage) -> None:
    every = [f"files/{number}" for number in range(1_003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bucket.replace(name, b""), every))
    assert len(names(bucket)) == 1_003, "and listed"
    bucket.delete(every)
    assert names(bucket) == []


def test_a_finished_file_is_published_whole_and_fetched_again(storage: Storage, tmp_path: Path) -> None:
    local, content = tmp_path / "finished", os.urandom(9_000_000)  # more than goes in one part
    local.write_bytes(content)
    storage.publish(local, "files/images/x/0.tar")
    assert local.read_bytes() == content
    assert names(storage) == ["files/images/x/0.tar"]
    with storage.local("files/images/x/0.tar") as path:
        assert path.read_bytes() == content
        assert path.name == "0.tar"
    local.unlink()
    again = tmp_path / "again"
    again.write_bytes(b"again")
    storage.publish(again, "files/images/x/0.tar")
    assert storage.read("files/images/x/0.tar") == b"again"
    storage.publish(again, "files/images/x/0.tar")
    assert names(storage) == ["files/images/x/0.tar"], "publishing the same file twice leaves nothing beside it"


def test_publishing_in_a_folder_copies_nothing(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "lake"))
    local = storage.scratch / "work" / "0.tar"
    local.parent.mkdir(parents=True)
    local.write_bytes(b"x")
    storage.publish(local, "files/0.tar")
    assert (tmp_path / "lake" / "files" / "0.tar").stat().st_ino == local.stat().st_ino


def test_several_files_are_there_together_and_what_is_missing_is_not(storage: Storage) -> None:
    every = [f"files/{number}/{number}.tar" for number in range(20)]
    for name in every:
        storage.replace(name, name.encode())
    with storage.mirror([*every, "files/99.tar"]) as root:
        assert [(root / name).read_text() for name in every] == every
        assert not (root / "files/99.tar").exists()
    assert storage.is_local == root.exists(), "what was fetched goes again"


def test_a_copy_of_a_folder_follows_it(storage: Storage) -> None:
    storage.replace("files/benchmarks/a/x.txt", b"first")
    storage.replace("files/benchmarks/b/x.txt", b"other")
    copy = storage.copy_of("files/benchmarks")
    assert (copy / "a" / "x.txt").read_bytes() == b"first"
    before = (copy / "b" / "x.txt").stat()
    storage.delete(["files/benchmarks/a/x.txt"])
    storage.replace("files/benchmarks/c/x.txt", b"third")
    assert storage.copy_of("files/benchmarks") == copy
    found = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert found == {"b/x.txt", "c/x.txt"}
    after = (copy / "b" / "x.txt").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "what did not change stays"


@pytest.mark.parametrize("name", ["../outside", "files/../../outside", "/etc/passwd"])
def test_no_name_leads_out_of_the_lake(storage: Storage, name: str, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    with pytest.raises(LakeError, match="no name of a file in a lake"):
        storage.read(name)
    with pytest.raises(LakeError, match="no name of a file in a lake"), storage.local(name):
        pass
    with pytest.raises(LakeError, match="no name of a file in a lake"):
        storage.delete([name])


def test_delta_polars_and_duckdb_read_by_the_same_addresses(storage: Storage) -> None:
    rows = pl.DataFrame({"crawl": ["a", "b"], "x": [1, 2]})
    write_deltalake(
        storage.address("t"), rows.to_arrow(), partition_by=["crawl"], storage_options=storage.delta_options or None
    )
    files = [storage.address(name) for name in names(storage, "t") if name.endswith(".parquet")]
    assert len(files) == 2
    read = pl.read_parquet(files, storage_options=storage.polars_options or None, hive_partitioning=False)
    assert sorted(read["x"]) == [1, 2]
    with duckdb.connect() as con:
        storage.admit(con)
        found = con.execute("SELECT crawl, x FROM read_parquet(?, hive_partitioning = true) ORDER BY x", [files])
        assert found.fetchall() == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("gs://bucket/lake", "a folder or s3://bucket/prefix"),
        ("s3://", "found 's3://'"),
        ("s3://bucket/a*b", r"'\*' in it"),
        ("lake[1]", r"'\[' in it"),
    ],
)
def test_where_no_lake_can_be_is_said(uri: str, said: str) -> None:
    with pytest.raises(LakeError, match=said):
        open_storage(uri)


def test_addresses_are_normalised(tmp_path: Path) -> None:
    assert open_storage("s3://bucket/a/b//").uri == "s3://bucket/a/b"
    assert open_storage(f"file://{tmp_path}").uri == str(tmp_path)
    assert isinstance(open_storage("lake"), FolderStorage)


def test_a_bucket_that_is_not_there_is_named(bucket: Storage) -> None:
    with pytest.raises(LakeError, match="there is no bucket elsewhere"):
        open_storage("s3://elsewhere/lake").replace("lake.json", b"")


def test_without_credentials_the_error_says_what_to_set(bucket: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(LakeError, match="AWS_"):
        bucket.read("lake.json")
    with pytest.raises(LakeError, match="AWS_ACCESS_KEY_ID"):
        _ = bucket.delta_options


def test_refusals_that_pass_are_waited_for(bucket: Storage, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with troubled(server, seed=3, refused=0.3) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        for number in range(10):
            assert bucket.create(f"files/{number}", b"%d" % number)
            assert bucket.read(f"files/{number}") == b"%d" % number
        assert len(names(bucket)) == 10


def test_a_file_counts_as_made_where_only_the_answer_was_lost(
    bucket: Storage, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with troubled(server, seed=3, refused=0, late=0, unheard=10) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        made = [bucket.create(f"t/_delta_log/{number}", b"mine") for number in range(6)]
        again = [bucket.create(f"t/_delta_log/{number}", b"theirs") for number in range(6)]
    assert (made, again) == ([True] * 6, [False] * 6)


@pytest.mark.slow
def test_what_does_not_pass_is_said_to_be_able_to(
    bucket: Storage, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with troubled(server, seed=3, refused=1.0) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StorageUnavailable, match=r"kept answering SlowDown .*try again later"):
            bucket.read("lake.json")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/lake/a"), "Read-only file system: /lake/a"),
        (PermissionError(errno.EACCES, "Permission denied", "/lake/a"), "Permission denied: /lake/a"),
        (RuntimeError("Generic LocalFileSystem error\nUnable to write /lake/a: Read-only file system (os error 30)"),
         "Unable to write /lake/a: Read-only file system (os error 30)"),
        (RuntimeError('IO Error: Cannot open file "/lake/a": Permission denied'), "Permission denied"),
    ],
)  # fmt: skip
def test_what_may_only_be_read_is_told_in_one_line_whoever_says_it(error: Exception, told: str) -> None:
    line = disk_trouble(error)
    assert line is not None
    assert told in line
    assert line.endswith("let this user read and write there, and the same command goes on")
    assert "\n" not in line


def test_what_another_server_refuses_is_no_trouble_of_a_disk() -> None:
    assert disk_trouble(RuntimeError("HTTP 403: Permission denied")) is None
