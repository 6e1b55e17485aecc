"""Copies that are not as we write them: other columns, other files, broken ones. Nothing is passed over in silence."""

import bz2
import gzip
import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_assets.release.cleaning.clean import Outcome, clean
from laion_assets.release.cleaning.faults import CopyError
from laion_assets.release.feed import Feed
from tests.unit.release.cleaning.copies import clip_retrieval_part, contents, img2dataset_shard, laion_list, pairs
from tests.unit.release.cleaning.test_clean import feed_of

ROWS = pairs(12)
GONE = ROWS[5]
KEPT = [row for row in ROWS if row is not GONE]
BY_URL = ("url", GONE.url)


def faults(outcome: Outcome) -> dict[str, str]:
    return {fault.path: fault.reason for fault in outcome.faults}


@pytest.mark.parametrize("asked", [BY_URL, ("pair_id", str(GONE.pair_id)), ("sha256", GONE.sha256)])
@pytest.mark.parametrize(
    "columns",
    [
        ("url", "caption", "sha256"),
        ("image_url", "alt_text", "jpg"),
        ("URL", "TEXT", "hash", "image"),
        ("json", "png"),
        ("json.url", "json.caption", "json.sha256"),
    ],
    ids=["img2dataset", "pictures within", "hub", "struct", "flat"],
)  # fmt: skip
def test_rows_are_found_by_whatever_says_them(
    tmp_path: Path, asked: tuple[str, str], columns: dict[str, object]
) -> None:
    urls, texts, pictures = ([getattr(row, name) for row in ROWS] for name in ("url", "text", "picture"))
    said = {
        "url": urls, "image_url": urls, "URL": urls, "caption": texts, "alt_text": texts, "TEXT": texts,
        "json.url": urls, "json.caption": texts, "json.sha256": [row.sha256 for row in ROWS],
        "hash": [row.pair_id for row in ROWS], "sha256": [row.sha256 for row in ROWS],
        "jpg": pictures, "png": pictures, "image": [{"bytes": picture, "path": None} for picture in pictures],
        "json": [{"url": url, "caption": text} for url, text in zip(urls, texts, strict=True)],
    }  # fmt: skip
    pq.write_table(pa.table({name: said[name] for name in columns}), tmp_path / "x.parquet")
    (tmp_path / "x.parquet").chmod(0o640)
    before = pq.read_table(tmp_path / "x.parquet").to_pylist()
    outcome = clean(tmp_path, feed_of(asked))
    assert (outcome.removed, outcome.faults) == ({"x.parquet": 1}, [])
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == [*before[:5], *before[6:]]
    assert (tmp_path / "x.parquet").stat().st_mode & 0o777 == 0o640


def test_a_dictionary_forgets_what_was_in_the_rows(tmp_path: Path) -> None:
    url, text = (pa.array([getattr(row, name) for row in ROWS]).dictionary_encode() for name in ("url", "text"))
    pq.write_table(pa.table({"url": url, "caption": text, "n": range(12)}), tmp_path / "x.parquet")
    clean(tmp_path, feed_of(BY_URL))
    left = pq.read_table(tmp_path / "x.parquet")
    assert left["url"].to_pylist() == [row.url for row in KEPT]
    assert pa.types.is_dictionary(left.schema.field("url").type)
    dictionaries = [value for chunk in left["caption"].chunks for value in chunk.dictionary.to_pylist()]
    assert GONE.text not in dictionaries


def csv_of(delimiter: str) -> bytes:
    lines = [f"URL{delimiter}TEXT{delimiter}licence"]
    lines += [f'{row.url}{delimiter}"{row.text}"{delimiter}x' for row in ROWS]
    return ("\r\n".join(lines) + "\r\n").encode()


def json_lines() -> bytes:
    return b"".join(json.dumps({"url": row.url, "text": row.text}).encode() + b"\n" for row in ROWS)


LISTS = {
    "a.csv": csv_of(","),
    "a.tsv": csv_of("\t"),
    "a.jsonl": json_lines(),
    "a.txt": b"# a list\n" + b"".join(row.url.encode() + b"\n" for row in ROWS),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".zst"])
def test_lists_lose_the_line_and_keep_the_bytes_of_all_others(tmp_path: Path, name: str, ending: str) -> None:
    content, path = LISTS[name], tmp_path / f"{name}{ending}"
    pack = {
        "": bytes,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".zst": lambda raw: pa.compress(raw, "zstd", asbytes=True),
    }
    path.write_bytes(pack[ending](content))
    outcome = clean(tmp_path, feed_of(BY_URL))
    assert (outcome.removed, outcome.faults) == ({path.name: 1}, [])
    with pa.input_stream(str(path), compression="detect" if ending else None) as stream:
        left = stream.read()
    assert GONE.url.encode() in content
    assert GONE.url.encode() not in left
    start = content.index(GONE.url.encode())
    line = content.rindex(b"\n", 0, start) + 1
    rest = content[line:].split(ROWS[6].url.encode(), 1)[1]
    at = content.rindex(b"\n", 0, len(content) - len(rest) - len(ROWS[6].url)) + 1
    assert left == content[:line] + content[at:]


def test_a_cut_off_list_is_named_and_left_alone(tmp_path: Path) -> None:
    packed = gzip.compress(LISTS["a.csv"])
    (tmp_path / "a.csv.gz").write_bytes(packed[:-40])
    outcome = clean(tmp_path, feed_of(BY_URL))
    assert "cannot be read as csv" in faults(outcome)["a.csv.gz"]
    assert (tmp_path / "a.csv.gz").read_bytes() == packed[:-40]


def strange(folder: Path) -> dict[str, str]:
    """Makes files that cannot be cleaned, and says what is told of them."""
    laion_list(folder / "good.parquet", ROWS)
    (folder / "cut.parquet").write_bytes((folder / "good.parquet").read_bytes()[:-100])
    (folder / "torn.tar").write_bytes(b"\1" * 5000)
    pq.write_table(pa.table({"name": ["x"]}), folder / "other.parquet")
    pq.write_table(pa.table({"url": ["http://a.example/"]}), folder / "links.parquet")
    pq.write_table(pa.Table.from_arrays([pa.array(["x"])] * 2, names=["url", "url"]), folder / "twice.parquet")
    (folder / "blob.bin").write_bytes(b"\xff\x00")
    (folder / "image.index").write_bytes(b"IxF2")
    np.save(folder / "alone_3.npy", np.zeros((3, 2)))
    (folder / "README.md").write_text(f"the picture {GONE.url}, for example")
    (folder / "captions.json").write_text(json.dumps([{"id": ROWS[7].pair_id, "sha256": ROWS[8].sha256.upper()}]))
    (folder / "page.html").write_text('<img src="data:image/png;base64,AAAA">')
    (folder / "link.parquet").symlink_to("good.parquet")
    (folder / ".git").mkdir()
    with tarfile.open(folder / "bare.tar", "w") as tar:
        (folder / "x.jpg").write_bytes(b"x")
        tar.add(folder / "x.jpg", "000.jpg")
        (folder / "x.jpg").unlink()
    clip_retrieval_part(folder / "clip", "0", ROWS)
    np.save(folder / "clip/img_emb/img_emb_0.npy", np.zeros((11, 4), dtype=np.float16))
    return {
        "cut.parquet": "no readable Parquet file",
        "torn.tar": "torn.tar is damaged",
        "other.parquet": "could not be searched by pair_id, sha256, url",
        "twice.parquet": "two columns of one name",
        "links.parquet": "could not be searched by pair_id, sha256:",
        "blob.bin": "no kind of file that can be searched",
        "image.index": "an index of vectors: build it again",
        "alone_3.npy": "vectors without the table",
        "README.md": "names 1 thing listed",
        "captions.json": "names 2 things listed",
        "page.html": "shows pictures",
        "link.parquet": "it is a link",
        ".git": "a history keeps",
        "bare.tar": "could not be searched by pair_id, url",
        "clip/metadata/metadata_0.parquet": "it has 12 rows and clip/img_emb/img_emb_0.npy has 11",
    }


def test_what_cannot_be_cleaned_is_named_and_all_else_is_cleaned(tmp_path: Path) -> None:
    expected = strange(tmp_path)
    before = contents(tmp_path)
    outcome = clean(tmp_path, feed_of(BY_URL, ("pair_id", str(ROWS[7].pair_id)), ("sha256", ROWS[8].sha256)))
    told = faults(outcome)
    assert told.keys() == expected.keys()
    assert [name for name, part in expected.items() if part not in told[name]] == []
    assert outcome.removed == {"good.parquet": 3}
    after = contents(tmp_path)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"good.parquet", "link.parquet"}
    [cleaning] = json.loads(after["removals-receipt.json"])["cleanings"]
    assert {fault["path"] for fault in cleaning["not_cleaned"]} == expected.keys()


def test_a_sample_that_the_table_alone_lists_leaves_the_tar_too_and_the_other_way(tmp_path: Path) -> None:
    """The table knows addresses, the tar the bytes that were stored; a key holds them together."""
    img2dataset_shard(tmp_path, "0", ROWS)
    table = pq.read_table(tmp_path / "0.parquet")
    lost = table.drop_columns(["sha256"])
    pq.write_table(lost, tmp_path / "0.parquet")
    outcome = clean(tmp_path, feed_of(("sha256", hashlib.sha256(ROWS[2].picture).hexdigest())))
    assert (outcome.removed, outcome.faults) == ({"0.tar": 1, "0.parquet": 1}, [])
    assert json.loads((tmp_path / "0_stats.json").read_text())["count"] == 11
    assert ROWS[2].key not in pq.read_table(tmp_path / "0.parquet")["key"].to_pylist()


def test_tables_of_ids_alone_lose_what_the_others_lost(tmp_path: Path) -> None:
    laion_list(tmp_path / "data/x.parquet", ROWS)
    ids = pa.table({"pair_id": [row.pair_id for row in ROWS], "digest": range(12)})
    (tmp_path / "ids").mkdir()
    pq.write_table(ids, tmp_path / "ids/x.parquet")
    outcome = clean(tmp_path, feed_of(BY_URL))
    assert (outcome.removed, outcome.faults) == ({"data/x.parquet": 1, "ids/x.parquet": 1}, [])
    assert GONE.pair_id not in pq.read_table(tmp_path / "ids/x.parquet")["pair_id"].to_pylist()


def test_ids_without_anything_that_has_addresses_cannot_be_searched(tmp_path: Path) -> None:
    pq.write_table(pa.table({"pair_id": [row.pair_id for row in ROWS]}), tmp_path / "ids.parquet")
    assert "could not be searched by url" in faults(clean(tmp_path, feed_of(BY_URL)))["ids.parquet"]


def test_an_empty_folder_is_no_copy(tmp_path: Path) -> None:
    with pytest.raises(CopyError, match="found an empty folder"):
        clean(tmp_path, feed_of(BY_URL))


def test_an_empty_feed_finds_nothing_wrong(tmp_path: Path) -> None:
    laion_list(tmp_path / "x.parquet", ROWS)
    outcome = clean(tmp_path, Feed((), b""))
    assert (outcome.removed, outcome.faults) == ({}, [])


def test_headers_of_a_tar_stay_as_its_writer_made_them(tmp_path: Path) -> None:
    names = ["folder/" + "long" * 40 + f"{number}.jpg" for number in range(3)]
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for number, name in enumerate(names):
            for end, content in (
                (".jpg", ROWS[number].picture),
                (".json", json.dumps({"url": ROWS[number].url}).encode()),
            ):
                info = tarfile.TarInfo(name.replace(".jpg", end))
                info.size, info.mtime, info.uid = len(content), 1234567890, 1000
                tar.addfile(info, __import__("io").BytesIO(content))
    clean(tmp_path, feed_of(("url", ROWS[1].url)))
    with tarfile.open(tmp_path / "x.tar") as tar:
        left = [(member.name, member.mtime, member.uid) for member in tar]
    assert left == [
        (name.replace(".jpg", end), 1234567890, 1000) for name in (names[0], names[2]) for end in (".jpg", ".json")
    ]
