"""Many spellings of one address, and detours to it: one request finds all, whichever of them it is made with."""

import hashlib

import duckdb
import polars as pl

from laion_assets.consent.removals import Removals, load_removals

_PATH = "/bilder/kätzchen 1.jpg"
_QUERY = "?größe=2&x=a+b"
_REST = f"{_PATH}{_QUERY}"

SPELLINGS = (
    f"https://bücher.example{_REST}",
    f"http://bücher.example{_REST}",
    # host: IDNA, case, composition, dots of other scripts, full width, what is ignored in names, escapes
    f"HTTPS://BÜCHER.Example{_REST}",
    f"https://xn--bcher-kva.example{_REST}",
    f"https://XN--BCHER-KVA.EXAMPLE{_REST}",
    f"https://bu\u0308cher.example{_REST}",
    f"https://bücher\u3002example{_REST}",
    f"https://\uff42ücher\uff0eexample{_REST}",
    f"https://bü\u00adcher.example{_REST}",
    f"https://bü\u200bcher.example{_REST}",
    f"https://b%C3%BCcher.example{_REST}",
    f"https://bücher.example.{_REST}",
    # port and user
    f"https://bücher.example:443{_REST}",
    f"http://bücher.example:80{_REST}",
    f"https://bücher.example:0443{_REST}",
    f"https://bücher.example:{_REST}",
    f"https://user:secret@bücher.example{_REST}",
    f"https://@bücher.example{_REST}",
    # slashes, blanks, breaks
    f"https:bücher.example{_REST}",
    f"https:////bücher.example{_REST}",
    f"https:\\\\bücher.example\\bilder\\kätzchen 1.jpg{_QUERY}",
    f" \thttps://bücher.example{_REST}\r\n",
    f"ht\ttps://bücher.example/bil\nder/kätzchen 1.jpg{_QUERY}",
    # fragments, and blanks at the end
    f"https://bücher.example{_REST}#top",
    f"https://bücher.example{_REST}#",
    f"https://bücher.example{_REST}\u00a0",
    f"https://bücher.example{_REST}%C2%A0",
    f"https://bücher.example{_REST}%A0",
    f"https://bücher.example{_REST}&nbsp;",
    f"https://bücher.example{_REST}%20%20",
    f"https://bücher.example{_REST}%0D%0A",
    f"https://bücher.example{_REST}\u2003\u200b",
    # dots
    f"https://bücher.example/.{_REST}",
    f"https://bücher.example/x/..{_REST}",
    f"https://bücher.example/bilder/%2e/kätzchen 1.jpg{_QUERY}",
    f"https://bücher.example/bilder/x/.%2E/kätzchen 1.jpg{_QUERY}",
    f"https://bücher.example/../..{_REST}",
    # escapes
    f"https://bücher.example/bilder/k%C3%A4tzchen%201.jpg{_QUERY}",
    f"https://bücher.example/bilder/k%c3%a4tzchen%201.jpg{_QUERY}",
    f"https://bücher.example/%62ilder/kätzchen 1%2Ejpg{_QUERY}",
    f"https://bücher.example{_PATH}?gr%C3%B6%C3%9Fe=2&x=a+b",
    f"https://bücher.example{_PATH}?gr%c3%b6%c3%9fe=%32&x=%61+b",
)
NUMBERS = (
    "http://127.0.0.1/a.jpg", "http://2130706433/a.jpg", "http://0x7f000001/a.jpg", "http://0x7F.1/a.jpg",
    "http://017700000001/a.jpg", "http://0177.0.0.1/a.jpg", "http://127.1/a.jpg", "https://127.0.0.1./a.jpg",
    "http://[::ffff:127.0.0.1]/a.jpg", "http://[::FFFF:7f00:1]:80/a.jpg", "http://[64:ff9b::127.0.0.1]/a.jpg",
    "http://\uff11\uff12\uff17.0.0.1/a.jpg", "http://%31%32%37.0.0.1/a.jpg", "http://127\u30020\u30020\u30021/a.jpg",
    "http://2130706433/a.jpg\u00a0",
)  # fmt: skip
NOT_TAKEN = tuple(url for url in SPELLINGS if url.startswith(("https:b", "https:///")))
"""What the URL standard mends and a request must not: whoever writes it may mean a path."""
OTHERS = (
    f"https://bücher.example:8443{_REST}",
    f"https://bucher.example{_REST}",
    "https://bücher.example/bilder/kätzchen 2.jpg?größe=2&x=a+b",
    f"https://bücher.example{_PATH}?größe=2&x=a%2Bb",
    "http://127.0.0.2/a.jpg",
    "http://bücher.example.evil.example/bilder/kätzchen 1.jpg",
)


def request(kind: str, value: str) -> Removals:
    return load_removals(pl.DataFrame({"kind": [kind], "value": [value]}))


def found(removals: Removals, urls: tuple[str, ...], *, as_target: bool = False) -> list[str]:
    """Those of the addresses that are removed in a table, as they stand in it or as what a redirect led to."""
    rows = pl.DataFrame({"url": urls, "final_url": urls})
    if as_target:
        rows = rows.with_columns(url=pl.lit("https://short.example/x"))
    with duckdb.connect() as con:
        con.register("rows", rows.to_arrow())
        annotated = removals.register(con).annotate("rows", final_url="final_url")
        return [url for (url,) in con.execute(f"SELECT final_url FROM ({annotated}) WHERE removal = 'url'").fetchall()]


def test_there_are_forty_of_them() -> None:
    assert len({*SPELLINGS}) >= 40


def test_one_request_finds_every_spelling_and_nothing_else() -> None:
    for spellings in (SPELLINGS, NUMBERS):
        [meant] = {request("url", spelling).digest for spelling in spellings if spelling not in NOT_TAKEN}
        removals = request("url", spellings[0])
        assert removals.digest == meant
        matcher = removals.matcher()
        assert [url for url in spellings if matcher.match_url(url) != "url"] == []
        assert [url for url in OTHERS if matcher.match_url(url)] == []
        assert sorted(found(removals, spellings + OTHERS)) == sorted(spellings)


def test_it_finds_what_a_redirect_led_to_under_every_spelling() -> None:
    for spellings in (SPELLINGS, NUMBERS):
        assert sorted(found(request("url", spellings[0]), spellings + OTHERS, as_target=True)) == sorted(spellings)


def test_what_is_published_of_it_finds_the_same() -> None:
    for spellings in (SPELLINGS, NUMBERS):
        [value] = request("url", spellings[-1]).frame["value"]
        digest = hashlib.sha256(value.encode()).hexdigest()
        hidden = Removals(pl.DataFrame({"kind": ["url_sha256"], "value": [digest]}))
        assert sorted(found(hidden, spellings + OTHERS)) == sorted(spellings)


def test_a_domain_is_found_by_every_spelling_of_it() -> None:
    names = ("bücher.example", "BÜCHER.EXAMPLE.", "*.bücher.example", "xn--bcher-kva.example", "bücher\u3002example",
             "bücher.example\u00a0", "bü\u200bcher.example")  # fmt: skip
    for name in names:
        matcher = request("domain", name).matcher()
        assert [url for url in SPELLINGS if matcher.match_url(url) != "domain"] == [], name
    for number in ("2130706433", "127.0.0.1", "0x7f.1", "::ffff:127.0.0.1"):
        matcher = request("domain", number).matcher()
        assert [url for url in NUMBERS if matcher.match_url(url) != "domain"] == [], number
