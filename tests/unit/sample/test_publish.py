import gzip
import json
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from urllib.parse import urljoin

import ftfy
import numpy as np
import polars as pl
import pytest
from PIL import Image
from warcio.archiveiterator import ArchiveIterator

from laion_assets.sample.dirt import ANSWERS
from laion_assets.sample.options import CRAWLS, SampleOptions
from laion_assets.sample.publish import SampleError, find_sample, make_plan, publish
from laion_assets.sample.server import PictureStore
from laion_assets.sample.web import MIN_BYTES
from laion_assets.sample.world import held_out


class Images(HTMLParser):
    """A page's <img> with alt, resolved: written here with the standard library alone."""

    def __init__(self, url):
        super().__init__()
        self.base, self.found = url, []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "base":
            self.base = urljoin(self.base, given["href"])
        elif tag == "img" and given.get("alt"):
            source = given.get("data-src") or given["src"]
            self.found.append((source, self.base, given["alt"]))


def links_of(sample, crawl):
    """(url, normalised text) of every image with alt text in the readable WARC records of a crawl."""
    found = []
    for path in gzip.decompress((sample.root / f"crawl-data/{crawl}/warc.paths.gz").read_bytes()).decode().split():
        with (sample.root / path).open("rb") as file:
            for record in ArchiveIterator(file):
                kind = (record.http_headers.get_header("Content-Type") or "") if record.http_headers else ""
                if record.rec_type != "response" or not kind.startswith("text/html"):
                    continue
                body = record.content_stream().read()
                charset = kind.partition("charset=")[2] or "utf-8"
                if "charset=" in body[:300].decode("latin-1"):
                    charset = body[:300].decode("latin-1").partition("charset=")[2].partition('"')[0]
                reader = Images(record.rec_headers.get_header("WARC-Target-URI"))
                reader.feed(body.decode(charset, "replace"))
                for source, base, alt in reader.found:
                    try:
                        url = urljoin(base, source)
                    except ValueError:
                        url = source
                    found.append((url, " ".join(ftfy.fix_text(alt).split())))
    return found


@pytest.fixture(scope="module")
def sound_sample(tmp_path_factory, small_options):
    """A sample whose archives no reader trips over: what is left is the truth about links."""
    import laion_assets.sample.dirt as dirt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dirt, "DAMAGES", ())
        return publish(tmp_path_factory.mktemp("sound") / "web", small_options)


def test_the_truth_lists_every_link_as_often_as_the_pages_show_it(sound_sample):
    for crawl in CRAWLS:
        shown = pl.DataFrame(links_of(sound_sample, crawl), schema=["url", "text"], orient="row")
        truth = sound_sample.truth.explode("sightings").filter(pl.col("sightings") == crawl)
        odd = ("too_long", "bad_url")  # long texts and unresolvable addresses are compared by number only
        counts = truth.filter(~pl.col("kind").is_in(odd)).group_by("url", "text").len().sort("url", "text")
        seen = shown.group_by("url", "text").len()
        joined = counts.join(seen, on=["url", "text"], how="left", suffix="_shown")
        assert joined.filter(pl.col("len") != pl.col("len_shown").fill_null(0)).rows() == []
        assert len(shown) == len(truth)


def test_the_truth_is_one_row_a_pair(small_sample):
    assert not small_sample.truth.select("url", "text").is_duplicated().any()


def test_matched_means_that_nothing_mentioned_is_contradicted(small_sample):
    known = small_sample.truth.filter(pl.col("matched").is_not_null())
    assert ((known["contradicted"].list.len() == 0) == known["matched"]).all()
    assert known.filter(pl.col("contradicted").list.set_difference("mentioned").list.len() > 0).is_empty()


def test_the_usual_sample_meets_the_demo_s_numbers():
    plan = make_plan(SampleOptions())
    valid = [pair for pair in plan.pairs if pair.outcome == "embedded"]
    matched = [pair for pair in valid if pair.matched]
    assert len(matched) >= 6_300
    assert 0.30 <= 1 - len(matched) / len(valid) <= 0.40
    single = [pair.contradicted[0] for pair in valid if len(pair.contradicted) == 1]
    assert min(single.count(name) for name in ("shape", "colour", "texture", "count", "position", "size")) >= 100
    plain = [p for p in valid if len(p.contradicted) > 1 and {"shape", "colour"} & set(p.contradicted)]
    assert len(plain) >= 1_000
    languages = [pair.language for pair in matched]
    assert min(languages.count(name) for name in set(languages)) >= 300
    assert sum(len(pair.sightings) for pair in plan.pairs) >= 12_000


def test_crawls_overlap_and_repeat_themselves(small_sample):
    sightings = small_sample.truth["sightings"].to_list()
    assert any(set(crawls) == set(CRAWLS) for crawls in sightings)
    assert any(len(crawls) > len(set(crawls)) for crawls in sightings)
    valid = small_sample.truth.filter(pl.col("outcome") == "embedded")
    assert valid.group_by("url").len()["len"].max() > 1


def test_every_picture_of_a_valid_pair_is_there_and_decodes(small_sample):
    store = PictureStore(small_sample.root)
    valid = small_sample.truth.filter((pl.col("outcome") == "embedded") & (pl.col("kind") != "redirected"))
    for url in valid["url"].unique():
        path = url.partition("://")[2].partition("/")[2].partition("?")[0]
        body = store.body(f"/{path}")
        assert body is not None
        assert len(body) >= MIN_BYTES
        assert min(Image.open(BytesIO(body)).size) >= 64


def test_held_out_combinations_are_neither_shown_nor_said():
    plan = make_plan(SampleOptions(pairs=3000))
    shown = plan.scenes.attributes[:, :3].astype(int)
    assert not held_out(*shown.T).any()


def test_every_kind_of_dirt_is_there_and_slow_answers_are_few(small_sample):
    kinds = set(small_sample.truth["kind"])
    assert {answer.kind for answer in ANSWERS} <= kinds
    assert {
        "too_short",
        "file_name",
        "markup",
        "too_long",
        "mojibake",
        "untidy",
        "data_url",
        "lazy",
        "not_json",
    } <= kinds
    plan = make_plan(SampleOptions())
    slow = [reply for _, _, reply in plan.files if reply and (reply.delay_seconds or reply.drip_seconds)]
    assert 2 <= len(slow) <= 12


def test_pages_write_their_addresses_in_different_ways(small_sample):
    text = "".join(
        b"".join(_members(path.read_bytes())).decode("utf-8", "replace")
        for path in (small_sample.root / "crawl-data").rglob("*.warc.gz")
    )
    ways = (
        'src="http://127',
        'src="http://local',
        'src="//',
        'src="/img/',
        'src="../',
        'src="2025/',
        '<base href="http',
        '<base href="/',
    )
    assert [way for way in ways if way not in text] == []


def _members(content):
    import zlib

    while content:
        reader = zlib.decompressobj(31)
        try:
            yield reader.decompress(content)
        except zlib.error:
            content = content[content.find(b"\x1f\x8b\x08", 1) :]
            continue
        content = reader.unused_data


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_same_options_give_the_same_bytes_and_another_seed_others(tmp_path):
    options = SampleOptions(pairs=60, wat_files=1)
    first, again = (publish(tmp_path / name, options) for name in ("a", "b"))
    assert files(first.root) == files(again.root)
    other = publish(tmp_path / "c", replace(options, seed=1))
    assert not set(other.truth["url"]) & set(first.truth.filter(pl.col("kind") == "ordinary")["url"])


def test_publishing_twice_does_nothing_the_second_time(small_sample, small_options):
    before = (small_sample.root / "web.zip").stat().st_mtime_ns
    assert publish(small_sample.root, small_options) == small_sample
    assert (small_sample.root / "web.zip").stat().st_mtime_ns == before


def test_other_options_replace_a_sample(tmp_path):
    publish(tmp_path / "web", SampleOptions(pairs=40, wat_files=1))
    publish(tmp_path / "web", SampleOptions(pairs=50, wat_files=1))
    found = find_sample(tmp_path / "web")
    assert found is not None
    assert found.options.pairs == 50
    assert [path.name for path in tmp_path.iterdir()] == ["web"]


def test_a_folder_of_other_things_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SampleError, match="no sample"):
        publish(tmp_path, SampleOptions(pairs=40))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_publication_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_args, **_more):
        raise OSError("disk full")

    monkeypatch.setattr("laion_assets.sample.publish.write_crawl", fail)
    with pytest.raises(OSError, match="disk full"):
        publish(tmp_path / "web", SampleOptions(pairs=40))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(4))
def test_mojibake_can_be_repaired(seed):
    plan = make_plan(SampleOptions(pairs=3000, seed=seed))
    broken = [pair for pair in plan.pairs if pair.kind == "mojibake"]
    assert broken
    assert [pair.text for pair in broken if ftfy.fix_text(pair.alt) != pair.text] == []


@pytest.mark.parametrize(("name", "value"), [("pairs", 0), ("wat_files", 0), ("port", 70_000), ("mismatched", 1.5)])
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        SampleOptions(**{name: value})


def test_progress_counts_the_pictures(tmp_path):
    told: list[int] = []
    sample = publish(tmp_path / "web", SampleOptions(pairs=60, wat_files=1), progress=told.append)
    assert sum(told) == sample.counts["pictures"]
    assert json.loads((sample.root / "sample.json").read_text())["counts"] == sample.counts


def test_no_two_pictures_are_the_same(small_sample):
    plan = make_plan(small_sample.options)
    rows = plan.scenes.variation[[picture.scene for picture in plan.pictures]]
    assert len(np.unique(rows, axis=0)) == len(rows)
