"""Copies of a picture are told from other pictures by three measures."""

import hashlib

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from laion_assets.images.fingerprint import colour_distances, fingerprint, near_hashes
from laion_assets.images.perceptual_hash import perceptual_hash
from tests.unit.images.files import photograph, saved, tiff
from tests.unit.images.png_decoder import encode_png


def png(pixels):
    return saved(Image.fromarray(pixels), "PNG")


def jpeg(pixels):
    return saved(Image.fromarray(pixels), "JPEG", quality=95)


HASHES = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(HASHES, max_size=30),
    st.lists(HASHES, max_size=10),
    st.lists(st.tuples(st.integers(0, 29), st.sets(st.integers(0, 63), max_size=12)), max_size=20),
    st.integers(0, 8),
)
def test_near_hashes_are_those_of_brute_force(images, benchmarks, planted, hamming):
    for place, bits in planted:
        if images:
            value = images[place % len(images)]
            for bit in bits:
                value ^= (1 << bit) - ((1 << 64) if bit == 63 else 0)
            benchmarks.append(value)
    images, benchmarks = sorted(set(images)), sorted(set(benchmarks))
    con = duckdb.connect()
    for name, values in (("i", images), ("b", benchmarks)):
        con.register(name, pl.DataFrame({"perceptual_hash": values}, schema={"perceptual_hash": pl.Int64}).to_arrow())
    expected = [
        (i, b, ((i ^ b) & (2**64 - 1)).bit_count())
        for i in images for b in benchmarks if ((i ^ b) & (2**64 - 1)).bit_count() <= hamming
    ]  # fmt: skip
    assert sorted(con.execute(near_hashes("i", "b", hamming)).fetchall()) == sorted(expected)


def test_a_fingerprint_has_the_hash_of_the_download_and_nothing_broken_has_one():
    picture = jpeg(photograph(np.random.default_rng(7), 640, 480))
    made = fingerprint(picture)
    assert made.perceptual_hash == perceptual_hash(picture)
    assert made.sha256 == hashlib.sha256(picture).hexdigest()
    assert len(made.colour_layout) == 192
    for broken in (
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xd9",
        png(np.zeros((9, 9, 3), np.uint8))[:50],
    ):
        assert fingerprint(broken) is None


def test_the_colour_distance_is_that_of_the_two_colours():
    white, black, grey = (
        np.frombuffer(fingerprint(png(np.full((40, 60, 3), v, np.uint8))).colour_layout, np.uint8)
        for v in (255, 0, 119)
    )
    distances = colour_distances(np.stack([white, grey]), np.stack([black, white]))
    assert distances == pytest.approx(np.array([[100, 0], [50, 50]]), abs=0.6)


def test_a_copy_is_known_however_its_file_is_coded():
    """What is stored of a picture of 16 bits, or of one that EXIF turns, is upright and has 8 bits."""
    seen = photograph(np.random.default_rng(11))
    deep = encode_png(seen.astype(np.uint16) * 257)
    turned = saved(Image.fromarray(seen).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=b"Exif\0\0" + tiff(6))
    stored = fingerprint(jpeg(seen))
    for body in (deep, turned):
        other = fingerprint(body)
        assert ((other.perceptual_hash ^ stored.perceptual_hash) & (2**64 - 1)).bit_count() <= 2
        layouts = [np.frombuffer(made.colour_layout, np.uint8)[None] for made in (other, stored)]
        assert colour_distances(*layouts)[0, 0] < 2
