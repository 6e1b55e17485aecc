"""A released pair is walked back to the bytes of the crawl it came from, and those bytes forward to the release."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import dagster as dg
import ftfy
import polars as pl
import pytest
from warcio.archiveiterator import ArchiveIterator

from laion_assets.delta.lake import Lake
from laion_assets.delta.lineage import Lineage
from laion_assets.delta.rows import RowFinder
from laion_assets.lake.pair_lineage import CrawlRecord, PairLineage, PairTrace
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from tests.pipeline.conftest import REPOSITORY, Built, Web, environment, materialise

WALKS = 5


@dataclass(frozen=True)
class Link:
    """One image link of one record of a WAT file, as its bytes say."""

    raw: bytes
    page: str
    base: str
    reference: str
    alt: str

    @property
    def url(self) -> str:
        """The reference resolved against the page."""
        return urljoin(urljoin(self.page, self.base), self.reference)

    @property
    def text(self) -> str:
        """The alt text without lone surrogates, with decoding mistakes undone and spacing folded."""
        whole = self.alt.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return " ".join(ftfy.fix_encoding(whole).split())


def read_link(root: Path, place: CrawlRecord) -> Link:
    """The link at a place in the published crawl, read by nothing of ours: one gzip member, from its offset."""
    with (root / place.path).open("rb") as file:
        file.seek(place.record_offset)
        found = next(iter(ArchiveIterator(file)))
        assert found.rec_headers.get_header("WARC-Target-URI") == place.page_url
        raw = found.content_stream().read()
    document = json.loads(raw.decode("utf-8", "replace"))  # some records of the sample are damaged
    html = document["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]
    images = [link for link in html["Links"] if link["path"] == "IMG@/src"]
    link = images[place.link_position]
    page = document["Envelope"]["WARC-Header-Metadata"]["WARC-Target-URI"]
    return Link(raw, page, html.get("Head", {}).get("Base", ""), link["url"], link["alt"])


def holds(link: Link, url: str, text: str) -> bool:
    """Whether the bytes hold the pair: the link there leads to its url and has its text.

    The end of the url stands in the bytes themselves, whatever it was resolved from and however slashes are written.
    """
    name = json.dumps(url.rsplit("/", 1)[1])[1:-1].encode()
    return name in link.raw and link.url == url and link.text == text


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance that is the same in every run of one test, and printed where it fails."""
    seed = request.node.nodeid
    print(f"seed: {seed}")  # noqa: T201
    return random.Random(seed)


@pytest.fixture
def pairs(undisturbed: Built) -> Iterator[PairLineage]:
    lineage = Lineage(undisturbed.lake)
    with RowFinder(lineage.history) as finder:
        yield PairLineage(lineage, finder)


def rows_of(trace: PairTrace, table: str) -> list[dict[str, Any]]:
    return [row for key, rows in trace.rows.items() if key.table == table for row in rows.found.rows]


def released(lake: Lake) -> pl.DataFrame:
    return pl.scan_delta(lake.path("filtered_pairs")).collect().sort("crawl", "bucket", "pair_id")


@pytest.mark.parametrize("walk", range(WALKS))
def test_a_released_pair_leads_back_to_the_bytes_of_its_record(
    undisturbed: Built, small_web: Web, pairs: PairLineage, chance: random.Random, walk: int
) -> None:
    every = released(undisturbed.lake).rows(named=True)
    pair = every[chance.randrange(len(every))]
    trace = pairs.back("filtered_pairs", pair["pair_id"])
    places = [place for place in trace.records if place.crawl == pair["crawl"]]
    assert len(places) == 1
    assert places[0].source_uri == str(small_web.root)
    link = read_link(small_web.root, places[0])
    assert holds(link, pair["url"], pair["text"]), (link, pair["url"], pair["text"])
    other = every[(every.index(pair) + 1) % len(every)]
    assert not holds(link, other["url"], other["text"]), "it does not hold just any pair"


@pytest.mark.parametrize("walk", range(WALKS))
def test_a_record_leads_forward_to_the_pair_that_was_released_of_it(
    undisturbed: Built, small_web: Web, pairs: PairLineage, chance: random.Random, walk: int
) -> None:
    lake = undisturbed.lake
    kept = released(lake)
    candidates = (
        pl.scan_delta(lake.path("candidate_pairs"))
        .collect()
        .join(kept.select("crawl", "pair_id"), on=["crawl", "pair_id"])
        .sort("crawl", "file_number", "record_offset", "link_position")
        .rows(named=True)
    )
    start = candidates[chance.randrange(len(candidates))]
    trace = pairs.forward("candidate_pairs", start["pair_id"])
    (end,) = (row for row in rows_of(trace, "filtered_pairs") if row["crawl"] == start["crawl"])
    place = CrawlRecord(
        source_uri=None,
        **{name: start[name] for name in CrawlRecord.__dataclass_fields__ if name in start},
    )
    assert holds(read_link(small_web.root, place), end["url"], end["text"])
    assert {row["sha256"] for row in rows_of(trace, "clip_embeddings")} == {end["sha256"]}


def test_every_released_pair_has_a_way_back_through_the_commits(undisturbed: Built) -> None:
    graph = Lineage(undisturbed.lake).back("filtered_pairs")
    assert [read for read in graph.reads if read.sources is None] == []
    assert {key.partition for key in graph.nodes if key.table == "crawl_snapshots"} == {f"crawl={c}" for c in CRAWLS}
    assert [node for node in graph.nodes.values() if node.replaced_in is not None or node.foreign] == []


def test_a_rebuilt_table_is_read_as_it_was_when_the_release_was_made(
    lake_copy: Callable[..., Settings], instance: dg.DagsterInstance, chance: random.Random
) -> None:
    settings = lake_copy()
    lake = settings.open_lake(create=False)
    pair = released(lake).sample(1, seed=chance.randrange(1 << 30)).row(0, named=True)
    partition = {"crawl": pair["crawl"], "bucket": pair["bucket"]}
    before = lake.commit("unique_pairs", partition)
    assert materialise(settings, instance, "unique_pairs", partition)
    after = lake.commit("unique_pairs", partition)
    assert before is not None
    assert after is not None
    assert before.version < after.version
    lineage = Lineage(lake)
    with RowFinder(lineage.history) as finder:
        trace = PairLineage(lineage, finder).back("filtered_pairs", pair["pair_id"])
    (key,) = (k for k in trace.rows if k.table == "unique_pairs" and k.partition == before.partition)
    assert key.version == before.version
    assert trace.graph.nodes[key].replaced_in == after.version
    assert lineage.forward("unique_pairs", partition=before.partition).reads == []


COMMAND = """
import sys
from laion_assets.cli import main
sys.argv = ["laion", *sys.argv[1:]]
try:
    main()
finally:
    assert "dagster" not in sys.modules, "lineage needs no Dagster"
"""


@pytest.mark.parametrize(
    "arguments", [["--pair-id", "PAIR"], ["--pair-id", "PAIR", "--forward"], ["--forward"], ["--format", "json"], []]
)
def test_it_needs_neither_dagster_nor_its_memory(
    lake_copy: Callable[..., Settings], tmp_path: Path, arguments: list[str]
) -> None:
    settings = lake_copy()
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.rmtree(home)  # what Dagster knew is gone
    pair = released(settings.open_lake(create=False)).row(0, named=True)
    given = [str(pair["pair_id"]) if word == "PAIR" else word for word in arguments]
    ran = subprocess.run(
        [sys.executable, "-c", COMMAND, "lineage", "filtered_pairs", *given],
        env=environment(settings, home) | {"PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert "filtered_pairs" in ran.stdout
    if arguments == ["--pair-id", "PAIR"]:
        assert pair["url"] in "".join(ran.stdout.split())
        assert "the crawl record" in ran.stdout
    assert not home.exists()
    assert sorted(os.listdir(tmp_path)) == ["lake"]  # noqa: PTH208
