import io

import numpy as np
from PIL import Image

from laion_assets.images.perceptual_hash import perceptual_hash
from tests.unit.download.loopback_web import picture


def bits_apart(first, second):
    return bin((first ^ second) & (2**64 - 1)).count("1")


def test_the_perceptual_hash_survives_another_encoding_and_size():
    hashes = [
        perceptual_hash(picture(96, 64, quality=95)),
        perceptual_hash(picture(96, 64, format="PNG")),
        perceptual_hash(picture(480, 320, quality=70)),
    ]
    assert max(bits_apart(hashes[0], other) for other in hashes) <= 6
    assert bits_apart(hashes[0], perceptual_hash(picture(96, 64, seed=1))) > 16
    assert -(2**63) <= hashes[0] < 2**63


def test_flat_pictures_share_one_hash():
    def flat(value):
        file = io.BytesIO()
        Image.fromarray(np.full((40, 40, 3), value, np.uint8)).save(file, "PNG")
        return perceptual_hash(file.getvalue())

    assert flat(20) == flat(200)


def test_no_hash_of_what_does_not_decode():
    assert perceptual_hash(b"no picture") is None
