"""What pages say of their use: the specifications' own examples, and what real pages make of them."""

from datetime import UTC, datetime

import pytest

from laion_assets.consent.pages import AGENT, page_says
from laion_assets.consent.signals import LONGEST_RAW, SIGNALS
from laion_assets.download.options import DownloadOptions

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def forbidden(headers=(), metas=(), at=NOW):
    return {said.signal: said.forbids for said in page_says(headers, metas, at)}


@pytest.mark.parametrize(
    ("headers", "metas", "expected"),
    [
        ([], [], {}),
        ([("Content-Type", "text/html")], [("viewport", "none"), ("keywords", "noai")], {}),
        # Google, "robots meta tag": names and rules match whatever their case; the stricter of several holds
        ([], [("robots", "noindex, nofollow")], {"meta_robots": ("index",)}),
        ([], [("ROBOTS", "NOINDEX")], {"meta_robots": ("index",)}),
        ([], [("robots", "none")], {"meta_robots": ("index",)}),
        ([], [("robots", "noimageindex")], {"meta_robots": ("index",)}),
        ([], [("robots", "index, follow, max-image-preview:none, max-snippet:-1")], {}),
        ([], [("googlebot", "noindex"), ("googlebot-news", "nosnippet")], {}),
        ([], [("robots", "all"), ("robots", "noindex")], {"meta_robots": ("index",)}),
        ([("X-Robots-Tag", "noindex")], [], {"x_robots_page": ("index",)}),
        ([("x-robots-tag", "googlebot: nofollow"), ("x-robots-tag", "otherbot: noindex, nofollow")], [], {}),
        ([("X-Robots-Tag", "unavailable_after: 25 Jun 2010 15:00:00 PST")], [], {"x_robots_page": ("index",)}),
        ([("X-Robots-Tag", "unavailable_after: 25 Jun 2999 15:00:00 PST")], [], {}),
        # DeviantArt's and Mojeek's; a page may name this lakehouse alone
        ([], [("robots", "noai, noimageai")], {"meta_robots": ("train",)}),
        ([("X-Robots-Tag", "noml; noindex")], [], {"x_robots_page": ("train", "index")}),
        ([], [(AGENT, "noai")], {"meta_robots": ("train",)}),
        ([("X-Robots-Tag", f"{AGENT}: noai")], [], {"x_robots_page": ("train",)}),
        # TDMRep: 5.2, 5.3, and the overriding of 5.4
        ([("tdm-reservation", "1")], [], {"tdm_header_page": ("train",)}),
        ([("TDM-Reservation", "0")], [], {"tdm_header_page": ()}),
        ([], [("tdm-reservation", "1"), ("tdm-policy", "https://p.example/p.json")], {"tdm_meta": ("train",)}),
        ([("tdm-reservation", "1")], [("tdm-reservation", "0")], {"tdm_header_page": ("train",), "tdm_meta": ()}),
        ([("tdm-reservation", "2")], [("tdm-reservation", "yes")], {}),
        ([("tdm-reservation", "1, 1")], [], {"tdm_header_page": ("train",)}),
        ([("tdm-policy", "https://p.example/p.json")], [], {}),
        # AIPREF
        ([("Content-Usage", "train-ai=n")], [], {"content_usage_page": ("train",)}),
        ([("Content-Usage", "train-ai=y, search=n")], [], {"content_usage_page": ("index",)}),
        ([("Content-Usage", "train-ai=y")], [], {"content_usage_page": ()}),
        ([("Content-Usage", "train-ai=y"), ("Content-Usage", "train-ai=n")], [], {"content_usage_page": ("train",)}),
        ([("Content-Usage", "train-ai=maybe, bots=n")], [], {}),
    ],
)
def test_a_page_forbids_what_its_specification_says(headers, metas, expected):
    assert forbidden(headers, metas) == expected


def test_an_unavailable_after_counts_by_the_time_of_the_capture():
    header = [("X-Robots-Tag", "unavailable_after: 2026-02-01")]
    assert forbidden(header, at=datetime(2026, 1, 1, tzinfo=UTC)) == {}
    assert forbidden(header, at=NOW) == {"x_robots_page": ("index",)}
    assert forbidden(header, at=None) == {}


def test_what_was_said_is_kept_as_it_was_written_and_no_longer_than_evidence_has_to_be():
    (said,) = page_says([], [("tdm-reservation", "1"), ("tdm-policy", "https://p.example/p.json")], NOW)
    assert (said.raw, said.is_no) == ("tdm-reservation: 1 https://p.example/p.json", True)
    (said,) = page_says([("x-robots-tag", "NoAI"), ("x-robots-tag", "x" * 9999)], [], NOW)
    assert said.raw.startswith("NoAI, xxx")
    assert len(said.raw) == LONGEST_RAW


def test_the_name_that_pages_may_speak_to_is_the_one_that_downloads_give_themselves():
    assert DownloadOptions().agent == AGENT


def test_tdmrep_alone_lets_a_later_word_lift_a_no():
    yielding = {name: signal.yields_to for name, signal in SIGNALS.items() if signal.yields_to}
    assert yielding == {
        "tdmrep_file": ("tdm_header_page", "tdm_meta", "tdm_header"),
        "tdm_header_page": ("tdm_meta",),
    }
