"""What pages said of a url decides over all of its pairs, as far as the policy obeys."""

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from laion_assets.consent.policy import SWITCHED, ConsentOptions
from laion_assets.consent.removals import load_removals
from laion_assets.consent.signals import SIGNALS
from laion_assets.pairs.dedup import CONSENT_DROPS, deduplicate
from laion_assets.pairs.identity import pair_id
from laion_assets.report.drops import _MEANINGS
from laion_assets.sources.extract import PAGE_SCHEMA

URL, OTHER = "http://x.test/a.jpg", "http://x.test/b.jpg"
Page = tuple[str, str, list[tuple[str, tuple[str, ...]]] | None]
NOAI = ("meta_robots", ("train",))


def deduplicated(folder: Path, pages: list[Page], consent: ConsentOptions | None, **options: Any):
    """The urls that stay, with what they were let in despite, and the drops; of (url, text, what its page said)."""
    rows = pl.DataFrame(
        {
            "url": [url for url, _, _ in pages],
            "text": [text for _, text, _ in pages],
            "page_signals": pl.Series(
                [
                    None if said is None else [{"signal": s, "raw": "…", "forbids": [*uses]} for s, uses in said]
                    for *_, said in pages
                ],
                dtype=PAGE_SCHEMA["page_signals"],
            ),
        }
    ).with_columns(
        pair_id=pair_id("url", "text"),
        file_number=pl.lit(0, pl.Int32),
        record_offset=pl.int_range(len(pages)),
        link_position=pl.lit(0, pl.Int32),
        row_number=pl.lit(None, pl.Int64),
    )
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("candidates", rows.to_arrow())
        output = folder / "unique.parquet"
        counts = deduplicate(connection, candidates="candidates", output=output, consent=consent, **options)
    kept = pl.read_parquet(output).sort("url", "text")
    assert counts.rows_in == counts.rows_out + sum(counts.drops.values())
    despite = kept["let_in_despite"].to_list() if consent else [None] * kept.height
    return list(zip(kept["url"], despite, strict=True)), counts.drops


def test_one_page_that_says_no_keeps_a_picture_out_however_many_show_it(tmp_path):
    pages = [(URL, "one", None), (URL, "two", [NOAI]), (URL, "two", [("tdm_meta", ())]), (OTHER, "one", None)]
    assert deduplicated(tmp_path, pages, ConsentOptions()) == ([(OTHER, None)], {"opted_out_meta_robots": 3})


def test_what_is_passed_over_lets_in_and_the_row_says_so(tmp_path):
    pages = [(URL, "one", None), (URL, "two", [NOAI, ("content_usage_page", ("index",))]), (OTHER, "one", None)]
    kept, drops = deduplicated(tmp_path, pages, ConsentOptions(meta_robots=False))
    assert kept == [(URL, ["meta_robots"]), (URL, ["meta_robots"]), (OTHER, None)]
    assert drops == {}


@pytest.mark.parametrize(
    ("said", "options", "refused"),
    [
        ([("x_robots_page", ("index",))], {}, None),
        ([("x_robots_page", ("index",))], {"index": True}, "x_robots_page"),
        ([("x_robots_page", ("train", "index"))], {}, "x_robots_page"),
        ([("tdm_header_page", ("train",))], {}, "tdm_header_page"),
        ([("tdm_header_page", ("train",)), ("tdm_meta", ())], {}, None),  # what is nearer lifts it
        ([("tdm_header_page", ("train",)), ("tdm_meta", ())], {"tdm_meta": False}, "tdm_header_page"),
        ([("tdm_header_page", ()), ("tdm_meta", ("train",))], {}, "tdm_meta"),
        ([("content_usage_page", ()), NOAI], {}, "meta_robots"),  # another specification's yes lifts nothing
    ],
)
def test_a_policy_decides_as_the_specifications_mean_it(said, options, refused, tmp_path):
    kept, drops = deduplicated(tmp_path, [(URL, "one", said)], ConsentOptions(**options))
    assert drops == ({CONSENT_DROPS[refused]: 1} if refused else {})
    assert len(kept) == (0 if refused else 1)


def test_a_yes_on_one_page_lifts_no_other_pages_no(tmp_path):
    pages = [(URL, "one", [("tdm_header_page", ("train",))]), (URL, "two", [("tdm_meta", ())])]
    assert deduplicated(tmp_path, pages, ConsentOptions())[1] == {"opted_out_tdm_header_page": 2}


def test_a_removal_is_counted_before_a_no(tmp_path):
    takedowns = pl.DataFrame({"kind": ["url"], "value": [URL], "requested_at": [None], "reason": [None]})
    removals = load_removals(takedowns)
    drops = deduplicated(tmp_path, [(URL, "one", [NOAI])], ConsentOptions(), removals=removals)[1]
    assert drops == {"removed_url": 1}


def test_where_no_page_said_anything_nothing_changes(tmp_path):
    pages = [(URL, "one", None), (URL, "one", None), (OTHER, "two", None)]
    assert deduplicated(tmp_path, pages, ConsentOptions()) == deduplicated(tmp_path, pages, None)


def test_every_signal_has_a_switch_a_reason_and_words_for_people():
    assert set(SWITCHED) == {name for name, signal in SIGNALS.items() if signal.subject == "page"}
    assert {*CONSENT_DROPS.values()} <= {*_MEANINGS}


def test_a_policy_counts_where_it_is_not_the_usual_one():
    assert ConsentOptions().content is None
    assert ConsentOptions(tdm_meta=False, index=True).content == {"tdm_meta": False, "index": True}
