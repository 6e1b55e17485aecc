"""Alt texts come out as one line of the characters their author meant."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.text.normalise import normalise, without_surrogates


def one(text: str) -> str:
    return normalise(pl.Series([text])).item()


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        ("  a red\n\tcar ", "a red car"),
        ("a\u00a0red\u2003car", "a red car"),
        ("a\x00red\x07\x1fcar", "a red car"),
        ("\ufeffa red\u200b car", "a red car"),
        ("cafÃ© Ã\u00a0 la carte", "café à la carte"),
        ("РџСЂРёРІРµС‚ РјРёСЂ", "Привет мир"),
        ("â€œhiâ€\u009d there", "“hi” there"),
        ("Ã\x83Â©tÃ\x83Â© Ã\x83\xa0 la plage", "été à la plage"),
        (" \u00a0\t", ""),
    ],
)
def test_what_the_author_meant_is_restored(found, meant):
    assert one(found) == meant


@pytest.mark.parametrize(
    "text",
    [
        "l'été à la plage, ça va « déjà »",
        "El niño pequeño – 5 €",
        "красный круг и синий квадрат «здесь»",
        "赤い丸と青い四角",
        "“quoted” — it’s 20 °C",
        "பூனை मेज़ पर",
        "family 👩‍👩‍👧 photo",
        "a &amp; b <b>c</b>",
    ],
)
def test_texts_that_are_right_stay_as_they_are(text):
    assert one(text) == text


def test_nulls_name_and_length_are_kept():
    out = normalise(pl.Series("alt", ["x ", None, "cafÃ©"]))
    assert out.name == "alt"
    assert out.to_list() == ["x", None, "café"]
    assert normalise(pl.Series([], dtype=pl.String)).len() == 0


ENCODINGS = ["latin-1", "cp1252", "cp1251", "cp437", "mac_roman", "iso-8859-2"]
MISREAD = st.builds(
    lambda text, encoding: text.encode("utf-8").decode(encoding, "replace"),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(ENCODINGS),
)
PIECES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    MISREAD,
    st.sampled_from(["Ã", "\u00a0", "©", " ", "\u200b", "â€", "\x9d", "\ufffd", "В\u00a0", "\t"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=6).map("".join), max_size=4))
def test_normalising_twice_is_normalising_once(texts):
    once = normalise(pl.Series(texts, dtype=pl.String))
    assert normalise(once).to_list() == once.to_list()


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_outcome_is_one_stripped_line_without_controls(text):
    out = one(text)
    assert out == out.strip()
    assert "  " not in out
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in out)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(ENCODINGS))
def test_texts_ftfy_would_change_are_given_to_ftfy(text, encoding):
    import ftfy

    misread = text.encode("utf-8").decode(encoding, "replace")
    expected = ftfy.fix_encoding(misread)
    if expected != misread:
        assert one(misread) == one(expected)


def test_surrogates_become_characters_a_file_can_hold():
    assert without_surrogates("a\ud83d\ude00b") == "a😀b"
    assert without_surrogates("a\ud800b\udc00") == "a\ufffdb\ufffd"
