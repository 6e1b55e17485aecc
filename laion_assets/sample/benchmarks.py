"""The sample's own benchmarks, in the layout that ImageNet and COCO come in (`evaluation.benchmark`).

Their scenes come from the world's random stream "evaluation", which neither crawl, encoder nor calibration draws from.
Classification is always among all combinations of shape, colour and texture, so that scores in distribution, on
combinations never seen and under shifts are comparable.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from laion_assets.evaluation.benchmark import BenchmarkSample, write_benchmark
from laion_assets.sample import shifts
from laion_assets.sample.captions import LANGUAGE_SHARES, write_captions
from laion_assets.sample.lexicon import ENGLISH, LEXICONS
from laion_assets.sample.plan import place_picture
from laion_assets.sample.web import encode
from laion_assets.sample.world import (
    ATTRIBUTES,
    COLOUR,
    SHAPE,
    TEXTURE,
    VALUES,
    Scenes,
    draw_scenes,
    random_stream,
    scenes_from,
)

SHIFTS: Final[dict[str, shifts.Shift]] = {
    "sketch": shifts.sketch,
    "noise": shifts.noise,
    "blur": shifts.blur,
    "palette": shifts.palette,
    "background": shifts.background,
}

NAMES: Final = tuple(f"sample-{name}" for name in ("seen", "unseen", *SHIFTS, "retrieval"))
"""Every benchmark, in the order in which they are written."""

CLASSNAMES: Final = tuple(
    f"{texture} {colour} {shape}"
    for shape, colour, texture in itertools.product(VALUES["shape"], VALUES["colour"], VALUES["texture"])
)
"""All combinations, named in the order of words that the sample's English captions have; a label is an index."""

TEMPLATES: Final = tuple(frame.replace("{}", "{c}") for frame in dict.fromkeys(ENGLISH.frames))
"""What stands around a phrase in the sample's English captions."""

MAX_SIZE: Final = 8_000
"""Pictures in a benchmark: the pictures of `sample-retrieval`, half as many, differ in what can be said of them."""

# Parts of the stream "evaluation"; part 0 are the scenes of `sample-seen`.
_UNSEEN, _RETRIEVAL, _EXTENSIONS, _CAPTIONS, _SHIFTS = 1, 2, 3, 4, 5

_BATCH: Final = 240
_PER_TAR: Final = 500


def write_sample_benchmarks(folder: Path, *, size: int = 1000, seed: int = 0) -> list[Path]:
    """Write the sample's benchmarks, each into a folder of its name; the same arguments give the same bytes.

    - `sample-seen`: combinations that the crawl shows too;
    - `sample-unseen`: held-out combinations only, known by their parts (compositional zero-shot);
    - `sample-sketch`, `-noise`, `-blur`, `-palette`, `-background`: the scenes of `sample-seen`, drawn otherwise;
    - `sample-retrieval`: pictures with two or three captions each, of different languages, half as many pictures.

    Args:
        folder: Where. Benchmarks of these names that lie there are replaced, each at once.
        size: Pictures in each benchmark, 2 to MAX_SIZE.
        seed: Which.

    Returns:
        The benchmarks' folders, in the order above.

    Raises:
        ValueError: no such size.
        BenchmarkError: something that is no benchmark lies there under one of the names.
    """
    if not 2 <= size <= MAX_SIZE:
        raise ValueError(f"size: expected 2 to {MAX_SIZE}, found {size}")
    seen = draw_scenes(size, purpose="evaluation", seed=seed)
    unseen = scenes_from(random_stream("evaluation", seed, _UNSEEN), size, unseen=True)
    drawn: list[tuple[str, Scenes, shifts.Shift]] = [
        ("seen", seen, shifts.unshifted),
        ("unseen", unseen, shifts.unshifted),
    ]
    drawn += [(name, seen, shift) for name, shift in SHIFTS.items()]
    written = []
    for number, (name, scenes, shift) in enumerate(drawn):
        written.append(folder / f"sample-{name}")
        rng = random_stream("evaluation", seed, _SHIFTS + number)
        write_benchmark(
            written[-1],
            _labelled(scenes, shift, rng, seed),
            task="zeroshot_classification",
            classnames=CLASSNAMES,
            templates=TEMPLATES,
            in_distribution=None if name == "seen" else "sample-seen",
            per_tar=_PER_TAR,
            overwrite=True,
        )
    written.append(folder / "sample-retrieval")
    captioned = _captioned(size // 2, seed)
    write_benchmark(written[-1], captioned, task="zeroshot_retrieval", per_tar=_PER_TAR, overwrite=True)
    return written


def labels(scenes: Scenes) -> NDArray[np.int64]:
    """The class of each scene, int64 [n]: an index into CLASSNAMES."""
    sizes = tuple(len(VALUES[ATTRIBUTES[column]]) for column in (SHAPE, COLOUR, TEXTURE))
    columns = tuple(scenes.attributes[:, column].astype(np.int64) for column in (SHAPE, COLOUR, TEXTURE))
    return np.ravel_multi_index(columns, sizes).astype(np.int64)


def _labelled(scenes: Scenes, shift: shifts.Shift, rng: np.random.Generator, seed: int) -> Iterator[BenchmarkSample]:
    names = labels(scenes).tolist()
    for row, image in enumerate(_images(scenes, shift, rng, seed)):
        yield BenchmarkSample(f"s{row:07d}", image, label=names[row])


def _captioned(n: int, seed: int) -> Iterator[BenchmarkSample]:
    scenes = _distinct_scenes(n, seed)
    rng = random_stream("evaluation", seed, _CAPTIONS)
    shares = np.array([LANGUAGE_SHARES[name] for name in LEXICONS])
    images = _images(scenes, shifts.unshifted, rng, seed)
    for row, image in enumerate(images):
        count = rng.integers(2, 4)
        spoken = rng.choice(list(LEXICONS), size=count, replace=False, p=shares / shares.sum()).tolist()
        claimed = np.repeat(scenes.attributes[row : row + 1], count, axis=0)
        mentions = np.ones(claimed.shape, dtype=np.bool_)
        yield BenchmarkSample(f"s{row:07d}", image, captions=tuple(write_captions(claimed, mentions, spoken, rng)))


def _distinct_scenes(n: int, seed: int) -> Scenes:
    """Scenes of which no two have all attributes in common, so that a full caption is true of one picture only."""
    scenes = scenes_from(random_stream("evaluation", seed, _RETRIEVAL), 10 * n + 100)
    first = np.sort(np.unique(scenes.attributes, axis=0, return_index=True)[1])
    return scenes.take(first[:n])


def _images(scenes: Scenes, shift: shifts.Shift, rng: np.random.Generator, seed: int) -> Iterator[bytes]:
    """The scenes' pictures as files of the kinds that the crawl's are; a scene's kind is the same under every shift."""
    kinds = random_stream("evaluation", seed, _EXTENSIONS)
    for start in range(0, len(scenes), _BATCH):
        pictures = shift(scenes.take(slice(start, start + _BATCH)), rng)
        for row, picture in enumerate(pictures, start=start):
            yield encode(picture, place_picture(kinds, row, seed).extension, min_bytes=0)
