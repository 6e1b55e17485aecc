"""Character references in the attribute values of old WAT files, which Common Crawl's extractor left as they stood.

The extractor decodes them since the crawl of June 2019: its maintainer says so in the issue that asked for it,
https://github.com/commoncrawl/ia-web-commons/issues/14 ("have been used for the June 2019 crawl (CC-MAIN-2019-26)").
Until August 2019 it also decoded references without a semicolon (``&order=`` became ``∨der=``; issue 19 there): what is
lost by that cannot be had back from a WAT.
"""

import re
from html.entities import html5

FIRST_DECODED = (2019, 26)
"""Year and week of the first crawl whose WAT files hold decoded values."""

_CRAWL = re.compile(r"CC-MAIN-(\d{4})-(\d{2})")
_REFERENCE = re.compile(r"&(?:#([xX][0-9A-Fa-f]+|[0-9]+);?|([A-Za-z][A-Za-z0-9]*)([;=]?))")
_MAX_DIGITS = 10  # enough to be beyond Unicode
# HTML standard, 13.2.5.80: what numbers of C1 controls stand for; those that are missing in Windows-1252 stay.
_WINDOWS_1252 = {number: bytes([number]).decode("cp1252", "ignore") or chr(number) for number in range(0x80, 0xA0)}


def is_undecoded(crawl: str | None, path: str) -> bool:
    """Whether the WAT files of a crawl hold character references as their pages wrote them.

    Args:
        crawl: The crawl's name; null: the one that the path of the file names.
        path: A WAT file's path, as Common Crawl lists it.

    Returns:
        True for Common Crawl's monthly crawls before June 2019, by year and week; false for all others.
    """
    named = _CRAWL.fullmatch(crawl) if crawl is not None else _CRAWL.search(path)
    return named is not None and (int(named[1]), int(named[2])) < FIRST_DECODED


def decode_references(value: str) -> str:
    """Decode the character references in an attribute's value, once, as a browser does.

    HTML standard, 13.2.5.72 to 13.2.5.80: a name without its semicolon is text where ``=`` or a letter or digit follows
    (``&copy=1`` in a query); numbers are decoded with or without.
    """
    return _REFERENCE.sub(_decoded, value) if "&" in value else value


def _decoded(found: re.Match[str]) -> str:
    number, name, after = found.groups()
    if number is not None:
        return _character(number)
    if after == ";" and f"{name};" in html5:
        return html5[f"{name};"]
    return html5[name] if not after and name in html5 else found[0]


def _character(number: str) -> str:
    hexadecimal = number[0] in "xX"
    digits = number.lstrip("xX0") or "0"
    code = int(digits, 16 if hexadecimal else 10) if len(digits) <= _MAX_DIGITS else 0
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return _WINDOWS_1252.get(code) or chr(code)
