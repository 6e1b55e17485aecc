"""A second reading of PNG files, by the letter of the standard (PNG, third edition) and with nothing but zlib."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode_png(samples: NDArray[np.uint8] | NDArray[np.uint16], *, extra: bytes = b"") -> bytes:
    """A PNG of samples [height, width, channels] of 8 or 16 bits."""
    height, width, channels = samples.shape
    bits = samples.dtype.itemsize * 8
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def claim(colour: int, bits: int = 8, *, side: int = 9_459) -> bytes:
    """A PNG that says how large it is, and has no pixels; by default the largest square that is downloaded."""
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def over_white(body: bytes) -> NDArray[np.uint8]:
    """RGB [height, width, 3]: the high byte of 16 bits, fewer than 8 bits spread, colour times opacity over white."""
    chunks = dict[bytes, bytes]()
    at = 8
    while at < len(body):
        length, kind = struct.unpack_from(">I4s", body, at)
        chunks[kind] = chunks.get(kind, b"") + body[at + 8 : at + 8 + length]
        at += 12 + length
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    data, channels = zlib.decompress(chunks[b"IDAT"]), CHANNELS[colour]
    raw = np.zeros((height, width, channels), np.uint16)
    for left, top, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        w, h = -(-(width - left) // across), -(-(height - top) // down)
        if w > 0 and h > 0:
            part, data = unfiltered(data, w, h, bits, channels)
            raw[top::down, left::across] = part
    return painted(raw, bits, colour, chunks)


def unfiltered(data: bytes, width: int, height: int, bits: int, channels: int) -> tuple[NDArray[np.uint16], bytes]:
    """Undo the filters (9.2) of one pass, and unpack its samples (7.2)."""
    stride, step = -(-width * channels * bits // 8), max(1, channels * bits // 8)
    lines, above = [], bytearray(stride)
    for row in range(height):
        kind, *line = data[row * (stride + 1) : (row + 1) * (stride + 1)]
        for i, value in enumerate(line):
            a, b, c = (line[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
            nearest = min((a, b, c), key=lambda near: abs(a + b - c - near))
            line[i] = (value + (0, a, b, (a + b) // 2, nearest)[kind]) & 255
        above = bytearray(line)
        lines.append(above)
    packed = np.array(lines, np.uint8)
    if bits == 16:
        samples = packed.reshape(height, -1, 2).astype(np.uint16)
        flat = samples[..., 0] << 8 | samples[..., 1]
    else:
        spread = np.unpackbits(packed, axis=1).reshape(height, -1, bits)
        flat = np.packbits(spread, axis=2)[..., 0].astype(np.uint16) >> (8 - bits)
    return flat[:, : width * channels].reshape(height, width, channels), data[height * (stride + 1) :]


def painted(raw: NDArray[np.uint16], bits: int, colour: int, chunks: dict[bytes, bytes]) -> NDArray[np.uint8]:
    """Colours of samples (13.12), over white where they are transparent (13.16)."""
    keys = chunks.get(b"tRNS", b"")
    eight = raw >> 8 if bits == 16 else raw * 255 // ((1 << bits) - 1)
    opacity = np.full(raw.shape[:2], 255, np.uint16)
    if colour == 3:
        palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
        rgb = palette[raw[..., 0]].astype(np.uint16)
        opacity = np.frombuffer(keys.ljust(len(palette), b"\xff"), np.uint8)[raw[..., 0]].astype(np.uint16)
    else:
        rgb = np.repeat(eight[..., :1], 3, axis=2) if colour in (0, 4) else eight[..., :3]
        if colour in (4, 6):
            opacity = eight[..., -1]
        elif keys:
            opacity = np.where((raw == np.frombuffer(keys, ">u2")).all(axis=2), 0, 255).astype(np.uint16)
    alpha = opacity[..., None] / 255
    return np.rint(rgb * alpha + 255 * (1 - alpha)).astype(np.uint8)
