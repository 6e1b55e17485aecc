"""Suites of others: Willem van Schaik's PngSuite, and one photograph in the eight orientations of EXIF."""

import io

import numpy as np
from PIL import Image

from laion_assets.download.options import DownloadOptions
from laion_assets.download.resizer import Resizer
from laion_assets.images.decode import decoded, rgb_picture
from laion_assets.images.fingerprint import colour_distances, fingerprint
from laion_assets.images.header import read_header
from laion_assets.images.parts import take_apart
from tests.unit.images.png_decoder import over_white

PNGS = 175
"""Pictures of the suite, of which 161 are valid: those whose names do not begin with x."""


def rgb_of(body):
    with decoded(take_apart(body)) as pixels:
        wide = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        return wide[..., ::-1].copy()


def test_every_valid_picture_of_pngsuite_has_its_pixels(shared_data):
    files = sorted((shared_data / "conformance" / "pngsuite").glob("*.png"))
    assert len(files) == PNGS
    wrong = {}
    for file in files:
        if file.name.startswith("x"):
            continue
        body = file.read_bytes()
        expected = over_white(body)
        with rgb_picture(body) as picture:
            readings = {"OpenCV": rgb_of(body), "Pillow": np.asarray(picture)}
        if read_header(body) and take_apart(body).orientation != 1:
            expected = np.rot90(expected, -1)
        for name, pixels in readings.items():
            if pixels.shape != expected.shape or np.abs(pixels.astype(int) - expected).max() > 1:
                wrong[file.name, name] = pixels.shape
    assert wrong == {}


def test_every_broken_picture_of_pngsuite_is_a_failure(shared_data):
    files = sorted((shared_data / "conformance" / "pngsuite").glob("x*.png"))
    resizer = Resizer(DownloadOptions())
    bodies = [file.read_bytes() for file in files]
    assert len(files) == 14
    assert [read_header(body) is None or resizer(io.BytesIO(body))[5] is not None for body in bodies] == [True] * 14


def test_all_eight_orientations_look_alike(shared_data):
    """Exif 2.32, 4.6.4: the tag says where the first row and column lie."""
    folder = shared_data / "conformance" / "exif"
    bodies = [(folder / f"Portrait_{number}.jpg").read_bytes() for number in range(1, 9)]
    assert [take_apart(body).orientation for body in bodies] == list(range(1, 9))
    stored = [Resizer(DownloadOptions())(io.BytesIO(body)) for body in bodies]
    assert {result[1:] for result in stored} == {(341, 512, 1200, 1800, None)}
    assert all(b"Exif" not in result[0] for result in stored)
    seen = [np.asarray(Image.open(io.BytesIO(result[0])), np.int16) for result in stored]
    for body in bodies:
        with rgb_picture(body) as picture:
            seen.append(np.asarray(picture.resize((341, 512), Image.Resampling.BOX), np.int16))
    assert max(np.abs(pixels - seen[0]).mean() for pixels in seen) < 3
    prints = [fingerprint(body) for body in bodies] + [fingerprint(result[0]) for result in stored]
    layouts = np.array([np.frombuffer(made.colour_layout, np.uint8) for made in prints])
    assert colour_distances(layouts[:1], layouts).max() < 1
    assert max(((made.perceptual_hash ^ prints[0].perceptual_hash) & (2**64 - 1)).bit_count() for made in prints) <= 4
