"""Pictures that are had already: copied byte for byte out of others' tars, bucket by bucket, without one request."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import duckdb
import numpy as np
import polars as pl
import pytest

from laion_assets.consent.removals import Removals, load_removals
from laion_assets.download.copied import copy_bucket
from laion_assets.download.options import DownloadOptions
from laion_assets.download.results import SCHEMA
from laion_assets.download.reuse import plan_attempts
from laion_assets.images.perceptual_hash import perceptual_hash
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import ExtractionOptions
from laion_assets.sources.lists.streams import Files
from laion_assets.sources.sources import Source
from laion_assets.sources.tars.describe import describe_tar
from laion_assets.sources.tars.folder import ForeignTars
from laion_assets.sources.tars.pairs import extract_tar
from laion_assets.webdataset.reader import TarError
from laion_assets.webdataset.samples import read_samples
from laion_assets.webdataset.verification import tar_fault

ENTERED = datetime(2026, 11, 30, tzinfo=UTC)


def no_other_machine(uri: str) -> Source:
    raise AssertionError(f"{uri} was asked for")


WRITTEN = datetime(2024, 3, 1, 12, tzinfo=UTC)
BUCKETS = 3
EARLIER = {**pl.DataFrame(SCHEMA.empty_table()).schema, "crawl": pl.String, "outdated": pl.Boolean}


def picture(number: int, extension: str = "jpg", size: tuple[int, int] = (40, 30)) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), np.uint8)
    return bytes(cv2.imencode(f".{extension}", cv2.GaussianBlur(pixels, (9, 9), 0))[1].tobytes())


def url(number: int) -> str:
    return f"https://a.example/{number}.jpg"


def sample(number: int, content: bytes | None = None, extension: str = "jpg", **record: Any) -> list[tuple[str, bytes]]:
    told = {"url": url(number), "caption": f"the caption of picture {number}"} | record
    return [
        (f"{number:06d}.{extension}", picture(number) if content is None else content),
        (f"{number:06d}.json", json.dumps(told).encode()),
    ]


class Import:
    """A folder of foreign tars, extracted, and copied bucket by bucket."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder / "foreign", folder / "lake"
        self.folder.mkdir()
        self.root.mkdir()
        self.tars = ForeignTars(Files(no_other_machine), ENTERED)
        self._members: dict[str, list[tuple[str, bytes]]] = {}

    def write(self, name: str, *samples: list[tuple[str, bytes]], modified: datetime | None = WRITTEN) -> None:
        self._members[name] = [member for members in samples for member in members]
        with tarfile.open(self.folder / name, "w") as archive:
            for member, content in self._members[name]:
                info = tarfile.TarInfo(member)
                info.size, info.mtime = len(content), 0 if modified is None else int(modified.timestamp())
                archive.addfile(info, io.BytesIO(content))

    def pairs(self, tars: Sequence[str] = ()) -> pl.DataFrame:
        frames = []
        for number, tar in enumerate(tars or sorted(map(str, self.folder.glob("*.tar")))):
            counts = ExtractionCounts()
            mapping = describe_tar(self.tars, tar).mapping
            for frame in extract_tar(self.tars, tar, mapping, options=ExtractionOptions(), counts=counts):
                frames.append(frame.with_columns(path=pl.lit(tar), file_number=pl.lit(number, pl.Int32)))
        return pl.concat(frames).with_columns(bucket=pl.col("url_id").cast(pl.UInt64, wrap_numerical=True) % BUCKETS)

    def copy(
        self,
        pairs: pl.DataFrame,
        name: str = "copied",
        *,
        removals: Removals | None = None,
        progress: Callable[[int], None] = lambda _: None,
        **options: Any,
    ) -> pl.DataFrame:
        with duckdb.connect() as con:
            con.register("pairs", pairs.to_arrow())
            con.register("nothing", pl.DataFrame(schema=EARLIER))
            plan_attempts(
                con,
                pairs="pairs",
                earlier="nothing",
                crawl="this",
                columns=("url",),
                removals=Removals.none(),
                output=self.root / "known.parquet",
            )
            copied = copy_bucket(
                con,
                pairs="pairs",
                tars=self.tars,
                root=self.root,
                output=self.root / name,
                options=DownloadOptions(**{"urls_per_tar": 4, "processes": 2} | options),
                removals=removals or Removals.none(),
                progress=progress,
            )
            frames = [tar.rows for tar in copied]
        return pl.concat(frames).sort("url_id") if frames else pl.DataFrame(SCHEMA.empty_table())

    def stored(self, rows: pl.DataFrame) -> dict[str, bytes]:
        """By url, the picture that its row names."""
        found = {}
        for row in rows.filter(status="success").iter_rows(named=True):
            [members] = [m for key, m in read_samples(self.root / row["shard_path"]) if key == row["sample_key"]]
            [extension] = set(members) - {"json"}
            assert json.loads(members["json"]) == {
                "key": row["sample_key"],
                **{name: row[name] for name in json.loads(members["json"]) if name != "key"},
            }
            found[row["url"]] = members[extension]
        return found


@pytest.fixture
def imported(tmp_path) -> Import:
    return Import(tmp_path)


def test_all_buckets_together_hold_every_picture_byte_for_byte(imported):
    for tar in range(3):
        imported.write(f"{tar:05d}.tar", *(sample(number) for number in range(tar * 7, tar * 7 + 7)))
    pairs = imported.pairs()
    done: list[int] = []
    stored = {}
    for bucket in range(BUCKETS):
        rows = imported.copy(pairs.filter(bucket=bucket), f"bucket-{bucket}", progress=done.append)
        stored |= imported.stored(rows)
        for path, inside in rows.group_by("shard_path"):
            wanted = dict(inside.select("sample_key", "sha256").iter_rows())
            assert tar_fault(imported.root / str(path[0]), wanted, lambda _: "not the picture of its row") is None
    assert stored == {url(number): picture(number) for number in range(21)}
    assert sum(done) == 21


def test_a_row_says_what_the_bytes_say_and_that_nobody_was_asked(imported):
    entry = bytes.fromhex("0112 0003 00000001 00060000")  # turned by 90 degrees
    camera = b"Exif\0\0MM\0*" + bytes.fromhex("00000008 0001") + entry + bytes(4)
    turned = picture(1)[:2] + b"\xff\xe1" + (len(camera) + 2).to_bytes(2, "big") + camera + picture(1)[2:]
    imported.write(
        "00000.tar", sample(1, turned, original_width=999, sha256="ab" * 32), sample(2, picture(2, "png"), "png")
    )
    imported.write("00001.tar", sample(3, picture(3, "webp"), "webp"), modified=None)
    (imported.folder / "00001_stats.json").write_text('{"end_time": 1600000000.0}')
    rows = {row["url"]: row for row in imported.copy(imported.pairs()).iter_rows(named=True)}
    first = rows[url(1)]
    asked = ("status", "attempts", "http_status", "final_url", "byte_size", "sha256")
    assert {name: first[name] for name in asked} == {
        "status": "success", "attempts": 0, "http_status": None, "final_url": None,
        "byte_size": len(turned), "sha256": hashlib.sha256(turned).hexdigest(),
    }  # fmt: skip
    assert (first["width"], first["height"], first["original_width"]) == (30, 40, 30)
    assert json.loads(first["exif"]) == {"Orientation": "6"}
    assert first["perceptual_hash"] == perceptual_hash(turned)
    assert [rows[url(number)]["content_type"] for number in (1, 2, 3)] == ["image/jpeg", "image/png", "image/webp"]
    assert [rows[url(number)]["fetched_at"] for number in (1, 2)] == [WRITTEN, WRITTEN]
    assert rows[url(3)]["fetched_at"] == datetime.fromtimestamp(1_600_000_000, UTC)


def test_what_is_no_picture_fails_as_a_download_does(imported):
    imported.write(
        "00000.tar",
        sample(0),
        sample(1, b"<html>no picture</html>"),
        sample(2, picture(2)[: len(picture(2)) // 3]),
        sample(3, picture(3, size=(400, 300)) + bytes(50_000)),
        sample(4, picture(4, size=(90, 10))),
        sample(5, b""),
    )
    rows = imported.copy(imported.pairs(), max_bytes=50_000, min_image_size=8, max_aspect_ratio=5)
    failures = dict(rows.select("url", "failure").iter_rows())
    assert failures == {
        url(0): None, url(1): "not_an_image", url(2): "decode", url(3): "too_large", url(4): "aspect",
        url(5): "not_an_image",
    }  # fmt: skip
    assert rows.filter(pl.col("failure").is_not_null())["shard_path"].null_count() == 5
    assert (
        dict(rows.select("url", "sha256").iter_rows())[url(1)] == hashlib.sha256(b"<html>no picture</html>").hexdigest()
    )


def test_of_several_samples_of_one_url_the_first_that_is_a_picture_counts(imported):
    imported.write("00000.tar", sample(7, b"broken"), sample(8))
    imported.write("00001.tar", sample(7, picture(70), caption="another caption"), sample(7, picture(71)))
    rows = imported.copy(imported.pairs())
    assert imported.stored(rows) == {url(7): picture(70), url(8): picture(8)}
    assert rows.height == 2


def test_a_removed_picture_is_never_copied(imported):
    imported.write("00000.tar", *(sample(number) for number in range(5)), sample(5, sha256="cd" * 32))
    takedowns = [
        ("url", url(1)),
        ("sha256", hashlib.sha256(picture(2)).hexdigest()),
        ("sha256", "cd" * 32),
    ]
    removals = load_removals(pl.DataFrame(takedowns, schema=["kind", "value"], orient="row"))
    rows = imported.copy(imported.pairs(), removals=removals)
    failed = rows.filter(status="failed")
    assert dict(failed.select("url", "failure").iter_rows()) == {
        url(1): "deny_listed", url(2): "hash_listed", url(5): "hash_listed",
    }  # fmt: skip
    assert set(imported.stored(rows)) == {url(0), url(3), url(4)}
    tars = b"".join(tar.read_bytes() for tar in imported.root.rglob("*.tar"))
    assert picture(0) in tars
    assert not any(picture(number) in tars for number in (1, 2, 5))


def test_promised_hashes_count_where_pictures_are_what_was_downloaded(imported):
    """Of 100 pictures none may be another than its sample says, for the one after them to be taken for damaged."""
    samples = [sample(number, sha256=hashlib.sha256(picture(number)).hexdigest().upper()) for number in range(100)]
    wrong = [sample(100, sha256="0" * 64), sample(101, md5="0" * 32), sample(102)]
    imported.write("00000.tar", *samples, *wrong)
    rows = imported.copy(imported.pairs(), urls_per_tar=1000)
    assert dict(rows.filter(status="failed").select("url", "failure_detail").iter_rows()) == {
        url(number): f"SHA-256 {hashlib.sha256(picture(number)).hexdigest()}, and {promised} was expected"
        for number, promised in ((100, "0" * 64), (101, "0" * 32))
    }  # fmt: skip
    assert set(rows["failure"].drop_nulls()) == {"hash_mismatch"}
    imported.write("00000.tar", *samples[:5], sample(50, sha256="0" * 64))  # encoded anew, as far as anybody knows
    again = imported.pairs()
    assert again["expected_sha256"].null_count() == again.height
    assert again["original_sha256"].to_list()[-1] == "0" * 64
    assert imported.copy(again, "again")["status"].to_list() == ["success"] * 6


def test_a_copy_that_was_killed_goes_on_and_ends_with_the_same_bytes(imported):
    imported.write("00000.tar", *(sample(number) for number in range(10)))
    pairs = imported.pairs()
    whole = imported.copy(pairs)
    wanted = {file.name: file.read_bytes() for file in (imported.root / "copied").iterdir()}
    assert len(wanted) == 7  # three tars, their rows, and the lock

    def killed(_: int) -> None:
        left = [tar for tar in (imported.root / "again").iterdir() if tar.suffix == ".parquet"]
        if len(left) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imported.copy(pairs, "again", progress=killed)
    first = (imported.root / "again" / "00000.tar").stat().st_mtime_ns
    (imported.root / "again" / ".00001.tar.1-abc.unfinished").write_bytes(b"left by a killed one")
    again = imported.copy(pairs, "again")
    assert (imported.root / "again" / "00000.tar").stat().st_mtime_ns == first
    tars = {name for name in wanted if name.endswith(".tar")}
    assert {name: (imported.root / "again" / name).read_bytes() for name in tars} == {
        name: wanted[name] for name in tars
    }
    assert again.drop("shard_path").equals(whole.drop("shard_path"))
    assert {file.name for file in (imported.root / "again").iterdir()} == set(wanted)
    others = {str(imported.folder / "00000.tar"): "the digest of other bytes"}
    imported.tars = ForeignTars(Files(no_other_machine), ENTERED, digests=others)
    imported.copy(pairs, "again")
    assert (imported.root / "again" / "00000.tar").stat().st_mtime_ns != first


def test_a_tar_that_is_another_one_by_now_is_not_copied_from(imported):
    imported.write("00000.tar", sample(0), sample(1))
    pairs = imported.pairs()
    imported.write("00000.tar", sample(0, picture(0, size=(200, 200))), sample(1))
    with pytest.raises(TarError, match="is not what it was: no header of a member at byte"):
        imported.copy(pairs)
    assert not list(imported.root.rglob("*.tar"))
