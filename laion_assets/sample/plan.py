"""What the sample's web holds: every pair with its truth, every picture with the way it is answered, every sighting.

Ordinary pairs are planned here; what is spoilt on purpose is in `dirt`. Nothing is written to disk in this module.
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from laion_assets.sample import captions
from laion_assets.sample.options import CRAWLS, SampleOptions
from laion_assets.sample.pages import Damage
from laion_assets.sample.web import Reply
from laion_assets.sample.world import (
    ATTRIBUTES,
    COUNT,
    VALUES,
    AttributeArray,
    Scenes,
    draw_scenes,
    held_out,
    random_stream,
)

TEXTS_PER_PICTURE: Final = (0.87, 0.11, 0.02)
"""Part of the pictures with one, two and three texts."""
ALTERED: Final = 0.40
"""Part of the mismatched captions that have one or two of the picture's attributes changed; the rest is swapped."""
SECOND_CHANGE: Final = 0.30
"""Part of the altered captions with two changes."""
SEEN_AGAIN: Final = 0.12
"""Part of the first crawl's pairs that the second crawl meets again."""
REPEATED: Final = 0.06
"""Part of a crawl's pairs that stand on another of its pages too."""

_FOLDERS: Final = ("img/2025/11", "media", "uploads/a3", "photos/large", "assets/cards", "img/2026/01")
_HOSTS: Final = ("127.0.0.1", "localhost")


@dataclass(slots=True)
class Pair:
    """A pair of url and text, and what is known about it."""

    url: str
    text: str
    """As it ought to come out of extraction."""
    language: str | None = None
    matched: bool | None = None
    """None: the question does not arise."""
    mentioned: list[str] = field(default_factory=list)
    contradicted: list[str] = field(default_factory=list)
    kind: str = "ordinary"
    outcome: str | None = "embedded"
    """`embedded`, or the reason for which the pair is dropped before that; None where that depends on settings."""
    alt: str | None = None
    """The alt text as the page has it, where it differs from `text`."""
    more: str = ""
    """Further HTML attributes of the image."""
    src: str | None = None
    """The `src` as the page has it, where it is not simply the url."""
    sightings: list[str] = field(default_factory=list)
    """The crawl of each link."""


@dataclass(frozen=True, slots=True)
class PlannedPicture:
    """A picture file: where it is served, which scene it shows, how it is answered."""

    host: str
    path: str
    query: str
    scene: int
    """Position in the plan's scenes."""
    extension: str

    def url(self, port: int) -> str:
        """The absolute url."""
        return f"http://{self.host}:{port}{self.path}{self.query}"


@dataclass(slots=True)
class SamplePlan:
    """Everything that is to be published."""

    scenes: Scenes
    pictures: list[PlannedPicture]
    pairs: list[Pair]
    files: list[tuple[str, bytes | None, Reply | None]] = field(default_factory=list)
    """Bodies and answers beside the ordinary pictures."""
    replies: dict[str, Reply] = field(default_factory=dict)
    """Unusual answers for paths of `pictures`."""
    broken: dict[Damage, list[list[Pair]]] = field(default_factory=dict)
    """By kind of damage: the pairs of each page whose record is broken, in the first crawl and then the second."""


def plan_ordinary(options: SampleOptions) -> SamplePlan:
    """Pictures and pairs that nothing is wrong with but, for a part of them, what the caption says."""
    rng = random_stream("crawl", options.seed, part=1)
    per_picture = sum((number + 1) * share for number, share in enumerate(TEXTS_PER_PICTURE))
    n = max(1, round(options.pairs / per_picture))
    scenes = draw_scenes(n, purpose="crawl", seed=options.seed)
    pictures = [place_picture(rng, scene, options.seed) for scene in range(n)]
    texts = rng.choice(np.arange(1, 4), size=n, p=TEXTS_PER_PICTURE)
    owners = np.repeat(np.arange(n), texts)
    plan = SamplePlan(scenes, pictures, [])
    mentions = captions.draw_mentions(rng, len(owners))
    claimed = claim_attributes(rng, scenes.attributes, owners, mentions, options.mismatched)
    plan.pairs.extend(make_pairs(rng, plan, options, owners, claimed, mentions))
    sight(rng, plan.pairs)
    return plan


def place_picture(rng: np.random.Generator, scene: int, seed: int) -> PlannedPicture:
    """An address that says nothing about what the picture shows."""
    name = blake2b(f"{seed}/{scene}".encode(), digest_size=5).hexdigest()
    extension = ("jpg", "png", "webp")[rng.choice(3, p=(0.82, 0.12, 0.06))]
    style = rng.integers(20)
    stem = f"{name}%20copy" if style == 0 else f"IMG_{scene:05d}_{name[:4]}" if style < 6 else name
    query = f"?w=640&v={rng.integers(1, 9)}" if style == 19 else ""
    folder = _FOLDERS[rng.integers(len(_FOLDERS))]
    return PlannedPicture(_HOSTS[int(rng.random() < 0.3)], f"/{folder}/{stem}.{extension}", query, scene, extension)


def claim_attributes(
    rng: np.random.Generator,
    pictured: AttributeArray,
    owners: NDArray[np.integer],
    mentions: NDArray[np.bool_],
    mismatched: float,
) -> AttributeArray:
    """The attributes each caption speaks of, int8 [n, 6]: the picture's own, another's, or its own with changes.

    Args:
        rng: Where the randomness comes from.
        pictured: Attributes of all pictures.
        owners: The picture of each caption.
        mentions: What each caption mentions; changes are made there.
        mismatched: Part of the captions that are swapped or altered.
    """
    n = len(owners)
    claimed: AttributeArray = pictured[owners].copy()
    wrong = rng.random(n) < mismatched
    altered = wrong & (rng.random(n) < ALTERED)
    swapped = np.flatnonzero(wrong & ~altered)
    others = rng.integers(len(pictured), size=len(swapped))
    claimed[swapped] = pictured[(others + (others == owners[swapped])) % len(pictured)]
    for row in np.flatnonzero(altered):
        changes = 2 if rng.random() < SECOND_CHANGE else 1
        named = rng.permutation(np.flatnonzero(mentions[row]))[:changes]
        claimed[row] = _changed(rng, claimed[row], named)
    return claimed


def _changed(rng: np.random.Generator, row: AttributeArray, which: NDArray[np.integer]) -> AttributeArray:
    """The row with other values at `which`, never a held-out combination."""
    while True:
        new = row.copy()
        for attribute in which:
            choices = len(VALUES[ATTRIBUTES[attribute]])
            new[attribute] = (row[attribute] + rng.integers(1, choices)) % choices
        if not held_out(*new[:COUNT].astype(int)):
            return new


def make_pairs(
    rng: np.random.Generator,
    plan: SamplePlan,
    options: SampleOptions,
    owners: NDArray[np.integer],
    claimed: AttributeArray,
    mentions: NDArray[np.bool_],
) -> list[Pair]:
    """Pairs of the pictures `owners` with captions about `claimed`; what would be there twice is left out."""
    languages = captions.draw_languages(rng, len(owners))
    texts = captions.write_captions(claimed, mentions, languages, rng)
    wrong = captions.contradictions(plan.scenes.attributes[[plan.pictures[o].scene for o in owners]], claimed, mentions)
    known = {(pair.url, pair.text) for pair in plan.pairs}
    pairs = []
    for owner, text, language, named, against in zip(owners, texts, languages, mentions, wrong, strict=True):
        url = plan.pictures[owner].url(options.port)
        if (url, text) in known:
            continue
        known.add((url, text))
        pairs.append(Pair(url, text, language, not against.any(), _names(named), _names(against)))
    return pairs


def _names(mask: NDArray[np.bool_]) -> list[str]:
    return [ATTRIBUTES[index] for index in np.flatnonzero(mask)]


def sight(rng: np.random.Generator, pairs: list[Pair], *, again: bool = True) -> None:
    """Decide in which crawls each pair is met, and how often.

    Args:
        rng: Where the randomness comes from.
        pairs: Those to decide on.
        again: Whether some are met more than once.
    """
    for pair, first, second, repeat in zip(pairs, *rng.random((3, len(pairs))).tolist(), strict=True):
        crawl = CRAWLS[0] if first < 0.55 else CRAWLS[1]
        pair.sightings.append(crawl)
        if again and repeat < REPEATED:
            pair.sightings.append(crawl)
        if again and crawl == CRAWLS[0] and second < SEEN_AGAIN:
            pair.sightings.append(CRAWLS[1])
