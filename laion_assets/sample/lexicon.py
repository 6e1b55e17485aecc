"""The words of the sample's captions, language by language.

Only words and their forms stand here; how they make a caption is decided in `captions`. Every language lists the values
of an attribute in the order of `world.VALUES`.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Lexicon:
    """What one language needs to name the attributes of a scene."""

    nouns: tuple[tuple[str, str, str], ...]
    """(singular, form after two or three, gender) of each shape; the last one is the word for any shape."""
    adjectives: dict[str, tuple[dict[str, str] | str, ...]]
    """Colour, texture and size: a form for each agreement key, or one form that never changes."""
    counts: tuple[dict[str, str] | str, ...]
    """How one, two and three are said before a noun."""
    positions: tuple[str, ...]
    order: tuple[str, ...]
    """The order of the parts of a noun phrase."""
    frames: tuple[str, ...]
    """What stands around a noun phrase in an alt text; those after the second always add words."""
    plural_agreement: dict[str, str]
    """Agreement key of a gender after two or three."""


def _forms(keys: str, *words: str) -> tuple[dict[str, str] | str, ...]:
    """Inflected words: `stem:end1/end2/…` gives a form for each key, a word without a colon never changes."""
    names = keys.split()
    parsed: list[dict[str, str] | str] = []
    for word in words:
        stem, mark, ends = word.partition(":")
        parsed.append(dict(zip(names, (stem + end for end in ends.split("/")), strict=True)) if mark else stem)
    return tuple(parsed)


_USUAL_ORDER: Final = ("count", "size", "texture", "colour", "noun", "position")

ENGLISH: Final = Lexicon(
    nouns=(
        ("circle", "circles", "x"), ("square", "squares", "x"), ("triangle", "triangles", "x"), ("star", "stars", "x"),
        ("heart", "hearts", "x"), ("cross", "crosses", "x"), ("shape", "shapes", "x"),
    ),
    adjectives={
        "colour": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black"),
        "texture": ("plain", "striped", "dotted", "chequered"),
        "size": ("small", "large"),
    },
    counts=("one", "two", "three"),
    positions=("on the left", "on the right", "at the top", "at the bottom", "in the centre"),
    order=_USUAL_ORDER,
    frames=("{}", "{}", "picture: {}", "illustration: {}", "{}, drawing", "{} – clip art"),
    plural_agreement={"x": "x"},
)  # fmt: skip

GERMAN: Final = Lexicon(
    nouns=(
        ("Kreis", "Kreise", "m"), ("Quadrat", "Quadrate", "n"), ("Dreieck", "Dreiecke", "n"), ("Stern", "Sterne", "m"),
        ("Herz", "Herzen", "n"), ("Kreuz", "Kreuze", "n"), ("Figur", "Figuren", "f"),
    ),
    adjectives={
        "colour": _forms(
            "m f n p", "rot:er/e/es/e", "orangefarben:er/e/es/e", "gelb:er/e/es/e", "grün:er/e/es/e", "blau:er/e/es/e",
            "violett:er/e/es/e", "rosafarben:er/e/es/e", "schwarz:er/e/es/e",
        ),
        "texture": _forms(
            "m f n p", "einfarbig:er/e/es/e", "gestreift:er/e/es/e", "gepunktet:er/e/es/e", "kariert:er/e/es/e"
        ),
        "size": _forms("m f n p", "klein:er/e/es/e", "groß:er/e/es/e"),
    },
    counts=({"m": "ein einzelner", "f": "eine einzelne", "n": "ein einzelnes"}, "zwei", "drei"),
    positions=("auf der linken Seite", "auf der rechten Seite", "oben im Bild", "unten im Bild", "in der Mitte"),
    order=_USUAL_ORDER,
    frames=("{}", "{}", "Abbildung: {}", "{} (Zeichnung)", "Das Bild zeigt: {}", "{} als Illustration"),
    plural_agreement={"m": "p", "f": "p", "n": "p"},
)  # fmt: skip

FRENCH: Final = Lexicon(
    nouns=(
        ("cercle", "cercles", "m"), ("carré", "carrés", "m"), ("triangle", "triangles", "m"),
        ("étoile", "étoiles", "f"),
        ("cœur", "cœurs", "m"), ("croix", "croix", "f"), ("forme", "formes", "f"),
    ),
    adjectives={
        "colour": _forms(
            "m f mp fp", "rouge://s/s", "orange", "jaune://s/s", "vert:/e/s/es", "bleu:/e/s/es",
            "violet:/te/s/tes", "rose://s/s", "noir:/e/s/es",
        ),
        "texture": _forms("m f mp fp", "uni:/e/s/es", "rayé:/e/s/es", "à pois", "à carreaux"),
        "size": _forms("m f mp fp", "petit:/e/s/es", "grand:/e/s/es"),
    },
    counts=({"m": "un seul", "f": "une seule"}, "deux", "trois"),
    positions=("à gauche", "à droite", "en haut", "en bas", "au centre"),
    order=("count", "size", "noun", "colour", "texture", "position"),
    frames=("{}", "{}", "dessin : {}", "image : {}", "{}, illustration", "{} – photo"),
    plural_agreement={"m": "mp", "f": "fp"},
)  # fmt: skip

SPANISH: Final = Lexicon(
    nouns=(
        ("círculo", "círculos", "m"), ("cuadrado", "cuadrados", "m"), ("triángulo", "triángulos", "m"),
        ("estrella", "estrellas", "f"), ("corazón", "corazones", "m"), ("cruz", "cruces", "f"),
        ("figura", "figuras", "f"),
    ),
    adjectives={
        "colour": _forms(
            "m f mp fp", "roj:o/a/os/as", "naranja", "amarill:o/a/os/as", "verde://s/s", "azul://es/es",
            "morad:o/a/os/as", "rosa", "negr:o/a/os/as",
        ),
        "texture": _forms("m f mp fp", "lis:o/a/os/as", "a rayas", "con lunares", "a cuadros"),
        "size": _forms("m f mp fp", "pequeñ:o/a/os/as", "grande://s/s"),
    },
    counts=({"m": "un solo", "f": "una sola"}, "dos", "tres"),
    positions=("a la izquierda", "a la derecha", "arriba", "abajo", "en el centro"),
    order=("count", "noun", "colour", "size", "texture", "position"),
    frames=("{}", "{}", "imagen: {}", "dibujo: {}", "{}, ilustración", "{} – foto"),
    plural_agreement={"m": "mp", "f": "fp"},
)  # fmt: skip

_RUSSIAN_KEYS: Final = "m f n p fp"

RUSSIAN: Final = Lexicon(
    nouns=(
        ("круг", "круга", "m"), ("квадрат", "квадрата", "m"), ("треугольник", "треугольника", "m"),
        ("звезда", "звезды", "f"), ("сердце", "сердца", "n"), ("крест", "креста", "m"), ("фигура", "фигуры", "f"),
    ),
    adjectives={
        "colour": _forms(
            _RUSSIAN_KEYS, "красн:ый/ая/ое/ых/ые", "оранжев:ый/ая/ое/ых/ые", "жёлт:ый/ая/ое/ых/ые",
            "зелён:ый/ая/ое/ых/ые", "син:ий/яя/ее/их/ие", "фиолетов:ый/ая/ое/ых/ые", "розов:ый/ая/ое/ых/ые",
            "чёрн:ый/ая/ое/ых/ые",
        ),
        "texture": _forms(
            _RUSSIAN_KEYS, "однотонн:ый/ая/ое/ых/ые", "полосат:ый/ая/ое/ых/ые", "пятнист:ый/ая/ое/ых/ые",
            "клетчат:ый/ая/ое/ых/ые",
        ),
        "size": _forms(_RUSSIAN_KEYS, "маленьк:ий/ая/ое/их/ие", "больш:ой/ая/ое/их/ие"),
    },
    counts=({"m": "один", "f": "одна", "n": "одно"}, {"p": "два", "fp": "две"}, "три"),
    positions=("слева", "справа", "сверху", "снизу", "в центре"),
    order=_USUAL_ORDER,
    frames=("{}", "{}", "рисунок: {}", "{} на картинке", "здесь {}", "{}, иллюстрация"),
    plural_agreement={"m": "p", "f": "fp", "n": "p"},
)  # fmt: skip

JAPANESE: Final = Lexicon(
    nouns=(
        ("円", "円", "x"), ("正方形", "正方形", "x"), ("三角形", "三角形", "x"), ("星", "星", "x"),
        ("ハート", "ハート", "x"), ("十字", "十字", "x"), ("図形", "図形", "x"),
    ),
    adjectives={
        "colour": ("赤い", "オレンジ色の", "黄色い", "緑色の", "青い", "紫色の", "ピンクの", "黒い"),
        "texture": ("無地の", "しま模様の", "水玉模様の", "市松模様の"),
        "size": ("小さな", "大きな"),
    },
    counts=("1つの", "2つの", "3つの"),
    positions=("左側にある", "右側にある", "上にある", "下にある", "中央にある"),
    order=("position", "count", "size", "texture", "colour", "noun"),
    frames=("{}のイラスト", "{}を描いた絵", "{}の画像です", "これは{}です", "{}が見えます"),
    plural_agreement={"x": "x"},
)  # fmt: skip

LEXICONS: Final[dict[str, Lexicon]] = {
    "en": ENGLISH,
    "de": GERMAN,
    "fr": FRENCH,
    "es": SPANISH,
    "ru": RUSSIAN,
    "ja": JAPANESE,
}
