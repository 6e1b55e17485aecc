"""The type of an answer: as it says, or as it looks."""

import pytest

from laion_assets.sources.content_type import content_type, kind, looks_like_html


@pytest.mark.parametrize(
    ("lines", "essence", "charset"),
    [
        (["text/html"], "text/html", None),
        ([' TEXT/HTML;Charset="UTF-8"; x=y'], "text/html", "UTF-8"),
        (["text/html; charset='koi8-r'"], "text/html", "koi8-r"),
        (["text/html;charset=koi8-r;"], "text/html", "koi8-r"),
        # Fetch standard, extract a MIME type: its examples
        (["text/plain;charset=gbk, text/html"], "text/html", None),
        (["text/html;charset=gbk;a=b, text/html;x=y"], "text/html", "gbk"),
        (["text/html;charset=gbk;a=b", "text/html;x=y"], "text/html", "gbk"),
        (["text/html;charset=gbk", "x/x", "text/html;x=y"], "text/html", None),
        (["text/html", "cannot-parse"], "text/html", None),
        (["text/html", "*/*"], "text/html", None),
        (["text/html", ""], "text/html", None),
        (["text/html, text/html; charset=koi8-r"], "text/html", "koi8-r"),
        (['text/html; x="a, text/plain"'], "text/html", None),
        # no MIME type in the standard's eyes, and plain to see
        (["text/html charset=koi8-r"], "text/html", "koi8-r"),
        (["text/html charset = koi8-r"], "text/html", "koi8-r"),
        ([], None, None),
        ([""], None, None),
        (["html"], None, None),
        (["unknown/unknown"], None, None),
        (["image/png"], "image/png", None),
    ],
)
def test_the_type_and_charset_of_header_lines(lines, essence, charset):
    assert content_type(lines) == (essence, charset)


@pytest.mark.parametrize(
    ("content", "is_html"),
    [
        # MIME Sniffing standard, section 7.1
        *(
            (b"\t\n\r\x0c " + tag + end, True)
            for tag in (b"<!DOCTYPE HTML", b"<html", b"<Body", b"<p", b"<a")
            for end in (b" x", b">")
        ),
        (b"<!-- x", True),
        (b"\xef\xbb\xbf<!doctype html>", True),
        ("\ufeff <html>".encode("utf-16-le"), True),
        (b'<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml">', True),
        (b'<?xml version="1.0"?><rss>', False),
        (b"<pre", False),
        (b"<article>", False),
        (b"text <html>", False),
        (b"%PDF-1.7", False),
        (b"", False),
    ],
)
def test_what_looks_like_html(content, is_html):
    assert looks_like_html(content) is is_html


def test_types_are_counted_by_what_stands_before_the_slash():
    assert [kind(essence) for essence in ("image/png", "text/plain", "x-y/z")] == ["image", "text", "other"]
