"""write_crawl, read back with the standard library and warcio."""

import gzip
import json
import zlib
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from laion_assets.sample.archive import write_crawl
from laion_assets.sample.pages import ImageTag, Page, html_metadata


def wat_records(path: Path) -> list[dict]:
    with path.open("rb") as file:
        return [json.loads(r.content_stream().read()) for r in ArchiveIterator(file) if r.rec_type == "metadata"]


def image_links(record: dict) -> list[dict]:
    response = record["Envelope"]["Payload-Metadata"].get("HTTP-Response-Metadata", {})
    links = response.get("HTML-Metadata", {}).get("Links", [])
    return [link for link in links if link["path"] == "IMG@/src"]


def page(number: int, **more) -> Page:
    images = [ImageTag(f"../img/{number}-{k}.jpg", f'a "quoted" & <odd> text {number}.{k}') for k in range(12)]
    return Page(url=f"http://example.org/a/{number}.html", images=images, **more)


def listed(root: Path, crawl: str, name: str) -> list[Path]:
    paths = gzip.decompress((root / "crawl-data" / crawl / name).read_bytes()).decode().split()
    return [root / path for path in paths]


def test_a_crawl_has_the_files_its_lists_name(tmp_path):
    files = write_crawl(tmp_path, "CC-MAIN-2030-10", [page(n) for n in range(7)], 3)
    assert [str(path.relative_to(tmp_path)) for path in listed(tmp_path, files.crawl, "wat.paths.gz")] == list(
        files.wat
    )
    assert all(
        path.is_file() for name in ("wat.paths.gz", "warc.paths.gz") for path in listed(tmp_path, files.crawl, name)
    )
    entry = json.loads((tmp_path / "collinfo.json").read_text())[0]
    assert (entry["id"], entry["from"]) == ("CC-MAIN-2030-10", "2030-03-04T17:05:00")


def test_wat_holds_what_the_pages_hold(tmp_path):
    pages = [page(n) for n in range(5)]
    files = write_crawl(tmp_path, "CC-MAIN-2030-10", pages, 2)
    found = [link for path in files.wat for record in wat_records(tmp_path / path) for link in image_links(record)]
    assert sorted((link["url"], link["alt"]) for link in found) == sorted(
        (image.src, image.alt) for page in pages for image in page.images
    )


def test_a_wat_record_says_where_its_page_lies(tmp_path):
    files = write_crawl(tmp_path, "CC-MAIN-2030-10", [page(n) for n in range(3)], 1)
    warc = (tmp_path / files.warc[0]).read_bytes()
    for record in wat_records(tmp_path / files.wat[0]):
        envelope, container = record["Envelope"]["WARC-Header-Metadata"], record["Container"]
        assert container["Filename"] == Path(files.warc[0]).name
        member = zlib.decompressobj(31).decompress(warc[int(container["Offset"]) :])
        assert envelope["WARC-Record-ID"].encode() in member
        assert f"Content-Length: {envelope['Content-Length']}".encode() in member


def test_the_same_pages_give_the_same_bytes_and_another_crawl_another_key_order(tmp_path):
    first = write_crawl(tmp_path / "a", "CC-MAIN-2026-04", [page(1)], 1)
    again = write_crawl(tmp_path / "b", "CC-MAIN-2026-04", [page(1)], 1)
    other = write_crawl(tmp_path / "a", "CC-MAIN-2026-08", [page(1)], 1)
    assert (tmp_path / "a" / first.wat[0]).read_bytes() == (tmp_path / "b" / again.wat[0]).read_bytes()
    assert (tmp_path / "a" / first.warc[0]).read_bytes() == (tmp_path / "b" / again.warc[0]).read_bytes()
    orders = [list(wat_records(tmp_path / "a" / crawl.wat[0])[0]) for crawl in (first, other)]
    assert orders[0] == orders[1][::-1]
    assert [c["id"] for c in json.loads((tmp_path / "a/collinfo.json").read_text())] == [other.crawl, first.crawl]


def test_publishing_a_crawl_again_replaces_it_and_leaves_others(tmp_path):
    write_crawl(tmp_path, "CC-MAIN-2030-01", [page(1)], 1)
    write_crawl(tmp_path, "CC-MAIN-2030-10", [page(n) for n in range(4)], 4)
    write_crawl(tmp_path, "CC-MAIN-2030-10", [page(9)], 1)
    assert len(listed(tmp_path, "CC-MAIN-2030-10", "wat.paths.gz")) == 1
    assert len(list((tmp_path / "crawl-data/CC-MAIN-2030-10").rglob("*.wat.gz"))) == 1
    assert len(json.loads((tmp_path / "collinfo.json").read_text())) == 2


def test_finished_html_is_published_as_it_is(tmp_path):
    document = (
        '<html><base href="/x/"><title>T &amp; t</title><img alt="Ünï “q” &lt;&#128512;&gt;" src=a.png><img src=b>'
    )
    files = write_crawl(tmp_path, "CC-TEST", [Page(url="http://example.org/", html=document)], 1)
    with (tmp_path / files.warc[0]).open("rb") as file:
        bodies = [record.content_stream().read() for record in ArchiveIterator(file) if record.rec_type == "response"]
    assert bodies == [document.encode()]
    response = next(record for record in wat_records(tmp_path / files.wat[0]) if image_links(record))
    assert image_links(response) == [
        {"path": "IMG@/src", "url": "a.png", "alt": "Ünï “q” <😀>"},
        {"path": "IMG@/src", "url": "b"},
    ]
    metadata = response["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]
    assert (metadata["Head"]["Title"], metadata["Head"]["Base"]) == ("T & t", "/x/")


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1251", "shift_jis"])
@pytest.mark.parametrize("declared_in", ["header", "meta"])
def test_no_charset_loses_a_character(charset, declared_in):
    text = "Größe – 図形 – круг – ‹é›"
    body = Page(url="http://e.org/", images=[ImageTag("a.jpg", text)], charset=charset, declared_in=declared_in).body()
    links = html_metadata(body.decode(charset))["Links"]
    assert [link["alt"] for link in links if link["path"] == "IMG@/src"] == [text]


def readable_members(content: bytes) -> list[bytes]:
    """Every gzip member that decompresses, found by its magic number."""
    members, at = [], content.find(b"\x1f\x8b\x08")
    while at >= 0:
        reader = zlib.decompressobj(31)
        try:
            member = reader.decompress(content[at:])
        except zlib.error:
            member = b""
        if reader.eof:
            members.append(member)
        at = content.find(b"\x1f\x8b\x08", at + 1)
    return members


@pytest.mark.parametrize(
    "damage",
    ["length_too_long", "length_too_short", "corrupt", "not_json", "odd_types", "invalid_utf8", "lone_surrogate"],
)
def test_a_damaged_page_leaves_the_others_of_its_file_whole(tmp_path, damage):
    files = write_crawl(tmp_path, "CC-TEST", [page(0), page(1, damage=damage), page(2)], 1)
    members = readable_members((tmp_path / files.wat[0]).read_bytes())
    for number in (0, 2):
        responses = [m for m in members if b"HTTP-Response-Metadata" in m and b"/a/%d.html" % number in m]
        assert len(responses) == 1
        assert len(image_links(json.loads(responses[0].partition(b"\r\n\r\n")[2]))) == 12


def test_a_clipped_record_ends_its_file(tmp_path):
    files = write_crawl(tmp_path, "CC-TEST", [page(0, damage="clipped"), page(1)], 1)
    content = (tmp_path / files.wat[0]).read_bytes()
    members = readable_members(content)
    assert sum(b"HTTP-Response-Metadata" in m and b"/a/1.html" in m for m in members) == 1
    assert not any(b"HTTP-Response-Metadata" in m and b"/a/0.html" in m for m in members)


def test_a_crawl_needs_a_file(tmp_path):
    with pytest.raises(ValueError, match="at least one WAT file"):
        write_crawl(tmp_path, "CC-TEST", [], 0)
