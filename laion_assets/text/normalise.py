"""Normalisation of alt texts: one line, single spaces, the characters the author meant.

Done here: decoding mistakes are undone (ftfy), every run of whitespace and control characters becomes one space, the
ends are stripped. Not done here, because it would change texts that were right: Unicode normal forms, quotes, case,
entities.
"""

import re
from functools import lru_cache

import polars as pl

# Spacing as Python's and Rust's engines both understand it: Unicode whitespace, control characters, and what is
# invisible and zero wide without joining letters (zero width space, word joiner, byte order mark).
_SPACING = re.compile("[\\s\x00-\x1f\x7f-\x9f\u200b\u2060\ufeff]+")
_SPACING_RUST = r"[\s\x00-\x1F\x7F-\x9F\x{200B}\x{2060}\x{FEFF}]+"
_UNFOLDED_RUST = (
    r"^ | $|  |[\x00-\x1F\x7F-\xA0\x{1680}\x{2000}-\x{200B}\x{2028}\x{2029}\x{202F}\x{205F}\x{2060}\x{3000}\x{FEFF}]"
)

# The single-byte encodings that UTF-8 is most often read as by mistake.
_MISREADINGS = (
    "latin-1",
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1257",
    "iso-8859-2",
    "mac_roman",
    "cp437",
)


@lru_cache(maxsize=1)
def _mojibake_pattern() -> str:
    """A cheap over-approximation of what ftfy repairs, as a Rust regular expression.

    UTF-8 read in a single-byte encoding always shows a lead byte (C2 to F4) beside a continuation byte (80 to BF),
    each as that encoding displays it. C1 control characters and the replacement character count as continuations, for
    ftfy reads through them.
    """
    c1_and_lost = {chr(code) for code in range(0x80, 0xA0)} | {"\ufffd"}
    pairs = []
    for encoding in _MISREADINGS:
        leads = _members(_shown(range(0xC2, 0xF5), encoding))
        continuations = _members(_shown(range(0x80, 0xC0), encoding) | c1_and_lost)
        pairs.append(f"[{leads}][{continuations}]")
    # A lead byte before a plain space: byte A0 was a no-break space and has been folded already ("Ã " for "à").
    return "|".join([*pairs, r"[ÂÃÎÐРВГ] |[\x80-\x9F]"])


def _shown(codes: range, encoding: str) -> set[str]:
    return {bytes([code]).decode(encoding, "ignore") for code in codes} - {""}


def _members(characters: set[str]) -> str:
    return "".join(f"\\x{{{ord(character):X}}}" for character in sorted(characters))


def normalise(texts: pl.Series) -> pl.Series:
    """Bring alt texts into the one form that identity, language and rules are defined on.

    Mojibake is repaired by the encoding heuristics of ftfy 6 (Speer), applied only to texts in which a misread UTF-8
    sequence is possible, and before whitespace is folded, because the no-break space is part of many such sequences.
    Then every run of Unicode whitespace, C0 and C1 control characters, U+200B, U+2060 and U+FEFF becomes one space
    and the ends are stripped.

    The function is idempotent: ``normalise(normalise(x))`` equals ``normalise(x)``.

    Args:
        texts: Strings, nulls allowed.

    Returns:
        A series of the same name and length; null stays null, a text of nothing but spacing becomes the empty string.
    """
    name = texts.name
    frame = texts.cast(pl.String).alias("raw").to_frame()
    frame = frame.with_columns(text=_folded(pl.col("raw")))
    non_ascii = frame.filter(pl.col("raw").str.len_bytes() != pl.col("raw").str.len_chars())
    pattern = _mojibake_pattern()
    suspects = (
        non_ascii.filter(pl.col("raw").str.contains(pattern) | pl.col("text").str.contains(pattern))
        .get_column("raw")
        .unique()
    )
    if suspects.is_empty():
        return frame.get_column("text").alias(name)
    repaired = pl.Series([_repaired(text) for text in suspects.to_list()], dtype=pl.String)
    text = pl.when(pl.col("raw").is_in(suspects.implode())).then(
        pl.col("raw").replace_strict(suspects, repaired, default=None, return_dtype=pl.String)
    )
    return frame.select(text.otherwise(pl.col("text")).alias(name)).to_series()


def without_surrogates(text: str) -> str:
    r"""Make a Python string encodable: surrogate pairs are joined, lone surrogates become U+FFFD.

    JSON may hold ``"\ud800"``, which Python accepts in a string and no file, Arrow column or network protocol does.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _folded(column: pl.Expr) -> pl.Expr:
    # Most texts are folded already, and testing for it is much cheaper than replacing.
    folded = column.str.replace_all(_SPACING_RUST, " ").str.strip_chars(" ")
    return pl.when(column.str.contains(_UNFOLDED_RUST)).then(folded).otherwise(column)


def _repaired(text: str) -> str:
    """The fixed point of repairing and folding: it exists, for each change shortens the text or simplifies it."""
    import ftfy

    while (repaired := _SPACING.sub(" ", ftfy.fix_encoding(text)).strip(" ")) != text:
        text = repaired
    return text
