"""Releases of a whole lake: what they hold, what they stay, what is written again and what is refused."""

import html
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from laion_assets.consent.removals import Removals
from laion_assets.delta.lake import Lake
from laion_assets.delta.retention import plan_retention
from laion_assets.lake.takedowns import request_takedown
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.planning.releases import ReleaseRequest
from laion_assets.orchestration.planning.waves import RequestError
from laion_assets.orchestration.removals import current_removals
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.release.begun import files_of, known_release
from laion_assets.release.cleaning.fetching import fetch_feed
from laion_assets.release.diff import diff_releases
from laion_assets.release.feed import Request
from laion_assets.release.manifest import read_manifest
from laion_assets.release.options import ReleaseOptions
from laion_assets.release.page import write_release_page
from laion_assets.release.place import open_place
from laion_assets.release.refresh import refresh_feed
from laion_assets.release.verify import verify_release
from laion_assets.report.page import ReportOptions
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from tests.faults.forked import Happening, start
from tests.pipeline.conftest import Built, MakeSettings, Quiet, environment
from tests.s3 import BUCKET, s3_server
from tests.s3 import environment as s3_environment
from tests.unit.release.made import contents

PLAIN = ("huggingface", "croissant")
ALL = ("webdataset", "clip-retrieval", *PLAIN)


@dataclass(frozen=True)
class Publisher:
    """A lake that releases are made of, in folders beside it."""

    settings: Settings
    instance: dg.DagsterInstance
    folder: Path

    @property
    def lake(self) -> Lake:
        return self.settings.open_lake(create=False)

    def release(self, name: str, **options: object) -> Outcome:
        """Make a release, or go on with one."""
        given = ReleaseOptions(**options)  # type: ignore[arg-type]
        return Builder(self.settings, self.instance, Quiet()).build(ReleaseRequest(name=name, options=given))

    def begin(self, name: str, **options: object) -> Path:
        """Make a new release; gives its folder."""
        outcome = self.release(name, destination=str(self.folder / name), **options)
        assert outcome.failures == []
        return self.folder / name


@pytest.fixture(scope="module")
def publisher(
    undisturbed: Built, make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Publisher]:
    folder = tmp_path_factory.mktemp("released")
    shutil.copytree(undisturbed.settings.lake, folder / "lake")
    with dg.DagsterInstance.ephemeral() as own:
        yield Publisher(make_settings(folder / "lake"), own, folder)


@pytest.fixture(scope="module")
def first(publisher: Publisher) -> Path:
    """All filtered pairs, with pictures, in every format."""
    return publisher.begin("first", has_pictures=True, formats=ALL, description="All of it.")


def listed(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "data", hive_partitioning=False).sort("pair_id")


def faults(folder: Path, **options: object) -> list[str]:
    return [fault.line for fault in verify_release(open_place(str(folder)), **options)]  # type: ignore[arg-type]


def test_a_release_holds_the_pairs_that_were_selected(publisher: Publisher, first: Path) -> None:
    pairs = publisher.lake.scan("filtered_pairs").collect().sort("pair_id")
    found = listed(first).select("pair_id", url="URL", text="TEXT", sha256="sha256", crawl="crawl")
    assert_frame_equal(found, pairs.select(found.columns))
    manifest = read_manifest(open_place(str(first)))
    assert sum(file.rows or 0 for file in manifest.files if file.kind == "ids") == pairs.height
    assert {file.crawl for file in manifest.files if file.kind == "ids"} == {*CRAWLS}
    assert faults(first) == []
    assert (first / "README.md").is_file()
    assert (first / "croissant.json").is_file()


def test_its_row_says_what_it_is_and_at_which_versions(publisher: Publisher, first: Path) -> None:
    known, lake = known_release(publisher.lake, "first"), publisher.lake
    assert (known.pairs, known.pictures) == (listed(first).height,) * 2
    assert known.terms.description == "All of it."
    assert known.versions["filtered_pairs"] == lake.sizes("filtered_pairs")["version"]
    files = files_of(lake, "first")
    assert files["path"].is_unique().all()
    assert {*files.select("crawl", "bucket").iter_rows()} == {(crawl, bucket) for crawl in CRAWLS for bucket in (0, 1)}
    manifest = read_manifest(open_place(str(first)))
    of_parts = {file.path: file.sha256 for file in manifest.files if file.crawl is not None}
    assert of_parts == dict(files.select("path", "sha256").iter_rows())


def test_the_same_request_again_does_nothing(publisher: Publisher, first: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    outcome = publisher.release("first", formats=ALL)
    assert (outcome.built, outcome.failures) == (0, [])
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before


def test_only_what_is_gone_is_written_again_with_the_same_bytes(publisher: Publisher, first: Path) -> None:
    before = contents(first)
    [lost] = (first / "data" / "en").glob("*000001.parquet")
    lost.unlink()
    (first / "manifest.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in (first / "ids").iterdir() if "000001" not in path.name}
    assert publisher.release("first").failures == []
    assert contents(first) == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"selection": "false"}, "release first was begun with --where 'true', not 'false'"),
        ({"formats": ("laion",)}, "never changes, choose another name"),
    ],
)
def test_a_release_never_changes(publisher: Publisher, first: Path, options: dict[str, object], said: str) -> None:
    before = contents(first)
    with pytest.raises(RequestError, match=said):
        publisher.release("first", **options)
    assert contents(first) == before


def test_what_cannot_be_released_is_refused_before_anything_is_made(publisher: Publisher, first: Path) -> None:
    for options, said in (
        ({"destination": str(first)}, "is not empty"),
        ({"destination": f"{publisher.lake.uri}/inside"}, "is in the lake"),
        ({"formats": ("webdataset",)}, "--pictures"),
        ({"source": "nowhere"}, "no such table or enabled SQL model"),
    ):
        with pytest.raises(Exception, match=said):
            publisher.release("other", **{"destination": str(publisher.folder / "other"), **options})
    outcome = publisher.release("other", destination=str(publisher.folder / "other"), selection="similarity > 2")
    [(_, _, error)] = outcome.failures
    assert error == "the release would be empty: filtered_pairs WHERE similarity > 2 names no pair"
    assert not (publisher.folder / "other").exists()
    assert "release=other" not in publisher.lake.ledger("releases").commits


def test_a_predicate_may_look_at_all_pairs(publisher: Publisher) -> None:
    folder = publisher.begin(
        "best", formats=("laion",), selection="similarity >= (SELECT median(similarity) FROM filtered_pairs)"
    )
    pairs = publisher.lake.scan("filtered_pairs").collect()
    wanted = pairs.filter(pl.col("similarity") >= pairs["similarity"].median())
    assert listed(folder)["pair_id"].to_list() == wanted["pair_id"].sort().to_list()


def test_pairs_without_a_picture_are_links_and_no_pictures(publisher: Publisher) -> None:
    links = publisher.begin("links", formats=("laion",), source="unique_pairs")
    pictures = publisher.begin("pictures", formats=("webdataset",), source="unique_pairs", has_pictures=True)
    unique = publisher.lake.scan("unique_pairs").collect().height
    known = known_release(publisher.lake, "pictures")
    assert listed(links).height == unique
    assert known.left_out == {"no picture": unique - known.pairs}
    assert known.pairs < unique
    assert faults(links) == faults(pictures) == []


def test_what_it_was_made_from_stays_until_it_is_let_go(publisher: Publisher, first: Path) -> None:
    lake, later = publisher.lake, datetime.now(UTC) + timedelta(days=90)
    pinned = {(pin.reader, pin.table) for pin in plan_retention(lake, now=later).pins}
    assert {("releases release=first", table) for table in known_release(lake, "first").versions} <= pinned
    let_go = {pin.reader for pin in plan_retention(lake, now=later, let_go={"release=first"}).pins}
    assert "releases release=first" not in let_go


# -- removals, and the release after them -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def removed(publisher: Publisher, first: Path) -> int:
    """A pair of the first release whose removal was asked for since; what is to be built again is not yet."""
    pair = int(listed(first)["pair_id"][0])
    request_takedown(publisher.lake, "pair_id", str(pair), "because")
    return pair


@pytest.fixture(scope="module")
def second(publisher: Publisher, first: Path, removed: int) -> Path:
    """The release of the same after the removal was built."""
    outcome = publisher.release("second", destination=str(publisher.folder / "second"), has_pictures=True, formats=ALL)
    [(_, _, error)] = outcome.failures
    assert error.startswith("1 pair of the release would be on a takedown or a deny list: `laion build CC-MAIN-2026-0")
    assert not (publisher.folder / "second").exists()
    request = CrawlRequest(crawls=CRAWLS)
    assert Builder(publisher.settings, publisher.instance, Quiet()).build(request).failures == []
    return publisher.begin("second", has_pictures=True, formats=ALL)


def test_what_is_to_be_removed_is_told_of_a_release(publisher: Publisher, first: Path, removed: int) -> None:
    [found] = faults(first, removals=current_removals(publisher.lake, publisher.settings))
    assert "1 row is to be removed by now" in found


def test_only_the_part_that_changed_is_written_for_the_next_release(
    publisher: Publisher, first: Path, second: Path, removed: int
) -> None:
    files = files_of(publisher.lake, "second")
    [changed] = listed(first).filter(pair_id=removed)["crawl"].to_list()
    written = files.filter(pl.col("taken_from").is_null()).select("crawl", "bucket").unique()
    assert written["crawl"].to_list() == [changed]
    assert "first" in files["taken_from"].to_list()
    assert removed not in listed(second)["pair_id"].to_list()
    assert listed(second).height == listed(first).height - 1
    assert faults(second, removals=current_removals(publisher.lake, publisher.settings)) == []
    assert (second / "removals.jsonl").read_bytes().count(b"\n") == 1


def test_two_releases_differ_in_what_was_removed(publisher: Publisher, first: Path, second: Path, removed: int) -> None:
    found = diff_releases(*(open_place(str(place)) for place in (first, second)), show=5, lake=publisher.lake)
    assert (found.added, found.removed, found.changed) == (0, 1, 0)
    assert [(pair.pair_id, pair.how) for pair in found.shown] == [(removed, "removed")]
    assert dict(found.reasons) == {"is no unique pair any more": 1}


def test_a_page_about_a_release_shows_nothing_that_is_to_be_removed(
    publisher: Publisher, first: Path, removed: int, tmp_path: Path
) -> None:
    urls = dict(listed(first).select("pair_id", "URL").iter_rows())
    page, options = tmp_path / "first.html", ReportOptions(pictures=60)
    removals, release = current_removals(publisher.lake, publisher.settings), known_release(publisher.lake, "first")
    models = publisher.settings.models
    written = write_release_page(publisher.lake, release, page, options, models=models, removals=removals)
    content = html.unescape(page.read_text())
    assert written == page.stat().st_size
    assert f"{release.pairs} pairs" in re.sub(r"<[^>]+>", "", content)
    assert content.count("<img") > 50
    lowest = sorted(urls)[:10]
    assert removed == lowest[0]
    assert urls[removed] not in content
    assert sum(urls[pair] in content for pair in lowest[1:]) == 9
    before = page.read_bytes()
    write_release_page(publisher.lake, release, page, options, models=models, removals=removals)
    assert page.read_bytes() == before


# -- kills, and buckets -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def to_kill(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, bytes]]:
    """``to_kill(moment)``: makes a release that was begun, is killed then, and goes on; gives its bytes."""
    home = tmp_path_factory.mktemp("home")
    whole = publisher.begin("killed", has_pictures=True, formats=ALL)
    kept = tmp_path_factory.mktemp("kept") / "whole"
    shutil.copytree(whole, kept)

    def run(moment: int) -> dict[str, bytes]:
        shutil.rmtree(whole, ignore_errors=True)
        shutil.rmtree(Path(publisher.settings.lake) / "release_files")
        variables = environment(publisher.settings, home) | {"LAION_SCRATCH": str(publisher.folder)}
        said = home / f"said-{moment}.txt"
        ran = start(("release", "killed"), variables, said, Happening(signal=9, moment=moment)).ended()
        assert ran.code in (-9, 0), ran.said
        left = contents(whole) if whole.is_dir() else {}
        assert ran.code == 0 or "manifest.json" not in left or left == contents(kept), "a manifest, and not all of it"
        assert publisher.release("killed").failures == []
        assert faults(whole) == []
        assert contents(whole) == contents(kept)
        return left

    return run


@pytest.mark.slow
@pytest.mark.parametrize("moment", [15, 40, 80, 120, 160])
def test_a_kill_at_any_moment_leaves_what_is_gone_on_with(
    to_kill: Callable[[int], dict[str, bytes]], moment: int
) -> None:
    to_kill(moment)


@pytest.mark.slow
def test_a_release_to_a_bucket(
    publisher: Publisher, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(tmp_path / "log") as url:
        for name, value in s3_environment(url, tmp_path / "scratch").items():
            monkeypatch.setenv(name, value)
        address = f"s3://{BUCKET}/releases/one"
        assert publisher.release("in a bucket".replace(" ", "-"), destination=address, formats=PLAIN).failures == []
        place = open_place(address)
        assert [*verify_release(place, current_removals(publisher.lake, publisher.settings))] == []
        assert known_release(publisher.lake, "in-a-bucket").terms.destination == address
        with place.mirror(file.path for file in read_manifest(place).files) as root:
            assert listed(root).height == known_release(publisher.lake, "in-a-bucket").pairs
        place.delete(["data/en/part-000000.parquet"])
        assert [fault.line for fault in verify_release(place)] == ["data/en/part-000000.parquet: the file is gone"]
        assert publisher.release("in-a-bucket").failures == []
        assert [*verify_release(place)] == []
        pair, day = listed(first)["pair_id"][-1], datetime(2026, 12, 1, tzinfo=UTC)
        request = Request(at=day, kind="pair_id", value=str(pair), reason="other")
        before, after = refresh_feed(place, [request], Removals.none(), day)
        assert after == before + 1
        assert all("1 row is to be removed by now" in fault.line for fault in verify_release(place))
        assert fetch_feed(f"{address}/removals.jsonl").content == place.read("removals.jsonl")


def laion(*arguments: str) -> str:
    """What the command line says, where it ends well."""
    command = [sys.executable, "-m", "laion_assets", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_a_removal_reaches_an_old_release_and_a_copy_of_it(
    publisher: Publisher, first: Path, removed: int, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(first, tmp_path / "copy"))
    files = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert f"{first}: 1 row, 1 of them new" in laion("release", "feed", "first", "--lake", publisher.settings.lake)
    changed = {path.name for path, content in files.items() if path.read_bytes() != content}
    assert changed == {"removals.jsonl", "manifest.json"}
    assert "rows removed" in laion("clean", str(copy), "--feed", str(first / "removals.jsonl"))
    assert listed(copy)["pair_id"].to_list() == [one for one in listed(first)["pair_id"] if one != removed]
    assert faults(copy, removals=current_removals(publisher.lake, publisher.settings)) == []
