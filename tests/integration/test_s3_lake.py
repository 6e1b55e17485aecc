"""A lake in a bucket: built by eight at once through a bucket that is busy, then used by every command of ``laion``."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from laion_assets.cli import main
from laion_assets.delta.history import LakeHistory
from laion_assets.delta.lake import Lake
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import LAKE_SETTINGS_FILE, Settings
from laion_assets.tables.catalogue import ALWAYS
from laion_assets.webdataset.samples import read_pictures
from tests.integration.at_once import Processes, build_at_once, processes
from tests.pipeline.conftest import MakeSettings, digests, encoder, environment, make_settings, small_web
from tests.pipeline.trainings import write_benchmarks, write_recipes
from tests.s3 import BUCKET, s3_server, troubled
from tests.s3 import environment as s3_environment

__all__ = ["encoder", "make_settings", "processes", "small_web"]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CRAWL = CRAWLS[0]
URI = f"s3://{BUCKET}/lakes/first"
RECIPE = "tiny"
BENCHMARK = "sample-seen"


@dataclass(frozen=True)
class Crawled:
    """A crawl in a lake in a bucket, and what was done to the requests that built it."""

    settings: Settings
    url: str
    trouble: Counter[str]
    scratch: Path

    @property
    def lake(self) -> Lake:
        return self.settings.open_lake(create=False)


@pytest.fixture(scope="module")
def crawled(
    processes: Processes, make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crawled]:
    """One crawl, built by eight processes, while one request in 25 is refused and some commits go unheard."""
    folder, trouble = tmp_path_factory.mktemp("s3"), Counter[str]()
    recipes = write_recipes(folder, {RECIPE: {"selection": {"source": "unique_pairs"}}})
    shape = {"shards": 4, "buckets": 8, **recipes, "benchmarks": None}
    settings = make_settings(URI, **shape)
    settings = settings.model_copy(update={"download": replace(settings.download, processes=1)})
    scratch = folder / "scratch"
    with s3_server(folder / "log") as url, pytest.MonkeyPatch.context() as patch:
        with troubled(url, trouble, seed=5, refused=0.04, late=0.01, unheard=8) as busy:
            for name, value in s3_environment(busy, scratch).items():
                patch.setenv(name, value)
            build_at_once(settings, CRAWL, processes)
        patch.setenv("AWS_ENDPOINT_URL", url)
        yield Crawled(settings, url, trouble, scratch)


@pytest.fixture(scope="module")
def local(
    crawled: Crawled, processes: Processes, make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory
) -> Lake:
    """The same crawl in a lake in a folder."""
    settings = crawled.settings.model_copy(update={"lake": str(tmp_path_factory.mktemp("local") / "lake")})
    build_at_once(settings, CRAWL, processes)
    return settings.open_lake()


def test_nothing_is_lost_and_nothing_doubled(crawled: Crawled, local: Lake) -> None:
    assert crawled.trouble["refused"] > 50
    assert crawled.trouble["late"] > 10
    assert crawled.trouble["unheard"] == 8, "commits that were made, and refused for all their writers knew"
    history = LakeHistory(crawled.lake)
    for table in ALWAYS:
        assert digests(crawled.lake, table) == digests(local, table), table
        counted = {name: commit.rows for name, commit in local.ledger(table).commits.items()}
        assert crawled.lake.sizes(table)["rows"] == sum(counted.values()), table
        assert {name: commit.rows for name, commit in crawled.lake.ledger(table).commits.items()} == counted
        assert {len(commits) for commits in history.of(table).commits.values()} == {1}, "each was published once"
        assert history.of(table).foreign == ()


def test_every_picture_lies_where_its_row_says_and_nothing_else_was_left(crawled: Crawled) -> None:
    stored = crawled.lake.scan("images").filter(pl.col("shard_path").is_not_null()).collect()
    assert stored.height > 100
    for (tar,), of_tar in stored.group_by("shard_path"):
        with crawled.lake.storage.local(str(tar)) as path:
            pictures = read_pictures(path, of_tar["sample_key"])
        assert pictures.keys() == {*of_tar["sample_key"]}
    published = {file.name for file in crawled.lake.storage.files("files/images")}
    assert published == {*stored["shard_path"]}
    left = [path for path in crawled.scratch.rglob("*") if path.is_file() and "hosts" not in path.parts]
    assert left == [], "scratch holds no more than is at work, and what hosts allow today"


@pytest.fixture
def laion(
    crawled: Crawled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """``laion`` in this process, on the lake in the bucket; gives what it prints."""

    def run(*arguments: str) -> str:
        for name, value in environment(crawled.settings, tmp_path / "dagster").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["laion", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert not ended.value.code, said.err
        return said.out

    return run


def test_commands_that_only_look(crawled: Crawled, laion: Callable[..., str], tmp_path: Path) -> None:
    assert URI in laion("tables")
    status = laion("status")
    assert URI in status
    assert CRAWL in status
    counted = laion("sql", "SELECT count(*) AS n FROM unique_pairs", "--format", "csv").split()
    assert counted == ["n", str(crawled.lake.sizes("unique_pairs")["rows"])]
    commits = laion("sql", "SELECT count(*) AS n FROM commits WHERE table_name = 'images'", "--format", "csv").split()
    assert commits == ["n", "8"]
    pair = crawled.lake.scan("filtered_pairs").select("pair_id").first().collect().item()
    trace = json.loads(laion("lineage", "filtered_pairs", "--pair-id", str(pair), "--format", "json"))
    assert trace["records"], "the pair is followed to its crawl record"
    laion("diff", "images", "0", "8")
    laion("report", "--output", str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").read_text().count("data:image/webp;base64") > 10, "with pictures out of the tars"


def test_models_are_built_and_asked(laion: Callable[..., str]) -> None:
    laion("models", "run", "--select", "funnel")
    assert CRAWL in laion("sql", "FROM funnel", "--format", "csv")


def test_a_recipe_is_trained_and_measured(crawled: Crawled, laion: Callable[..., str], tmp_path: Path) -> None:
    storage = crawled.lake.storage
    write_benchmarks(tmp_path / "benchmarks", BENCHMARK)
    for path in (tmp_path / "benchmarks").rglob("*"):
        if path.is_file():
            storage.publish(path, f"files/benchmarks/{path.relative_to(tmp_path / 'benchmarks')}")
    assert BENCHMARK in laion("benchmarks")
    said = laion("train", RECIPE)
    checkpoints = crawled.lake.scan("clip_checkpoints").sort("epoch").collect()
    assert checkpoints["epoch"].to_list() == [1, 2]
    for path, digest in checkpoints.select("path", "sha256").iter_rows():
        assert sha256(storage.read(path)).hexdigest() == digest
    weights = f"{URI}/{checkpoints['path'][-1]}"
    assert weights in " ".join(said.split())
    laion("evaluate", weights)
    card = storage.read(f"{checkpoints['path'][-1].rpartition('/')[0]}/README.md").decode()
    assert f"zero_shot_scores / epoch 2 / {BENCHMARK}" in card
    shards = {*crawled.lake.scan("training_sets").collect()["shard_path"]}
    sizes = {f"{shard.rpartition('/')[0]}/sizes.json" for shard in shards}
    assert {file.name for file in storage.files("files/training_sets")} == shards | sizes


def test_the_lakes_own_settings_are_read_from_the_bucket(crawled: Crawled, laion: Callable[..., str]) -> None:
    crawled.lake.storage.replace(LAKE_SETTINGS_FILE, b"LAION_SHRADS=4\n")
    try:
        with pytest.raises(AssertionError, match="LAION_SHRADS"):
            laion("status")
    finally:
        crawled.lake.storage.delete([LAKE_SETTINGS_FILE])


def test_what_is_to_be_removed_makes_partitions_due(crawled: Crawled, laion: Callable[..., str]) -> None:
    url = crawled.lake.scan("filtered_pairs").select("url").first().collect().item()
    laion("takedown", "url", url, "--reason", "asked for")
    assert laion("sql", "SELECT value FROM takedowns", "--format", "csv").split() == ["value", url]
    assert "stale" in laion("status")
