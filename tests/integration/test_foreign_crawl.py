"""Crawls of the same layout that the project did not write: every row is accounted for, whatever is in them."""

import gzip
import hashlib
import shutil
from collections import Counter
from dataclasses import dataclass

import polars as pl
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.tables.catalogue import ALWAYS
from tests.integration import foreign, foreign_pages
from tests.integration.conftest import assert_conserved, build, folder_handler, funnel, rows, serving
from tests.pipeline.conftest import free_port

pytestmark = pytest.mark.integration

CRAWL = "CC-MAIN-2025-13"


@dataclass(frozen=True)
class Foreign:
    lake: Lake
    warc_lake: Lake
    links: list[foreign.Link]
    served: dict[str, foreign.Body]

    @property
    def pairs(self) -> dict[tuple[str, str], foreign.Link]:
        """The distinct pairs that must come out of extraction."""
        return {(str(li.url), str(li.alt if li.text is None else li.text)): li for li in self.links if li.drop is None}

    def rows(self, table: str, *columns: str) -> pl.DataFrame:
        return rows(self.lake, table, CRAWL, columns or None)


@pytest.fixture(scope="module")
def built(lake_settings, tmp_path_factory) -> Foreign:
    """The crawl read as WAT through every stage, and read as WARC up to its unique pairs."""
    root = tmp_path_factory.mktemp("foreign")
    served = foreign.pictures()
    with serving(foreign.handler(served)) as port:
        links = foreign.links(port, free_port())
        album = f"http://127.0.0.1:{port}/fotos/alben/1.html"
        pages = [[(album, links[0::3]), (album, [])], [(f"{album}?seite=2", links[1::3])], [(album, links[2::3])]]
        foreign.write(root / "source", CRAWL, pages)
        settings = lake_settings(root / "lake", root / "source")
        assert build(settings, CRAWL).failures == []
        as_warc = lake_settings(root / "warc", root / "source", format="warc", shards=1, buckets=1)
        assert build(as_warc, CRAWL, until="unique_pairs").failures == []
    return Foreign(settings.open_lake(), as_warc.open_lake(), links, served)


def test_every_link_is_a_candidate_or_dropped_for_its_reason(built):
    links_seen, drops, kept = funnel(built.lake, "candidate_pairs", CRAWL)
    assert links_seen == len(built.links)
    assert drops == Counter(link.drop for link in built.links if link.drop)
    assert kept == sum(link.drop is None for link in built.links)


def test_addresses_and_texts_are_what_the_pages_say(built):
    assert set(built.rows("unique_pairs", "url", "text").iter_rows()) == set(built.pairs)


def test_pages_say_the_same_as_their_metadata(built):
    columns = ["url", "text", "pair_id", "language", "duplicate_count"]
    as_wat = built.rows("unique_pairs", *columns).sort("pair_id")
    as_warc = rows(built.warc_lake, "unique_pairs", CRAWL, columns).sort("pair_id")
    assert as_warc.equals(as_wat)


def test_a_pair_seen_twice_is_counted_and_kept_once(built):
    _, drops, _ = funnel(built.lake, "unique_pairs", CRAWL)
    assert drops == {"duplicate": 1}
    twice = built.rows("unique_pairs").filter(pl.col("duplicate_count") > 1)
    assert twice["text"].to_list() == ["the second text of a picture"]


def test_every_address_has_the_answer_its_server_gave(built):
    images = {row["url"]: row for row in built.rows("images").iter_rows(named=True)}
    expected = {url: link.failures for (url, _), link in built.pairs.items()}
    assert images.keys() == expected.keys()
    wrong = {
        url: (row["failure"], row["failure_detail"])
        for url, row in images.items()
        if (row["failure"] not in expected[url]) and (row["status"] != "success" or expected[url])
    }
    assert wrong == {}


def test_pictures_are_those_that_were_served(built):
    for row in built.rows("images").filter(status="success").iter_rows(named=True):
        path = row["final_url"].partition("?")[0]
        kind = "noise" if path.endswith(".html") else path.rpartition("/")[2]
        body, content_type = (foreign.ANSWERED, "image/png") if "/antwort/" in path else built.served[kind]
        assert row["sha256"] == hashlib.sha256(body).hexdigest()
        assert (row["content_type"] or "") == content_type
        if kind.startswith("turned") and kind not in ("turned_1", "turned_2", "turned_3", "turned_4"):
            assert (row["original_width"], row["original_height"]) == (170, 310), "as it is seen"
        assert min(row["original_width"], row["original_height"], row["width"], row["height"]) >= 1


def test_every_pair_with_a_picture_is_embedded_and_released(built):
    assert_conserved(built.lake, CRAWL)
    pairs = built.rows("unique_pairs", "pair_id", "url", "text", "language")
    with_picture = pairs.join(built.rows("images", "url", "status").filter(status="success"), on="url").sort("pair_id")
    vectors = built.rows("clip_embeddings").sort("pair_id")
    assert vectors["pair_id"].to_list() == with_picture["pair_id"].to_list()
    assert vectors["similarity"].is_finite().all()
    _, drops, _ = funnel(built.lake, "clip_embeddings", CRAWL)
    assert drops == {"image_failed": pairs.height - with_picture.height}
    columns = ["pair_id", "url", "text", "language"]
    released = built.rows("filtered_pairs").sort("pair_id")
    assert released.select(columns).equals(with_picture.select(columns))
    assert released["policy"].unique().to_list() == ["none"]
    assert released["threshold"].null_count() == released.height


def test_every_page_is_read_as_a_browser_reads_it_or_counted(lake_settings, tmp_path):
    """A WARC of pages, each with its own coding, type, encoding and markup."""
    pages = foreign_pages.responses()
    foreign.write_warc(tmp_path / "source", CRAWL, [(page.uri, page.payload) for page in pages.values()])
    settings = lake_settings(tmp_path / "lake", tmp_path / "source", format="warc", shards=1, buckets=1)
    assert build(settings, CRAWL, until="unique_pairs").failures == []
    lake = settings.open_lake()
    found = dict(rows(lake, "unique_pairs", CRAWL, ("text", "url")).iter_rows())
    expected = {text: url for page in pages.values() for text, url in page.pairs.items()}
    assert found == expected
    counts = lake.commit("candidate_pairs", {"crawl": CRAWL, "shard": 0}).counts
    others = sum(count for name, count in counts.items() if name.startswith(("no page: ", "bad record: ")))
    assert counts["pages"] == sum(page.page for page in pages.values())
    assert counts["pages"] + others == counts["records"] == len(pages)


EMPTY = {"CC-MAIN-2020-01": [], "CC-MAIN-2020-02": [[("http://127.0.0.1/leer.html", [])], []]}


@pytest.mark.parametrize("crawl", EMPTY)
def test_a_crawl_without_anything_works_to_the_end(crawl, lake_settings, tmp_path):
    """One lists no file; the other has a file with a page without links, and a file without a page."""
    foreign.write(tmp_path / "source", crawl, EMPTY[crawl])
    settings = lake_settings(tmp_path / "lake", tmp_path / "source", shards=1, buckets=1)
    outcome = build(settings, crawl)
    assert outcome.failures == []
    assert outcome.built == len(ALWAYS)
    lake = settings.open_lake()
    assert_conserved(lake, crawl)
    assert funnel(lake, "filtered_pairs", crawl) == (0, {}, 0)
    assert funnel(lake, "wat_files", crawl)[2] == len(EMPTY[crawl])
    assert build(settings, crawl).built == 0


@pytest.mark.parametrize("through", ["http", "folder"])
def test_a_missing_file_is_one_clear_error_and_costs_nothing(through, lake_settings, tmp_path):
    source = tmp_path / "source"
    pages = {n: foreign.Link(f"http://127.0.0.1:9/bild{n}.png", f"a picture in file {n}") for n in range(3)}
    foreign.write(source, CRAWL, [[(f"http://pages.test/{n}.html", [link])] for n, link in pages.items()])
    lost = source / gzip.decompress((source / "crawl-data" / CRAWL / "wat.paths.gz").read_bytes()).decode().split()[2]
    shutil.move(lost, tmp_path / "kept")
    with serving(folder_handler(source)) as port:
        uri = f"http://127.0.0.1:{port}" if through == "http" else str(source)
        settings = lake_settings(tmp_path / "lake", uri, shards=2, buckets=1)
        ((table, partition, error),) = build(settings, CRAWL, until="candidate_pairs").failures
        assert (table, partition) == ("candidate_pairs", f"crawl={CRAWL}/shard=0")
        assert uri in error
        assert str(lost.relative_to(source)) in error
        assert ("does not exist" in error) or ("has no file" in error)
        assert not error.startswith(("laion_assets.", "Traceback", "FileNotFoundError"))
        assert len(error.splitlines()) == 1
        lake = settings.open_lake()
        assert lake.commit("candidate_pairs", {"crawl": CRAWL, "shard": 0}) is None
        assert rows(lake, "candidate_pairs", CRAWL)["text"].to_list() == ["a picture in file 1"]
        shutil.move(tmp_path / "kept", lost)
        assert build(settings, CRAWL, until="candidate_pairs").failures == []
        assert sorted(rows(lake, "candidate_pairs", CRAWL)["text"]) == [str(link.alt) for link in pages.values()]


def test_what_a_failed_partition_leads_to_is_left_out_and_the_rest_is_built(lake_settings, tmp_path):
    """One error for what is broken, none for what follows from it."""
    source = tmp_path / "source"
    page = [("http://pages.test/", [foreign.Link("http://127.0.0.1:9/bild.png", "a picture that nobody serves")])]
    for crawl in (CRAWL, "CC-MAIN-2025-18"):
        foreign.write(source, crawl, [page])
    shutil.rmtree(source / "crawl-data" / CRAWL / "segments")
    settings = lake_settings(tmp_path / "lake", source, shards=1, buckets=1)
    outcome = build(settings, CRAWL, "CC-MAIN-2025-18")
    assert [(table, partition) for table, partition, _ in outcome.failures] == [
        ("candidate_pairs", f"crawl={CRAWL}/shard=0")
    ]
    assert outcome.built == 2 + len(ALWAYS)
