"""Listings of crawls and of their files."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from laion_assets.orchestration.execution.failures import can_pass
from laion_assets.sources import index
from laion_assets.sources.index import Crawl, IndexFormatError, list_crawls, list_files, read_file_list
from laion_assets.sources.sources import SourceNotFound, TransferError, open_source
from tests.integration.conftest import folder_handler, serving


@pytest.fixture
def mirror(tmp_path):
    """Writes files into a folder source."""

    def write(**files: bytes):
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return open_source(str(tmp_path))

    return write


def published(mirror, entries) -> list[Crawl]:
    return list_crawls(mirror(**{"collinfo.json": json.dumps(entries).encode()}))


def test_crawls_are_listed_in_order_with_times_in_utc(mirror):
    entries = [
        {"id": "CC-MAIN-2024-10", "name": "March 2024", "from": "2024-02-20T21:01:13", "to": "2024-03-05T19:01:23"},
        {"id": "CC-MAIN-2012"},
    ]
    assert published(mirror, entries) == [
        Crawl(
            crawl="CC-MAIN-2024-10",
            name="March 2024",
            first_capture=datetime(2024, 2, 20, 21, 1, 13, tzinfo=UTC),
            last_capture=datetime(2024, 3, 5, 19, 1, 23, tzinfo=UTC),
        ),
        Crawl(crawl="CC-MAIN-2012", name="CC-MAIN-2012", first_capture=None, last_capture=None),
    ]


@pytest.mark.parametrize(
    "entries", [{"id": "x"}, [{"name": "x"}], ["x"], [{"id": "x", "from": "yesterday"}], [{"id": "x", "to": 3}]]
)
def test_a_list_of_another_shape_is_an_error(entries, mirror):
    with pytest.raises(IndexFormatError, match=r"collinfo\.json"):
        published(mirror, entries)


def test_a_list_that_is_no_json_or_missing_is_an_error(mirror):
    with pytest.raises(SourceNotFound, match=r"collinfo\.json"):
        list_crawls(mirror())
    with pytest.raises(IndexFormatError, match="not JSON"):
        list_crawls(mirror(**{"collinfo.json": b"<html>"}))


def test_files_are_listed_in_order(mirror):
    paths = gzip.compress(b"crawl-data/C/b.warc.wat.gz\n\ncrawl-data/C/a.warc.wat.gz\n", mtime=0)
    source = mirror(**{"crawl-data__C__wat.paths.gz": paths})
    assert list_files(source, "C", "wat") == ["crawl-data/C/b.warc.wat.gz", "crawl-data/C/a.warc.wat.gz"]
    with pytest.raises(SourceNotFound, match=r"warc\.paths\.gz"):
        list_files(source, "C", "warc")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (gzip.compress(b"crawl-data/a\n" * 99, mtime=0)[:-9], TransferError),
        (gzip.compress(b"../../etc/passwd\n", mtime=0), IndexFormatError),
        (gzip.compress(b"/etc/passwd\n", mtime=0), IndexFormatError),
        (gzip.compress(b"\xff\xfe\n", mtime=0), IndexFormatError),
    ],
)
def test_a_damaged_or_dangerous_listing_is_an_error(content, error, mirror):
    with pytest.raises(error, match=r"wat\.paths\.gz"):
        list_files(mirror(**{"crawl-data__C__wat.paths.gz": content}), "C", "wat")


PATH = "crawl-data/C/segments/1/wat/a.warc.wat.gz"


def listed(mirror, content: bytes, *, name: str = "crawl-data__C__wat.paths.gz") -> list[str]:
    return list_files(mirror(**{name: content}), "C", "wat")


def test_a_path_that_is_listed_twice_is_read_once_and_counted(mirror):
    """However it is written the second time."""
    entries = [PATH, "b.gz", f"s3://commoncrawl/{PATH}", f"./{PATH}", f"/{PATH}", "b.gz"]
    found = read_file_list(
        mirror(**{"crawl-data__C__wat.paths.gz": gzip.compress("\n".join(entries).encode())}), "C", "wat"
    )
    assert (found.paths, found.repeated) == ([PATH, "b.gz"], 4)


@pytest.mark.parametrize(
    "entry",
    [
        PATH,
        f"s3://commoncrawl/{PATH}",
        f"s3a://commoncrawl/{PATH}",
        f"https://data.commoncrawl.org/{PATH}",
        f"HTTPS://Data.CommonCrawl.org:443/{PATH}",
        f"http://data.commoncrawl.org/{PATH}",
        f"https://commoncrawl.s3.amazonaws.com/{PATH}",
        f"https://user:secret@data.commoncrawl.org/{PATH}",
        f"https://data.commoncrawl.org/{PATH.replace('a.warc', '%61%2Ewarc')}",
        f"/{PATH}",
        f"./{PATH}",
        PATH.replace("segments", "./segments"),
        f"  {PATH}\t",
        "{root}/" + PATH,
        "file://{root}/" + PATH,
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", ""])
def test_an_entry_may_begin_with_the_address_of_the_source(entry, ending, mirror, tmp_path):
    entry = entry.format(root=tmp_path.resolve())
    assert listed(mirror, gzip.compress(f"\ufeff{ending}{entry}{ending}{ending}".encode())) == [PATH]


def test_entries_below_a_mirror_are_told_from_those_beside_it(mirror, tmp_path):
    with serving(folder_handler(tmp_path)) as port:
        source = open_source(f"http://user:secret@127.0.0.1:{port}/cc/")
        mirror(**{"cc__crawl-data__C__wat.paths.gz": f"http://127.0.0.1:{port}/cc/{PATH}\n".encode()})
        assert list_files(source, "C", "wat") == [PATH]
        mirror(**{"cc__crawl-data__C__wat.paths.gz": f"http://127.0.0.1:{port}/dd/{PATH}\n".encode()})
        with pytest.raises(IndexFormatError, match="expected paths below the source"):
            list_files(source, "C", "wat")


@pytest.mark.parametrize(
    "entry",
    [
        "../../etc/passwd",
        "crawl-data/../../x",
        "crawl-data/%2e%2E/%2e%2e/x",
        "crawl-data\\..\\..\\x",
        "https://data.commoncrawl.org/crawl-data/%2e%2e/x",
        "/etc/passwd",
        "//elsewhere.test/x",
        "s3://elsewhere/x",
        "s3://commoncrawl.elsewhere/x",
        "s3://commoncrawl/",
        "https://data.commoncrawl.org.elsewhere.test/x",
        f"https://data.commoncrawl.org/{PATH}?X-Amz-Signature=secret",
        "https://user:secret@elsewhere.test/x",
        "ftp://user:secret@elsewhere.test/x",
        "file:///etc/passwd",
        "x\0y",
        "x\x1b[31my",
        "x" * 2000,
        ".",
        "./",
    ],
)
def test_an_entry_that_leads_out_of_the_source_is_one_line_that_names_it(entry, mirror):
    with pytest.raises(IndexFormatError, match=r"wat\.paths\.gz: expected paths below the source, found '") as raised:
        listed(mirror, gzip.compress(f"{PATH}\n{entry}\n".encode()))
    assert "secret" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_list_may_be_uncompressed_or_of_several_members(mirror):
    assert listed(mirror, b"a\nb\n") == ["a", "b"]
    assert listed(mirror, gzip.compress(b"a\nb") + gzip.compress(b"c\n") + b"\0" * 9) == ["a", "bc"]
    assert listed(mirror, "ä b.gz\nc\u2028d.gz\n".encode()) == ["ä b.gz", "c\u2028d.gz"]
    assert listed(mirror, gzip.compress(b"")) == []


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"\0" * (index.MAX_LIST_BYTES + 1), compresslevel=1),
        gzip.compress(b"a\n" * (index.MAX_FILES + 1), compresslevel=1),
        gzip.compress(b"") * 20_000,
    ],
    ids=["a bomb", "too many entries", "too many members"],
)
def test_a_list_is_read_as_far_as_a_list_may_go(content, mirror):
    with pytest.raises(IndexFormatError, match=r"wat\.paths\.gz"):
        listed(mirror, content)


def test_a_list_that_is_stored_too_long_is_not_read_to_its_end(mirror, tmp_path):
    source = mirror(**{"crawl-data__C__wat.paths.gz": b"a"})
    with (tmp_path / "crawl-data/C/wat.paths.gz").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(IndexFormatError, match="too long"):
        list_files(source, "C", "wat")
    with (tmp_path / "collinfo.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(IndexFormatError, match="too long"):
        list_crawls(source)


ERROR_PAGES = [b"", b" \r\n", b"<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>", b"<!doctype html><p>Down"]


@pytest.mark.parametrize("content", [*ERROR_PAGES, b'{"message": "Too Many Requests"}'])
def test_an_error_page_in_place_of_a_list_can_pass(content, mirror):
    for name, read in (("collinfo.json", list_crawls), ("crawl-data__C__wat.paths.gz", None)):
        source = mirror(**{name: content})
        with pytest.raises(IndexFormatError, match=r"expected a list of") as raised:
            read(source) if read else list_files(source, "C", "wat")
        assert can_pass(raised.value)


def test_a_compressed_error_page_in_place_of_a_list_can_pass(mirror):
    with pytest.raises(IndexFormatError, match=r"gzip data that holds XML.*SlowDown") as raised:
        listed(mirror, gzip.compress(ERROR_PAGES[2]))
    assert can_pass(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 200_000,
        b'[{"id": "x", "name": ' + b"[" * 200_000,
        b"\xff\xfe[",
        b'[{"id": "\xff"}]',
        b'[{"id": 1' + b"0" * 5000 + b"}]",
        b'[{"id": NaN}]',
        b'[{"id": "\\ud800"}]',
        b'[{"id": ""}]',
        b"[null]",
        b"[[]]",
        b'[{"id": "x", "from": {}}]',
        b'[{"id": "x", "from": "0001-01-01T00:00:00+23:59"}]',
        b'[{"id": "x", "from": "' + b"9" * 100_000 + b'"}]',
        b'[{"id": ' + b"9" * 1000 + b"}]",
        b"[1, 2",
        b"NaN",
        b"7",
        b'"text"',
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_list_of_crawls_that_is_none_is_one_line(content, mirror):
    with pytest.raises(IndexFormatError, match=r"collinfo\.json") as raised:
        list_crawls(mirror(**{"collinfo.json": content}))
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 600


def test_a_crawl_that_is_listed_twice_is_told_once(mirror):
    entries = [{"id": "b", "name": "first"}, {"id": "a"}, {"id": "b", "name": "second"}]
    assert [(crawl.crawl, crawl.name) for crawl in published(mirror, entries)] == [("b", "first"), ("a", "a")]


def test_names_and_marks_that_others_write_are_read(mirror):
    content = '\ufeff[{"id": "x", "name": "\\ud800", "more": NaN, "from": "", "to": null}]'.encode()
    assert list_crawls(mirror(**{"collinfo.json": content})) == [
        Crawl(crawl="x", name="\ufffd", first_capture=None, last_capture=None)
    ]


def test_the_real_list_of_crawls(shared_data):
    crawls = list_crawls(open_source(str(shared_data / "cdx")))
    assert len(crawls) == 115
    assert crawls[0].crawl == "CC-MAIN-2025-33"
    assert all(crawl.first_capture and crawl.last_capture for crawl in crawls)
