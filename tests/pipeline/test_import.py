"""A list of urls goes the road of a crawl: entered by the command line, built, downloaded, followed back to its row."""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from laion_assets.cli.main import app
from laion_assets.delta.lineage import Lineage
from laion_assets.delta.rows import RowFinder
from laion_assets.download.options import DownloadOptions
from laion_assets.lake.pair_lineage import PairLineage
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.planning.releases import ReleaseRequest
from laion_assets.orchestration.registration import registered
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.pairs.policy import FilterOptions
from laion_assets.release.options import ReleaseOptions
from laion_assets.settings import Settings
from laion_assets.sql.session import connect
from laion_assets.webdataset.writer import write_samples
from tests.pipeline.conftest import Quiet, Web, environment
from tests.pipeline.documented import REPOSITORY, commands
from tests.pipeline.trainings import run_one, samples_of, write_recipes
from tests.unit.sources.lists.test_columns import SCHEMAS

pytestmark = pytest.mark.integration


class Road(NamedTuple):
    """A lake, how to type commands for it and how to build in it."""

    settings: Settings
    laion: Callable[..., Result]
    build: Callable[..., Outcome]
    instance: dg.DagsterInstance


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("imported")
    settings = Settings(
        _env_file=None, lake=str(folder / "lake"), source=str(folder / "no source"), shards=2, buckets=2,
        download=DownloadOptions(
            allowed_networks=("127.0.0.0/8", "::1/128"), timeout_seconds=2.0, deadline_seconds=4.0, retries=0,
            connections_per_host=64, min_image_size=8, max_aspect_ratio=20.0,
        ),
    )  # type: ignore[call-arg]  # fmt: skip

    def laion(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=environment(settings, folder / "dagster"))

    with dg.DagsterInstance.ephemeral() as instance:

        def build(*crawls: str, until: str = "images") -> Outcome:
            return Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=crawls, until=until))

        yield Road(settings, laion, build, instance)


@pytest.fixture(scope="module")
def good(small_web: Web) -> pl.DataFrame:
    """Twelve urls of the sample whose pictures are there, with their texts and the MD5 of their bytes."""
    rows = small_web.truth.filter(pl.col("outcome") == "embedded").unique("url").sort("url").head(12)
    bodies = [urlopen(url).read() for url in rows["url"]]
    return rows.select("url", "text").with_columns(
        md5=pl.Series([hashlib.md5(body, usedforsecurity=False).hexdigest() for body in bodies])
    )


@pytest.fixture(scope="module")
def built(road: Road, good: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list ``mine``, which was built as far as its pictures."""
    path = tmp_path_factory.mktemp("lists") / "part-0.parquet"
    wrong = pl.when(pl.col("n") == 3).then(pl.lit("f" * 32)).when(pl.col("n") < 6).then("md5")
    listed = good.with_row_index("n").select(URL="url", TEXT="text", hash=pl.col("n").cast(pl.Int64) - 5, md5=wrong)
    dirt = listed.head(2).with_columns(TEXT=pl.Series(["", None]))
    pl.concat([listed, listed[5:6], dirt]).write_parquet(path, row_group_size=4)
    told = road.laion("import", "mine", str(path))
    assert told.exit_code == 0, told.output
    assert road.build("mine").failures == []
    return path


def rows(road: Road, sql: str) -> list[tuple[object, ...]]:
    with connect(road.settings.open_lake(create=False)) as con:
        return con.sql(sql).fetchall()


def test_every_row_is_a_pair_or_was_dropped_for_a_reason(road: Road, built: Path, good: pl.DataFrame) -> None:
    assert rows(road, "SELECT url, text FROM unique_pairs ORDER BY url") == good.select("url", "text").rows()
    lake = road.settings.open_lake(create=False)
    dropped: dict[str, int] = {}
    for table in ("candidate_pairs", "unique_pairs"):
        for commit in lake.ledger(table).commits.values():
            assert commit.rows_in == commit.rows + sum(commit.drops.values())
            dropped |= {reason: dropped.get(reason, 0) + n for reason, n in commit.drops.items()}
    assert dropped == {"no_alt": 2, "duplicate": 1}
    assert rows(road, "SELECT DISTINCT path FROM unique_pairs") == [(str(built),)]


def test_a_picture_that_is_another_one_is_no_success(road: Road, built: Path, good: pl.DataFrame) -> None:
    found = rows(road, "SELECT url, status, failure, expected IS NULL FROM images ORDER BY url")
    assert found == [
        (url, "failed" if n == 3 else "success", "hash_mismatch" if n == 3 else None, n >= 6)
        for n, url in enumerate(good["url"])
    ]
    [(detail,)] = rows(road, "SELECT failure_detail FROM images WHERE failure IS NOT NULL")
    assert detail.endswith(f"and {'f' * 32} was expected")


def test_nothing_is_left_to_do(road: Road, built: Path) -> None:
    outcome = road.build("mine")
    assert (outcome.built, outcome.failures) == (0, [])
    again = road.laion("import", "mine", str(built))
    assert "mine has these files already: 1 file, 15 rows; nothing was changed" in again.output


def test_a_pair_is_followed_to_its_row_in_the_file(road: Road, built: Path, good: pl.DataFrame) -> None:
    url = good["url"][7]
    [(pair, hash_)] = rows(road, f"SELECT pair_id, source_hash FROM unique_pairs WHERE url = '{url}'")
    assert hash_ == "2"
    lineage = Lineage(road.settings.open_lake(create=False))
    with RowFinder(lineage.history) as finder:
        [record] = PairLineage(lineage, finder).back("unique_pairs", pair).records
    assert (record.path, record.row_number) == (str(built), 7)
    assert record.file_sha256 == hashlib.sha256(built.read_bytes()).hexdigest()
    assert (record.record_offset, record.page_url) == (None, None)
    told = road.laion("lineage", "unique_pairs", "--pair-id", str(pair)).output
    assert "the row of the list" in told
    assert "7, counted from 0" in told


def test_a_later_import_gives_way_whatever_its_name(
    road: Road, built: Path, good: pl.DataFrame, tmp_path: Path
) -> None:
    more = pl.concat([good.select("url", "text"), good.select(pl.col("url") + "?new", "text").head(2)])
    more.select(caption="text", image_url="url").write_ndjson(tmp_path / "more.jsonl")
    told = road.laion("import", "a-first-name", str(tmp_path))
    assert "entered a-first-name: 1 file, 14 rows" in told.output
    assert road.build("a-first-name", until="unique_pairs").failures == []
    lake = road.settings.open_lake(create=False)
    commits = [c for name, c in lake.ledger("unique_pairs").commits.items() if "a-first-name" in name]
    assert sum(c.rows for c in commits) == 2
    assert sum(c.drops.get("seen_in_earlier_crawl", 0) for c in commits) == 12
    assert lake.periods == ["mine", "a-first-name"]
    assert {*registered(road.instance, "crawl")} >= {"mine", "a-first-name"}


def test_a_file_that_changed_fails_the_step_in_one_line(road: Road, tmp_path: Path) -> None:
    path = tmp_path / "moving.csv"
    path.write_text("url,text\nhttp://a.example/1.jpg,a text that stays\n")
    assert road.laion("import", "moving", str(path)).exit_code == 0
    path.write_text("url,text\nhttp://a.example/1.jpg,a text that went\n")
    [(table, _, error), *_] = road.build("moving", until="candidate_pairs").failures
    assert table == "wat_files"
    assert error.startswith(f"{path} changed since it was imported: ")
    assert "`laion import moving …`" in error
    assert road.laion("import", "moving", str(path)).exit_code == 0
    assert road.build("moving", until="candidate_pairs").failures == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing-there", "{}/none.parquet"], "there is no file or folder"),
        (["no-text", "{}/a.csv"], "has no column for text among url"),
        (
            ["mapped", "{}/a.csv", "--map", "words=url"],
            "--map: expected MEANING=COLUMN with a meaning out of url, text",
        ),
        (["CC-MAIN-2030-01", "{}/a.csv"], "called like a snapshot of Common Crawl"),
    ],
)
def test_what_cannot_be_imported_registers_nothing(
    road: Road, arguments: Sequence[str], told: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("url\nhttp://a.example/1.jpg\n")
    before = road.settings.open_lake().order.entered
    result = road.laion("import", *(word.format(tmp_path) for word in arguments))
    assert result.exit_code != 0
    assert told in f"{result.output}{result.exception}"
    assert road.settings.open_lake().order.entered == before


def test_the_commands_that_are_shown_run(
    road: Road, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = commands("docs/howto/import.md", "import ")
    (tmp_path / "part-0.parquet").write_bytes(built.read_bytes())
    (tmp_path / "list.csv").write_text("n,LINK,words\n1,http://a.example/1.jpg,some words\n")
    (tmp_path / "tars").mkdir()
    write_samples(
        tmp_path / "tars" / "0.tar", [("0", {"jpg": b"picture", "json": b'{"url": "http://a.example/1.jpg"}'})]
    )
    monkeypatch.chdir(tmp_path)
    assert len(shown) == 2
    shown += [
        shlex.split(text)
        for text in re.findall(r"`laion (import .*?--map.*?)`", (REPOSITORY / "docs/howto/import.md").read_text())
    ]
    assert len(shown) == 3
    for words in shown:
        told = road.laion(*words, "--dry-run")
        assert (told.exit_code, "taken: url from" in told.output) == (0, True), told.output


def test_the_imports_are_listed_where_crawls_are(road: Road, built: Path) -> None:
    assert "mine" in road.laion("imports").output
    status = json.loads(road.laion("status", "--json").output)
    assert status["crawls"]["mine"]["images"]["done"] == 2


def test_a_release_says_the_licences_that_a_list_names(road: Road, tmp_path: Path) -> None:
    listed = {"url": [f"http://a.example/{n}.jpg" for n in range(2)], "license": ["CC-BY-4.0", None]}
    pl.DataFrame(listed | {"text": "a text as it stands"}).write_parquet(tmp_path / "licensed.parquet")
    assert road.laion("import", "licensed", str(tmp_path / "licensed.parquet")).exit_code == 0
    assert road.build("licensed", until="unique_pairs").failures == []
    options = ReleaseOptions(
        destination=str(tmp_path / "release"), source="unique_pairs", selection="crawl = 'licensed'", has_pictures=False
    )
    made = Builder(road.settings, road.instance, Quiet()).build(ReleaseRequest(name="licensed", options=options))
    assert made.failures == []
    released = pl.read_parquet(tmp_path / "release/data", hive_partitioning=False)
    assert dict(released.select("URL", "license").iter_rows()) == dict(zip(*map(listed.get, listed), strict=True))


def test_lists_of_seven_public_schemas_go_the_whole_road(
    lake_copy: Callable[..., Settings], small_web: Web, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Two rows of each, in one import: to released pairs, and into a training set."""
    recipe = {"selection": {"source": "filtered_pairs", "where": "crawl = 'seven'"}, "samples_per_shard": 14,
              "samples_seen": 28, "global_batch_size": 14, "epochs": 2}  # fmt: skip
    none = FilterOptions(policy="none")
    settings = lake_copy(filter=none, **write_recipes(tmp_path, {"of_lists": recipe}))
    urls = small_web.truth.filter(outcome="embedded").unique("url").sort("url")["url"].head(2 * len(SCHEMAS)).to_list()
    files, texts = [], {}
    for number, (name, (columns, taken, _)) in enumerate(SCHEMAS.items()):
        own = urls[2 * number : 2 * number + 2]
        bodies = [urlopen(url).read() for url in own]
        digests = {
            "expected_md5": [hashlib.md5(body, usedforsecurity=False).hexdigest() for body in bodies],
            "expected_sha256": [hashlib.sha256(body).hexdigest() for body in bodies],
        }
        told = {"url": own, "text": [f"Words of {name} about {n}" for n in range(2)], **digests}
        texts |= dict(zip(own, told["text"], strict=True))
        filled = columns | {taken[meaning]: values for meaning, values in told.items() if meaning in taken}
        files.append(tmp_path / f"{number}.parquet")
        pl.DataFrame(filled, strict=False).write_parquet(files[-1])
    variables = environment(settings, tmp_path / "dagster")
    entered = CliRunner().invoke(app, ["import", "seven", *map(str, files)], env=variables)
    assert entered.exit_code == 0, entered.output
    assert Builder(settings, instance, Quiet()).build(CrawlRequest(crawls=["seven"])).failures == []
    assert run_one(settings, instance, "training_sets", {"recipe": "of_lists"}) is None
    lake = settings.open_lake(create=False)
    with connect(lake) as con:
        released = con.sql("SELECT url, text FROM filtered_pairs WHERE crawl = 'seven'").fetchall()
        licences = con.sql("SELECT count(license) FROM filtered_pairs WHERE crawl = 'seven'").fetchone()
    assert dict(released) == texts
    assert licences == (4,), "of LAION-2B-multi and PD12M"
    assert {sample.text for sample in samples_of(lake, "of_lists")} == {*texts.values()}
