"""Scores that somebody else computed are taken in by picture or by pair, or refused in a line."""

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import yaml

from laion_assets.clip.options import content_sha256
from laion_assets.scoring.head import Head, read_head
from laion_assets.scoring.imports import check_scores, imported_scores
from laion_assets.scoring.tensors import HeadError
from tests.unit.scoring.test_score import Bucket


def table(folder: Path, measures: str = "unsafe", **columns: list[Any]) -> Head:
    """A file of scores with its description."""
    file = folder / "scores.parquet"
    pl.DataFrame(columns).write_parquet(file)
    said = {"name": "mine", "measures": measures, "table": file.name, "sha256": content_sha256(file)}
    (folder / "mine.yaml").write_text(yaml.safe_dump(said))
    return read_head(folder / "mine.yaml")


def imported(folder: Path, head: Head) -> tuple[dict[str, float], int]:
    bucket = Bucket(folder)
    plan, _ = bucket.score((head, None))
    assert (plan.rows_in, plan.wanted) == (3, 3)
    file, lacking = imported_scores(bucket.con, "embedded", head, folder)
    rows = pl.read_parquet(file)
    assert set(rows.select("head", "encoder", "encoder_sha256", "preprocess", "precision").rows()) <= {
        ("mine", None, None, None, None)
    }
    assert rows.height + lacking == plan.wanted
    return dict(rows.select("sha256", "value").iter_rows()), lacking


def test_scores_of_pictures_are_taken_in(tmp_path: Path) -> None:
    head = table(tmp_path, sha256=["A", "c", "elsewhere"], value=[0.25, 1.0, 0.5])
    assert imported(tmp_path, head) == ({"a": 0.25, "c": 1.0}, 1)


def test_scores_of_pairs_are_those_of_their_pictures(tmp_path: Path) -> None:
    head = table(tmp_path, "aesthetic", pair_id=[1, 0, 2, 77], value=[9.0, -4.0, 5.5, 1.0])
    assert imported(tmp_path, head) == ({"a": -4.0, "b": 5.5}, 1)  # pairs 0 and 1 have one picture


def test_what_was_taken_in_before_is_still_right(tmp_path: Path) -> None:
    head = table(tmp_path, sha256=["a"], value=[0.25])
    bucket = Bucket(tmp_path)
    bucket.score((head, None))
    file, _ = imported_scores(bucket.con, "embedded", head, tmp_path)
    bucket.earlier = pl.read_parquet(file)
    assert bucket.score((head, None))[0].taken_over == 1


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"sha256": ["a"], "score": [1.0]}, "expected a column value"),
        ({"sha256": ["a"], "value": [1]}, "found sha256 VARCHAR, value BIGINT"),
        ({"url": ["a"], "value": [1.0]}, "one of sha256"),
        ({"sha256": ["a"], "pair_id": [1], "value": [1.0]}, "one of sha256"),
        ({"sha256": ["a", "A"], "value": [0.1, 0.2]}, "one row for each sha256, found 2 rows of 1"),
        ({"sha256": ["a", None], "value": [0.1, 0.2]}, "one row for each sha256, found 2 rows of 1"),
        ({"pair_id": [1, 2, 3], "value": [0.1, 1.1, None]}, "probabilities from 0 to 1, found other values in 2 of 3"),
        ({"pair_id": [1, 2], "value": [0.1, float("nan")]}, "found other values in 1 of 2"),
    ],
)
def test_what_is_no_table_of_scores_is_refused(tmp_path: Path, columns: dict[str, list[Any]], said: str) -> None:
    head = table(tmp_path, **columns)
    with pytest.raises(HeadError, match=said) as caught:
        check_scores(duckdb.connect(), Path(head.weights), head.measures)
    assert "\n" not in str(caught.value)


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    head = table(tmp_path, sha256=["a"], value=[0.25])
    bucket = Bucket(tmp_path)
    bucket.score((head, None))
    pl.DataFrame({"sha256": ["a"], "value": [0.0]}).write_parquet(head.weights)
    with pytest.raises(HeadError, match=rf"with the SHA-256 {head.sha256}, found "):
        imported_scores(bucket.con, "embedded", head, tmp_path)
    Path(head.weights).write_bytes(b"PAR1")
    with pytest.raises(HeadError, match="expected a Parquet file of scores"):
        check_scores(duckdb.connect(), Path(head.weights), head.measures)
