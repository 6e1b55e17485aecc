"""Which column is taken for what: lists of seven public data sets, with their real names and types."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_assets.sources.lists.columns import map_columns
from laion_assets.sources.lists.describe import columns_of
from laion_assets.sources.lists.errors import ListError
from laion_assets.sources.lists.streams import Files
from tests.unit.sources.lists.conftest import Import

URLS = ["https://img.example/a.jpg", "http://img.example/b.png?x=1"]
TEXTS = ["A red house by the sea", "Une maison rouge, à côté"]
MD5, SHA256 = ["0" * 31 + "a", "F" * 32], ["0" * 63 + "a", "b" * 64]
FLOATS = [0.31, 0.29]


def f32(values: list[float]) -> pa.Array:
    return pa.array(values, pa.float32())


def i32(values: list[int]) -> pa.Array:
    return pa.array(values, pa.int32())


LAION = {
    "URL": URLS, "TEXT": TEXTS, "WIDTH": i32([4, 5]), "HEIGHT": i32([4, 5]), "similarity": FLOATS,
    "hash": [-7, 2**62], "punsafe": f32(FLOATS), "pwatermark": f32(FLOATS),
}  # fmt: skip
SCHEMAS: dict[str, tuple[dict[str, Any], dict[str, str], set[str]]] = {
    "LAION-2B-en": (
        LAION,
        {"url": "URL", "text": "TEXT", "source_hash": "hash", "source_similarity": "similarity",
         "source_punsafe": "punsafe", "source_pwatermark": "pwatermark"},
        {"WIDTH", "HEIGHT"},
    ),
    "LAION-2B-multi": (
        {**LAION, "LANGUAGE": ["en", "fr"], "NSFW": ["UNLIKELY", "UNSURE"], "LICENSE": ["?", "cc-by"]},
        {"url": "URL", "text": "TEXT", "source_hash": "hash", "source_similarity": "similarity",
         "source_punsafe": "punsafe", "source_pwatermark": "pwatermark", "license": "LICENSE"},
        {"WIDTH", "HEIGHT", "LANGUAGE", "NSFW"},
    ),
    "Re-LAION": (
        {"url": URLS, "caption": TEXTS, "width": [4, 5], "height": [4, 5], "similarity": FLOATS, "hash": [1, 2],
         "key": ["000000000", "000000001"], "status": ["success"] * 2, "punsafe": f32(FLOATS),
         "pwatermark": f32(FLOATS), "md5": MD5},
        {"url": "url", "text": "caption", "source_hash": "hash", "source_similarity": "similarity",
         "source_punsafe": "punsafe", "source_pwatermark": "pwatermark", "expected_md5": "md5"},
        {"width", "height", "key", "status"},
    ),
    "DataComp": (
        {"uid": ["9f1", "9f2"], "url": URLS, "text": TEXTS, "original_width": [4, 5], "original_height": [4, 5],
         "clip_b32_similarity_score": f32(FLOATS), "clip_l14_similarity_score": f32([0.2, 0.1]),
         "face_bboxes": [[[0.1, 0.2, 0.3, 0.4]], []], "sha256": SHA256},
        {"url": "url", "text": "text", "source_hash": "uid", "source_similarity": "clip_b32_similarity_score",
         "expected_sha256": "sha256"},
        {"original_width", "original_height", "clip_l14_similarity_score", "face_bboxes"},
    ),
    "COYO": (
        {"id": [1, 2], "url": URLS, "text": TEXTS, "width": [4, 5], "height": [4, 5], "image_phash": ["a", "b"],
         "text_length": [3, 4], "num_faces": [0, 1], "clip_similarity_vitb32": FLOATS,
         "clip_similarity_vitl14": FLOATS, "nsfw_score_opennsfw2": FLOATS, "nsfw_score_gantman": FLOATS,
         "watermark_score": FLOATS, "aesthetic_score_laion_v2": FLOATS},
        {"url": "url", "text": "text", "source_hash": "id", "source_similarity": "clip_similarity_vitb32",
         "source_punsafe": "nsfw_score_opennsfw2", "source_pwatermark": "watermark_score"},
        {"width", "height", "image_phash", "text_length", "num_faces", "clip_similarity_vitl14",
         "nsfw_score_gantman", "aesthetic_score_laion_v2"},
    ),
    "PD12M": (
        {"id": ["a", "b"], "url": URLS, "s3_key": ["k", "l"], "caption": TEXTS, "hash": MD5, "width": [4, 5],
         "height": [4, 5], "mime_type": ["image/jpeg"] * 2, "license": ["https://licence.example/zero"] * 2,
         "source": ["Museum", "Library"]},
        {"url": "url", "text": "caption", "source_hash": "id", "license": "license", "expected_md5": "hash"},
        {"s3_key", "width", "height", "mime_type", "source"},
    ),
    "img2dataset": (
        {"url": URLS, "caption": TEXTS, "key": ["0", "1"], "status": ["success", "failed_to_download"],
         "error_message": [None, "HTTP Error 404"], "width": [4, None], "height": [4, None],
         "original_width": [4, None], "original_height": [4, None], "exif": ["{}", None],
         "sha256": [SHA256[1], None]},
        {"url": "url", "text": "caption", "expected_sha256": "sha256"},
        {"key", "status", "error_message", "width", "height", "original_width", "original_height", "exif"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
def test_lists_of_public_data_sets_are_known_by_their_columns(name: str, imported: Import, tmp_path: Path) -> None:
    columns, taken, left_out = SCHEMAS[name]
    pq.write_table(pa.table(columns), path := tmp_path / "part-00000.parquet")
    about, pairs, drops = imported(path)
    assert about.columns.taken == taken
    assert {*about.columns.left_out} == left_out
    assert (drops, pairs["url"].to_list(), pairs["text"].to_list()) == ({}, URLS, TEXTS)
    assert pairs["row_number"].to_list() == [0, 1]
    assert pairs.select("record_offset", "link_position", "page_url").null_count().row(0) == (2, 2, 2)
    for meaning in ("source_hash", "license"):
        told = (
            [None, None]
            if meaning not in taken
            else [str(value) for value in pa.table(columns)[taken[meaning]].to_pylist()]
        )
        assert pairs[meaning].to_list() == told
    similarities = pairs["source_similarity"].to_list()
    assert similarities == ([None, None] if "source_similarity" not in taken else pytest.approx(FLOATS))
    if "expected_md5" in taken:
        assert pairs["expected_md5"].to_list() == [digest.lower() for digest in MD5]


def test_a_list_without_a_header_is_known_by_its_urls(imported: Import, tmp_path: Path) -> None:
    """As CC12M is published: tabs, no header, and quotes that quote nothing."""
    path = tmp_path / "cc12m.tsv"
    path.write_text('http://a.example/1.jpg\tthe "best" <PERSON> of all\nhttp://a.example/2.jpg\t"two of them\n')
    about, pairs, _ = imported(path)
    assert about.format == "tsv"
    assert pairs.select("url", "text").rows() == [
        ("http://a.example/1.jpg", 'the "best" <PERSON> of all'),
        ("http://a.example/2.jpg", '"two of them'),
    ]
    said = imported(path, {"url": "0", "text": "1"})
    assert said.pairs.equals(pairs)


def test_of_three_columns_without_a_header_somebody_has_to_say(imported: Import, tmp_path: Path) -> None:
    path = tmp_path / "three.csv"
    path.write_text("1,http://a.example/1.jpg,a cat on a mat\n2,http://a.example/2.jpg,a dog on a log\n")
    with pytest.raises(ListError, match="no column for url and text among 0, 1, 2: say which it is with --map url="):
        imported(path)
    assert imported(path, {"url": "1", "text": "2"}).pairs["text"].to_list() == ["a cat on a mat", "a dog on a log"]


STRING, LONG = pa.string(), pa.int64()


@pytest.mark.parametrize(
    ("found", "said", "told"),
    [
        ({"url": STRING}, {}, "a.parquet has no column for text among url: say which it is with --map text=COLUMN"),
        ({"link": STRING, "words": STRING}, {}, "no column for url and text among link, words"),
        ({"url": STRING, "URL": STRING, "text": STRING}, {}, "2 columns that mean url: url, URL; say .* --map url=url"),
        ({"url": STRING, "text": STRING, "Caption": STRING}, {}, "2 columns that mean text: text, Caption"),
        ({"url": STRING, "text": LONG}, {}, "the column text would be the text, which are texts, but it holds int64"),
        (
            {"url": STRING, "text": STRING, "x": pa.list_(LONG)},
            {"source_punsafe": "x"},
            "which are numbers, but it holds list",
        ),
        (
            {"url": STRING, "text": STRING},
            {"text": "alt"},
            "no column alt, which --map names for text; it has url, text",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(
    found: dict[str, pa.DataType], said: dict[str, str], told: str
) -> None:
    with pytest.raises(ListError, match=told) as raised:
        map_columns("a.parquet", found, {}, said)
    assert "\n" not in str(raised.value)


def test_what_somebody_says_comes_first() -> None:
    found = {"url": STRING, "text": STRING, "caption": STRING, "id": LONG}
    columns = map_columns("a", found, {}, {"text": "Caption", "source_hash": "text"})
    assert columns.taken == {"url": "url", "text": "caption", "source_hash": "text"}
    assert columns.left_out == ("id",)


def test_what_can_be_left_out_is_no_reason_to_refuse_a_list() -> None:
    found = {"url": STRING, "text": STRING, "punsafe": pa.list_(LONG), "license": pa.struct([]), "id": pa.binary(16)}
    columns = map_columns("a", found, {}, {})
    assert (columns.taken, columns.left_out) == ({"url": "url", "text": "text"}, ("punsafe", "license", "id"))


def test_a_hash_of_texts_is_told_by_its_values(files: Files, tmp_path: Path) -> None:
    found = {}
    for name, values in {"md5": MD5, "sha256": SHA256, "other": ["x1", "x2"]}.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"url": URLS, "text": TEXTS, "hash": values}), path)
        found[name] = next(m for m, c in columns_of(files, str(path), {}).taken.items() if c == "hash")
    assert found == {"md5": "expected_md5", "sha256": "expected_sha256", "other": "source_hash"}
