"""Every picture is scored by every head once, or counted; what is still right is not computed again."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from laion_assets.scoring.head import Head
from laion_assets.scoring.score import COLUMNS, ScorePlan, plan_scores, score_vectors, wanted_heads, wanted_pixels
from laion_assets.scoring.shapes import Layers, vector_scorer
from laion_assets.scoring.tensors import HeadError
from laion_assets.scoring.weights import tensors_of
from tests.unit.scoring.heads import linear

IMAGES = {
    "url_id": pl.Int64,
    "status": pl.String,
    "sha256": pl.String,
    "shard_path": pl.String,
    "sample_key": pl.String,
}
EMBEDDED = {
    "pair_id": pl.Int64, "sha256": pl.String, "encoder": pl.String, "encoder_sha256": pl.String,
    "preprocess": pl.String, "precision": pl.String, "image_embedding": pl.List(pl.Float32),
}  # fmt: skip
SCORES = dict(zip(COLUMNS, [pl.String] * 4 + [pl.Int32] + [pl.String] * 4 + [pl.Float32], strict=True))
VECTORS = {name: np.random.default_rng(place).normal(size=4).astype(np.float32) for place, name in enumerate("abcd")}


class Bucket:
    """A few pictures with vectors, and what was scored of them before."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.con = folder, duckdb.connect()
        self.images = [(n, "success", name, "a.tar", f"{n:05d}") for n, name in enumerate("abc")]
        self.images += [(3, "failed", None, None, None), (4, "success", "a", "b.tar", "00000")]
        self.embedded: list[tuple[Any, ...]] = [
            (n, name, "B/32", "e1", "p", "fp32", VECTORS[name].tolist()) for n, name in enumerate("aab")
        ]
        self.earlier = pl.DataFrame(schema=SCORES)

    def score(self, *heads: tuple[Head, str | None]) -> tuple[ScorePlan, pl.DataFrame]:
        """Score by these heads; gives the plan and all rows."""
        tables = (("images", self.images, IMAGES), ("embedded", self.embedded, EMBEDDED))
        for name, rows, schema in tables:
            self.con.register(name, pl.DataFrame(rows, schema=schema, orient="row").to_arrow())
        self.con.register("own", self.earlier.to_arrow())
        kept = self.folder / "kept.parquet"
        plan = plan_scores(self.con, images="images", embeddings="embedded", earlier="own", heads=heads, output=kept)
        wanted = wanted_heads(self.con)
        scorers = {h.name: vector_scorer(h, tensors_of(h)) for h, _ in heads if h.made_for and h.name in wanted}
        files = score_vectors(self.con, "embedded", scorers, self.folder)
        rows = pl.concat([pl.read_parquet(file) for file in (kept, *files)])
        assert rows.columns == [*COLUMNS]
        return plan, rows.sort("head", "sha256")


def test_each_picture_is_scored_by_each_head(tmp_path: Path) -> None:
    nice, odd = linear(tmp_path), linear(tmp_path, name="odd", seed=1, measures="unsafe")
    plan, rows = Bucket(tmp_path).score((nice, "B/32"), (odd, "B/32"))
    assert plan == ScorePlan(rows_in=6, taken_over=0, wanted=4, drops={"not_embedded": 2})
    assert rows.select("head", "sha256", "measures", "priority").rows() == [
        *(("nice", sha256, "aesthetic", 0) for sha256 in "ab"),
        *(("odd", sha256, "unsafe", 1) for sha256 in "ab"),
    ]
    for head in (nice, odd):
        expected = vector_scorer(head, tensors_of(head)).score(np.stack([VECTORS["a"], VECTORS["b"]]))
        assert rows.filter(head=head.name)["value"].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert set(rows.select("encoder", "encoder_sha256", "preprocess", "precision").rows()) == {
        ("B/32", "e1", "p", "fp32")
    }


def test_layers_score_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    maps = ((chance.normal(size=(4, 3)), chance.normal(size=3)), (chance.normal(size=(3, 1)), chance.normal(size=1)))
    layers = Layers(maps=maps, is_probability=True)
    bucket = Bucket(tmp_path)
    bucket.score((linear(tmp_path), "B/32"))
    monkeypatch.setattr("laion_assets.scoring.score._ROWS", 1)  # a batch a picture
    (file,) = score_vectors(bucket.con, "embedded", {"nice": layers}, tmp_path)
    scores = pl.read_parquet(file).sort("sha256")["value"].to_numpy()
    assert scores == pytest.approx(layers.score(np.stack([VECTORS["a"], VECTORS["b"]])), abs=1e-6)


def test_what_is_still_right_is_taken_over(tmp_path: Path) -> None:
    nice, bucket = linear(tmp_path), Bucket(tmp_path)
    _, bucket.earlier = bucket.score((nice, "B/32"))
    bucket.earlier = bucket.earlier.with_columns(value=pl.lit(7.0, pl.Float32))

    plan, rows = bucket.score((linear(tmp_path, name="odd", seed=1), "B/32"), (nice, "B/32"))
    assert (plan.taken_over, plan.wanted) == (2, 2)
    assert rows.filter(head="nice").select("value", "priority").rows() == [(7.0, 1), (7.0, 1)]

    plan, rows = bucket.score((linear(tmp_path, name="renamed"), "B/32"))
    assert rows.select("head", "value").rows() == [("renamed", 7.0)] * 2

    for changes in ({"encoder_sha256": "e2"}, {"preprocess": "other"}, {"precision": "amp_bf16"}, {"sha256": "c"}):
        places = dict(zip(EMBEDDED, range(len(EMBEDDED)), strict=True))
        was = bucket.embedded
        bucket.embedded = [tuple(changes.get(name, row[place]) for name, place in places.items()) for row in was[:1]]
        plan, rows = bucket.score((nice, "B/32"))
        assert (plan.taken_over, plan.wanted) == (0, 1), changes
        bucket.embedded = was
    assert bucket.score((linear(tmp_path, seed=2), "B/32"))[0].taken_over == 0


def test_pictures_for_a_head_that_sees_pixels_come_tar_by_tar(tmp_path: Path) -> None:
    head, bucket = linear(tmp_path, measures="watermark", encoder=None), Bucket(tmp_path)
    bucket.images.append((5, "success", "d", "b.tar", "00001"))
    plan, rows = bucket.score((head, None))
    assert (plan.rows_in, plan.wanted, rows.height) == (4, 4, 0)
    tars = {tar: frame.sort("sample_key") for tar, frame in wanted_pixels(bucket.con, head.name)}
    assert {tar: frame.select("sha256", "sample_key").rows() for tar, frame in tars.items()} == {
        "a.tar": [("a", "00000"), ("b", "00001"), ("c", "00002")],
        "b.tar": [("d", "00001")],
    }


def test_vectors_of_another_width_are_refused(tmp_path: Path) -> None:
    head = linear(tmp_path, width=5, encoder={"model": "m", "pretrained": "t", "width": 5, "normalised": True})
    with pytest.raises(HeadError, match="takes vectors of width 5, and those of the lake have 4"):
        Bucket(tmp_path).score((head, "B/32"))


def test_no_head_gives_no_row(tmp_path: Path) -> None:
    plan, rows = Bucket(tmp_path).score()
    assert (plan.rows_in, rows.height) == (0, 0)
