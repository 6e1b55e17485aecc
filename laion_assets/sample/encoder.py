"""What the sample's own encoder learns from and is calibrated on.

Pictures and captions come from the same world as the crawl's, from other random streams; no held-out combination is
among them. The training itself is `clip.training`'s business.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from laion_assets.common.files import appearing
from laion_assets.sample import captions
from laion_assets.sample.plan import place_picture
from laion_assets.sample.web import encode
from laion_assets.sample.world import AttributeArray, Purpose, Scenes, draw_scenes, random_stream, render

MODEL: Final = "sample-rn"
"""Name of the sample's model in MODEL_CONFIGS: a ModifiedResNet of 32 pixels, which two cores train in a minute."""

MODEL_CONFIGS: Final = str(Path(__file__).parent / "model_configs")
"""Folder of open_clip model configurations."""

PICTURE_DOMAIN: Final = "the sample's drawn shapes"
"""What a calibration on these pictures holds for."""

_PIXELS: Final = 32
_OVERSAMPLING: Final = 2
_BATCH: Final = 240


@dataclass(frozen=True, slots=True, eq=False)
class CaptionedPictures:
    """Clean pairs: pictures with captions that are true of them."""

    images: NDArray[np.uint8]
    """uint8 [pictures, 32, 32, 3], RGB."""
    attributes: AttributeArray
    """int8 [pictures, 6], see `world.ATTRIBUTES`."""
    captions: list[str]
    languages: list[str]
    """One of `captions.LANGUAGES` a caption."""
    image_indices: NDArray[np.int64]
    """int64 [captions]: the picture each caption is of."""


def training_pairs(n: int, seed: int, *, captions_per_picture: int = 4) -> CaptionedPictures:
    """Clean pairs for training, from a random stream that nothing else in the sample draws from.

    Args:
        n: Number of pictures.
        seed: Which.
        captions_per_picture: Captions of each picture, each in a language of its own draw.
    """
    return _clean_pairs(n, seed, "encoder", captions_per_picture)


def calibration_pairs(n: int, seed: int) -> CaptionedPictures:
    """Clean pairs for calibration, one caption a picture, disjoint from those of training and crawl."""
    return _clean_pairs(n, seed, "calibration", 1)


def write_calibration(path: Path, n: int = 3_000, seed: int = 0) -> None:
    """Write the pairs of `calibration_pairs` as Parquet, with the pictures as the sample's server would send them.

    Columns: `image` (encoded file, binary), `text`, `language` (one of `captions.LANGUAGES`). Appears complete or
    not at all; the same arguments give the same bytes.
    """
    scenes = draw_scenes(n, purpose="calibration", seed=seed)
    rng = random_stream("calibration", seed, part=2)
    extensions = [place_picture(rng, scene, seed).extension for scene in range(n)]
    images = [
        encode(picture, extension)
        for start in range(0, n, _BATCH)
        for picture, extension in zip(
            render(scenes.take(slice(start, start + _BATCH)), 80), extensions[start : start + _BATCH], strict=True
        )
    ]
    texts, languages, _ = _captions(scenes, seed, "calibration", 1)
    with appearing(path) as fresh:
        pl.DataFrame({"image": images, "text": texts, "language": languages}).write_parquet(fresh)


def _clean_pairs(n: int, seed: int, purpose: Purpose, captions_per_picture: int) -> CaptionedPictures:
    scenes = draw_scenes(n, purpose=purpose, seed=seed)
    images = np.empty((n, _PIXELS, _PIXELS, 3), dtype=np.uint8)
    for start in range(0, n, _BATCH):
        images[start : start + _BATCH] = _small(scenes.take(slice(start, start + _BATCH)))
    texts, languages, owners = _captions(scenes, seed, purpose, captions_per_picture)
    return CaptionedPictures(images, scenes.attributes, texts, languages, owners)


def _small(scenes: Scenes) -> NDArray[np.uint8]:
    """Pictures of 32 pixels that look like larger ones made smaller: drawn larger and averaged."""
    large = render(scenes, _PIXELS * _OVERSAMPLING)
    boxes = large.reshape(len(scenes), _PIXELS, _OVERSAMPLING, _PIXELS, _OVERSAMPLING, 3)
    averaged: NDArray[np.uint8] = np.round(boxes.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
    return averaged


def _captions(
    scenes: Scenes, seed: int, purpose: Purpose, per_picture: int
) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Texts, languages and the picture of each, `per_picture` to a picture."""
    rng = random_stream(purpose, seed, part=1)
    owners = np.repeat(np.arange(len(scenes), dtype=np.int64), per_picture)
    mentions = captions.draw_mentions(rng, len(owners))
    languages = captions.draw_languages(rng, len(owners))
    return captions.write_captions(scenes.attributes[owners], mentions, languages, rng), languages, owners
