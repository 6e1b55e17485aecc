"""The patterns mean the same in polars and in DuckDB, and what their names say."""

import duckdb
import polars as pl
import pytest

from laion_assets.text.rules import FILE_NAME_PATTERN, MARKUP_PATTERN

FILE_NAMES = [
    "photo.jpg",
    "images/My Photo 1.JPEG",
    "IMG_1234",
    "DSC01234",
    "P1010023",
    "20190801_101500",
    "image-3",
    "12345 678",
    "9f86d081884c7d659a2feaa0c55ad015",
    "Screenshot 2020-01-01",
]
CAPTIONS = [
    "A red car",
    "Model T 1908",
    "2 dogs",
    "image of a cat",
    "Photo by Ann",
    "the .jpg format explained",
    "IMG Academy",
    "photo.jpg of a dog",
]
MARKUP = [
    "<b>red</b> car",
    "a &quot;red&quot; car",
    "&#039;x&#039;",
    "<img src='a.png'>",
    "[caption id=3] car",
    "{{ title }}",
    "<br/>",
    "<!-- x",
]
PLAIN = ["a < b > c", "AT&T store", "R&B; soul", "I <3 you", "[sic] car", "x [b c", "5 & 6;"]


def matches(pattern: str, texts: list[str]) -> list[bool]:
    polars = pl.Series(texts).str.contains(pattern).to_list()
    rows = duckdb.execute(
        "SELECT regexp_matches(t, $p) FROM (SELECT unnest($t) AS t)", {"p": pattern, "t": texts}
    ).fetchall()
    assert [row[0] for row in rows] == polars
    return polars


@pytest.mark.parametrize(
    ("pattern", "yes", "no"), [(FILE_NAME_PATTERN, FILE_NAMES, CAPTIONS), (MARKUP_PATTERN, MARKUP, [*PLAIN, *CAPTIONS])]
)
def test_the_pattern_tells_them_apart_in_both_engines(pattern, yes, no):
    assert dict(zip(yes, matches(pattern, yes), strict=True)) == dict.fromkeys(yes, True)
    assert dict(zip(no, matches(pattern, no), strict=True)) == dict.fromkeys(no, False)
