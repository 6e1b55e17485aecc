"""Lists in every format and compression, cut into pieces, with rows and files that are not as they should be."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_assets.sources.lists import formats, texts
from laion_assets.sources.lists.batches import ROW
from laion_assets.sources.lists.describe import describe, ensure_same
from laion_assets.sources.lists.errors import ListChanged, ListError
from laion_assets.sources.lists.find import find_files
from laion_assets.sources.lists.formats import units
from laion_assets.sources.lists.pieces import ImportedList
from laion_assets.sources.lists.streams import Files
from laion_assets.sources.sources import SourceNotFound
from tests.unit.sources.lists.conftest import Import

# Any Unicode, quotes and line breaks; normalisation folds white space.
TEXTS = [
    "plain words here",
    'he said "no" twice',
    "comma, semicolon; tab",
    "日本語のテキスト",
    "emoji \U0001f980 crab",
    "é è ê ë ü",
]
ROWS = [(f"https://a.example/{n}.jpg", text) for n, text in enumerate(TEXTS)]


def as_csv(delimiter: str = ",") -> bytes:
    cells = [["url", "text"], *map(list, ROWS)]
    quoted = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells]
    return ("\r\n".join(quoted) + "\r\n").encode()


def as_json() -> bytes:
    return "".join(json.dumps({"text": text, "url": url, "more": [1]}) + "\n" for url, text in ROWS).encode()


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return sink.getvalue().to_pybytes()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd,
}  # fmt: skip
CONTENT = {"csv": as_csv(), "tsv": as_csv("\t"), "jsonl": as_json(), "ndjson": as_json()}


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("format_", CONTENT)
def test_every_format_and_compression_gives_the_same_rows(
    format_: str, ending: str, imported: Import, tmp_path: Path
) -> None:
    path = tmp_path / f"list.{format_}{ending}"
    path.write_bytes(COMPRESS[ending](CONTENT[format_]))
    _, pairs, drops = imported(path)
    assert (pairs.select("url", "text").rows(), drops) == (ROWS, {})


def test_several_members_of_a_compressed_file_are_one_list(imported: Import, tmp_path: Path) -> None:
    half = len(as_csv()) // 2
    for ending in (".gz", ".bz2", ".zst"):
        path = tmp_path / f"list.csv{ending}"
        path.write_bytes(COMPRESS[ending](as_csv()[:half]) + COMPRESS[ending](as_csv()[half:]))
        assert imported(path).about.rows == len(ROWS), ending


def test_a_name_that_says_nothing_is_looked_into(imported: Import, tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": [r[0] for r in ROWS], "text": TEXTS}), tmp_path / "parquet")
    (tmp_path / "lines").write_bytes(as_json())
    (tmp_path / "cells").write_bytes(as_csv())
    found = {name: imported(tmp_path / name) for name in ("parquet", "lines", "cells")}
    assert [one.about.format for one in found.values()] == ["parquet", "jsonl", "csv"]
    assert all(one.pairs.select("url", "text").rows() == ROWS for one in found.values())


def test_every_bad_row_is_dropped_under_a_name(imported: Import, tmp_path: Path) -> None:
    rows: list[tuple[bytes | None, bytes | None]] = [
        (b"https://a.example/0.jpg", b"a good text"),
        (None, b"without a url at all"),
        (b"https://a.example/1.jpg", None),
        (b"https://a.example/2.jpg", b"abc"),
        (b"ftp://a.example/3.jpg", b"not fetched by http"),
        (b"/relative/4.jpg", b"without a page it leads nowhere"),
        (b"data:image/png;base64,AAAA", b"a picture in the address"),
        (b"https://a.example/5.jpg", b"\xff\xfe broken text"),
        (b"https://a.example/\xff.jpg", b"broken address"),
        (b"https://a.example/6.jpg", b"x" * 3000),
        (b"https://a.example/" + b"y" * 5000, b"a very long address"),
        (b"https://a.example/7.jpg", b"a good text"),
    ]
    urls, texts = (pa.array(column, pa.binary()) for column in zip(*rows, strict=True))
    table = pa.table({"url": urls, "text": texts})
    pq.write_table(table, path := tmp_path / "bad.parquet")
    _, pairs, drops = imported(path)
    assert pairs["row_number"].to_list() == [0, 11]
    assert drops == {
        "no_url": 1, "no_alt": 1, "too_short": 1, "not_http": 1, "bad_url": 1, "data_url": 1, "bad_utf8": 2,
        "too_long": 1, "url_too_long": 1,
    }  # fmt: skip


def test_a_line_that_is_no_row_keeps_its_number(imported: Import, tmp_path: Path) -> None:
    good = [f"https://a.example/{n}.jpg" for n in range(4)]
    (tmp_path / "a.csv").write_text(
        f"url,text\n{good[0]},text zero\n\nonly one cell\n{good[1]},text one\na,b,c\n{good[2]},text two\nlast of all\n"
    )
    (tmp_path / "a.jsonl").write_bytes(
        json.dumps({"url": good[0], "text": "text zero"}).encode() + b"\n\nno object\n"
        + json.dumps({"url": good[1], "text": "text one"}).encode() + b"\n[1, 2]\n"
        + json.dumps({"url": good[2], "text": 12345678}).encode() + b'\n{"url": "torn'
    )  # fmt: skip
    for name, last in {"a.csv": "text two", "a.jsonl": "12345678"}.items():
        about, pairs, drops = imported(tmp_path / name)
        assert (about.rows, drops) == (6, {"bad_row": 3}), name
        assert pairs.select("row_number", "url").rows() == [(0, good[0]), (2, good[1]), (4, good[2])], name
        assert pairs["text"][-1] == last


def test_pieces_are_row_groups_and_texts_are_cut_evenly() -> None:
    assert units([20_000, 30_000, 15_000], 65_000) == [(0, 20_000), (20_000, 30_000), (50_000, 15_000)]
    assert units([4_000, 4_000, 4_000, 50_000, 3], 62_003) == [(0, 12_000), (12_000, 50_000), (62_000, 3)]
    assert [count for _, count in units([2_500_000], 2_500_000)] == [833_333, 833_333, 833_334]
    assert units(None, 250_000) == [(0, 100_000), (100_000, 100_000), (200_000, 50_000)]
    assert units([], 0) == units(None, 0) == []


@pytest.mark.parametrize("format_", ["parquet", "csv", "jsonl"])
def test_pieces_in_any_order_and_skipped_give_the_rows_of_the_whole(
    format_: str, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_BLOCK_BYTES", 1 << 12)  # many blocks in a small file
    frame = pl.DataFrame({"url": [f"https://a.example/{n}" for n in range(5_000)], "text": ["of some length"] * 5_000})
    path = tmp_path / f"list.{format_}"
    write = {"parquet": lambda: frame.write_parquet(path, row_group_size=700), "csv": lambda: frame.write_csv(path)}
    write.get(format_, lambda: frame.write_ndjson(path))()
    with closing(formats.open_list(files, str(path))) as reader:
        for first, count in [(0, 300), (1_000, 900), (4_999, 1), (20, 10), (2_000, 3_000)]:
            batches = list(reader.read(["url"], first, count, 256))
            rows = pl.concat([pl.DataFrame(pl.from_arrow(batch)) for batch in batches])
            assert rows[ROW].to_list() == list(range(first, first + count))
            assert rows["url"].cast(pl.String).to_list() == frame["url"][first : first + count].to_list()
            assert all(batch.num_rows <= 256 for batch in batches)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.parquet", b"PAR1 and nothing else", "is no Parquet file that can be read"),
        ("a.parquet", b"", "is no Parquet file that can be read"),
        ("a.csv", b"", "a.csv is empty: a list is Parquet, CSV, TSV or JSON lines"),
        ("a.csv.gz", b"no gzip", "cannot be decompressed"),
        ("a.csv.gz", gzip.compress(as_csv() * 50)[:-20], "cannot be decompressed: .*; is it whole"),
        ("a.jsonl", b"[1, 2]\n", "is none of these: a list is Parquet"),
        ("a", b"\x89PNG\r\n\x1a\n\0\0\0", "is none of these: .*; it begins with b'"),
        ("a", b"<html><body>gone</body></html>", "is none of these"),
        ("a", b"only prose, and no urls", "has no column for url and text among only prose, and no urls"),
        ("a.csv", b"url,url\nhttp://a.example/1,x\n", "has several columns of one name: url, url"),
        ("a.parquet.gz", gzip.compress(b"PAR1"), "Parquet is compressed inside"),
    ],
)
def test_what_is_no_list_is_told_in_one_line(
    name: str, content: bytes, told: str, imported: Import, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ListError, match=told) as raised:
        imported(tmp_path / name)
    assert "\n" not in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)


def test_a_list_that_changed_is_told_from_one_that_was_only_touched(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(as_csv())
    then = describe(files, str(path), {})
    known = {"bytes": then.stamp.bytes, "stamp": then.stamp.mark, "sha256": then.sha256, "again": "laion import x"}
    path.write_bytes(as_csv())  # another time
    ensure_same(files, str(path), **known)
    path.write_bytes(as_csv().replace(b"plain", b"plane"))
    with pytest.raises(
        ListChanged, match=r"its bytes are others \(SHA-256\); put it back, or enter it again with `laion"
    ):
        ensure_same(files, str(path), **known)
    path.write_bytes(as_csv() + b"more\n")
    with pytest.raises(ListChanged, match="it had 304 bytes, and has 309"):
        ensure_same(files, str(path), **known)
    path.unlink()
    with pytest.raises(SourceNotFound, match=r"there is no file .*a\.csv"):
        ensure_same(files, str(path), **known)


def test_a_list_that_lost_rows_is_not_read_to_its_end_in_silence(
    files: Files, imported: Import, tmp_path: Path
) -> None:
    from laion_assets.sources.counts import ExtractionCounts
    from laion_assets.sources.extract import ExtractionOptions

    path = tmp_path / "a.csv"
    path.write_bytes(as_csv())
    columns = imported(path).about.columns.taken
    with pytest.raises(ListChanged, match="has 6 rows from row 0 on, and had 7"):
        list(ImportedList(files, str(path), columns, 7).pairs(0, 7, ExtractionOptions(), ExtractionCounts()))


def test_files_folders_and_patterns_are_found(tmp_path: Path) -> None:
    for name in (
        "b/2.parquet",
        "b/1.parquet",
        "b/1_stats.json",
        "b/00000.tar",
        "b/_delta_log/0.parquet",
        "c.csv.gz",
        "d.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    def found(*given: str) -> list[str]:
        uris = find_files([str(tmp_path / one) for one in given], s3_client=lambda: None)
        return [str(Path(uri).relative_to(tmp_path)) for uri in uris]

    assert found("b", "d.txt", "b/1.parquet") == ["b/1.parquet", "b/2.parquet", "d.txt"]
    assert found("b/*.parquet") == ["b/1.parquet", "b/2.parquet"]
    assert found("") == ["b/1.parquet", "b/2.parquet", "c.csv.gz"]
    for given, told in {"e": "no file or folder", "b/_delta_log/*.csv": "holds no list"}.items():
        with pytest.raises(SourceNotFound, match=told):
            found(given)


@pytest.mark.parametrize("uri", ["https://me:secret@host.example/a.csv", "https://host.example/a.csv?token=secret"])
def test_credentials_are_refused_and_not_told(uri: str) -> None:
    with pytest.raises(
        ListError, match=r"https://host\.example/a\.csv was given with credentials or a query"
    ) as raised:
        find_files([uri], s3_client=lambda: None)
    assert "secret" not in str(raised.value)


def test_ten_thousand_rows_of_the_web_are_accounted_for(imported: Import, shared_data: Path) -> None:
    path = shared_data / "meta/img2dataset/tests/test_files/test_10000.parquet"
    about, pairs, drops = imported(path)
    assert about.rows == 10_000
    assert pairs.height + sum(drops.values()) == 10_000
    assert pairs.height > 9_000
    rows = pl.read_parquet(path).with_row_index("row_number")
    kept = pairs.join(rows.with_columns(pl.col("row_number").cast(pl.Int64)), on="row_number", suffix="_of_list")
    assert kept.height == pairs.height
