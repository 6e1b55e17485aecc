"""Captions for scenes: which attributes a caption mentions, the words for them, and what contradicts the picture.

The truth of a pair is decided here, and only from what its caption mentions: a caption swapped in from another picture
is true if everything it says happens to hold.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from laion_assets.sample.lexicon import LEXICONS, Lexicon
from laion_assets.sample.world import ATTRIBUTES, COLOUR, SHAPE, AttributeArray

MIXED: Final = "mixed"
"""Captions that say the same in two languages, as shops for several countries do: no language is clear."""

MIN_LENGTH: Final = 5
"""Characters: LAION's lower bound for an alt text."""

LANGUAGES: Final = (*LEXICONS, MIXED)

LANGUAGE_SHARES: Final[dict[str, float]] = {
    "en": 0.44, "de": 0.10, "fr": 0.10, "es": 0.10, "ru": 0.10, "ja": 0.10, "mixed": 0.06,
}  # fmt: skip
"""Part of the sample's pairs in each language."""

MENTION_RATES: Final[dict[str, float]] = {
    "shape": 0.80, "colour": 0.80, "texture": 0.50, "count": 0.50, "position": 0.40, "size": 0.45,
}  # fmt: skip
"""How often a caption mentions an attribute; shape or colour is always among them."""

_MIXED_PAIRS: Final = (("en", "de"), ("fr", "en"), ("es", "de"), ("ru", "en"), ("ja", "en"), ("de", "fr"), ("es", "ru"))


def draw_languages(rng: np.random.Generator, n: int) -> list[str]:
    """The languages of `n` captions, in the sample's shares."""
    shares = np.array([LANGUAGE_SHARES[name] for name in LANGUAGES])
    return [LANGUAGES[index] for index in rng.choice(len(LANGUAGES), size=n, p=shares / shares.sum())]


def draw_mentions(rng: np.random.Generator, n: int) -> NDArray[np.bool_]:
    """Which attributes `n` captions mention, bool [n, 6]."""
    rates = np.array([MENTION_RATES[name] for name in ATTRIBUTES])
    mentions = rng.random((n, len(ATTRIBUTES))) < rates
    silent = ~(mentions[:, SHAPE] | mentions[:, COLOUR])
    pick = np.where(rng.random(n) < 0.5, SHAPE, COLOUR)
    mentions[np.flatnonzero(silent), pick[silent]] = True
    return mentions


def contradictions(pictured: AttributeArray, claimed: AttributeArray, mentions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which mentioned attributes do not hold of the picture, bool [n, 6]."""
    against: NDArray[np.bool_] = (pictured != claimed) & mentions
    return against


def write_captions(
    claimed: AttributeArray, mentions: NDArray[np.bool_], languages: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """One caption a row, in already normalised form (no outer or double blanks), at least 5 characters long.

    Args:
        claimed: The attributes the caption speaks of, int8 [n, 6].
        mentions: Which of them it names, bool [n, 6].
        languages: One of LANGUAGES a row.
        rng: Chooses the wording.
    """
    wordings = rng.integers(1 << 30, size=len(claimed)).tolist()
    rows = zip(claimed.tolist(), mentions.tolist(), languages, wordings, strict=True)
    return [_caption(values, named, language, wording) for values, named, language, wording in rows]


def _caption(values: list[int], named: list[bool], language: str, wording: int) -> str:
    if language == MIXED:
        first, second = _MIXED_PAIRS[wording % len(_MIXED_PAIRS)]
        mark = (" / ", " | ", " – ")[wording // 7 % 3]
        return mark.join(_noun_phrase(LEXICONS[name], values, named) for name in (first, second))
    lexicon = LEXICONS[language]
    phrase = _noun_phrase(lexicon, values, named)
    frame = lexicon.frames[wording % len(lexicon.frames)]
    if len(phrase) < MIN_LENGTH and frame == "{}":
        frame = lexicon.frames[2 + wording // 8 % (len(lexicon.frames) - 2)]
    caption = frame.format(phrase)
    if wording // 64 % 2 == 0:
        caption = caption[0].upper() + caption[1:]
    return caption


def _noun_phrase(lexicon: Lexicon, values: list[int], named: list[bool]) -> str:
    """The mentioned attributes as a phrase. Where no number is mentioned, the singular serves as a label."""
    shape, colour, texture, count, position, size = values
    says_shape, says_colour, says_texture, says_count, says_position, says_size = named
    singular, several, gender = lexicon.nouns[shape if says_shape else -1]
    plural = says_count and count > 0
    key = lexicon.plural_agreement[gender] if plural else gender
    parts = {"noun": several if plural else singular}
    if says_colour:
        parts["colour"] = _agree(lexicon.adjectives["colour"][colour], key)
    if says_texture:
        parts["texture"] = _agree(lexicon.adjectives["texture"][texture], key)
    if says_size:
        parts["size"] = _agree(lexicon.adjectives["size"][size], key)
    if says_count:
        parts["count"] = _agree(lexicon.counts[count], key)
    if says_position:
        parts["position"] = lexicon.positions[position]
    words = [parts[name] for name in lexicon.order if name in parts]
    return ("" if lexicon is LEXICONS["ja"] else " ").join(words)


def _agree(word: dict[str, str] | str, key: str) -> str:
    return word if isinstance(word, str) else word[key]
