"""What is to be removed is matched however it is spelled, the same in Python and in SQL, and nothing else is."""

import hashlib
import pickle
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.consent.removals import RemovalError, RemovalMatcher, Removals, load_removals
from laion_assets.urls import parse_http_url

PICTURE = b"\xff\xd8 the bytes of a picture"
PICTURE_SHA256 = hashlib.sha256(PICTURE).hexdigest()


def requests(*entries: tuple[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(entries, schema={"kind": pl.String, "value": pl.String}, orient="row")


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def listed(folder: Path, name: str, *lines: str) -> tuple[str]:
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return (str(path),)


@pytest.fixture
def removals(tmp_path: Path) -> Removals:
    return load_removals(
        requests(("url", "https://Example.com/a b.jpg"), ("sha256", PICTURE_SHA256.upper()), ("pair_id", "-17")),
        domain_lists=listed(tmp_path, "domains.txt", "# refused", "", "*.Evil.example", "bücher.example", "[::1]"),
        hash_lists=listed(tmp_path, "hashes.txt", md5("http://x.example/1.jpg"), hashlib.sha1(b"body").hexdigest()),
    )


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("http://example.com/a%20b.jpg#x", "url"),
        ("http://example.com:80/a b.jpg?", "url"),
        ("http://example.com/a.jpg", None),
        ("http://www.example.com/a b.jpg", None),
        ("http://evil.example/", "domain"),
        ("http://a.b.EVIL.example.:8080/x", "domain"),
        ("http://user@evil.example/x", "domain"),
        ("http://notevil.example/", None),
        ("http://evil.example.com/", None),
        ("http://good.example/?u=http://evil.example/", None),
        ("http://img.xn--bcher-kva.example/x", "domain"),
        ("http://BÜCHER.example/x", "domain"),
        ("http://[0:0::1]:80/x", "domain"),
        ("http://x.example/1.jpg", "hash"),
        ("http://x.example/1.jpg#fragment", "hash"),
        ("https://x.example/1.jpg", None),
        ("not a url", None),
        ("", None),
    ],
)
def test_urls_are_matched_however_they_are_spelled(removals: Removals, url: str, match: str | None) -> None:
    assert removals.matcher().match_url(url) == match
    assert in_sql(removals, [url]) == [match]


SPELLINGS = [
    ("denied.example", "http://denied.example/a.jpg"),
    ("denied.example", "HTTPS://DENIED.example./a.jpg"),
    ("denied.example", "http://denied.example../a.jpg"),
    ("denied.example", "http://allowed.example@denied.example/a.jpg"),
    ("denied.example", "http://allowed.example:80%2F@denied.example/a.jpg"),
    ("denied.example", "http:\\\\denied.example\\a.jpg"),
    ("denied.example", "http:/denied.example/a.jpg"),
    ("denied.example", "http:////denied.example/a.jpg"),
    ("denied.example", "http://denied.example\\@allowed.example/../a.jpg"),
    ("denied.example", "ht\ntp://den\tied.example/a.jpg"),
    ("denied.example", "http://d%65nied.ex%61mple/a.jpg"),
    ("denied.example", "http://ｄｅｎｉｅｄ．ｅｘａｍｐｌｅ/a.jpg"),
    ("denied.example", "http://denied。example｡/a.jpg"),
    ("denied.example", "http://de\u00adni\u200bed.example/a.jpg"),
    ("denied.example", "http://𝒹𝑒𝓃𝒾𝑒𝒹.example/a.jpg"),
    ("straße.example", "http://straße.example/a.jpg"),
    ("straße.example", "http://STRAẞE.example/a.jpg"),
    ("straße.example", "http://xn--strae-oqa.example/a.jpg"),
    ("xn--strae-oqa.example", "http://stra%C3%9Fe.example/a.jpg"),
    ("strasse.example", "http://strasse.example/a.jpg"),
    ("βόλος.example", "http://xn--nxasmm1c.example/a.jpg"),
    ("ශ්‍රී.example", "http://xn--10cl1a0b660p.example/a.jpg"),
    ("نامه‌ای.example", "http://xn--mgba3gch31f060k.example/a.jpg"),
    ("bücher.example", "http://BU\u0308CHER.example/a.jpg"),
    ("127.0.0.1", "http://2130706433/a.jpg"),
    ("127.0.0.1", "http://0x7f.0.0.1/a.jpg"),
    ("127.0.0.1", "http://0177.1/a.jpg"),
    ("127.0.0.1", "http://127.0.0.1./a.jpg"),
    ("127.0.0.1", "http://１２７.0.0.1/a.jpg"),
    ("127.0.0.1", "http://[::ffff:127.0.0.1]/a.jpg"),
    ("127.1", "http://[0:0:0:0:0:FFFF:7F00:1]/a.jpg"),
    ("[::ffff:7f00:1]", "http://127.0.0.1/a.jpg"),
    ("2001:db8::0:1", "http://[2001:DB8:0::1]/a.jpg"),
]
"""(host as a list names it, address that leads there)."""


@pytest.mark.parametrize(("host", "url"), SPELLINGS)
def test_a_removed_host_or_url_stops_what_would_be_connected_to_under_any_spelling(host: str, url: str) -> None:
    """URL standard, section 3.5, "host parsing", and 4.4; UTS 46, non-transitional; RFC 5892, appendix A (joiners)."""
    named = f"[{host}]" if ":" in host and not host.startswith("[") else host
    entries = [("domain", host), ("url", f"https://{named}/a.jpg")]
    if not url.startswith(("http:/denied", "http:///")):  # refused, as it may be a path that was meant
        entries.append(("url", url))
    for kind, value in entries:
        removals = load_removals(requests((kind, value)))
        assert removals.matcher().match_url(url) == kind
        assert removals.matcher().match_url(parse_http_url(url).href) == kind
        assert in_sql(removals, [url]) == [kind]


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("straße.example", "http://strasse.example/a.jpg"),
        ("strasse.example", "http://straße.example/a.jpg"),
        ("denied.example", "http://denied.example@allowed.example/a.jpg"),
        ("denied.example", "http://allowed.example\\@denied.example/a.jpg"),
        ("denied.example", "http://xdenied.example/a.jpg"),
        ("0.0.1", "http://127.0.0.1/a.jpg"),
        ("::1", "http://[2001:db8::1]/a.jpg"),
    ],
)
def test_another_host_than_the_removed_one_is_let_through(entry: str, url: str) -> None:
    removals = load_removals(requests(("domain", entry)))
    assert (removals.matcher().match_url(url), in_sql(removals, [url])) == (None, [None])


@pytest.mark.parametrize(
    "end", ["\u00a0", "%C2%A0", "%A0", "\u3000", "%e3%80%80", "\u2003", " ", "%20%09", "&nbsp;", "\ufeff"]
)
def test_blanks_at_the_end_do_not_lead_past_a_removal(end: str) -> None:
    removals = load_removals(requests(("url", "http://h.example/a.jpg"), ("url", "http://h.example/b?x=1")))
    urls = [f"http://h.example/a.jpg{end}", f"http://h.example/a.jpg{end}#x", f"http://h.example/b{end}?x=1{end}"]
    assert [removals.matcher().match_url(url) for url in urls] == ["url"] * 3
    assert in_sql(removals, urls) == ["url"] * 3
    assert load_removals(requests(("url", urls[0]))).matcher().match_url("http://h.example/a.jpg") == "url"


def test_an_address_is_matched_by_what_is_published_of_it(removals: Removals) -> None:
    """By the SHA-256 of its canonical form, in Python and in SQL, however it is spelled."""
    digest = hashlib.sha256(b"example.com/a%20b.jpg").hexdigest()
    published = Removals(pl.DataFrame({"kind": ["url_sha256"], "value": [digest]}))
    spelled = ["http://example.com:80/a b.jpg?", "HTTPS://EXAMPLE.com./a%20b.jpg#x"]
    others = ["http://example.com/a.jpg", "http://www.example.com/a%20b.jpg", "no url", ""]
    expected = ["url"] * 2 + [None] * 4
    assert [published.matcher().match_url(url) for url in [*spelled, *others]] == expected
    assert in_sql(published, [*spelled, *others]) == expected


def test_a_redirect_s_target_is_matched_beside_the_url(removals: Removals) -> None:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE rows (url VARCHAR, final_url VARCHAR)")
    matches = {
        ("http://h.example/", "http://a.evil.example/x"): "domain",
        ("http://h.example/", "http://example.com/a b.jpg"): "url",
        ("http://evil.example/", "http://example.com/a b.jpg"): "url",
        ("http://h.example/", "http://x.example/1.jpg"): "hash",
        ("http://evil.example/", None): "domain",
        ("http://h.example/", None): None,
        ("http://h.example/", "http://h.example/"): None,
    }
    connection.executemany("INSERT INTO rows VALUES (?, ?)", [*matches])
    known = removals.register(connection)
    found = connection.execute(known.annotate("rows", final_url="final_url")).fetchall()
    assert found == [(*row, match) for row, match in matches.items()]
    by_target = connection.execute(known.annotate("rows", url=None, final_url="final_url")).fetchall()
    assert [row[-1] for row in by_target] == ["domain", "url", "url", "hash", None, None, None]


@pytest.mark.parametrize("form", ["HTTP://H.example:80/ä.jpg", "http://h.example/%C3%A4.jpg", "http://h.example/ä.jpg"])
def test_a_list_of_hashes_may_be_made_of_addresses_as_pages_or_lakes_write_them(tmp_path: Path, form: str) -> None:
    removals = load_removals(hash_lists=listed(tmp_path, "hashes", md5(form)))
    assert removals.matcher().match_url(form) == "hash"
    if form.startswith("http:"):  # capitals and ports of a page are not stored, so a hash of them matches them alone
        assert removals.matcher().match_url("http://h.example/%C3%A4.jpg") == "hash"
        assert in_sql(removals, ["http://h.example/%C3%A4.jpg", "http://h.example/x"]) == ["hash", None]


def test_hosts_are_matched_alone(removals: Removals) -> None:
    hosts = ["evil.example", "A.EVIL.example.", "evil", "example", "[::1]", "1.evil.example"]
    matched = [removals.matcher().match_host(host) for host in hosts]
    assert matched == [True, True, False, False, True, True]


def test_pictures_are_matched_by_requests_and_by_hash_lists(removals: Removals) -> None:
    matcher = removals.matcher()
    assert matcher.match_body(PICTURE)
    assert matcher.match_body(b"body")
    assert not matcher.match_body(b"")


def test_a_picture_hash_is_no_url_hash(tmp_path: Path) -> None:
    url = "http://x.example/1.jpg"
    asked = load_removals(requests(("sha256", hashlib.sha256(url.encode()).hexdigest())))
    assert asked.matcher().match_url(url) is None
    in_a_list = load_removals(hash_lists=listed(tmp_path, "hashes", hashlib.sha256(url.encode()).hexdigest()))
    assert in_a_list.matcher().match_url(url) == "hash"


def test_pairs_are_matched_by_number(removals: Removals) -> None:
    assert removals.matcher().match_pair_id(-17)
    assert not removals.matcher().match_pair_id(17)


def test_rows_are_matched_by_pair_and_by_picture(removals: Removals) -> None:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE rows (url VARCHAR, pair_id BIGINT, sha256 VARCHAR)")
    rows = [("http://evil.example/", -17, None), ("u", -17, None), ("u", 1, PICTURE_SHA256), ("u", None, None)]
    connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
    query = removals.register(connection).annotate("rows", pair_id="pair_id", sha256="sha256")
    assert connection.execute(query).fetchall() == [
        (*row, match) for row, match in zip(rows, ["domain", "pair_id", "sha256", None], strict=True)
    ]
    without_urls = removals.register(connection).annotate("rows", url=None, pair_id="pair_id")
    assert [row[-1] for row in connection.execute(without_urls).fetchall()] == ["pair_id", "pair_id", None, None]


def test_registering_again_replaces_what_was_there(removals: Removals) -> None:
    connection = duckdb.connect()
    removals.register(connection)
    query = Removals.none().register(connection).annotate("(SELECT 'http://evil.example/' AS url)")
    assert connection.execute(query).fetchall() == [("http://evil.example/", None)]


def test_two_connections_of_one_database_know_different_removals(removals: Removals) -> None:
    first = duckdb.connect()
    second = first.cursor()
    row = "(SELECT 'http://evil.example:8080/' AS url)"
    query, empty = removals.register(first).annotate(row), Removals.none().register(second).annotate(row)
    assert first.execute(query).fetchall() == [("http://evil.example:8080/", "domain")]
    assert second.execute(empty).fetchall() == [("http://evil.example:8080/", None)]


def test_a_matcher_survives_a_file_and_a_pickle(removals: Removals, tmp_path: Path) -> None:
    removals.write(tmp_path / "removals.parquet")
    matcher = RemovalMatcher.read(tmp_path / "removals.parquet")
    assert pickle.loads(pickle.dumps(matcher)) == matcher == removals.matcher()
    assert [path.name for path in tmp_path.glob("removals*")] == ["removals.parquet"]


def test_without_entries_nothing_matches(tmp_path: Path) -> None:
    removals = load_removals(requests())
    removals.write(tmp_path / "none.parquet")
    matcher = RemovalMatcher.read(tmp_path / "none.parquet")
    assert matcher.match_url("http://example.com/") is None
    assert not matcher.match_host("example.com")
    assert not matcher.match_body(b"")
    assert removals.digest == Removals.none().digest == load_removals().digest


def test_the_digest_depends_on_what_is_removed_alone(tmp_path: Path) -> None:
    first, second = ("url", "http://a.example/ü"), ("domain", "b.example")
    digest = load_removals(requests(first, second)).digest
    respelled = load_removals(
        requests(("domain", ".B.example."), ("url", "https://A.example:443/%c3%bc"), second),
        domain_lists=listed(tmp_path, "domains", "b.example"),
    )
    assert respelled.digest == digest
    assert load_removals(requests(first)).digest != digest


def test_the_digest_of_many_entries_does_not_depend_on_their_order() -> None:
    numbers = [("pair_id", str(number)) for number in range(70_000)]
    assert load_removals(requests(*numbers)).digest == load_removals(requests(*reversed(numbers))).digest


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("url", "example.com/a.jpg", "an absolute http"),
        ("url", "http:///a.jpg", "an absolute http"),
        ("url", "ftp://example.com/a.jpg", "an absolute http"),
        ("domain", "http://example.com", "a host name"),
        ("domain", "example.com/path", "a host name"),
        ("domain", "example.com:80", "a host name"),
        ("domain", "two words.example", "a host name"),
        ("domain", "a..example", "a host name"),
        ("url", "http://[/a.jpg", "an absolute http"),
        ("url", "http://256.1.1.1/a.jpg", "an absolute http"),
        ("url", "http://../a.jpg", "an absolute http"),
        ("domain", "*", "a host name"),
        ("domain", "a.example\\b", "a host name"),
        ("domain", "u@a.example", "a host name"),
        ("domain", "a.\texample", "a host name"),
        ("domain", "a\u200d.example", "a host name"),
        ("domain", "1.2.3.256", "a host name"),
        ("domain", "", "a host name"),
        ("sha256", "abc", "sha256 in hex"),
        ("sha256", "g" * 64, "sha256 in hex"),
        ("sha256", md5("x"), "sha256 in hex"),
        ("pair_id", "9223372036854775808", "a pair id, a signed 64-bit number"),
        ("pair_id", "1.0", "a pair id, a signed 64-bit number"),
        ("pair_id", None, "a pair id, a signed 64-bit number"),
        ("hash", md5("x"), "a kind out of"),
        ("picture", "x", "a kind out of"),
    ],
)
def test_a_request_that_cannot_be_understood_is_an_error(kind: str, value: str | None, expected: str) -> None:
    with pytest.raises(RemovalError, match=f"row 2 of the takedowns: expected {expected}"):
        load_removals(requests(("domain", "a.example"), (kind, value)))


def test_a_bad_line_is_named_with_its_file(tmp_path: Path) -> None:
    lists = listed(tmp_path, "hashes.txt", "# md5", md5("a"), "", "xyz")
    with pytest.raises(RemovalError, match=r"hashes\.txt:4: expected md5 or sha1 or sha256 in hex, found 'xyz'"):
        load_removals(hash_lists=lists)


def test_a_list_that_is_absent_or_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RemovalError, match=r"absent\.txt: this removal list cannot be read: No such file"):
        load_removals(url_lists=(str(tmp_path / "absent.txt"),))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RemovalError, match="binary: a removal list must be UTF-8 text"):
        load_removals(url_lists=(str(tmp_path / "binary"),))


def test_lists_may_have_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "domains").write_bytes(b"\xef\xbb\xbfa.example\r\nb.example\r\n")
    frame = load_removals(domain_lists=(str(tmp_path / "domains"),)).frame
    assert frame.rows() == [("domain", "a.example"), ("domain", "b.example")]


HOSTS = st.sampled_from(
    [
        "a.example",
        "b.a.example",
        "example",
        "ba.example",
        "A.Example.",
        "ü.example",
        "localhost",
        "10.0.0.1",
        "a_b.c.d.e",
        "0xa.1",
        "[::ffff:a00:1]",
        "ｅxample",
        "straße",
    ]
)
PATHS = st.sampled_from(
    [
        "",
        "/",
        "/x.jpg",
        "/X.jpg",
        "/ü",
        "/%C3%BC",
        "/x.jpg?",
        "/x.jpg#f",
        "/y/../x.jpg",
        "/x.jpg%C2%A0",
        '/it\'s "q"',
        "\\x.jpg",
    ]
)
URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "HTTPS://", "http://u@"]),
    HOSTS,
    st.sampled_from(["", ":80", ":8"]),
    PATHS,
)
ENTRIES = st.one_of(
    st.tuples(st.just("url"), URLS),
    st.tuples(st.just("domain"), HOSTS),
    st.tuples(
        st.just("hash"),
        st.builds(
            lambda url, f: hashlib.new(f, url.encode()).hexdigest(), URLS, st.sampled_from(["md5", "sha1", "sha256"])
        ),
    ),
)


@settings(deadline=None)
@given(
    st.lists(ENTRIES, max_size=6),
    st.lists(st.one_of(URLS, st.text(st.characters(exclude_categories=["Cs"]))), min_size=1, max_size=40),
)
def test_sql_and_python_match_the_same_urls(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str]], urls: list[str]
) -> None:
    hashes = listed(tmp_path_factory.mktemp("lists"), "hashes", *(value for kind, value in entries if kind == "hash"))
    removals = load_removals(requests(*(entry for entry in entries if entry[0] != "hash")), hash_lists=hashes)
    matcher = removals.matcher()
    assert in_sql(removals, urls) == [matcher.match_url(url) for url in urls]


@settings(deadline=None)
@given(URLS)
def test_every_url_matches_its_own_request(url: str) -> None:
    assert load_removals(requests(("url", url))).matcher().match_url(url) == "url"


CONNECTION = duckdb.connect(config={"threads": 1})


def in_sql(removals: Removals, urls: list[str]) -> list[str | None]:
    rows = "(SELECT * FROM unnest($1::VARCHAR[]) WITH ORDINALITY AS t(url, n))"
    query = f"SELECT removal FROM ({removals.register(CONNECTION).annotate(rows)}) ORDER BY n"
    return [row[0] for row in CONNECTION.execute(query, [urls]).fetchall()]
