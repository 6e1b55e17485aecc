"""WAT files: every link accounted for, and one bad record costs itself."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


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


def test_a_clipped_file_keeps_what_came_before(five_pages, wat_files, extract_bytes):
    content = wat_files.gz(five_pages)
    rows, counts = extract_bytes(content[:-100])
    assert texts_of(rows) == [f"picture number {number}" for number in range(4)]
    assert counts.bad_records == {"clipped_gzip": 1}
    assert counts.records == 6
    rows, counts = extract_bytes(content[:-3])  # in the trailer: the record is complete
    assert rows.height == 5


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
    extract_bytes(head + rest)
    extract_bytes(gzip.compress(head + rest))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**6), mask=st.integers(1, 255))
def test_one_wrong_byte_costs_one_record_at_most(at, mask, five_pages, wat_files, extract_bytes):
    content = bytearray(wat_files.gz(five_pages))
    content[at % len(content)] ^= mask
    rows, counts = extract_bytes(bytes(content))
    assert set(texts_of(rows)) <= {f"picture number {number}" for number in range(5)}
    assert rows.height >= 4
    assert rows.height == 5 or sum(counts.bad_records.values()) == 1
