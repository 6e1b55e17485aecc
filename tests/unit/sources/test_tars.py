"""Tars that others wrote: their samples as candidate pairs, where each lies, and what becomes of the others."""

import io
import json
import logging
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pytest

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import ExtractionOptions
from laion_assets.sources.lists.streams import Files
from laion_assets.sources.sources import Source
from laion_assets.sources.tars.describe import describe_tar
from laion_assets.sources.tars.folder import ForeignTars
from laion_assets.sources.tars.pairs import extract_tar
from laion_assets.webdataset.reader import TarError

ENTERED = datetime(2026, 11, 30, tzinfo=UTC)


def no_other_machine(uri: str) -> Source:
    raise AssertionError(f"{uri} was asked for")


URL = "https://a.example/{}.jpg"


MAPPING = {
    "url": "url", "text": "caption", "source_hash": "uid", "source_similarity": "similarity", "license": "LICENSE",
    "source_punsafe": "punsafe", "expected_sha256": "sha256", "expected_md5": "md5",
}  # fmt: skip


def write(tar: Path, members: list[tuple[str, bytes]], *, modified: int = 0) -> None:
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), modified
            archive.addfile(info, io.BytesIO(content))


def sample(key: str, *, picture: bytes = b"picture", text: str | None = None, **record: Any) -> list[tuple[str, bytes]]:
    """A sample as img2dataset writes it."""
    told = {"url": URL.format(key), "caption": f"the caption of {key}", "key": key, "status": "success"} | record
    return [
        (f"{key}.jpg", picture),
        (f"{key}.json", json.dumps(told).encode()),
        (f"{key}.txt", (told["caption"] if text is None else text).encode()),
    ]


def pairs(
    folder: Path, name: str = "00000.tar", mapping: Mapping[str, str] | None = None
) -> tuple[pl.DataFrame, ExtractionCounts]:
    counts = ExtractionCounts()
    tars = ForeignTars(Files(no_other_machine), ENTERED)
    uri, options = f"{folder}/{name}", ExtractionOptions()
    frames = list(extract_tar(tars, uri, mapping or MAPPING, options=options, counts=counts, batch_rows=2))
    found = pl.concat(frames) if frames else pl.DataFrame()
    assert counts.balanced
    assert counts.every_record_counted
    assert counts.rows == found.height
    return found, counts


def test_a_sample_is_a_pair_whose_picture_lies_where_the_row_says(tmp_path):
    told = {"similarity": 0.31, "uid": "u7", "LICENSE": "CC0", "sha256": "AB" * 32, "md5": "no md5", "punsafe": "0.5"}
    members = [*sample("000", picture=b"first" * 200), *sample("folder.d/001", picture=b"second", **told)]
    write(tmp_path / "00000.tar", members)
    found, counts = pairs(tmp_path)
    assert found.select("url", "text", "row_number").rows() == [
        (URL.format("000"), "the caption of 000", 0),
        (URL.format("folder.d/001"), "the caption of folder.d/001", 1),
    ]
    with tarfile.open(tmp_path / "00000.tar") as archive:
        assert found["record_offset"].to_list() == [archive.getmember(name).offset for name, _ in members[::3]]
    row = found.row(1, named=True)
    assert (row["source_hash"], row["license"], row["expected_sha256"], row["expected_md5"]) == (
        "u7", "CC0", "ab" * 32, None,
    )  # fmt: skip
    assert row["source_similarity"] == pytest.approx(0.31)
    assert (row["source_punsafe"], row["page_url"], row["language"]) == (0.5, None, "en")
    assert (counts.records, counts.links, counts.rows) == (2, 2, 2)


def test_what_is_no_pair_is_counted_under_the_reason(tmp_path):
    picture = b"picture"
    members = [
        ("000.jpg", picture), ("000.txt", b"a text without a url"),
        ("001.json", b'{"url": "https://a.example/1.jpg"}'), ("001.txt", b"no picture at all"),
        ("002.jpg", picture), ("002.json", b"{broken"),
        ("003.jpg", picture), ("003.png", picture),
        ("003.json", b'{"url": "https://a.example/3.jpg", "caption": "a text of three"}'),
        *sample("004", caption="ab"),
        *sample("005", url="ftp://a.example/5.jpg"),
        ("006.jpg", picture), ("006.txt", b"\xff\xfe no text"), ("006.json", b'{"url": "https://a.example/6.jpg"}'),
        ("__info__", b"{}"), ("README", b"no sample"),
    ]  # fmt: skip
    write(tmp_path / "00000.tar", members)
    found, counts = pairs(tmp_path)
    assert found["text"].to_list() == ["a text of three"]
    assert counts.drops == {
        "no_url": 1, "no_picture": 1, "bad_row": 1, "second_picture": 1, "too_short": 1, "not_http": 1,
        "bad_utf8": 1,
    }  # fmt: skip


def test_a_key_that_comes_again_is_another_sample(tmp_path):
    again = sample("000", url=URL.format("again"), caption="another caption")
    write(tmp_path / "00000.tar", [*sample("000"), *again, *sample("001"), *sample("000", caption="a third caption")])
    found, _ = pairs(tmp_path)
    assert found["text"].to_list() == ["the caption of 000", "another caption", "the caption of 001", "a third caption"]
    assert found["record_offset"].n_unique() == 4


def test_the_parquet_file_beside_a_tar_tells_what_the_tar_does_not(tmp_path):
    write(tmp_path / "00000.tar", [(f"00{number}.jpg", b"picture") for number in range(3)])
    pl.DataFrame(
        {"key": ["000", "002"], "url": [URL.format(0), URL.format(2)], "caption": ["a caption", None], "alt": "an alt"}
    ).write_parquet(tmp_path / "00000.parquet")
    found, counts = pairs(tmp_path)
    assert found.select("url", "text", "row_number").rows() == [
        (URL.format(0), "a caption", 0),
    ]
    assert counts.drops == {"no_alt": 2}  # 001, which the file does not know, and 002
    found, _ = pairs(tmp_path, mapping={"url": "url", "text": "alt"})
    assert found["text"].to_list() == ["an alt", "an alt"]


@pytest.mark.parametrize(("kept", "whole"), [(0, 0), (700, 0), (3000, 0), (4000, 1), (6000, 1), (9216, 2)])
def test_a_tar_that_is_cut_off_gives_what_is_whole_and_says_so(kept, whole, tmp_path, caplog):
    write(tmp_path / "00000.tar", [*sample("000"), *sample("001"), *sample("002")])
    content = (tmp_path / "00000.tar").read_bytes()
    (tmp_path / "00000.tar").write_bytes(content[:kept])
    with caplog.at_level(logging.WARNING):
        found, counts = pairs(tmp_path)
    assert found.height == whole
    assert counts.bad_records == {"damaged_tar": 1}
    assert "00000.tar is cut off" in caplog.text


def test_a_compressed_tar_is_named_as_such(tmp_path, caplog):
    (tmp_path / "00000.tar").write_bytes(b"\x1f\x8b" + bytes(1000))
    found, counts = pairs(tmp_path)
    assert (found.height, counts.bad_records) == (0, {"damaged_tar": 1})
    assert "is compressed with gzip: unpack it" in caplog.text
    with pytest.raises(TarError, match="cannot be opened"):
        pairs(tmp_path, "absent.tar")


class Remote:
    """A source that is no folder of this machine, and counts how often it is asked."""

    def __init__(self, root: Path) -> None:
        self.uri, self.root, self.asked = "s3://bucket/pictures", root, 0

    def open(self, path: str, *, offset: int = 0) -> BinaryIO:
        self.asked += 1
        stream: Any = (self.root / path).open("rb")
        stream.seek(offset)
        stream.total_bytes, stream.version = (self.root / path).stat().st_size, "1"
        return stream

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()


@pytest.fixture
def remote(tmp_path) -> Remote:
    return Remote(tmp_path)


def test_a_remote_tar_is_read_in_one_go_and_gives_the_same(tmp_path, remote):
    members = [*sample("000"), *sample("001", picture=bytes(900_000)), *sample("002", text="a text of its own")]
    write(tmp_path / "00000.tar", members)
    tars = ForeignTars(Files(lambda uri: remote), ENTERED)
    found = pl.concat(
        extract_tar(tars, f"{remote.uri}/00000.tar", MAPPING, options=ExtractionOptions(), counts=ExtractionCounts())
    )
    assert found.equals(pairs(tmp_path)[0])
    assert remote.asked == 2  # how large it is, and what it holds
    content = (tmp_path / "00000.tar").read_bytes()
    for kept, whole in ((600, 0), (700_000, 0), (905_000, 1)):
        (tmp_path / "00000.tar").write_bytes(content[:kept])
        counts = ExtractionCounts()
        rows = list(extract_tar(tars, "s3://b/00000.tar", MAPPING, options=ExtractionOptions(), counts=counts))
        assert (sum(frame.height for frame in rows), counts.bad_records) == (whole, {"damaged_tar": 1})


def test_the_time_of_a_tar_is_the_one_its_statistics_tell(tmp_path):
    (tmp_path / "00000_stats.json").write_text(json.dumps({"end_time": 1_700_000_000.25}))
    (tmp_path / "00001_stats.json").write_text("{broken")
    tars = ForeignTars(Files(no_other_machine), ENTERED)
    assert tars.written_at(f"{tmp_path}/00000.tar") == datetime.fromtimestamp(1_700_000_000.25, UTC)
    assert tars.written_at(f"{tmp_path}/00001.tar") == tars.written_at(f"{tmp_path}/00002.tar") == ENTERED


def test_what_is_imported_is_described(tmp_path):
    told = {"similarity": 0.3, "sha256": "ab" * 32, "width": 3, "exif": "{}"}
    write(tmp_path / "a.tar", [*sample("000", **told), *sample("001")[:2], ("002.txt", b"alone")])
    tars = ForeignTars(Files(no_other_machine), ENTERED)
    found = describe_tar(tars, str(tmp_path / "a.tar"))
    assert (found.samples, found.pictures, found.with_url, found.layout) == (3, 2, 2, "img2dataset")
    assert found.mapping == {
        "url": "url", "text": "caption", "source_similarity": "similarity", "original_sha256": "sha256"
    }  # fmt: skip
    assert found.left_out == ("exif", "key", "status", "width")
    said = describe_tar(tars, str(tmp_path / "a.tar"), {"text": "STATUS"})
    assert said.mapping["text"] == "status"
    write(tmp_path / "b.tar", [("0.jpg", b"picture"), ("0.txt", b"a text")])
    plain = describe_tar(tars, str(tmp_path / "b.tar"))
    assert (plain.pictures, plain.with_url, plain.layout, plain.mapping) == (1, 0, "webdataset", {"text": ".txt"})
    (tmp_path / "c.tar").write_bytes(b"no tar at all" * 100)
    broken = describe_tar(tars, str(tmp_path / "c.tar"))
    assert (broken.samples, broken.damage) == (0, f"{tmp_path / 'c.tar'} is damaged: no header of a member at byte 0")


@pytest.mark.slow  # img2dataset takes seconds to import
def test_what_img2dataset_writes_is_read(tmp_path, monkeypatch):
    """Its own writer: captions beside the json, fractional times in extended headers, a Parquet file beside the tar."""
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    import pyarrow as pa
    from img2dataset.writer import WebDatasetSampleWriter

    told = {"url": URL.format(0), "caption": 'größer, "写真"', "status": "success", "width": 3, "sha256": "ab" * 32}
    schema = pa.Table.from_pylist([{**told, "key": "x"}]).schema
    began = datetime.now(UTC).replace(microsecond=0)
    writer = WebDatasetSampleWriter(7, str(tmp_path), True, 5, schema, "jpg")
    for key in ("000070000", "000070001"):
        writer.write(b"picture of " + key.encode(), key, told["caption"], {**told, "key": key})
    writer.write(None, "000070002", None, {**told, "key": "000070002", "status": "failed_to_download"})
    writer.close()
    tars = ForeignTars(Files(no_other_machine), ENTERED)
    described = describe_tar(tars, str(tmp_path / "00007.tar"))
    assert (described.samples, described.with_url, described.damage) == (2, 2, None)
    assert described.mapping == {"url": "url", "text": ".txt", "original_sha256": "sha256"}
    found, _ = pairs(tmp_path, "00007.tar", described.mapping)
    assert found.select("url", "text").unique().rows() == [(told["url"], told["caption"])]
    with tars.open(str(tmp_path / "00007.tar")) as tar:
        members = [tar.member_at(offset) for offset in found["record_offset"]]
        assert [tar.read(m.offset, m.size) for m in members] == [b"picture of 000070000", b"picture of 000070001"]
        assert all(datetime.fromtimestamp(m.modified, UTC) >= began for m in members)
