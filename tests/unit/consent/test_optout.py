"""What X-Robots-Tag means: Google Search Central, "Robots meta tag … and X-Robots-Tag specifications"."""

import time

import pytest

from laion_assets.consent.optout import opted_out

DATE = "unavailable_after: Tue, 25 Jun 2999 15:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([""], None),
        (["all"], None),
        (["nofollow, noarchive"], None),
        (["noai"], "noai"),
        (["NoImageAI"], "noimageai"),
        (["noml"], "noml"),
        (["nofollow, noindex"], "noindex"),
        (["nofollow", "noimageindex"], "noimageindex"),
        (["all, none"], "none"),  # "the more restrictive rule applies"
        (["nofollow", "", "all", "noai"], "noai"),
        ([":::,,:"], None),
        ([",,;; ,noai"], "noai"),
    ],
)
def test_a_directive_opts_out_wherever_it_stands(headers, expected):
    assert opted_out(headers, "laion-lakehouse") == expected


@pytest.mark.parametrize(
    "header",
    [
        "noai noimageai",
        "noai; noimageai",
        "noai;noimageai",
        "nofollow\tnoai",
        "nofollow\xa0noai",
        "nofollow\u3000noai",
        "noai\xc2\xa0",  # UTF-8 read as Latin-1
        "\ufeffnoai",
        '"noai"',
        "'noai'",
        "“noai”",
        '"noai, noimageai"',
        '"noai", "noimageai"',
        '["noai"]',
        "no-ai",
        "no_ai",
        "no‑ai",  # a non-breaking hyphen
        "no–ai",
        "no\u00adai",
        "ｎｏａｉ",
        "NOAI",
        "noai=1",
        "noai = true",
        "noai: true",
        "noai.",
        "nofollow|noai",
        "x-robots-tag: noai",
        "robots: noai",
    ],
)
def test_an_opt_out_is_seen_however_it_is_written(header):
    assert opted_out([header], "laion-lakehouse") == "noai"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # "X-Robots-Tag: otherbot: noindex, nofollow": the rules after a name are that agent's, all of them
        ("otherbot: noindex", None),
        ("otherbot: nofollow, noindex", None),
        ("googlebot: noai, bingbot: none", None),
        ("googlebot:noai,bingbot:none", None),
        ("googlebot : noai", None),
        ("Googlebot-Image: noindex; 360spider: noai", None),
        ("otherbot/2.1: noai", None),
        ("laion: noai", None),
        ("otherbot*: noai", None),
        ("LAION-lakehouse: noai", "noai"),
        ("laion-lakehouse : noai", "noai"),
        ("laion-lakehouse/1.0: noai", "noai"),
        ("laion-*: noai", "noai"),
        ("otherbot: noindex, laion-lakehouse: noai", "noai"),
        ("otherbot: noindex, *: noai", "noai"),
        ("noai, otherbot: all", "noai"),
        ("*: noai", "noai"),
        ("*:noai", "noai"),
        (": noai", "noai"),
        ("otherbot: all, : noai", "noai"),
    ],
)
def test_what_is_said_to_another_agent_is_said_to_that_agent_alone(header, expected):
    assert opted_out([header], "laion-lakehouse") == expected


def test_a_name_holds_to_the_end_of_its_header_line():
    assert opted_out(["otherbot: all", "noai"], "laion-lakehouse") == "noai"
    assert opted_out(["otherbot: noindex", "laion-lakehouse: noindex"], "laion-lakehouse") == "noindex"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"{DATE}, noindex", "noindex"),
        (f"{DATE} noai", "noai"),
        ('unavailable_after: "Tue, 25 Jun 2999 15:00:00 GMT", noai', "noai"),
        ("unavailable_after: 25 Jun 2999 15:00:00 PST, noai", "noai"),
        ("unavailable_after: Tuesday, 25-Jun-68 15:00:00 GMT, noai", "noai"),
        ("unavailable_after: 2999-06-25T15:00:00+00:00, noai", "noai"),
        ("unavailable_after:2999-06-25T15:00:00Z;noai", "noai"),
        ("noai, " + DATE, "noai"),
        ("otherbot: " + DATE + ", noindex", None),
        (DATE, None),
        ("unavailable_after: 2020-06-25 15:00:00 CET", "unavailable_after"),
        ("unavailable_after: 2020/06/25", "unavailable_after"),
        ("unavailable_after: 25 Jun 2020", "unavailable_after"),
        ("unavailable_after: June 25, 2020", "unavailable_after"),
        ("unavailable_after: June 25, 2999", None),
        ("noai/noimageai", "noai"),
        ("nofollow/noindex", "noindex"),
        ("otherbot/2.1: noai", None),
        ("all: noai", "noai"),
        ("nosnippet:noindex", "noindex"),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST, noai", "noai"),
        ("max-image-preview: none", None),
        ("max-image-preview:none", None),
        ("max-image-preview=none", None),
        ('max-image-preview: "none"', None),
        ("Max-Image-Preview:None, max-snippet:-1, max-video-preview:-1", None),
        ("max-image-preview:none, none", "none"),
        ("max-snippet: 50, noai", "noai"),
        ("max-snippet:-1 noai", "noai"),
        ("max-image-preview: large, otherbot: none", None),
    ],
)
def test_a_value_is_neither_a_directive_nor_a_name(header, expected):
    assert opted_out([header], "laion-lakehouse") == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # Google: "Do not show this page in search results after the specified date/time", RFC 822, RFC 850, ISO 8601
        ("unavailable_after: 25 Jun 2010 15:00:00 PST", "unavailable_after"),
        ("unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT", "unavailable_after"),
        ("unavailable_after: Friday, 25-Jun-10 15:00:00 GMT", "unavailable_after"),
        ("unavailable_after: 2010-06-25", "unavailable_after"),
        ("unavailable_after: 2010-06-25T15:00:00Z, noarchive", "unavailable_after"),
        ("unavailable_after: 25 Jun 2999 15:00:00 PST", None),
        ("unavailable_after: 2999-06-25T15:00:00", None),
        ("otherbot: unavailable_after: 25 Jun 2010 15:00:00 PST", None),
        # "If no valid date/time is specified, the rule has no effect"
        ("unavailable_after: soon", None),
        ("unavailable_after: 99 Foo 99999999999 99:99:99 GMT", None),
        ("unavailable_after:", None),
    ],
)
def test_a_picture_that_was_to_be_gone_by_now_is_not_taken(header, expected):
    assert opted_out([header], "laion-lakehouse") == expected


@pytest.mark.parametrize(
    "word",
    ["index", "follow", "nosnippet", "notranslate", "nocache", "indexifembedded", "noaim", "xnoai", "none-such"],
)
def test_other_words_mean_nothing_here(word):
    assert opted_out([word], "laion-lakehouse") is None


@pytest.mark.parametrize(
    "piece", ["nofollow, ", "a:", ":", "unavailable_after: ", "max-snippet:", '"', "-", "\xa0", "\ufdfa", "25 Jun "]
)
def test_a_very_long_value_takes_time_in_proportion(piece):
    started = time.process_time()
    assert opted_out([piece * (300_000 // len(piece)) + " , : noai"], "laion-lakehouse") == "noai"
    assert time.process_time() - started < 5
