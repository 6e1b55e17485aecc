"""The rules a link must meet, in order, and the counts that come of them."""

import json

import mmh3
import pytest

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import CANDIDATE_SCHEMA, PAGE_SCHEMA, ExtractionOptions, extract
from laion_assets.sources.sources import SourceNotFound, open_source


def test_every_link_has_one_fate(wat_files, extract_bytes):
    links = [
        {"url": "/a.jpg", "alt": "a red circle"},
        {"url": "/b.jpg"},
        {"url": "/c.jpg", "alt": ""},
        {"url": "/d.jpg", "alt": " \u00a0\n"},
        {"url": "/e.jpg", "alt": "four"},
        {"url": "/f.jpg", "alt": "x" * 41},
        {"url": "data:image/png,x", "alt": "a red circle"},
        {"alt": "a red circle"},
        {"url": "mailto:a@b.test", "alt": "a red circle"},
        {"url": "https://", "alt": "a red circle"},
        {"url": "/{{ image }}.jpg", "alt": "a red circle"},
        {"url": "#", "alt": "a red circle"},
        {"url": "/" + "x" * 5000, "alt": "a red circle"},
        {"url": "/spacer.gif", "alt": "a red circle"},
        {"url": "/spacer.gif", "alt": "no"},
        {"url": "/g.jpg", "alt": "cafÃ© rouge"},
    ]
    content = wat_files.gz([wat_files.record(json.dumps(wat_files.envelope(links)).encode())])
    rows, counts = extract_bytes(content, max_text_length=40)
    assert counts.links == len(links)
    assert counts.drops == {
        "no_alt": 3,
        "too_short": 2,
        "too_long": 1,
        "data_url": 1,
        "no_url": 1,
        "not_http": 1,
        "template": 1,
        "bad_url": 1,
        "page_itself": 1,
        "url_too_long": 1,
        "tracking_pixel": 1,
    }
    assert rows["link_position"].to_list() == [0, 15]
    assert rows["text"].to_list() == ["a red circle", "café rouge"]


def test_rows_have_the_promised_columns_and_identities(wat_files, extract_bytes):
    rows, _ = extract_bytes(wat_files.gz([wat_files.page("a red circle", "ein blaues Quadrat")]))
    assert dict(rows.schema) == {**CANDIDATE_SCHEMA, **PAGE_SCHEMA}
    for url, text, pair, address in rows.select("url", "text", "pair_id", "url_id").iter_rows():
        assert pair == mmh3.hash64(url + text, signed=True)[0]
        assert address == mmh3.hash64(url, signed=True)[0]


def test_lengths_are_options(wat_files, extract_bytes):
    content = wat_files.gz([wat_files.page("ab", "abcdef")])
    assert extract_bytes(content, min_text_length=1)[0].height == 2
    assert extract_bytes(content, max_text_length=5)[1].drops == {"too_short": 1, "too_long": 1}


@pytest.mark.parametrize(
    "options", [{"min_text_length": 0}, {"min_text_length": 9, "max_text_length": 8}, {"language_floor": 1.5}]
)
def test_ranges_that_hold_nothing_are_refused(options):
    with pytest.raises(ValueError, match="found"):
        ExtractionOptions(**options)


def test_a_missing_file_and_an_unknown_format_are_errors(tmp_path):
    source = open_source(str(tmp_path))
    arguments = {"options": ExtractionOptions(), "counts": ExtractionCounts()}
    with pytest.raises(SourceNotFound, match="no file missing"):
        list(extract(source, "missing", format="wat", **arguments))
    with pytest.raises(ValueError, match="'wet'"):
        list(extract(source, "missing", format="wet", **arguments))


def test_counts_add_up_and_survive_json():
    one = ExtractionCounts(records=2, pages=1, links=3, rows=1, drops={"no_alt": 2})
    two = ExtractionCounts(records=5, links=1, drops={"too_short": 1}, bad_records={"bad_json": 1})
    both = one + two
    assert both == ExtractionCounts(
        records=7, pages=1, links=4, rows=1, drops={"no_alt": 2, "too_short": 1}, bad_records={"bad_json": 1}
    )
    assert both.balanced
    assert ExtractionCounts.from_json(both.to_json()) == both
    counted = ExtractionCounts(records=4, pages=1, bad_records={"bad_json": 1}, non_pages={"no_html": 2})
    assert counted.every_record_counted
    assert not ExtractionCounts(records=4, pages=1, non_pages={"no_html": 2}).every_record_counted
    # what a killed step of a version left that did not count them
    old = ExtractionCounts.from_json('{"records": 9, "pages": 1, "bad_records": {}, "drops": {}}')
    assert (old.non_pages, old.every_record_counted) == (None, True)
    assert ((counted + old).non_pages, (counted + old).every_record_counted) == (None, True)
    assert ExtractionCounts.from_json((counted + old).to_json()) == counted + old
    for text in ('{"x": 1}', "[]"):
        with pytest.raises(ValueError, match="expected the counts"):
            ExtractionCounts.from_json(text)
