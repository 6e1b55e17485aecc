"""robots.txt, its rules on use, and ai.txt, as their specifications say."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.consent.patterns import matches, path_of
from laion_assets.consent.preferences import preferences
from laion_assets.consent.robots import MAX_BYTES, AiTxt, Robots
from laion_assets.consent.signals import SIGNALS

AGENT = "laion-lakehouse"


def robots(text: str) -> Robots:
    return Robots.read(text.encode(), AGENT)


def told(text: str, path: str = "/a.jpg") -> dict[str, set[str]]:
    """What each signal forbids of a path."""
    return {said.signal: set(said.forbids) for said in robots(text).said(f"https://h.example{path}")}


NO = {"robots_txt": {"fetch"}}
EXAMPLE = """\
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("anybot", "/example/page.html", False),
        ("anybot", "/some.gif", False),
        ("anybot", "/some.gif?x=1", True),
        ("anybot", "/publications/a.jpg", True),
        ("foobot", "/other.jpg", False),
        ("foobot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("barbot", "/example/page.html", False),
        ("barbot", "/some.gif", True),
        ("bazbot", "/example/page.html", False),
        ("BazBot", "/example/page.html", False),
        ("quxbot", "/example/page.html", True),
        ("foobo", "/publications/", True),
    ],
)
def test_the_simple_example_of_rfc_9309(agent: str, path: str, allowed: bool) -> None:
    """RFC 9309, section 5.1."""
    said = Robots.read(EXAMPLE.encode(), agent).said(f"http://h.example{path}")
    assert (said == []) == allowed


@pytest.mark.parametrize(
    ("text", "path", "forbidden"),
    [
        # RFC 9309, section 5.2: the longest match holds.
        (
            "User-Agent: *\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif",
            "/example/page/disallowed.gif",
            True,
        ),
        ("User-Agent: *\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif", "/example/page/b.gif", False),
        ("User-agent: *\nDisallow: /p\nAllow: /p", "/p/a.jpg", False),  # section 2.2.2: allow wins a tie
        ("User-agent: *\nDisallow: /", "/robots.txt", False),  # section 2.2.2: implicitly allowed
        ("User-agent: *\nDisallow:", "/a.jpg", False),
        ("User-agent: *\nDisallow: /a%3cd.html", "/a<d.html", True),  # section 2.2.2: escapes are compared decoded
        ("User-agent: *\nDisallow: /foo/bar/ツ", "/foo/bar/%E3%83%84", True),
        ("User-agent: *\nDisallow: /foo/bar/%62%61%7A", "/foo/bar/baz", True),
        ("User-agent: *\nDisallow: /path/file-with-a-%2A.html", "/path/file-with-a-*.html", True),
        ("User-agent: *\nDisallow: /*.jpg$", "/a/b.jpg", True),
        ("User-agent: *\nDisallow: /*.jpg$", "/a/b.jpg?x", False),
        ("User-agent: *\nDisallow: /a # all of them", "/a.jpg", True),
        ("User-agent: *\rDisallow: /a\r", "/a.jpg", True),
        ("\ufeffUser-agent: *\nDisallow: /a", "/a.jpg", True),
        ("User-agent: other\n\nUser-agent: *\n\nDisallow: /a", "/a.jpg", True),  # an empty line ends nothing
        ("User-agent: *\nSitemap: https://h.example/s.xml\nDisallow: /a", "/a.jpg", True),
        ("User-agent: *\nAllow: /\nUser-agent: laion-lakehouse\nDisallow: /", "/a.jpg", True),
        (
            "User-agent: laion-lakehouse\nDisallow: /x\nUser-agent: *\nUser-agent: LAION-Lakehouse/2.0\nDisallow: /y",
            "/y",
            True,
        ),
        ("User-agent: laion-lakehouse\nDisallow: /x\nUser-agent: *\nDisallow: /a", "/a.jpg", False),
        ("USER-AGENT:*\nDISALLOW:/a", "/a.jpg", True),
        ("<html><body>Not found</body></html>", "/a.jpg", False),
        ("", "/a.jpg", False),
    ],
)
def test_which_paths_may_be_fetched(text: str, path: str, forbidden: bool) -> None:
    assert told(text, path) == (NO if forbidden else {})


@pytest.mark.parametrize(
    ("status", "forbidden"),
    [
        (200, True),
        (404, False),
        (403, False),
        (410, False),
        (301, False),
        (429, True),
        (500, True),
        (503, True),
        (None, True),
    ],
)
def test_what_an_answer_means(status: int | None, forbidden: bool) -> None:
    """RFC 9309, section 2.3.1: unavailable (4xx) forbids nothing, unreachable (5xx, no answer) everything."""
    found = Robots.of_answer(status, b"User-agent: *\nDisallow: /", AGENT).said("http://h.example/a.jpg")
    assert [said.forbids for said in found] == ([("fetch",)] if forbidden else [])


def test_half_a_megabyte_is_read_and_no_half_line() -> None:
    filler = b"# " + b"x" * 97 + b"\n"
    text = b"User-agent: *\nDisallow: /early\n" + filler * (MAX_BYTES // len(filler) + 1) + b"Disallow: /\n"
    found = Robots.read(text, AGENT)
    assert found.said("http://h/early.jpg")
    assert not found.said("http://h/other.jpg")
    cut = b"User-agent: *\n" + b"#" * (MAX_BYTES - 24) + b"\nDisallow: /private-and-long\n"
    assert not Robots.read(cut, AGENT).said("http://h/p.jpg")


ATTACHED = """\
User-Agent: *
Allow: /
Disallow: /never/
Content-Usage: train-ai=n
Content-Usage: /ai-ok/ train-ai=y
Content-Usage: /both/ train-ai=y
Content-Usage: /both/ train-ai=n, search=n

User-Agent: ExampleBot
Content-Usage: search=n
"""


@pytest.mark.parametrize(
    ("agent", "path", "forbids"),
    [
        (AGENT, "/a.jpg", {"content_usage_robots": {"train"}}),
        (AGENT, "/ai-ok/a.jpg", {"content_usage_robots": set()}),
        (AGENT, "/both/a.jpg", {"content_usage_robots": {"train", "index"}}),
        (AGENT, "/never/a.jpg", {"robots_txt": {"fetch"}, "content_usage_robots": {"train"}}),
        ("examplebot", "/a.jpg", {"content_usage_robots": {"index"}}),
    ],
)
def test_preferences_of_use_are_rules_of_groups_and_the_longest_path_holds(
    agent: str, path: str, forbids: dict[str, set[str]]
) -> None:
    """draft-ietf-aipref-attach, the section on robots.txt."""
    said = Robots.read(ATTACHED.encode(), agent).said(f"https://h.example{path}")
    assert {one.signal: set(one.forbids) for one in said} == forbids


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["train-ai=n"], {"train": False}),
        (["train-ai=y, search=n"], {"train": True, "index": False}),
        (["train-ai=y", "train-ai=n"], {"train": False}),
        (["TRAIN-AI=N"], {"train": False}),
        (["train-ai=n;exceptions=none, search=y"], {"train": False, "index": True}),
        (["train-ai=maybe"], {}),
        (["train-ai"], {}),
        (["genai=n, other"], {}),
        (["train-genai=n"], {"train": False}),
        (["search=yes; ai-train=no"], {"index": True, "train": False}),
        (["search=yes ai-train=no"], {"index": True, "train": False}),
        (['"train-ai=n"', "train-ai='n'"], {"train": False}),
        (["search=yes, ai-train=no, ai-input=yes"], {"index": True, "train": False}),
        ([" train-ai = n "], {"train": False}),
        ([""], {}),
    ],
)
def test_lists_of_preferences(lines: list[str], expected: dict[str, bool]) -> None:
    """draft-ietf-aipref-vocab: unknown names and values are ignored, a no holds; Content Signals say yes and no."""
    assert preferences(lines) == expected


def test_content_signals() -> None:
    """The example of contentsignals.org."""
    text = "User-Agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /\n"
    assert told(text) == {"content_signal": {"train"}}
    assert told("Content-Signal: ai-train=no\n") == {"content_signal": {"train"}}, "without any group"


@pytest.mark.parametrize(
    ("text", "path", "forbids"),
    [
        ("User-Agent: *\nDisallow: *.jpg\nAllow: *.txt", "/x/a.jpg", ("train",)),
        ("User-Agent: *\nDisallow: *.jpg\nAllow: *.txt", "/x/a.jpg?size=1", ("train",)),
        ("User-Agent: *\nDisallow: *.jpg\nAllow: *.png", "/x/a.png", ()),
        ("User-Agent: *\nDisallow: *.jpg", "/x/a.jpgx", None),
        ("# Spawning AI\nUser-Agent: *\nDisallow: /\n", "/x/a.jpg", ("train",)),
        ("User-Agent: *\nDisallow: /\nAllow: *.jpg", "/x/a.jpg", ()),
        ("<!doctype html><p>Disallow: /", "/x/a.jpg", None),
        ("", "/a.jpg", None),
    ],
)
def test_ai_txt(text: str, path: str, forbids: tuple[str, ...] | None) -> None:
    """Spawning's ai.txt: the syntax of robots.txt, with endings of file names."""
    said = AiTxt.read(text.encode()).said(f"https://h.example{path}")
    assert [one.forbids for one in said] == ([] if forbids is None else [forbids])


@pytest.mark.parametrize(
    "text",
    [
        "User-agent: *\nContent-Usage: /pic/\ttrain-ai=n",
        "User-agent:\u00a0*\nDisallow:\u00a0/",
        "User-agent: *\nDissallow: /",
        "User-agent: *\nDisallow /",
        "User agent: *\nDisallow: /",
        "User-agent: laion-lakehouse/2.0 (x)\nDisallow: /",
    ],
)
def test_a_no_is_heard_however_it_is_spelled(text: str) -> None:
    assert any(told(text, "/pic/a.jpg").values())


def test_an_agent_with_a_dot_has_a_group_of_its_own() -> None:
    assert Robots.read(b"User-agent: my.bot\nDisallow: /", "my.bot").said("http://h/a")


def test_half_a_megabyte_of_anything_is_read_in_no_time() -> None:
    began = time.process_time()
    for line in (b"Disallow: /a" + b" " * 500_000 + b"b", b"a" * 500_000, b"Content-Usage: /" + b" " * 500_000 + b"=n"):
        body = b"User-agent: *\n" + line
        Robots.read(body, AGENT).said("http://h/a.jpg")
        AiTxt.read(body, AGENT).said("http://h/a.jpg")
    assert time.process_time() - began < 2


def test_lines_that_end_with_a_return_are_cut_there() -> None:
    body = b"User-agent: *\rDisallow: /a\r" + b"#" * 99 + (b"\r" + b"#" * 99) * (MAX_BYTES // 100)
    assert Robots.read(body, AGENT).said("http://h/a.jpg")


def test_ai_txt_speaks_to_us_by_name_in_any_case_and_of_queries() -> None:
    assert AiTxt.read(b"User-agent: laion-lakehouse\nDisallow: /", AGENT).said("http://h/a.jpg")
    assert AiTxt.read(b"User-agent: *\nDisallow: *.jpg").said("http://h/a.JPG")
    assert AiTxt.read(b"User-agent: *\nDisallow: /i?a").said("http://h/i?a=1")


def test_patterns_take_no_time_whatever_they_hold() -> None:
    began = time.process_time()
    assert not matches("/" + "*a" * 2000 + "b$", "/" + "a" * 20_000)
    assert time.process_time() - began < 1


@given(st.binary(max_size=300), st.text(max_size=60))
def test_whatever_a_host_sends_is_read(body: bytes, path: str) -> None:
    for said in [*Robots.read(body, AGENT).said(f"http://h/{path}"), *AiTxt.read(body).said(f"http://h/{path}")]:
        assert set(said.forbids) <= set(SIGNALS[said.signal].forbids)


def test_a_path_is_what_a_server_is_asked_for() -> None:
    assert [path_of(url) for url in ("http://h", "http://h?q", "http://h/a#b", "http://h/%61%2f")] == [
        "/", "/?q", "/a", "/a%2F",
    ]  # fmt: skip
