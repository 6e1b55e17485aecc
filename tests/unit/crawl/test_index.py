"""Listings of crawls and of their files."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from laion_assets.crawl.index import Crawl, IndexFormatError, list_crawls, list_files
from laion_assets.crawl.sources import SourceNotFound, TransferError, open_source


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


def test_the_real_list_of_crawls(shared_data):
    crawls = list_crawls(open_source(str(shared_data / "cdx")))
    assert len(crawls) == 115
    assert crawls[0].crawl == "CC-MAIN-2025-33"
    assert all(crawl.first_capture and crawl.last_capture for crawl in crawls)
