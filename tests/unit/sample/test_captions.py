import numpy as np
import pytest

from laion_assets.sample.captions import (
    LANGUAGES,
    MIN_LENGTH,
    MIXED,
    contradictions,
    draw_languages,
    draw_mentions,
    write_captions,
)
from laion_assets.sample.lexicon import LEXICONS
from laion_assets.sample.world import ATTRIBUTES, COLOUR, SHAPE, VALUES, draw_scenes


def caption(language: str, wording_seed: int = 0, **values: int) -> str:
    attributes = np.zeros((1, 6), dtype=np.int8)
    mentions = np.zeros((1, 6), dtype=bool)
    for name, value in values.items():
        attributes[0, ATTRIBUTES.index(name)] = value
        mentions[0, ATTRIBUTES.index(name)] = True
    return write_captions(attributes, mentions, [language], np.random.default_rng(wording_seed))[0]


@pytest.mark.parametrize(
    ("language", "values", "phrase"),
    [
        ("en", {"shape": 3, "colour": 0, "count": 1, "texture": 1, "position": 0}, "two striped red stars on the left"),
        ("en", {"shape": 5, "colour": 7, "count": 2}, "three black crosses"),
        ("de", {"shape": 0, "colour": 0, "size": 0}, "kleiner roter kreis"),
        ("de", {"colour": 4, "count": 0}, "eine einzelne blaue figur"),
        ("de", {"shape": 4, "colour": 3, "count": 2, "size": 1}, "drei große grüne herzen"),
        ("fr", {"shape": 3, "colour": 5, "count": 1, "size": 0}, "deux petites étoiles violettes"),
        ("fr", {"shape": 0, "colour": 7, "count": 0, "texture": 2}, "un seul cercle noir à pois"),
        ("es", {"shape": 5, "colour": 0, "count": 1, "size": 0}, "dos cruces rojas pequeñas"),
        ("es", {"shape": 4, "colour": 4, "count": 2}, "tres corazones azules"),
        ("ru", {"shape": 3, "colour": 4, "count": 1}, "две синие звезды"),
        ("ru", {"shape": 0, "colour": 0, "count": 1, "size": 1}, "два больших красных круга"),
        ("ru", {"shape": 4, "colour": 7, "count": 0}, "одно чёрное сердце"),
        ("ja", {"shape": 3, "colour": 0, "count": 1, "position": 0}, "左側にある2つの赤い星"),
    ],
)
def test_captions_agree_in_gender_and_number(language, values, phrase):
    for seed in range(5):
        assert phrase in caption(language, seed, **values).lower()


@pytest.mark.parametrize("language", sorted(LEXICONS))
def test_every_value_has_a_word_of_its_own(language):
    for name, values in VALUES.items():
        written = {caption(language, 1, **{"shape": 1, name: index}) for index in range(len(values))}
        assert len(written) == len(values)


def test_captions_are_normal_and_long_enough():
    rng = np.random.default_rng(0)
    scenes = draw_scenes(8000, purpose="crawl", seed=0)
    texts = write_captions(scenes.attributes, draw_mentions(rng, 8000), draw_languages(rng, 8000), rng)
    assert min(map(len, texts)) >= MIN_LENGTH
    assert all(text == " ".join(text.split()) for text in texts)


def test_even_a_single_short_word_becomes_a_text_of_five_characters():
    for language in LANGUAGES:
        for seed in range(30):
            assert len(caption(language, seed, shape=3)) >= MIN_LENGTH


def test_a_mixed_caption_says_the_same_in_two_languages():
    said = {caption(MIXED, seed, shape=3, colour=0) for seed in range(60)}
    assert any("red star" in text and "roter Stern" in text for text in said)


def test_shape_or_colour_is_always_mentioned():
    mentions = draw_mentions(np.random.default_rng(1), 5000)
    assert (mentions[:, SHAPE] | mentions[:, COLOUR]).all()


def test_only_what_is_mentioned_can_contradict():
    pictured = np.array([[0, 0, 0, 0, 0, 0]], dtype=np.int8)
    claimed = np.array([[1, 1, 0, 0, 0, 0]], dtype=np.int8)
    mentions = np.array([[True, False, True, False, False, False]])
    assert contradictions(pictured, claimed, mentions).tolist() == [[True, False, False, False, False, False]]


def test_all_languages_occur():
    assert set(draw_languages(np.random.default_rng(0), 2000)) == set(LANGUAGES)
