"""The sample's scenes drawn otherwise than a crawl shows them, but so that a person still names shape, colour, texture.

After the distribution shifts that CLIPs are measured by: ImageNet-Sketch (Wang et al. 2019), ImageNet-C's noise and
blur (Hendrycks & Dietterich 2019), other renditions and other surroundings. What a scene shows is never changed.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from laion_assets.sample.world import COLOUR, INKS, FloatArray, Scenes, render

Pictures = NDArray[np.uint8]
"""uint8 [n, PIXELS, PIXELS, 3], RGB."""

Shift = Callable[[Scenes, np.random.Generator], Pictures]
"""Draws scenes; the generator decides what the scenes do not."""

PIXELS: Final = 80
"""Width and height, as of the crawl's smaller pictures."""

OTHER_INKS: Final = np.array(
    [
        (168, 10, 52), (255, 158, 74), (242, 240, 96), (118, 208, 52),
        (84, 164, 250), (172, 92, 232), (232, 48, 150), (60, 60, 60),
    ],
    dtype=np.float32,
)  # fmt: skip
"""Other inks for the same colour names: crimson, apricot, lemon, lime, sky blue, lilac, magenta, charcoal."""

_OVERSAMPLING: Final = 2
_HUES: Final = (0.0, 0.08, 0.14, 0.38, 0.61, 0.77, 0.92, 0.0)
"""Of each colour name's ink, in turns; black has none."""


def unshifted(scenes: Scenes, _: np.random.Generator) -> Pictures:
    """As the crawl shows them."""
    return render(scenes, PIXELS)


def sketch(scenes: Scenes, rng: np.random.Generator) -> Pictures:
    """Line drawings on white paper, in one pencil of the colour named: outlines, and the edges of a texture."""
    side = PIXELS * _OVERSAMPLING
    paper = np.full((len(scenes), side, side, 3), 255, dtype=np.float32)
    drawn = render(scenes, side, grain=0, backdrops=paper).astype(np.float32)
    across = np.abs(np.diff(drawn, axis=2, append=drawn[:, :, -1:])).max(axis=3)
    down = np.abs(np.diff(drawn, axis=1, append=drawn[:, -1:])).max(axis=3)
    line = np.clip((np.hypot(across, down) - 14) / 34, 0, 1)
    line = line.reshape(len(scenes), PIXELS, _OVERSAMPLING, PIXELS, _OVERSAMPLING).mean(axis=(2, 4))
    pressure = 0.80 + 0.20 * rng.random(line.shape, dtype=np.float32)
    cover = np.clip(line * 1.5, 0, 1) * pressure
    pencil = 0.88 * INKS[scenes.attributes[:, COLOUR]][:, None, None, :]
    sheet = 250 - 6 * rng.random((*line.shape, 1), dtype=np.float32)
    return _pictures(sheet + (pencil - sheet) * cover[..., None])


def noise(scenes: Scenes, rng: np.random.Generator) -> Pictures:
    """With the noise of a sensor in the dark, and a few dead pixels."""
    pictures = render(scenes, PIXELS).astype(np.float32)
    strength = (34 + 26 * rng.random(len(scenes), dtype=np.float32))[:, None, None, None]
    pictures += strength * rng.standard_normal(pictures.shape, dtype=np.float32)
    dead = rng.random(pictures.shape[:3], dtype=np.float32)
    pictures[dead < 0.012] = 0
    pictures[dead > 0.988] = 255
    return _pictures(pictures)


def blur(scenes: Scenes, rng: np.random.Generator) -> Pictures:
    """Out of focus, by a standard deviation of 1.3 to 2.3 pixels: a texture's finest lines just survive."""
    pictures = render(scenes, PIXELS)
    for row, radius in enumerate(rng.uniform(1.3, 2.3, len(scenes)).tolist()):
        pictures[row] = np.asarray(Image.fromarray(pictures[row]).filter(ImageFilter.GaussianBlur(radius)))
    return pictures


def palette(scenes: Scenes, _: np.random.Generator) -> Pictures:
    """In inks that go by the same names: OTHER_INKS."""
    return render(scenes, PIXELS, inks=OTHER_INKS)


def background(scenes: Scenes, rng: np.random.Generator) -> Pictures:
    """On saturated, busy backdrops, where a crawl's are pale; never in the object's own hue."""
    backdrops = np.empty((len(scenes), PIXELS, PIXELS, 3), dtype=np.float32)
    for row, colour in enumerate(scenes.attributes[:, COLOUR].tolist()):
        hues = (_HUES[colour] + rng.uniform(0.27, 0.73, 2)) % 1
        first, second = (_rgb(hue, *rng.uniform((0.45, 0.55), (0.85, 0.95))) for hue in hues)
        blend = _pattern(rng)[..., None]
        backdrops[row] = first + (second - first) * blend
    return render(scenes, PIXELS, backdrops=backdrops)


def _pattern(rng: np.random.Generator) -> FloatArray:
    """Boards, bars, bubbles or a weave, float32 [PIXELS, PIXELS] in [0, 1]."""
    line = np.arange(PIXELS, dtype=np.float32) / PIXELS
    x, y = line[None, :], line[:, None]
    kind, angle, period = rng.integers(4), rng.uniform(0, np.pi), rng.uniform(0.22, 0.40)
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    over = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    first, second = (np.sin(part * np.float32(2 * np.pi / period)) for part in (along, over))
    if kind == 0:
        blend = 0.5 + 4 * first * second
    elif kind == 1:
        blend = 0.5 + 3 * first
    elif kind == 2:
        blend = np.zeros((PIXELS, PIXELS), dtype=np.float32)
        for left, top, radius in rng.uniform((0, 0, 0.06), (1, 1, 0.16), (14, 3)).tolist():
            blend = np.maximum(blend, (radius - np.hypot(x - left, y - top)) * PIXELS)
    else:
        blend = 0.5 + 0.25 * first + 0.25 * second
    return np.clip(blend, 0, 1).astype(np.float32)


def _rgb(hue: float, saturation: float, value: float) -> FloatArray:
    """A colour, float32 [3], 0 to 255; hue in turns."""
    pure = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    colour: FloatArray = (255 * value * (1 - saturation * (1 - pure))).astype(np.float32)
    return colour


def _pictures(values: FloatArray) -> Pictures:
    return np.round(np.clip(values, 0, 255)).astype(np.uint8)
