"""Captured answers: heads as servers send them, bodies with their codings undone as browsers undo them."""

import gzip
import random
import zlib
from time import process_time

import brotli
import pytest

from laion_assets.sources.http_message import MAX_PAGE_BYTES, BodyError, decoded_body, read_answer

PAGE = b"<!DOCTYPE html><p>" + bytes(random.Random(1).choices(range(32, 127), k=20_000))


def bare(content: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(content) + deflater.flush()


def body(content: bytes, *headers: str) -> bytes:
    answer = read_answer("".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *headers, "")).encode() + content)
    assert answer is not None
    return decoded_body(answer)


GZ, DEFLATE, BR = gzip.compress(PAGE, mtime=0), zlib.compress(PAGE), brotli.compress(PAGE)


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        # RFC 9110, section 8.4: names in any case, a list in the order of their application, lines that repeat
        (GZ, ["Content-Encoding: gzip"]),
        (GZ, ["content-encoding:GZIP"]),
        (GZ, ["Content-Encoding: x-gzip"]),
        (GZ, ["Content-Encoding: gzip, identity"]),
        (GZ, ["Content-Encoding: identity", "Content-Encoding: gzip"]),
        (GZ, ["Content-Encoding: gzip,", "Content-Encoding:"]),
        (gzip.compress(GZ), ["Content-Encoding: gzip, gzip"]),
        (brotli.compress(GZ), ["Content-Encoding: gzip", "Content-Encoding: br"]),
        (BR, ["Content-Encoding: br"]),
        (BR, ["Content-Encoding: BR"]),
        (DEFLATE, ["Content-Encoding: deflate"]),
        (bare(PAGE), ["Content-Encoding: deflate"]),
        # RFC 1952, section 2.2: a file has one or more members; browsers pass over what follows the last
        (gzip.compress(PAGE[:99]) + gzip.compress(PAGE[99:]), ["Content-Encoding: gzip"]),
        (GZ + b"\r\nrubbish", ["Content-Encoding: gzip"]),
        (GZ + b"\0" * 99, ["Content-Encoding: gzip"]),
        (DEFLATE + b"rubbish", ["Content-Encoding: deflate"]),
        (GZ[:-8] + b"\0" * 8, ["Content-Encoding: gzip"]),
        # not coded, whatever the head says: a name that is no coding, or an archive that undid it
        (PAGE, ["Content-Encoding: UTF-8"]),
        (PAGE, ["Content-Encoding: none"]),
        (PAGE, ["Content-Encoding: text/html; charset=utf-8"]),
        (GZ, ["Content-Encoding: gzip, utf-8"]),
        # a parameter changes no name; RFC 1952, section 2.3.1 and RFC 1950, section 2.2: the bytes say what they are
        (GZ, ["Content-Encoding: gzip;q=1.0"]),
        (BR, ["Content-Encoding: br ; q=1"]),
        (DEFLATE, ["Content-Encoding: gzip"]),
        (DEFLATE, ["Content-Encoding: x-gzip"]),
        (GZ, ["Content-Encoding: deflate"]),
        (GZ, []),
        (GZ, ["Content-Encoding: utf-8"]),
        (gzip.compress(GZ), ["Content-Encoding: gzip"]),
        # RFC 7932, section 9.2: a stream knows its own end
        (BR + b"rubbish", ["Content-Encoding: br"]),
        (BR + b"\r\n", ["Content-Encoding: br"]),
        (BR + b"\0" * 200_000, ["Content-Encoding: br"]),
        # an archive that undid what we cannot
        (PAGE, ["Content-Encoding: zstd"]),
        (b"\xef\xbb\xbf\n" + PAGE, ["Content-Encoding: compress"]),
        (GZ, ["Content-Encoding: zstd, gzip"]),
        (PAGE, ["Content-Encoding: gzip"]),
        (PAGE, ["Content-Encoding: deflate"]),
        (PAGE, ["Content-Encoding: br"]),
        (b"\xef\xbb\xbf \n" + PAGE, ["Content-Encoding: br"]),
        (PAGE, ["X-Crawl-Content-Encoding: gzip"]),
        # RFC 9112, section 7.1
        (b"%X ; a=b\r\n%s\r\n00\r\nX: y\r\n\r\n" % (len(PAGE), PAGE), ["Transfer-Encoding: chunked"]),
        (b"12\n%s\n%x\n%s\n0\n\n" % (PAGE[:18], len(PAGE) - 18, PAGE[18:]), ["Transfer-Encoding: Chunked"]),
        (b"%x\r\n%s\r\n0\r\n\r\n" % (len(GZ), GZ), ["Transfer-Encoding: chunked", "Content-Encoding: gzip"]),
        (b"%x\r\n%s\r\n0\r\n\r\n" % (len(GZ), GZ), ["Transfer-Encoding: gzip, chunked"]),
        (b"%x\r\n%s" % (len(PAGE) + 99, PAGE), ["Transfer-Encoding: chunked"]),
        (PAGE, ["Transfer-Encoding: chunked"]),
    ],
)
def test_a_body_is_what_browsers_make_of_it(content, headers):
    assert body(content, *headers).lstrip(b"\xef\xbb\xbf \n") == PAGE


def test_a_page_that_begins_like_a_chunk_is_not_cut():
    assert body(b"abc\r\n" + PAGE, "Transfer-Encoding: chunked") == b"abc\r\n" + PAGE


@pytest.mark.parametrize(
    ("coded", "name"), [(GZ, "gzip"), (DEFLATE, "deflate"), (bare(PAGE), "deflate"), (BR, "br")], ids=str
)
def test_of_a_body_that_is_cut_or_damaged_what_lies_before_is_used(coded, name):
    for damaged in (coded[: len(coded) // 2], coded[: len(coded) // 2] + b"\xff" * 400):
        found = body(damaged, f"Content-Encoding: {name}")
        assert len(found) > 5_000
        assert PAGE.startswith(found[:5_000])


def test_of_a_short_body_every_byte_before_the_damage_is_used():
    short = b"<p>" + PAGE[:50]
    assert body(brotli.compress(short) + b"\xff", "Content-Encoding: br") == short


def test_text_that_begins_like_zlib_is_not_taken_for_it():
    text = b"x\x01" + PAGE
    assert body(text, "Content-Encoding: gzip") == text


@pytest.mark.parametrize(
    ("content", "headers", "reason"),
    [
        (GZ[:12], ["Content-Encoding: gzip"], "bad_encoding"),
        (b"\x1f\x8bnothing", ["Content-Encoding: gzip"], "bad_encoding"),
        (b"\xff\xff\xff", ["Content-Encoding: br"], "bad_encoding"),
        (b"\x28\xb5\x2f\xfd rest", ["Content-Encoding: zstd"], "bad_encoding"),
        (b"\x1f\x9d\x90" + PAGE, ["Content-Encoding: compress"], "bad_encoding"),
        (gzip.compress(b"\x28\xb5\x2f\xfd"), ["Content-Encoding: zstd, gzip"], "bad_encoding"),
        (b"\x1f\x8bnothing", [], "bad_encoding"),
        (brotli.compress(b"") + b"\0" * (5 << 20), ["Content-Encoding: br"], "bad_encoding"),
        (GZ, ["Content-Encoding: " + "gzip, " * 2_000], "bad_encoding"),
        (b"1\r\na\r\n" * 1_000_000, ["Transfer-Encoding: chunked"], "page_too_costly"),
        (gzip.compress(b"") * 100_000, ["Content-Encoding: gzip"], "page_too_costly"),
        (b"<" * (MAX_PAGE_BYTES + 1), [], "page_too_large"),
        (gzip.compress(b"<" * (200 << 20), 1), ["Content-Encoding: gzip"], "page_too_large"),
        (zlib.compress(b"<" * (200 << 20), 1), ["Content-Encoding: deflate"], "page_too_large"),
        (brotli.compress(b"<" * (200 << 20), quality=1), ["Content-Encoding: br"], "page_too_large"),
        (gzip.compress(gzip.compress(b"<" * (200 << 20), 1)), ["Content-Encoding: gzip, gzip"], "page_too_large"),
    ],
    ids=range(16),
)
def test_what_cannot_be_had_has_a_reason_and_costs_little(content, headers, reason):
    before = process_time()
    with pytest.raises(BodyError, match=f"^{reason}$"):
        body(content, *headers)
    assert process_time() - before < 1


@pytest.mark.parametrize(
    ("payload", "headers", "content"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nx", [("a", "b")], b"x"),
        (b"HTTP/1.0 200 OK\nA:b\n\nx", [("a", "b")], b"x"),
        (b"\r\nHTTP/1.1 200 OK\r\nA : b \r\n\r\nx", [("a", "b")], b"x"),
        # RFC 9112, section 5.2: folded lines; a line without a colon hides none of those after it
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\nno colon\r\nD: e\r\n\r\nx", [("a", "b c"), ("d", "e")], b"x"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\nA: c\r\n\r\n", [("a", "b"), ("a", "c")], b""),
        (b"HTTP/1.1 200 OK\r\nA: \xc3\xa9\r\nB: \xe9\r\n\r\n", [("a", "é"), ("b", "é")], b""),
        (b"HTTP/2 200\r\nA: b\r\n\r\nx", [("a", "b")], b"x"),
        (b"http/1.1 Okay\r\nA: b\r\n\r\nx", [("a", "b")], b"x"),
        (b"ICY 200 OK\r\nA: b\r\n\r\nx", [("a", "b")], b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\nx", [], b"x"),
        # RFC 9110, section 15.2: interim answers come before the final one
        (b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nC: d\r\n\r\nx", [("c", "d")], b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n", [], b"HTTP/1.1 404 Not Found\r\n\r\n"),
        (b"<html>no head</html>", [], b"<html>no head</html>"),
        (b"", [], b""),
    ],
)
def test_heads_are_read_as_they_come(payload, headers, content):
    answer = read_answer(payload)
    assert (answer.headers, answer.body) == (headers, content)


def test_a_head_without_an_end_is_none():
    assert read_answer(b"HTTP/1.1 200 OK\r\nA: b\r\n") is None
