"""What a file holds that is not what its name says, in words for whoever has to find out how it came there."""

import re
import zlib

from laion_assets.crawl.transfer import ErrorPage, UnexpectedContent

_SHOWN_BYTES = 120
_PROBE_BYTES = 1024
_LAYERS = 3
_GZIP = b"\x1f\x8b"
_FORMATS = (
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "zstandard data"),  # RFC 8878, 3.1.1 and 3.1.2
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
)
_PASSING = ("an HTML page", "XML", "JSON", "text", "nothing", "a WARC file without one whole record")
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
    found, within = describe(head)
    begins = f" that begins with {_readable(within)}" if within else ""
    if found.endswith(_PASSING) or found.startswith("the beginning"):
        return passing(f"{name} is not {wanted} but {found}{begins}; read it again later, or publish it again")
    return kind(f"{name} is not {wanted} but {found}{begins}")


def describe(head: bytes) -> tuple[str, bytes]:
    """What a file is by its first bytes, and the bytes that tell; those of what a gzip file holds, where it is one."""
    layers = ""
    for _ in range(_LAYERS):
        if not head.startswith(_GZIP):
            break
        try:
            inner = zlib.decompressobj(31).decompress(head, _PROBE_BYTES)
        except zlib.error:
            return f"{layers}damaged gzip data", head
        if not inner and len(head) < _PROBE_BYTES:
            empty = len(head) >= 18  # RFC 1952: a header of 10 bytes, data, a trailer of 8
            return (f"{layers}gzip data of nothing", b"") if empty else ("the beginning of a gzip file", head)
        layers, head = f"{layers}gzip data of ", inner
    if not head.strip():
        return f"{layers}nothing", b""
    for pattern, kind in _FORMATS:
        if pattern.match(head):
            return layers + kind, head
    text = not re.search(rb"[\x00-\x08\x0e-\x1a]", head[:_PROBE_BYTES])
    return layers + ("text" if text else "data of no known format"), head


def _readable(head: bytes) -> str:
    text = " ".join(head[:_SHOWN_BYTES].decode("utf-8", "replace").split())
    return repr(text)
