"""Heads score the pictures of a built lake: released pairs carry what they say, and bounds hold."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
import yaml
from safetensors.numpy import save_file
from typer.testing import CliRunner

from laion_assets.cli.main import app
from laion_assets.clip.options import EncoderOptions, content_sha256
from laion_assets.delta.commits import Commit
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.delta.states import State
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.planning.models import ModelRequest
from laion_assets.orchestration.planning.states import current_states
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.pairs.policy import FilterOptions
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import ScoreOptions, Settings, SettingsError, load_settings
from tests.pipeline.conftest import MakeSettings, Quiet, materialise, rows

pytestmark = [pytest.mark.slow, pytest.mark.integration]

Build = Callable[[Settings], set[str]]


BIAS = {"aesthetic": 5.0, "unsafe": 1.0, "watermark": 0.0}


def write_head(
    folder: Path, encoder: EncoderOptions, *, measures: str = "unsafe", seed: int = 0, model: str | None = None
) -> str:
    """A linear head for the sample's encoder, in a file of its own; gives the path of its description."""
    config = json.loads((Path(str(encoder.model_configs)) / f"{encoder.model}.json").read_text())
    width = int(config["embed_dim"])
    weights = folder / f"{measures}-{seed}.safetensors"
    chance = np.random.default_rng(seed)
    save_file(
        {
            "weight": chance.normal(size=(1, width)).astype(np.float32),
            "bias": np.array([BIAS[measures]], np.float32),
        },
        weights,
    )
    described = {
        "name": measures,
        "measures": measures,
        "weights": weights.name,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "encoder": {
            "model": model or encoder.model,
            "pretrained": f"sha256:{content_sha256(Path(encoder.pretrained))}",
            "width": width,
            "normalised": True,
        },
    }
    file = folder / f"{measures}-{seed}.yaml"
    file.write_text(yaml.safe_dump(described))
    return str(file)


def write_detector(folder: Path) -> str:
    """A watermark detector with weights by chance; gives the path of its description."""
    import timm
    import torch

    torch.manual_seed(3)
    network = timm.create_model("efficientnet_b3", pretrained=False, num_classes=2)
    weights, file = folder / "watermark.pt", folder / "watermark.yaml"
    torch.save(network.state_dict(), weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    said = {"name": "watermark", "measures": "watermark", "weights": weights.name, "sha256": digest}
    file.write_text(yaml.safe_dump(said))
    return str(file)


@pytest.fixture
def build(instance: dg.DagsterInstance) -> Build:
    """Builds the first crawl; gives the tables of which something was built."""

    def made(settings: Settings) -> set[str]:
        reporter = Quiet()
        outcome = Builder(settings, instance, reporter).build(CrawlRequest(crawls=CRAWLS[:1]))
        assert outcome.failures == []
        return {table for table, total in reporter.begun.items() if total}

    return made


def of_first(lake: Lake, table: str) -> pl.DataFrame:
    """The rows of the first crawl."""
    return rows(lake, table).filter(crawl=CRAWLS[0])


def test_released_pairs_carry_scores_and_keep_bounds(
    lake_copy: Callable[..., Settings],
    make_settings: MakeSettings,
    build: Build,
    instance: dg.DagsterInstance,
    encoder: EncoderOptions,
    tmp_path: Path,
) -> None:
    settings = lake_copy()
    before = of_first(settings.open_lake(create=False), "filtered_pairs")

    def given(*heads: str, **bounds: Any) -> Settings:
        options = FilterOptions(policy="none", **bounds)
        return make_settings(Path(settings.lake), scores=ScoreOptions(heads=heads), filter=options)

    unsafe, aesthetic = (write_head(tmp_path, encoder, measures=what) for what in ("unsafe", "aesthetic"))
    scored = given(unsafe, aesthetic)
    assert build(scored) == {"image_scores", "filtered_pairs"}
    lake = scored.open_lake(create=False)
    scores, released = of_first(lake, "image_scores"), of_first(lake, "filtered_pairs")

    vectors = of_first(lake, "clip_embeddings").unique("sha256", keep="first")
    weights = np.random.default_rng(0).normal(size=(1, len(vectors["image_embedding"][0]))).astype(np.float32)[0]
    dots = vectors.select("sha256", dot=pl.Series(np.stack(vectors["image_embedding"].to_list()) @ weights))
    expected = released.join(dots, on="sha256", maintain_order="left")["dot"].to_numpy()
    assert np.allclose(released["aesthetic_score"].to_numpy(), expected + BIAS["aesthetic"], atol=1e-3)
    assert np.allclose(released["punsafe"].to_numpy(), 1 / (1 + np.exp(-expected - BIAS["unsafe"])), atol=1e-3)
    assert released["pwatermark"].null_count() == released.height == before.height
    assert scores.height == 2 * scores.n_unique(["crawl", "bucket", "sha256"])
    assert build(scored) == set()

    names = ("tag_rates", "aesthetic")
    assert Builder(scored, instance, Quiet()).build(ModelRequest(models=names)).failures == []
    rates = pl.read_delta(lake.path("tag_rates")).filter(crawl=CRAWLS[0])
    assert rates["scored"].sum() == rates["pairs"].sum() == released.height
    assert {*lake.ledger("aesthetic").periods} == {CRAWLS[0]}  # nothing of the other crawl was scored

    bound = float(released["punsafe"].median())  # type: ignore[arg-type]
    bounded = given(unsafe, aesthetic, max_punsafe=bound)
    assert build(bounded) == {"filtered_pairs"}
    kept = of_first(lake, "filtered_pairs")
    assert set(kept["pair_id"]) == set(released.filter(pl.col("punsafe") <= bound)["pair_id"])
    commits = lake.ledger("filtered_pairs").commits
    drops = sum(commit.drops.get("unsafe", 0) for name, commit in commits.items() if CRAWLS[0] in name)
    assert drops == released.height - kept.height > 0

    other = given(write_head(tmp_path, encoder, seed=1), aesthetic, max_punsafe=bound)
    states = [s for s in current_states(lake, other, CRAWLS[:1]) if s.partition["crawl"] == CRAWLS[0]]
    assert {s.table for s in states if s.reasons} == {"image_scores"}
    assert {s.table for s in states if s.state is not State.DONE} == {"image_scores", "filtered_pairs"}
    assert build(other) == {"image_scores", "filtered_pairs"}
    counts = [commit.counts["taken over"] for commit in lake.ledger("image_scores").commits.values()]
    assert sum(counts) == scores.height // 2  # the aesthetic ones are what they were

    assert build(given()) == {"image_scores", "filtered_pairs"}
    assert of_first(lake, "filtered_pairs").equals(before)


def test_what_cannot_be_scored_is_said_before_anything_is_built(
    lake_copy: Callable[..., Settings],
    make_settings: MakeSettings,
    build: Build,
    encoder: EncoderOptions,
    tmp_path: Path,
) -> None:
    settings = lake_copy(without=["clip_embeddings", "filtered_pairs"])

    def refused(*heads: str, **bounds: Any) -> str:
        options = FilterOptions(policy="none", **bounds)
        asked = make_settings(Path(settings.lake), scores=ScoreOptions(heads=heads), filter=options)
        with pytest.raises(SettingsError) as caught:
            build(asked)
        return str(caught.value)

    assert "no head measures watermark" in refused(write_head(tmp_path, encoder), max_pwatermark=0.5)
    foreign = refused(write_head(tmp_path, encoder, model="ViT-L-14"))
    assert "made for vectors of ViT-L-14/sha256:" in foreign
    assert f"this lake has those of {encoder.model}/sha256:" in foreign
    assert "\n" not in foreign


def test_pixels_are_read_from_the_tars_and_once(
    lake_copy: Callable[..., Settings],
    make_settings: MakeSettings,
    instance: dg.DagsterInstance,
    encoder: EncoderOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("laion_assets.scoring.watermark._SIDE", 64)  # sees less, and in a sixteenth of the time
    settings = lake_copy()
    place: Partition = {"crawl": CRAWLS[0], "bucket": 0}

    def scored(*heads: str) -> tuple[pl.DataFrame, Commit]:
        asked = make_settings(Path(settings.lake), scores=ScoreOptions(heads=heads))
        assert materialise(asked, instance, "image_scores", place)
        lake = asked.open_lake(create=False)
        commit = lake.commit("image_scores", place)
        assert commit is not None
        return rows(lake, "image_scores").sort("head", "sha256"), commit

    marks = write_detector(tmp_path)
    found, commit = scored(write_head(tmp_path, encoder), marks)
    images = rows(settings.open_lake(create=False), "images").filter(crawl=CRAWLS[0], bucket=0, status="success")
    watermarks = found.filter(head="watermark")
    assert watermarks["sha256"].to_list() == sorted(set(images["sha256"]))
    assert watermarks["value"].is_between(0, 1).all()
    assert watermarks["value"].n_unique() > 1
    assert set(watermarks.select("encoder", "encoder_sha256", "priority").rows()) == {(None, None, 1)}
    assert commit.counts["taken over"] == 0
    again, commit = scored(marks, write_head(tmp_path, encoder, seed=1))
    assert commit.counts["taken over"] == watermarks.height
    assert again.filter(head="watermark").drop("priority").equals(watermarks.drop("priority"))


def test_scores_from_elsewhere_are_imported(
    lake_copy: Callable[..., Settings],
    make_settings: MakeSettings,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = lake_copy()
    monkeypatch.setenv("LAION_LAKE", settings.lake)  # the command sets it
    place: Partition = {"crawl": CRAWLS[0], "bucket": 0}
    pairs = rows(settings.open_lake(create=False), "filtered_pairs").filter(crawl=CRAWLS[0], bucket=0).sort("pair_id")
    given = pairs.select("pair_id", value=pl.int_range(pl.len()) / 1_000.0)
    for name, scores in (("theirs", given), ("again", given.with_columns(value=pl.lit(0.9)))):
        scores.write_parquet(tmp_path / f"{name}.parquet")
        told = CliRunner().invoke(
            app, ["scores", "import", str(tmp_path / f"{name}.parquet"), "--name", name, "--measures", "watermark"]
        )
        assert told.exit_code == 0, told.output
        assert f"{pairs.height:,} scores by pair_id lie in the lake as {name}" in told.output
    kept = load_settings()
    assert [head.name for head in kept.heads] == ["theirs", "again"]

    asked = make_settings(Path(settings.lake), scores=kept.scores)
    assert materialise(asked, instance, "image_scores", place)
    assert materialise(asked, instance, "filtered_pairs", place)
    lake = asked.open_lake(create=False)
    released = rows(lake, "filtered_pairs").filter(crawl=CRAWLS[0], bucket=0).sort("pair_id")
    first = given.with_columns(sha256=pairs["sha256"]).unique("sha256", keep="first", maintain_order=True)
    expected = released.select("sha256").join(first, on="sha256", maintain_order="left")["value"]
    assert released["pwatermark"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6)
    commit = lake.commit("image_scores", place)
    assert commit is not None
    assert commit.rows_in == commit.rows + commit.drops.get("not_in_table", 0)
