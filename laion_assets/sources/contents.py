"""What a file holds that is not what its name says, in words for whoever has to find out how it came there."""

import re
import zlib
from collections.abc import Iterator

from laion_assets.sources.transfer import ErrorPage, UnexpectedContent

_SHOWN_CHARACTERS = 120
_SHOWN_BYTES = 16
_PROBE_BYTES = 1024
_LAYERS = 3
_GZIP = b"\x1f\x8b"
_LEAST_GZIP_BYTES = 20  # RFC 1952: a header of 10, no data (2), a trailer of 8
_TEXT = re.compile(rb"[^\x00-\x08\x0e-\x1f\x7f]{1,64}(?!.)|[^\x00-\x08\x0e-\x1f\x7f]{64}", re.DOTALL)
_FORMATS = (
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*\Z"), "an empty file"),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "Zstandard (zstd) data"),  # RFC 8878, 3.1.1 and 3.1.2
    (re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"), "a zip archive"),
    (re.compile(rb"BZh[1-9]"), "bzip2 data"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz data"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7z archive"),
    (re.compile(rb"\x04\x22\x4d\x18"), "lz4 data"),
    (re.compile(rb"PAR1"), "a Parquet file"),
    (re.compile(rb"%PDF-"), "a PDF"),
    (re.compile(rb"filedesc://"), "an ARC file"),  # the format before WARC
    (re.compile(rb"\s*WARC/\d"), "a WARC file without one whole record"),
    (re.compile(rb"(?s).{257}ustar"), "a tar archive"),
    (re.compile(rb"(?is)(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)\b"), "an HTML page"),
    (re.compile(rb"(?s)(?:\xef\xbb\xbf)?\s*<"), "XML"),
    (re.compile(rb"(?s)(?:\xef\xbb\xbf)?\s*[\[{]"), "JSON"),
    (_TEXT, "text"),
)
_PASSING = frozenset(
    {
        "an empty file",
        "nothing, cut off at its beginning",
        "a WARC file without one whole record",
        "an HTML page",
        "XML",
        "JSON",
        "text",
    }
)
"""What servers send when they cannot send the file, and what is left of one that was cut off."""


def unexpected(
    name: str,
    wanted: str,
    head: bytes,
    *,
    kind: type[UnexpectedContent] = UnexpectedContent,
    passing: type[ErrorPage] = ErrorPage,
) -> UnexpectedContent:
    """The error for a file that is not what it should be.

    Args:
        name: The file, with its source.
        wanted: What it should be, such as "a list of crawls".
        head: Its first bytes, as stored.
        kind: What to make the error of.
        passing: What to make it of where the file is empty, cut off, or may be a server's answer: another try may pass.
    """
    kinds = [*_kinds(head)]
    outermost, (innermost, within) = kinds[0][0], kinds[-1]
    found = innermost if len(kinds) == 1 else f"{outermost} that holds {innermost}"
    begins = f"; it begins with {_readable(within)}" if within else ""
    if innermost in _PASSING and len(kinds) <= 2:  # compressed once, as the file itself would be
        return passing(f"{name}: expected {wanted}, found {found}{begins}; read it again later, or publish it again")
    return kind(f"{name}: expected {wanted}, found {found}{begins}")


def _kinds(head: bytes) -> Iterator[tuple[str, bytes]]:
    """What a file is by its first bytes, and these; then what it holds, where it is a gzip file, and so on."""
    for _ in range(_LAYERS):
        if not head.startswith(_GZIP[: len(head) or 1]):
            break
        yield "gzip data", head
        try:
            inner = zlib.decompressobj(31).decompress(head, _PROBE_BYTES)
        except zlib.error:
            yield "damaged data", head
            return
        if not inner and len(head) < _LEAST_GZIP_BYTES:
            yield "nothing, cut off at its beginning", b""
            return
        head = inner
    yield next((kind for pattern, kind in _FORMATS if pattern.match(head)), "data of no known format"), head.strip()


def _readable(head: bytes) -> str:
    """The beginning as text where it is text, else in hexadecimal."""
    text = head[:_SHOWN_CHARACTERS].decode("utf-8", "replace").removeprefix("\ufeff")
    is_text = _TEXT.match(head) and "\ufffd" not in text[:-1]
    return repr(" ".join(text.split())) if is_text else head[:_SHOWN_BYTES].hex(" ")
