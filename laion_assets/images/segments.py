"""The segments of a JPEG file, walked without decoding anything."""

import re
from collections.abc import Iterator

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers, SOF0 to SOF15."""
START_OF_SCAN = 0xDA
END_OF_IMAGE = 0xD9

MAX_SEGMENTS = 100_000
"""Segments looked at: five million fit into 20 MB."""

_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xDA)))
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # stuffed bytes and restart markers belong to the scan


def jpeg_segments(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk the segments of a JPEG (ITU-T T.81, B.1), up to its end marker, its last byte or ``MAX_SEGMENTS``.

    Yields:
        Marker, start and end in ``body``. A scan's segment holds its entropy-coded data as well; what looks like a
        marker in there, or within a segment, is none. Bytes between segments are passed over, as decoders do.
    """
    at = 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(body, at)
        if found is None:
            return
        start = found.start()
        marker = body[start + 1]
        at = start + 2
        if marker not in _WITHOUT_LENGTH:
            at += int.from_bytes(body[at : at + 2], "big")
        if marker == START_OF_SCAN:
            after = _MARKER_AFTER_SCAN.search(body, at)
            at = len(body) if after is None else after.start()
        yield marker, start, min(at, len(body))
        if marker == END_OF_IMAGE:
            return
