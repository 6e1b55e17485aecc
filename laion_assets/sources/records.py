"""The careful reader of WARC-framed files: every record on its own, whatever is wrong with the one before it.

WAT files are WARC files too. Common Crawl writes each record as a gzip member of its own, and this reader uses that: a
record cannot swallow its neighbours by a wrong length, and after damage the reader goes on at the next member. Files
that are one long member, and files that are not compressed at all, are read as streams of records.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from laion_assets.sources.contents import unexpected
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.sources import Source

MAX_RECORD_BYTES = 64 << 20
"""A record longer than this is skipped and counted: none of Common Crawl's is a tenth as long."""

_CHUNK_BYTES = 1 << 16
_MAX_HEADER_BYTES = 64 << 10
_LOOK_AHEAD_BYTES = 16
_PROBE_BYTES = 512
_KEPT_MEMBER_BYTES = 8 << 20
_GZIP_MAGIC = b"\x1f\x8b\x08"
_SPACING = re.compile(rb"[\r\n]+")
_VERSION = re.compile(rb"WARC/\d")
_NEXT_RECORD = re.compile(rb"\nWARC/\d")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_TYPE = re.compile(rb"(?im)^warc-type[ \t]*:")
_FOLD = re.compile(rb"\r?\n[ \t]+(?=[^ \t\r\n])")
_CONTENT_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$")


@dataclass(frozen=True, slots=True)
class Record:
    """One WARC record, read whole."""

    offset: int
    """Where it begins in the file as stored. Records that share a gzip member get the member's offset and the numbers
    after it, so that an offset names one record of a file."""
    header: bytes
    """The header block, blank line included."""
    payload: bytes
    """What follows it: as many bytes as the header promises, or as there are."""
    intact: bool
    """Whether the promised length is the true one."""

    def field(self, name: str) -> str | None:
        """A header field's value, unfolded, null where there is none; names match whatever their case."""
        folded = b"\n " in self.header or b"\n\t" in self.header
        header = _FOLD.sub(b" ", self.header) if folded else self.header
        for line in header.split(b"\n")[1:]:
            key, colon, value = line.partition(b":")
            if colon and key.strip().lower() == name.lower().encode():
                return value.strip().decode("utf-8", "replace")
        return None


def read_records(source: Source, path: str, counts: ExtractionCounts, *, offset: int = 0) -> Iterator[Record]:
    """Read a file's records one by one; what is damaged costs itself and is counted.

    Args:
        source: Where the file lies.
        path: The file, compressed or not.
        counts: ``records`` is raised by one for each record met, ``bad_records`` for those that are not yielded:
            ``corrupt_gzip``, ``clipped_gzip``, ``bad_header``, ``record_too_large``.
        offset: Where to begin; must be the start of a record or of a gzip member. From 0 the file is read whole.

    Yields:
        Records in the order of the file, with strictly rising offsets.

    Raises:
        SourceError: The source did not deliver the file. (Damage that lies in the file itself is no such error.)
        ErrorPage: The whole file has not one record: it is empty, or cut off within the first, or what a server says
            when it has no file to send (HTML, XML, JSON, a line of text), compressed or not.
        UnexpectedContent: The same, and it is a file of another format.
    """
    with source.open(path, offset=offset) as stream:
        head = stream.read(_CHUNK_BYTES)
        parser = _Parser(counts)
        # A gzip file whose very first bytes are damaged is one still.
        cut = _plain if _VERSION.match(head.lstrip(b"\r\n")) or _GZIP_MAGIC not in head else _members
        last, met = offset - 1, 0
        for record in cut(stream, head, offset, parser):
            met += 1
            last = max(record.offset, last + 1)
            yield record if record.offset == last else Record(last, record.header, record.payload, record.intact)
        if last < 0 or (met == 1 and offset == 0 and not record.intact and record.field("WARC-Type") == "warcinfo"):
            raise unexpected(f"{source.uri}/{path}", "a WARC or WAT file", head)


def _plain(stream: BinaryIO, data: bytes, offset: int, parser: "_Parser") -> Iterator[Record]:
    parser.begin(offset, compressed=False)
    while data:
        yield from parser.feed(data)
        data = stream.read(_CHUNK_BYTES)
    yield from parser.end()


def _members(stream: BinaryIO, data: bytes, offset: int, parser: "_Parser") -> Iterator[Record]:
    """Inflate member after member; after damage, go on at the next place where a member with a record begins."""
    while data or (data := stream.read(_CHUNK_BYTES)):
        padding = len(data) - len(data.lstrip(b"\r\n\0"))
        data, offset = data[padding:], offset + padding
        if not data:
            continue
        if not data.startswith(_GZIP_MAGIC[: len(data)]):
            parser.bad("corrupt_gzip")
            data, offset = _next_member(stream, data, offset, 1)
            continue
        parser.begin(offset, compressed=True)
        inflater = zlib.decompressobj(31)
        kept, damage = bytearray(data), None
        try:
            yield from parser.feed(inflater.decompress(data))
            while not inflater.eof and (data := stream.read(_CHUNK_BYTES)):
                if len(kept) > _KEPT_MEMBER_BYTES:
                    offset += len(kept)
                    kept.clear()
                kept += data
                yield from parser.feed(inflater.decompress(data))
        except zlib.error:
            damage = "corrupt_gzip"
        if damage is None and inflater.eof:
            yield from parser.end()
            offset += len(kept) - len(inflater.unused_data)
            data = inflater.unused_data
        else:
            yield from parser.end(damage or "clipped_gzip")
            data, offset = _next_member(stream, bytes(kept), offset, 1)


def _next_member(stream: BinaryIO, data: bytes, offset: int, start: int) -> tuple[bytes, int]:
    """Find the next gzip member that begins with a record; gives the bytes from it on, and its offset.

    Args:
        stream: Where to read on.
        data: What has been read already.
        offset: Where ``data`` lies in the file.
        start: Where to begin in ``data``.

    Returns:
        No bytes if there is no such member any more.
    """
    while True:
        found = data.find(_GZIP_MAGIC, start)
        if found < 0:
            tail = data[-2:]  # the magic may lie across two reads
            more = stream.read(_CHUNK_BYTES)
            if not more:
                return b"", offset
            offset += len(data) - len(tail)
            data, start = tail + more, 0
            continue
        while len(data) - found < _PROBE_BYTES and (more := stream.read(_CHUNK_BYTES)):
            data += more
        try:
            head = zlib.decompressobj(31).decompress(data[found : found + _PROBE_BYTES], 16)
        except zlib.error:
            head = b""
        if _VERSION.match(head):
            return data[found:], offset + found
        start = found + 1


class _Parser:
    """Cuts a stream of inflated bytes into records."""

    def __init__(self, counts: ExtractionCounts) -> None:
        self._counts = counts
        self._buffer = bytearray()
        self._offset = 0
        self._compressed = True
        self._records_here = 0
        self._lost = False
        self._searched = 0  # bytes of the buffer that hold no end of a header

    def begin(self, offset: int, *, compressed: bool) -> None:
        """Start at a member's (or the file's) offset, with nothing left of what came before."""
        self._buffer.clear()
        self._offset = offset
        self._compressed = compressed
        self._records_here = 0
        self._lost = False
        self._searched = 0

    def bad(self, reason: str) -> None:
        """Count a record that cannot be read."""
        self._counts.records += 1
        self._counts.bad_record(reason)

    def feed(self, data: bytes) -> Iterator[Record]:
        """Take bytes in; yield the records they complete."""
        self._buffer += data
        yield from self._drain(at_end=False)

    def end(self, damage: str | None = None) -> Iterator[Record]:
        """Take the end of a member or file.

        An incomplete record is yielded as not intact where the container was whole: then its length was wrong. Where
        the container is damaged it is counted under that reason instead; and so is the record that a checksum tells
        wrong.
        """
        if damage == "corrupt_gzip":
            self.bad(damage)
        elif damage is None:
            yield from self._drain(at_end=True)
        elif self._complete():
            yield from self._drain(at_end=True)  # only the trailer is missing
        else:
            self.bad(damage)

    def _drain(self, *, at_end: bool) -> Iterator[Record]:
        while (step := self._next(at_end=at_end)) is not None:
            if isinstance(step, Record):
                yield step

    def _complete(self) -> bool:
        """Whether nothing in the buffer waits for bytes that will not come."""
        if self._lost or not self._buffer.strip(b"\r\n"):
            return self._lost or self._records_here > 0
        header = _HEADER_END.search(self._buffer, 0, _MAX_HEADER_BYTES)
        length = _CONTENT_LENGTH.search(self._buffer, 0, header.end()) if header else None
        return header is not None and length is not None and len(self._buffer) >= header.end() + int(length[1])

    def _consume(self, count: int) -> None:
        del self._buffer[:count]
        self._searched = max(0, self._searched - count)
        if not self._compressed:
            self._offset += count

    def _next(self, *, at_end: bool) -> Record | bool | None:
        """One step: a record, true for progress without one, null when more bytes are needed or none are left."""
        if self._lost:
            return self._resynchronise(at_end=at_end)
        spacing = _SPACING.match(self._buffer)
        if spacing is not None:
            self._consume(spacing.end())
        if len(self._buffer) < _LOOK_AHEAD_BYTES and not (at_end and self._buffer):
            return None
        if not _VERSION.match(self._buffer):
            return self._lose("bad_header")
        header = _HEADER_END.search(self._buffer, self._searched, _MAX_HEADER_BYTES)
        if header is None:
            self._searched = max(0, min(len(self._buffer), _MAX_HEADER_BYTES) - 3)  # the end may lie across two reads
            return self._lose("bad_header") if at_end or len(self._buffer) >= _MAX_HEADER_BYTES else None
        if followers := self._within(header.end()):
            for _ in followers:
                self.bad("bad_header")
            self._consume(followers[-1])
            return True
        return self._with_header(header.end(), at_end=at_end)

    def _within(self, end: int) -> list[int]:
        """Where other records begin within a header that ends so: it was cut off, and ran into theirs."""
        followers = [found.start() + 1 for found in _NEXT_RECORD.finditer(self._buffer, 0, end)]
        types = [] if followers else [line.start() for line in _TYPE.finditer(self._buffer, 0, end)]
        following = self._buffer.rfind(b"WARC/", 1, types[1]) if len(types) > 1 else -1
        return [following] if following > 0 else followers

    def _with_header(self, start: int, *, at_end: bool) -> Record | bool | None:
        length = _CONTENT_LENGTH.search(self._buffer, 0, start)
        if length is None:
            return self._lose("bad_header")
        end = start + int(length[1])
        # Enough must be there to see what follows the record, which tells whether its length is true.
        if len(self._buffer) < end + _LOOK_AHEAD_BYTES and not at_end:
            return self._lose("record_too_large") if len(self._buffer) > start + MAX_RECORD_BYTES else None
        if end - start > MAX_RECORD_BYTES:
            return self._lose("record_too_large")
        if len(self._buffer) < end:
            return self._cut(start, len(self._buffer))
        rest = bytes(self._buffer[end : end + _LOOK_AHEAD_BYTES]).lstrip(b"\r\n")
        if rest[:5] != b"WARC/"[: len(rest)]:
            return self._cut(start, end)
        return self._take(start, end, intact=True)

    def _cut(self, start: int, end: int) -> Record:
        """A record with a wrong length: it ends where the next one begins, if that is earlier; what follows is lost."""
        following = _NEXT_RECORD.search(self._buffer, start, end)
        cut_at = end if following is None else following.start() + 1
        record = self._take(start, cut_at, intact=False)
        self._lost = following is None
        return record

    def _take(self, start: int, end: int, *, intact: bool) -> Record:
        offset = self._offset + (self._records_here if self._compressed else 0)
        record = Record(offset, bytes(self._buffer[:start]), bytes(self._buffer[start:end]), intact)
        self._records_here += 1
        self._counts.records += 1
        self._consume(end)
        return record

    def _lose(self, reason: str) -> bool:
        self.bad(reason)
        self._lost = True
        self._consume(1)
        return True

    def _resynchronise(self, *, at_end: bool) -> bool | None:
        """Skip to the next line that begins a record."""
        if _VERSION.match(self._buffer):
            self._lost = False
            return True
        found = _NEXT_RECORD.search(self._buffer)
        if found is not None:
            self._consume(found.start() + 1)
            self._lost = False
            return True
        self._consume(len(self._buffer) if at_end else max(0, len(self._buffer) - _LOOK_AHEAD_BYTES))
        return None
