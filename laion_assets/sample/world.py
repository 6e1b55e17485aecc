"""The sample's small world: what a picture can show, drawn at random, and drawn as pixels.

A scene is six attributes (shape, colour, texture, count, position, size) plus a vector of variation that carries no
meaning (exact place, tilt, background, grain). Everything is a pure function of (purpose, seed): the purposes draw from
disjoint random streams, so that what an encoder learns from, is calibrated on and is measured by never coincide.

Captions, files and web pages do not belong here.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
AttributeArray = NDArray[np.int8]

ATTRIBUTES: Final = ("shape", "colour", "texture", "count", "position", "size")
VALUES: Final[dict[str, tuple[str, ...]]] = {
    "shape": ("circle", "square", "triangle", "star", "heart", "cross"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black"),
    "texture": ("plain", "striped", "dotted", "chequered"),
    "count": ("one", "two", "three"),
    "position": ("left", "right", "top", "bottom", "centre"),
    "size": ("small", "large"),
}
SHAPE, COLOUR, TEXTURE, COUNT, POSITION, SIZE = range(len(ATTRIBUTES))

Purpose = Literal["crawl", "encoder", "calibration", "evaluation"]
_STREAMS: Final[dict[Purpose, int]] = {"crawl": 101, "encoder": 202, "calibration": 303, "evaluation": 404}

_VARIATION: Final = 24
_CHUNK: Final = 48
"""Scenes rendered together: small enough that the working arrays stay in the cache."""

# The object's colour and the colour its stripes, dots or chequers are drawn in.
INKS: Final = np.array(
    [
        (214, 40, 40), (240, 130, 20), (248, 214, 30), (42, 157, 70),
        (36, 92, 214), (124, 46, 168), (244, 120, 182), (26, 26, 30),
    ],
    dtype=np.float32,
)  # fmt: skip
_SECOND_INK: Final = np.array(
    [
        (255, 238, 232), (255, 244, 220), (130, 98, 0), (232, 250, 232),
        (228, 238, 255), (244, 228, 252), (255, 246, 250), (206, 206, 212),
    ],
    dtype=np.float32,
)  # fmt: skip

# Radius of one object by (size, count), as a part of the picture's width.
_RADII: Final = np.array([(0.205, 0.170, 0.155), (0.330, 0.235, 0.200)], dtype=np.float32)
# Unit offset of the group by position; y grows downwards.
_PLACES: Final = np.array([(-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Scenes:
    """A batch of scenes."""

    attributes: AttributeArray
    """int8 [n, 6]: an index into VALUES for each of ATTRIBUTES."""
    variation: FloatArray
    """float32 [n, 24] in [0, 1): everything about a picture that its attributes do not say."""

    def __len__(self) -> int:
        return len(self.attributes)

    def take(self, index: NDArray[np.integer] | slice) -> "Scenes":
        """The scenes at the given positions."""
        return Scenes(self.attributes[index], self.variation[index])


def random_stream(purpose: Purpose, seed: int, part: int = 0) -> np.random.Generator:
    """A random generator that no other (purpose, seed, part) shares."""
    return np.random.default_rng([_STREAMS[purpose], seed, part])


def held_out(
    shape: NDArray[np.integer] | int, colour: NDArray[np.integer] | int, texture: NDArray[np.integer] | int
) -> NDArray[np.bool_]:
    """Whether a combination is kept for zero-shot evaluation: 18 of 192, which no crawl and no encoder ever shows.

    Every value and every pair of values still occurs in what is not held out.
    """
    chosen: NDArray[np.bool_] = (np.asarray(shape) * 3 + np.asarray(colour) * 7 + np.asarray(texture) * 4) % 10 == 6
    return chosen


def draw_attributes(rng: np.random.Generator, n: int, *, unseen: bool = False) -> AttributeArray:
    """Attributes of `n` scenes, int8 [n, 6], uniform over the combinations that are not held out.

    Args:
        rng: Where the randomness comes from.
        n: How many.
        unseen: Draw only from the held-out combinations instead.
    """
    sizes = [len(VALUES[name]) for name in ATTRIBUTES]
    grid = np.meshgrid(*[np.arange(size) for size in sizes[:3]], indexing="ij")
    combinations = np.stack(grid, axis=-1).reshape(-1, 3)
    combinations = combinations[held_out(*combinations.T) == unseen]
    what = combinations[rng.integers(len(combinations), size=n)]
    where = np.stack([rng.integers(size, size=n) for size in sizes[3:]], axis=1)
    return np.concatenate([what, where], axis=1).astype(np.int8)


def draw_scenes(n: int, *, purpose: Purpose, seed: int, unseen: bool = False) -> Scenes:
    """`n` scenes for a purpose. `unseen` draws from the held-out combinations instead of all others."""
    return scenes_from(random_stream(purpose, seed), n, unseen=unseen)


def scenes_from(rng: np.random.Generator, n: int, *, unseen: bool = False) -> Scenes:
    """The next `n` scenes of a random generator."""
    attributes = draw_attributes(rng, n, unseen=unseen)
    return Scenes(attributes, rng.random((n, _VARIATION), dtype=np.float32))


def render(
    scenes: Scenes,
    pixels: int,
    *,
    grain: float = 1.0,
    inks: FloatArray = INKS,
    backdrops: FloatArray | None = None,
) -> NDArray[np.uint8]:
    """Pictures of the scenes, uint8 [n, pixels, pixels, 3], RGB.

    Shapes are signed distance functions with one pixel of antialiasing, so that a scene looks the same at any
    resolution.

    Args:
        scenes: What to draw.
        pixels: Width and height.
        grain: Strength of the film grain; 0 gives clean, well compressible pictures.
        inks: RGB of each colour name, float32 [8, 3], 0 to 255.
        backdrops: What to draw on, float32 [n, pixels, pixels, 3], 0 to 255, instead of the muted backdrops.
    """
    pictures = np.empty((len(scenes), pixels, pixels, 3), dtype=np.uint8)
    for start in range(0, len(scenes), _CHUNK):
        chunk = scenes.take(slice(start, start + _CHUNK))
        if backdrops is None:
            canvas = _backgrounds(chunk, pixels)
        else:
            canvas = backdrops[start : start + len(chunk)].transpose(3, 0, 1, 2).copy()
        centres, radii = _layout(chunk)
        for number in range(len(VALUES["count"])):
            shown = np.flatnonzero(chunk.attributes[:, COUNT] >= number)
            if len(shown):
                _paint(canvas, chunk.take(shown), shown, centres[shown, number], radii[shown], number, inks)
        if grain:
            canvas += grain * _grain(chunk, pixels)
        np.clip(canvas, 0, 255, out=canvas)
        pictures[start : start + len(chunk)] = canvas.transpose(1, 2, 3, 0)
    return pictures


def _axes(pixels: int) -> tuple[FloatArray, FloatArray]:
    """Pixel centres as x [1, 1, pixels] and y [1, pixels, 1], in parts of the width, 0 in the middle."""
    line = ((np.arange(pixels) + 0.5) / pixels - 0.5).astype(np.float32)
    return line[None, None, :], line[None, :, None]


def _backgrounds(scenes: Scenes, pixels: int) -> FloatArray:
    """Muted backdrops, float32 [3, n, pixels, pixels]: gradients, a horizon, a vignette or mottled paper."""
    v = scenes.variation[:, :, None, None]
    x, y = _axes(pixels)
    angle = v[:, 0] * (2 * np.pi)
    slope = x * np.cos(angle) + y * np.sin(angle) + 0.5
    blend = np.empty((len(scenes), pixels, pixels), dtype=np.float32)
    kind = (scenes.variation[:, 1] * 4).astype(int)
    for number in range(4):
        rows = kind == number
        if not rows.any():
            continue
        if number == 0:
            blend[rows] = slope[rows]
        elif number == 1:
            blend[rows] = (y - 0.30 * v[rows, 2] - 0.05) * 14 + 0.5
        elif number == 2:
            blend[rows] = np.sqrt(x * x + y * y) * 1.5
        else:
            blend[rows] = 0.35 * slope[rows]
    np.clip(blend, 0, 1, out=blend)
    blend += _mottle(scenes, pixels) * np.where(kind == 3, 0.45, 0.12).astype(np.float32)[:, None, None]
    near, far = _muted(scenes.variation[:, 3:6]), _muted(scenes.variation[:, 6:9])
    canvas: FloatArray = np.empty((3, len(scenes), pixels, pixels), dtype=np.float32)
    for channel in range(3):
        start = near[:, channel, None, None]
        np.multiply(blend, far[:, channel, None, None] - start, out=canvas[channel])
        canvas[channel] += start
    return canvas


def _muted(variation: FloatArray) -> FloatArray:
    """Pale colours of little saturation, float32 [n, 3], from three random numbers each."""
    hue, saturation, value = variation.T
    phase = hue[:, None] * 6 + np.array([0, 4, 2], dtype=np.float32)
    pure = np.clip(np.abs(phase % 6 - 3) - 1, 0, 1)
    colours = 255 * (0.64 + 0.30 * value[:, None]) * (1 - (0.03 + 0.17 * saturation[:, None]) * (1 - pure))
    return np.asarray(colours, dtype=np.float32)


_TILE: Final = np.random.default_rng(20260112).standard_normal((160, 160)).astype(np.float32)


def _mottle(scenes: Scenes, pixels: int, cells: int = 6) -> FloatArray:
    """Smooth random patches of about unit variance, float32 [n, pixels, pixels]."""
    column = (scenes.variation[:, 9] * 150).astype(int)
    row = (scenes.variation[:, 10] * 150).astype(int)
    coarse = np.stack([_TILE[r : r + cells, c : c + cells] for r, c in zip(row, column, strict=True)])
    place = np.clip((np.arange(pixels) + 0.5) / pixels * (cells - 1), 0, cells - 1.0001)
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(cells)[None, :]), 0, 1).astype(np.float32)
    patches: FloatArray = np.matmul(np.matmul(weights, coarse), weights.T)
    return patches


def _grain(scenes: Scenes, pixels: int) -> FloatArray:
    """Film grain, float32 [n, pixels, pixels], a window of one fixed tile for each scene."""
    span = max(_TILE.shape[0] - pixels, 1)
    tile = _TILE if pixels < _TILE.shape[0] else np.tile(_TILE, (pixels // 160 + 2,) * 2)
    rows, columns = ((scenes.variation[:, k] * span).astype(int) for k in (11, 12))
    strength = 5.0 + 2.0 * scenes.variation[:, 13]
    windows = np.stack([tile[r : r + pixels, c : c + pixels] for r, c in zip(rows, columns, strict=True)])
    windows *= strength[:, None, None]
    return windows


def _layout(scenes: Scenes) -> tuple[FloatArray, FloatArray]:
    """Where objects stand: centres float32 [n, 3, 2] and radii float32 [n], in parts of the width."""
    count, position, size = (scenes.attributes[:, k] for k in (COUNT, POSITION, SIZE))
    n = len(scenes)
    radii = (_RADII[size, count] * (0.96 + 0.08 * scenes.variation[:, 14])).astype(np.float32)
    gap = radii * 1.06
    offsets = np.zeros((n, 3, 2), dtype=np.float32)
    pairs = count == 1
    upright = pairs & (position < 2)  # a pair at the left or right stands on top of each other
    flat = pairs & ~upright
    offsets[upright, 0, 1], offsets[upright, 1, 1] = -gap[upright], gap[upright]
    offsets[flat, 0, 0], offsets[flat, 1, 0] = -gap[flat], gap[flat]
    threes = count == 2
    g = gap[threes]
    offsets[threes, 0] = np.stack([0 * g, -0.92 * g], axis=1)
    offsets[threes, 1] = np.stack([-g, 0.80 * g], axis=1)
    offsets[threes, 2] = np.stack([g, 0.80 * g], axis=1)
    reach = np.abs(offsets).max(axis=1) + radii[:, None]
    room = np.clip(0.49 - reach, 0, 0.25)
    jitter = (scenes.variation[:, 15:17] - 0.5) * np.minimum(room, 0.05)
    group = _PLACES[position] * room * 0.96 + jitter
    return (offsets + group[:, None, :]).astype(np.float32), radii


def _paint(
    canvas: FloatArray,
    scenes: Scenes,
    rows: NDArray[np.intp],
    centres: FloatArray,
    radii: FloatArray,
    number: int,
    inks: FloatArray,
) -> None:
    """Draw object `number` of each scene over rows of the canvas."""
    pixels = canvas.shape[-1]
    x, y = _axes(pixels)
    tilt = ((scenes.variation[:, 17 + number] - 0.5) * 0.42)[:, None, None]
    scale = radii[:, None, None]
    dx, dy = x - centres[:, 0, None, None], y - centres[:, 1, None, None]
    cos, sin = np.cos(tilt) / scale, np.sin(tilt) / scale
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    distance = np.empty_like(u)
    for shape in range(len(VALUES["shape"])):
        members = scenes.attributes[:, SHAPE] == shape
        if members.any():
            distance[members] = _DISTANCES[shape](u[members], v[members])
    distance *= scale * pixels  # now in pixels, negative inside
    cover = np.clip(0.5 - distance, 0, 1)
    line = max(1.0, 0.022 * pixels)
    rim = np.clip(distance + line + 0.5, 0, 1) * 0.62
    halo = np.clip(1 - distance / (0.05 * pixels), 0, 1)
    halo *= 0.22 * (1 - cover)
    second = _second_ink_cover(scenes, u, v, scale * pixels)
    light = 1.02 - 0.07 * (u + v)
    shift = ((scenes.variation[:, 20:23] - 0.5) * 22).astype(np.float32)
    ink = np.clip(inks[scenes.attributes[:, COLOUR]] + shift, 0, 255)
    other = _SECOND_INK[scenes.attributes[:, COLOUR]]
    for channel in range(3):
        base = ink[:, channel, None, None]
        paint = base + (other[:, channel, None, None] - base) * second
        paint *= light
        paint *= 1 - rim * 0.75
        under = canvas[channel, rows]
        under *= 1 - halo
        under += (paint - under) * cover
        canvas[channel, rows] = under


def _second_ink_cover(scenes: Scenes, u: FloatArray, v: FloatArray, radius_pixels: FloatArray) -> FloatArray:
    """How far a texture's second ink covers each pixel, 0 to 1; `u`, `v` are in object radii."""
    cover = np.zeros_like(u)
    texture = scenes.attributes[:, TEXTURE]
    sharp = np.maximum(radius_pixels * 0.17, 0.9)
    for number, period in ((1, 0.62), (2, 0.60), (3, 0.96)):
        rows = texture == number
        if not rows.any():
            continue
        turn = np.float32(2 * np.pi / period)
        if number == 1:
            wave = np.sin((u[rows] + v[rows]) * (turn * np.float32(0.7071)))
        elif number == 2:
            wave = np.cos(u[rows] * turn) + np.cos(v[rows] * turn) - np.float32(0.62)
        else:
            wave = np.sin(u[rows] * turn) * np.sin(v[rows] * turn) * np.float32(1.6)
        cover[rows] = np.clip(0.5 + wave * sharp[rows], 0, 1)
    return cover


def _circle(u: FloatArray, v: FloatArray) -> FloatArray:
    distance: FloatArray = np.sqrt(u * u + v * v) - np.float32(0.90)
    return distance


def _square(u: FloatArray, v: FloatArray) -> FloatArray:
    return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.80)


def _triangle(u: FloatArray, v: FloatArray) -> FloatArray:
    v = v - np.float32(0.16)
    return np.maximum(np.abs(u) * np.float32(0.8660) - v * np.float32(0.5), v) - np.float32(0.56)


def _star(u: FloatArray, v: FloatArray) -> FloatArray:
    """Five points: the plane is folded into one tenth, where an arm's edge is a straight line."""
    u, v = np.abs(u), np.float32(0.06) - v
    for _ in range(2):
        over = np.maximum(u * _FOLD[0] - v * _FOLD[1], 0) * 2
        u, v = np.abs(u - over * _FOLD[0]), v + over * _FOLD[1]
    distance: FloatArray = u * np.float32(0.897) + v * np.float32(0.443) - np.float32(0.452)
    return distance


def _heart(u: FloatArray, v: FloatArray) -> FloatArray:
    u, v = np.abs(u), np.float32(0.10) - v
    side = np.float32(0.72)
    wedge = (u + np.abs(v) - side) * np.float32(0.7071)
    lobe = np.hypot(u - side / 2, v - side / 2) - side * np.float32(0.7071)
    distance: FloatArray = np.minimum(wedge, lobe)
    return distance


def _cross(u: FloatArray, v: FloatArray) -> FloatArray:
    u, v = np.abs(u), np.abs(v)
    arm, half = np.float32(0.92), np.float32(0.32)
    distance: FloatArray = np.minimum(np.maximum(u - arm, v - half), np.maximum(u - half, v - arm))
    return distance


# Normal of a mirror at 54 degrees, the direction of a star's inner corner.
_FOLD: Final = np.array([np.sin(0.3 * np.pi), np.cos(0.3 * np.pi)], dtype=np.float32)
_DISTANCES: Final = (_circle, _square, _triangle, _star, _heart, _cross)
