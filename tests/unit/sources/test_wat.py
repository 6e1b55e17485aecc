"""WAT files: every link accounted for, and one bad record costs itself."""

import gzip
import io
import json
import tarfile
import time
import zipfile
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from laion_assets.orchestration.execution.failures import can_pass
from laion_assets.sources.references import decode_references, is_undecoded
from laion_assets.sources.sources import TransferError, UnexpectedContent


def texts_of(rows) -> list[str]:
    return rows["text"].to_list()


@pytest.fixture(scope="session")
def five_pages(wat_files) -> list[bytes]:
    info = wat_files.record(b"Software-Info: test\r\n", kind="warcinfo")
    return [info, *(wat_files.page(f"picture number {number}", "", "x") for number in range(5))]


def test_a_link_becomes_a_row_that_says_where_it_is_from(wat_files, extract_bytes):
    links = [
        {"url": "http://x.test/a.jpg", "alt": "ein roter Kreis über einem Quadrat"},
        {"url": "b.jpg"},
        {"path": "A@/href", "url": "c.html", "alt": "not an image at all"},
        {"url": "b.jpg", "alt": " a  blue\u00a0square "},
    ]
    payload = json.dumps(wat_files.envelope(links, base="/base/")).encode()
    rows, counts = extract_bytes(wat_files.gz([wat_files.record(b"x: y", kind="warcinfo"), wat_files.record(payload)]))
    assert rows.select(
        "url", "text", "language", "page_url", "link_position", "warc_filename", "warc_offset"
    ).rows() == [
        (
            "http://x.test/a.jpg",
            "ein roter Kreis über einem Quadrat",
            "de",
            "http://pages.test/a/page.html",
            0,
            "CC-MAIN-x-00000.warc.gz",
            4711,
        ),
        (
            "http://pages.test/base/b.jpg",
            "a blue square",
            rows["language"][1],
            "http://pages.test/a/page.html",
            2,
            "CC-MAIN-x-00000.warc.gz",
            4711,
        ),
    ]
    assert rows["record_offset"].unique().to_list() == [
        len(gzip.compress(wat_files.record(b"x: y", kind="warcinfo"), mtime=0))
    ]
    assert (counts.records, counts.pages, counts.links, counts.rows, counts.drops) == (2, 1, 3, 2, {"no_alt": 1})


def test_the_order_of_keys_makes_no_difference(wat_files, extract_bytes):
    def reversed_keys(value):
        if isinstance(value, dict):
            return {key: reversed_keys(value[key]) for key in reversed(value)}
        return [reversed_keys(item) for item in value] if isinstance(value, list) else value

    envelope = wat_files.envelope([{"url": "/a.jpg", "alt": "a red circle"}, {"alt": "a blue circle", "url": "/b.jpg"}])
    one, _ = extract_bytes(wat_files.gz([wat_files.record(json.dumps(envelope).encode())]))
    other, _ = extract_bytes(wat_files.gz([wat_files.record(json.dumps(reversed_keys(envelope), indent=1).encode())]))
    assert one.equals(other)


@pytest.mark.parametrize("layout", ["member per record", "one member", "plain", "plain lf", "member lf", "padding"])
def test_every_layout_gives_the_same_pairs(layout, wat_files, extract_bytes):
    newline = b"\n" if layout.endswith("lf") else b"\r\n"
    records = [wat_files.page(f"picture number {number}", newline=newline) for number in range(5)]
    content = {
        "member per record": wat_files.gz(records),
        "member lf": wat_files.gz(records),
        "one member": gzip.compress(b"".join(records)),
        "plain": b"".join(records),
        "plain lf": b"".join(records),
        "padding": b"\r\n\0".join(gzip.compress(record) for record in records),
    }[layout]
    rows, counts = extract_bytes(content)
    assert texts_of(rows) == [f"picture number {number}" for number in range(5)]
    assert (counts.records, counts.bad_records) == (5, {})


DAMAGE = {
    "corrupt_gzip": lambda record, make: make(record)[:60] + b"\xff\xff\xff\xff" + make(record)[64:],
    "a wrong checksum": lambda record, make: make(record)[:-6] + b"\0\0\0\0" + make(record)[-2:],
    "bad_header": lambda record, make: make(b"no record at all\r\n\r\n"),
    "bad_header without length": lambda record, make: make(record.replace(b"Content-Length", b"Content-Longth")),
    "bad_json": lambda record, make: make(record.replace(b'"Envelope": {', b'"Envelope"; {')),
    "wrong_length": lambda record, make: make(record.replace(b"Content-Length: ", b"Content-Length: 1")),
    "wrong_length short": lambda record, make: make(record.replace(b"Content-Length: ", b"Content-Length: 2\r\nX: ")),
    "bad_header cut off": lambda record, make: make(record[:60]),
    "bad_header cut off at once": lambda record, make: make(record[:14]),
    "bad_header with a length of no number": lambda record, make: make(record.replace(b"Length: ", b"Length: }")),
    "corrupt_gzip zeros": lambda record, make: b"\0" * 3 + b"junk" * 9,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_bad_record_costs_itself(damage, five_pages, wat_files, extract_bytes):
    members = [wat_files.gz([record]) for record in five_pages]
    members[3] = DAMAGE[damage](five_pages[3], lambda record: wat_files.gz([record]))
    rows, counts = extract_bytes(b"".join(members))
    kept = [f"picture number {number}" for number in (0, 1, 3, 4)]
    if damage == "wrong_length":  # too long a length: the member ends where the record does, and nothing is lost
        kept.insert(2, "picture number 2")
        assert counts.bad_records == {}
    else:
        reason = {"a wrong checksum": "corrupt_gzip"}.get(damage, damage.split()[0])
        assert counts.bad_records == {reason: 1}
    assert texts_of(rows) == kept
    assert counts.records == 6


def test_a_wrong_length_in_an_uncompressed_file_costs_no_neighbour(five_pages, extract_bytes):
    damaged = [*five_pages[:3], five_pages[3].replace(b"Content-Length: ", b"Content-Length: 9"), *five_pages[4:]]
    rows, counts = extract_bytes(b"".join(damaged))
    assert texts_of(rows) == [f"picture number {number}" for number in range(5)]
    assert counts.bad_records == {}


@pytest.mark.parametrize("layout", ["plain", "one member"])
def test_a_header_that_runs_into_the_next_record_costs_itself(layout, five_pages, extract_bytes):
    content = b"".join([*five_pages[:2], five_pages[2][:60], *five_pages[3:]])
    rows, counts = extract_bytes(gzip.compress(content) if layout == "one member" else content)
    assert texts_of(rows) == [f"picture number {number}" for number in (0, 2, 3, 4)]
    assert (counts.records, counts.bad_records) == (6, {"bad_header": 1})


def test_a_clipped_file_keeps_what_came_before(five_pages, wat_files, extract_bytes):
    content = wat_files.gz(five_pages)
    rows, counts = extract_bytes(content[:-100])
    assert texts_of(rows) == [f"picture number {number}" for number in range(4)]
    assert counts.bad_records == {"clipped_gzip": 1}
    assert counts.records == 6
    rows, counts = extract_bytes(content[:-3])  # in the trailer: the record is complete
    assert (rows.height, counts.bad_records) == (5, {})
    for left in (1, 2, 3, 9, 30):  # nothing of the record can be had yet
        rows, counts = extract_bytes(content + wat_files.gz(five_pages[1:2])[:left])
        assert (rows.height, counts.bad_records) == (5, {"clipped_gzip": 1})


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda payload: payload.replace(b"circle", b"circ\xff\xfele"), id="invalid UTF-8"),
        pytest.param(lambda payload: payload.replace(b"circle", rb"\ud800circle"), id="lone surrogate"),
        pytest.param(lambda payload: payload.replace(b'"/1.jpg"', b"17"), id="a number for a url"),
        pytest.param(lambda payload: payload.replace(b'"4711"', b"NaN"), id="NaN"),
        pytest.param(lambda payload: payload.replace(b'"Head": {}', b'"Head": [1]'), id="a list for an object"),
    ],
)
def test_what_python_can_read_is_read(bad, wat_files, extract_bytes):
    payload = json.dumps(
        wat_files.envelope([{"url": "/0.jpg", "alt": "a red circle"}, {"url": "/1.jpg", "alt": "a blue square"}])
    )
    rows, counts = extract_bytes(wat_files.gz([wat_files.record(bad(payload.encode()))]))
    assert counts.bad_records == {}
    assert counts.links == 2
    assert rows["text"][0].endswith("le")


@pytest.mark.parametrize(
    "envelope",
    [{}, [], None, 1, {"Envelope": None}, {"Envelope": {"Payload-Metadata": 3}}, {"IMG@/src": {"Links": "x"}}],
)
def test_json_of_another_shape_is_no_page(envelope, wat_files, extract_bytes):
    rows, counts = extract_bytes(wat_files.gz([wat_files.record(json.dumps(envelope).encode())]))
    assert (rows.height, counts.pages, counts.bad_records) == (0, 0, {})


def test_batches_do_not_change_the_rows(five_pages, wat_files, extract_bytes):
    content = wat_files.gz(five_pages)
    whole, counts = extract_bytes(content)
    for batch_rows in (1, 2, 3):
        rows, batched = extract_bytes(content, batch_rows=batch_rows)
        assert rows.equals(whole)
        assert batched == counts


SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.'
    b"</Message><RequestId>4B2</RequestId></Error>"
)
# What servers send in place of a file, and what is left of one that was cut off: another try may bring the file.
PASSING = {
    "S3's error": (SLOW_DOWN, "SlowDown"),
    "an HTML page": (b"\xef\xbb\xbf<!DOCTYPE html><title>Bad gateway</title>", "an HTML page.*Bad gateway"),
    "JSON": (b'{"message": "Too Many Requests"}', "JSON.*Too Many Requests"),
    "text": (b"upstream connect error", "text.*upstream"),
    "nothing": (b"", "an empty file"),
    "blank lines": (b" \r\n\r\n", "an empty file"),
    "the first bytes of a gzip file": (gzip.compress(b"WARC/1.0\r\n")[:9], "cut off at its beginning"),
    "two bytes": (b"\x1f\x8b", "cut off at its beginning"),
    "half a warcinfo": (
        b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 99\r\n\r\nSoft",
        "without one whole record",
    ),
}


def a_tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x.warc"))
    return made.getvalue()


def a_zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("x.warc", "WARC/1.0")
    return made.getvalue()


# Signatures: RFC 8878 (3.1.1, 3.1.2), APPNOTE.TXT (4.3.7), POSIX ustar, Internet Archive's ARC format (version block).
LASTING = {
    "zstd": (b"\x28\xb5\x2f\xfd\x24\x00", "zstd.*28 b5 2f fd"),
    "zstd with a dictionary": (b"\x5d\x2a\x4d\x18\x04\0\0\0", "zstd"),
    "zip": (a_zip(), "a zip archive"),
    "tar": (a_tar(), "a tar archive"),
    "ARC": (b"filedesc://x.arc 0.0.0.0 20080101000000 text/plain 76\n1 0 Alexa\n", "an ARC file.*filedesc"),
    "bytes of any kind": (bytes(range(256)), "no known format.*00 01 02"),
}


@pytest.mark.parametrize("format", ["wat", "warc"])
@pytest.mark.parametrize(
    ("name", "compressed"),
    [(name, False) for name in (*PASSING, *LASTING)]
    + [(name, True) for name in (*PASSING, *LASTING) if not {**PASSING, **LASTING}[name][0].startswith(b"\x1f")],
)
def test_a_file_without_any_record_is_an_error_that_says_what_it_is(name, compressed, format, extract_bytes):
    content, words = {**PASSING, **LASTING}[name]
    with pytest.raises(UnexpectedContent, match=rf"(?s)/file: expected a WARC or WAT file, found .*{words}") as raised:
        extract_bytes(gzip.compress(content) if compressed else content, format=format)
    assert isinstance(raised.value, TransferError) == can_pass(raised.value) == (name in PASSING)


def test_headers_that_never_end_are_passed_over_in_one_go(five_pages, extract_bytes):
    """Each was looked for 64 kB on, as often as one began; with a blank line after every 64 kB, too."""
    before = time.process_time()
    rows, counts = extract_bytes((b"WARC/1.0\r\n" * 5_000 + b"\r\n") * 20 + b"".join(five_pages))
    assert time.process_time() - before < 8
    assert (rows.height, counts.bad_records) == (5, {"bad_header": 100_000})


def test_a_file_that_says_what_it_is_and_holds_no_page_is_an_empty_one(five_pages, wat_files, extract_bytes):
    rows, counts = extract_bytes(wat_files.gz(five_pages[:1]))
    assert (rows.height, counts.records, counts.bad_records) == (0, 1, {})


@pytest.mark.parametrize(
    ("payloads", "kind"),
    [
        ([b"HTTP/1.1 200 OK\r\n\r\n<img src=a alt=b>"], "response"),
        ([b"Hello"], "conversion"),
        ([b"fetchTimeMs: 1"] * 2, "metadata"),
        ([b'{"a":1}'] * 3, "metadata"),
    ],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_records_of_other_kinds_alone_are_an_error(payloads, kind, compressed, wat_files, extract_bytes):
    records = [wat_files.record(payload, kind=kind) for payload in payloads]
    with pytest.raises(UnexpectedContent, match=f"expected a WAT file, found {len(records)} records without any JSON"):
        extract_bytes(wat_files.gz(records) if compressed else b"".join(records))


def test_a_single_page_is_a_wat_file(five_pages, wat_files, extract_bytes):
    assert extract_bytes(wat_files.gz(five_pages[1:2]))[0].height == 1
    clipped = wat_files.record(b'{"Container": {"Filename"')
    assert extract_bytes(wat_files.gz([five_pages[0], clipped]))[1].bad_records == {"bad_json": 1}


def test_pages_and_texts_in_place_of_their_metadata_are_an_error(wat_files, extract_bytes):
    """A WARC or WET file that was listed as a WAT."""
    records = [wat_files.record(b"Software: x", kind="warcinfo"), wat_files.record(b"Hello", kind="conversion")]
    with pytest.raises(UnexpectedContent, match="expected a WAT file, found 2 records without any JSON"):
        extract_bytes(wat_files.gz(records))


OLD, NEW = "CC-MAIN-2019-22", "CC-MAIN-2019-26"


@pytest.mark.parametrize(
    ("crawl", "decoded"),
    [
        ("CC-MAIN-2013-20", True),
        (OLD, True),
        # ia-web-commons issue 14: the change was used for the June 2019 crawl, CC-MAIN-2019-26
        (NEW, False),
        ("CC-MAIN-2019-30", False),
        ("CC-MAIN-2024-10", False),
        ("a-crawl-of-mine", False),
        ("CC-MAIN-2018-13-sample", False),
    ],
)
def test_character_references_are_decoded_in_crawls_whose_extractor_left_them(crawl, decoded, wat_files, extract_bytes):
    """The example of ia-web-commons issue 14, beside one that was written twice over on its page."""
    links = [
        {"url": "th.jpg?pubId=86746484001&amp;videoId=5808028819001", "alt": "M\u00edchel: &quot;Cristiano&quot;"},
        {"url": "b.jpg", "alt": "Fish &amp;amp; chips &amp;quot;to go&amp;quot;"},
    ]
    payload = json.dumps(wat_files.envelope(links, base="/a&amp;b/")).encode()
    rows, counts = extract_bytes(wat_files.gz([wat_files.record(payload)]), crawl=crawl)
    folder = "http://pages.test/a&b/" if decoded else "http://pages.test/a&amp;b/"
    expected = [
        (f"{folder}th.jpg?pubId=86746484001&videoId=5808028819001", 'M\u00edchel: "Cristiano"'),
        (f"{folder}b.jpg", "Fish &amp; chips &quot;to go&quot;"),
    ]
    if not decoded:
        expected = [
            (f"{folder}th.jpg?pubId=86746484001&amp;videoId=5808028819001", "M\u00edchel: &quot;Cristiano&quot;"),
            (f"{folder}b.jpg", "Fish &amp;amp; chips &amp;quot;to go&amp;quot;"),
        ]
    assert rows.select("url", "text").rows() == expected
    assert counts.links == 2


def test_the_crawl_is_what_is_said_or_else_what_the_path_names():
    path = f"crawl-data/{OLD}/segments/1/wat/x.warc.wat.gz"
    assert is_undecoded(None, path)
    assert not is_undecoded(NEW, path)
    assert not is_undecoded(None, "x.warc.wat.gz")


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        # HTML standard, 13.2.5.73: an attribute's reference without semicolon before = or a letter or digit is text
        ("?a=1&copy=2&reg3&lt;", "?a=1&copy=2&reg3<"),
        ("&copy &copy; &copy", "\u00a9 \u00a9 \u00a9"),
        ("&notit; &notin; &nosuch; &", "&notit; \u2209 &nosuch; &"),
        ("&amp;amp;", "&amp;"),
        ("&AMP;&Eacute;&eacute;&NotEqualTilde;", "&\u00c9\u00e9\u2242\u0338"),
        # 13.2.5.75 to 80: numbers with and without semicolon, Windows-1252, what is no character
        ("&#38a &#x26;b &#X3D;&#128;&#x9F;&#129;", "&a &b =\u20ac\u0178\x81"),
        ("&#0;&#xD800;&#x110000;&#" + "9" * 5000 + ";", "\ufffd\ufffd\ufffd\ufffd"),
        ("&#; &#x; &#xg;", "&#; &#x; &#xg;"),
    ],
)
def test_references_are_decoded_as_in_an_attribute(value, meant):
    assert decode_references(value) == meant


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "&",
                "amp",
                "copy",
                "not",
                "in",
                "quot",
                "lt",
                "#",
                "x",
                "X",
                "38",
                "128",
                "D8",
                "0",
                ";",
                "=",
                " ",
                "&amp;",
            ]
        ),
        max_size=12,
    ).map("".join)
)
def test_references_are_decoded_as_the_parser_of_pages_decodes_them(value):
    image = LexborHTMLParser(f'<img alt="{value}">').css_first("img")
    assert decode_references(value) == (image.attributes["alt"] or "")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_files_damaged_at_random_are_read_to_their_end(data, five_pages, wat_files, extract_bytes):
    content = bytearray(wat_files.gz(five_pages) if data.draw(st.booleans()) else b"".join(five_pages))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip":
                content[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del content[at : at + data.draw(st.integers(1, 200))]
            case "insert":
                content[at:at] = data.draw(st.binary(max_size=40))
        content = content or bytearray(b"\0")
    extract_bytes(bytes(content))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from(
        [
            b"",
            b"WARC/1.0\r\n",
            b"\x1f\x8b\x08\x00",
            b"WARC/1.0\r\nContent-Length: 3\r\n\r\n",
            b"\x28\xb5\x2f\xfd",
            b"\x04\x22\x4d\x18",
        ]
    ),
    rest=st.binary(max_size=200),
)
def test_any_bytes_are_read_to_their_end(head, rest, extract_bytes):
    for content in (head + rest, gzip.compress(head + rest)):
        with suppress(UnexpectedContent):  # nothing like a record in it
            extract_bytes(content)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**6), mask=st.integers(1, 255))
def test_one_wrong_byte_costs_one_record_at_most(at, mask, five_pages, wat_files, extract_bytes):
    content = bytearray(wat_files.gz(five_pages))
    content[at % len(content)] ^= mask
    rows, counts = extract_bytes(bytes(content))
    assert set(texts_of(rows)) <= {f"picture number {number}" for number in range(5)}
    assert rows.height >= 4
    assert rows.height == 5 or sum(counts.bad_records.values()) == 1
