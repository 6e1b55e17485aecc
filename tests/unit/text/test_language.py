"""Languages of captions, and the honest answer that none can be told."""

import duckdb
import polars as pl
import pytest

from laion_assets.text.language import LanguageIdentifier, language_group, language_group_sql

CAPTIONS = {
    "en": "two small green triangles on a grey background",
    "de": "ein roter Kreis über einem blauen Quadrat",
    "fr": "deux petits triangles verts sur fond gris",
    "es": "tres estrellas amarillas con rayas a la izquierda",
    "ru": "красный круг над синим квадратом",
    "ja": "青い四角の上に赤い丸",
}


@pytest.mark.parametrize(("language", "caption"), CAPTIONS.items())
def test_captions_are_told_apart_whatever_their_case(language, caption):
    found = LanguageIdentifier().identify(pl.Series([caption, caption.upper(), caption]))
    assert found["language"].to_list() == [language] * 3
    assert found["language_confidence"].min() >= 0.4


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("a blurry photo of a dog", {"en", "nolang"}),  # the model alone: Chinese, at 0.9
        ("blurry photo of a frog", {"en", "nolang"}),
        ("a photo of a cat", {"en"}),
        ("一只小狗在公园的草地上奔跑", {"zh"}),
        ("фото кота", {"ru"}),
    ],
)
def test_no_language_is_told_that_is_never_written_in_a_texts_letters(text, accepted):
    found = LanguageIdentifier().identify(pl.Series([text]))
    assert found["language"].item() in accepted
    assert 0.0 < found["language_confidence"].item() <= 1.0


def test_nothing_to_read_has_no_language_and_no_confidence():
    found = LanguageIdentifier(floor=0.0).identify(pl.Series(["", None, " ", "the cat sat on the mat"]))
    assert found["language"].to_list() == ["nolang", "nolang", "nolang", "en"]
    assert found["language_confidence"].to_list()[:3] == [0.0, 0.0, 0.0]


def test_a_guess_below_the_floor_keeps_its_confidence_but_not_its_name():
    text = pl.Series(["12345 xkqz"])
    sure = LanguageIdentifier(floor=1.0).identify(text)
    unsure = LanguageIdentifier(floor=0.0).identify(text)
    assert sure["language"].item() == "nolang"
    assert unsure["language"].item() != "nolang"
    assert sure["language_confidence"].item() == unsure["language_confidence"].item()


def test_the_answer_has_fixed_types_also_for_no_texts():
    found = LanguageIdentifier().identify(pl.Series([], dtype=pl.String))
    assert dict(found.schema) == {"language": pl.String, "language_confidence": pl.Float32}


@pytest.mark.parametrize("floor", [-0.1, 1.1])
def test_a_floor_that_is_no_probability_is_refused(floor):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        LanguageIdentifier(floor)


def test_languages_fall_into_three_groups():
    frame = pl.DataFrame({"language": ["en", "de", "zh", "nolang"]})
    assert frame.select(language_group(pl.col("language"))).to_series().to_list() == [
        "en",
        "multi",
        "multi",
        "nolang",
    ]
    by_sql = duckdb.sql(f"SELECT {language_group_sql('language')} AS subset FROM frame").pl()["subset"].to_list()
    assert by_sql == ["en", "multi", "multi", "nolang"]
