"""Pairs and urls have the names LAION gave them, and buckets cover all urls."""

import mmh3
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.pairs.identity import bucket, pair_id, url_id

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def test_names_stay_what_they_are_in_written_tables() -> None:
    pairs = pl.DataFrame(
        {"url": ["http://a.example/1.jpg", "", "http://b.example/é"], "text": ["a red cube", "", "立方体"]}
    )
    names = pairs.select(pair=pair_id("url", "text"), url_name=url_id("url"))
    assert names.rows() == [
        (-5357445369199964328, -2634726841229818401),
        (0, 0),
        (-7449474472460471236, -7435511225378676735),
    ]
    assert names.schema == {"pair": pl.Int64, "url_name": pl.Int64}


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=20))
def test_names_are_the_first_64_bits_of_murmur3(pairs: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(pairs, schema={"url": pl.String, "text": pl.String}, orient="row")
    names = frame.select(pair=pair_id(pl.col("url"), pl.col("text")), url_name=url_id(pl.col("url"))).rows()
    assert names == [(mmh3.hash64(url + text)[0], mmh3.hash64(url)[0]) for url, text in pairs]


def test_a_pair_without_text_or_url_has_no_name() -> None:
    frame = pl.DataFrame({"url": ["u", None], "text": [None, "t"]})
    assert frame.select(pair_id("url", "text")).to_series().to_list() == [None, None]


def test_a_text_of_a_million_characters_has_a_name() -> None:
    text = "é💩x" * 350_000
    assert pl.select(pair_id(pl.lit("u"), pl.lit(text))).item() == mmh3.hash64("u" + text)[0]


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50), st.integers(1, 100_000))
def test_the_bucket_is_the_unsigned_name_modulo_the_number_of_buckets(names: list[int], buckets: int) -> None:
    numbers = pl.DataFrame({"url_id": names}, schema={"url_id": pl.Int64}).select(bucket("url_id", buckets)).to_series()
    assert numbers.to_list() == [name % 2**64 % buckets for name in names]
    assert numbers.dtype == pl.Int32


def test_no_buckets_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 bucket, got 0"):
        bucket("url_id", 0)
