from pathlib import Path

import polars as pl
import pytest

from laion_assets.clip.calibration import CalibrationError
from laion_assets.clip.calibration_pairs import read_pairs

HUB = pl.Struct({"bytes": pl.Binary, "path": pl.String})
"""Hugging Face's feature ``Image``, as ``datasets`` writes it to Parquet."""


def written(folder: Path, images: list, image_type, texts: list, text_type) -> Path:
    path = folder / "pairs.parquet"
    images_of, texts_of = pl.Series("image", images, dtype=image_type), pl.Series("text", texts, dtype=text_type)
    pl.DataFrame([images_of, texts_of, pl.Series("more", range(len(images)))]).write_parquet(path)
    return path


def test_plain_columns_are_taken_as_they_are(tmp_path):
    found = read_pairs(written(tmp_path, [b"a", b"b"], pl.Binary, ["one", "two"], pl.String))
    assert found.pairs.rows() == [(b"a", "one"), (b"b", "two")]
    assert found.left_out == {}


def test_pictures_may_be_structs_as_hugging_face_has_them(tmp_path):
    images = [
        {"bytes": b"a", "path": "a.jpg"},
        {"bytes": None, "path": "/etc/passwd"},
        None,
        {"bytes": b"", "path": None},
    ]
    found = read_pairs(written(tmp_path, images, HUB, ["one", "two", "three", "four"], pl.String))
    assert found.pairs.rows() == [(b"a", "one")]
    assert found.left_out == {"no picture": 3}


@pytest.mark.parametrize("kind", [pl.List(pl.String), pl.Array(pl.String, 3)])
def test_of_several_captions_the_first_that_says_something_is_taken(tmp_path, kind):
    captions = [["one", "first", "uno"], [None, " ", "two"], ["", None, ""], None]
    found = read_pairs(written(tmp_path, [b"a", b"b", b"c", b"d"], pl.Binary, captions, kind))
    assert found.pairs.rows() == [(b"a", "one"), (b"b", "two")]
    assert found.left_out == {"no text": 2}


def test_rows_without_picture_or_text_are_counted(tmp_path):
    images, texts = [b"a", None, b"c", b"", None, b"f"], ["one", "two", None, "four", None, " \n"]
    found = read_pairs(written(tmp_path, images, pl.Binary, texts, pl.String))
    assert found.pairs.rows() == [(b"a", "one")]
    assert found.left_out == {"no picture": 3, "no text": 2}


@pytest.mark.parametrize(
    ("images", "image_type", "texts", "text_type", "message"),
    [
        (["a.jpg"], pl.String, ["one"], pl.String, "found an image of type String"),
        ([{"path": "a.jpg"}], pl.Struct({"path": pl.String}), ["one"], pl.String, "found an image of type Struct"),
        ([b"a"], pl.Binary, [1], pl.Int64, "found a text of type Int64"),
        ([b"a"], pl.Binary, [[1]], pl.List(pl.Int64), "found a text of type List"),
        ([None, None], pl.Null, ["one", "two"], pl.String, "found 2 rows: 2 with no picture"),
        ([b"a", None], pl.Binary, [None, "b"], pl.String, "found 2 rows: 1 with no picture, 1 with no text"),
        ([], pl.Binary, [], pl.String, "found 0 rows: none"),
    ],
)
def test_what_is_of_no_use_is_one_clear_error(tmp_path, images, image_type, texts, text_type, message):
    with pytest.raises(CalibrationError, match=message) as caught:
        read_pairs(written(tmp_path, images, image_type, texts, text_type))
    assert "\n" not in str(caught.value)


def test_a_missing_column_and_a_file_that_is_none_are_clear_errors(tmp_path):
    pl.DataFrame({"image": [b"a"], "caption": ["one"]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(CalibrationError, match="found image, caption"):
        read_pairs(tmp_path / "other.parquet")
    (tmp_path / "no.parquet").write_text("no Parquet")
    for name in ("no.parquet", "absent.parquet"):
        with pytest.raises(CalibrationError, match="expected a Parquet file with columns image"):
            read_pairs(tmp_path / name)
