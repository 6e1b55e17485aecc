"""What a pair is called: the 64-bit names of pairs and urls, and the bucket a url belongs to.

Nothing here decides whether two pairs are equal; equality is (url, text), see ``dedup``.
"""

import polars as pl
from polars_hash import NonCryptographicHashingNameSpace


def pair_id(url: pl.Expr | str, text: pl.Expr | str) -> pl.Expr:
    """The name of a pair: what LAION published as ``hash``.

    Args:
        url: Column (or its name) of image urls, strings.
        text: Column (or its name) of normalised alt texts, strings.

    Returns:
        Int64: the first 64 bits of MurmurHash3 x64 128 (seed 0) over the UTF-8 bytes of url followed by text, as a
        signed number, equal to ``mmh3.hash64(url + text)[0]``. Null where either is null.
    """
    return _first_64_bits(pl.concat_str(_column(url), _column(text)))


def url_id(url: pl.Expr | str) -> pl.Expr:
    """The name of an image url.

    Args:
        url: Column (or its name) of image urls, strings.

    Returns:
        Int64: the same hash as ``pair_id``, over the url alone. Null where the url is null.
    """
    return _first_64_bits(_column(url))


def bucket(url_id: pl.Expr | str, buckets: int) -> pl.Expr:
    """The bucket of a url: its ``url_id``, read as an unsigned number, modulo the number of buckets.

    Args:
        url_id: Int64 column (or its name), as ``url_id`` gives it.
        buckets: How many buckets the lake has, at least 1.

    Returns:
        Int32 from 0 to ``buckets - 1``.

    Raises:
        ValueError: If ``buckets`` is smaller than 1.
    """
    if buckets < 1:
        raise ValueError(f"a lake has at least 1 bucket, got {buckets}")
    return (_column(url_id).reinterpret(signed=False) % pl.lit(buckets, dtype=pl.UInt64)).cast(pl.Int32)


def _column(column: pl.Expr | str) -> pl.Expr:
    return pl.col(column) if isinstance(column, str) else column


def _first_64_bits(strings: pl.Expr) -> pl.Expr:
    digest = NonCryptographicHashingNameSpace(strings).murmur128()
    return digest.cast(pl.UInt64, wrap_numerical=True).reinterpret(signed=True)
