"""Labels and decoders of the Encoding standard, and the HTML standard's order of looking for a declaration."""

import json
from time import process_time

import pytest

from laion_assets.sources.decoders import decode
from laion_assets.sources.encoding import label_name, prescan, sniff
from laion_assets.sources.html import decode_page, page_encoding

SUITES = {"tests1.dat": 59, "tests2.dat": 22, "test-yahoo-jp.dat": 1}


def read(content: bytes, charset: str | None) -> str:
    return decode_page(content, page_encoding(content, charset))


def test_every_label_of_the_encoding_standard_is_known(shared_data):
    groups = json.loads((shared_data / "conformance/encoding/encodings.json").read_text())
    named = {
        label: encoding["name"].lower()
        for group in groups
        for encoding in group["encodings"]
        for label in encoding["labels"]
    }
    assert len(named) == 228
    assert {label: label_name(label) for label in named} == named
    assert {label: label_name(f"\t {label.upper()}\n") for label in named} == named
    for name in set(named.values()):
        assert decode(b"", name) == ""
        assert isinstance(decode(bytes(range(256)) * 2, name), str)


@pytest.mark.parametrize(("suite", "cases"), SUITES.items())
def test_pages_are_in_the_encoding_that_html5lib_expects(suite, cases, shared_data):
    data = (shared_data / "conformance/encoding" / suite).read_bytes()
    found = [case.partition(b"\n#encoding\n") for case in data.split(b"#data\n")[1:]]
    assert len(found) == cases
    for page, _, expected in found:
        name = label_name(expected.split(b"\n")[0].decode())
        assert (sniff(page, None) or "windows-1252") == name, page  # the suite's default


@pytest.mark.parametrize(
    ("content", "header", "name"),
    [
        # HTML standard 13.2.3.2: byte order mark, then HTTP, then the prescan
        (b"\xef\xbb\xbf<meta charset=koi8-r>", "windows-1251", "utf-8"),
        (b"\xfe\xff\0<", "windows-1251", "utf-16be"),
        (b"<meta charset=koi8-r>", "windows-1251", "windows-1251"),
        (b"<meta charset=koi8-r>", "no-such-label", "koi8-r"),
        (b"<meta charset=koi8-r>", "\ud800", "koi8-r"),
        (b"<meta charset=x-user-defined>", None, "windows-1252"),
        (b"<meta charset=x-user-defined>", "x-user-defined", "x-user-defined"),
        (b"<META HTTP-EQUIV='content-type' CONTENT='text/html; CHARSET=\"x-sjis\"'>", None, "shift_jis"),
        (b"<!-- <meta charset=koi8-r> --><meta charset=big5>", None, "big5"),
        (b"<!--><meta charset=big5>", None, "big5"),
        (b"<a title='<meta charset=koi8-r>'><meta charset=big5>", None, "big5"),
        (b"<a title='><meta charset=koi8-r>", None, None),
        (b"<meta charset=koi8-r", None, None),
        # get an XML encoding: where the prescan finds nothing else
        (b"<?xml version='1.0' encoding='windows-1251'?><html>", None, "windows-1251"),
        (b'<?xml version="1.0" encoding = "GB2312" ?>', None, "gbk"),
        (b"<?xml version='1.0' encoding='windows-1251'?><meta charset=koi8-r>", None, "koi8-r"),
        (b"<?xml version='1.0' encoding='utf-16'?>", None, "utf-8"),
        (b" <?xml version='1.0' encoding='windows-1251'?>", None, None),
        (b"<?xml version='1.0' encoding='no such'?>", None, None),
        ("<?xml".encode("utf-16-le"), None, "utf-16le"),
        ("<?xml".encode("utf-16-be"), None, "utf-16be"),
    ],
)
def test_the_declaration_that_counts(content, header, name):
    assert sniff(content, header) == name


@pytest.mark.parametrize(
    ("content", "name", "text"),
    [
        # windows-*: the bytes Python has nothing for are C1 controls; 1255 has CA (index windows-1255)
        (b"\x80\x81\x8d\x9d", "windows-1252", "€\x81\x8d\x9d"),
        (b"\xca\xd9", "windows-1255", "\u05ba\ufffd"),
        (b"\xa1\xdb\x85", "windows-874", "ก\ufffd…"),
        # KOI8-U is KOI8-RU at AE and BE (index koi8-u)
        (b"\xae\xbe\xc1", "koi8-u", "ўЎа"),
        (b"\xa1\xff", "iso-8859-8-i", "\ufffd\ufffd"),
        # index big5 at A145, A1E3, A3E1, 8862, C6A1; Python's big5 and cp950 have others or none
        (b"\xa1\x45\xa1\xe3\xa3\xe1\x88\x62\xc6\xa1", "big5", "‧～€Ê̄①"),
        # gbk is decoded as gb18030; 80 is the euro; 2022's places for what was private use
        (b"\x80\xa8\xbc\x81\x30\x81\x30\xfe\x59", "gbk", "€ḿ\x80龴"),
        # index jis0208 is Windows's: NEC row 13, IBM's rows, the wave dash
        (b"\xad\xa1\xad\xea\xfc\xfe\xa1\xc1\xa1\xdd\x8e\xb1\x8f\xb0\xa1", "euc-jp", "①㈱＂～－ｱ丂"),
        (b"\x87\x40\x81\x60\xb1\xfa\x40\xa0", "shift_jis", "①～ｱⅰ\ufffd"),
        (b'\x1b$B$"-!\x1b(B\\\x1b(I1\x1b(J\\~\x1b(B.', "iso-2022-jp", "あ①\\ｱ¥‾."),
        (b"\xb0\xa1\x81\x41", "euc-kr", "가갂"),
        (b"a\x80\xff", "x-user-defined", "a\uf780\uf7ff"),
        (b"<img src=a>", "replacement", "\ufffd"),
        (b"a\0\x3d\xd8", "utf-16le", "a\ufffd"),
        # an ASCII byte after a lead is read again, for it may be markup (the decoders' steps on ASCII bytes)
        (b"\x81<b>", "gbk", "\ufffd<b>"),
        (b"\xa5<b>", "euc-jp", "\ufffd<b>"),
        (b"\x81\x20<b>", "euc-kr", "\ufffd <b>"),
    ],
)
def test_bytes_mean_what_the_encoding_standard_says(content, name, text):
    assert decode(content, name) == text


@pytest.mark.parametrize("label", ["x-sjis", "windows-31j", "shift-jis", "ms932", "csshiftjis"])
def test_labels_that_python_does_not_know_are_no_mojibake(label):
    page = f'<meta charset="{label}"><img alt="写真">'
    assert read(page.encode("cp932"), None) == page
    assert read(page.encode("cp932"), label) == page


def test_a_page_that_was_clipped_within_a_character_is_utf_8_still():
    """Encoding standard, UTF-8's decoder: the end of the queue within a character is one U+FFFD."""
    page = "Straße und Küche " * 50 + "ü"
    assert read(page.encode()[:-1], None) == page[:-1] + "\ufffd"


@pytest.mark.parametrize("content", [b"\xff", b"\x80a", b"\xad\xa1", b"\x1b$Ba", b"\xc0\x20"])
def test_no_bytes_take_an_encoding_long(content):
    page = content * (2_000_000 // len(content))
    for name in ("euc-jp", "iso-2022-jp", "big5", "gbk", "euc-kr", "shift_jis", "windows-1252", "utf-16le"):
        before = process_time()
        decode(page, name)
        assert process_time() - before < 1, name


@pytest.mark.parametrize("content", [b"<", b"<meta ", b'<meta a="', b"<a ", b"<a='", b"charset", b"<!--", b"encoding="])
def test_no_bytes_take_the_prescan_long(content):
    before = process_time()
    prescan(content * 100_000 + b"charset")
    assert process_time() - before < 1
