"""What came to lists of removals and what went from them, in the form in which a lake keeps lists.

A list is kept so that a later one can be held against it: of a url the digest of its canonical form, as in the feeds,
so that no address stays that was to be removed. Such a list finds the same rows as the one it was made of.
"""

from dataclasses import dataclass

import polars as pl

from laion_assets.consent.removals import Removals
from laion_assets.consent.urls import canonical_digest

_ADDRESSES = ("url_sha256", "domain", "hash")
_SHA256_LENGTH = 64


@dataclass(frozen=True)
class Change:
    """What of removals changed between two lists."""

    entries: Removals
    """Those that stand in one of them alone."""
    lets_in_addresses: bool
    """Whether some entry went by which addresses were refused."""
    judges_bodies: bool
    """Whether some entry came or went that names bytes by md5 or sha1, which no row holds."""

    @property
    def is_none(self) -> bool:
        """Whether both lists remove the same."""
        return self.entries.frame.is_empty()


def as_kept(removals: Removals) -> Removals:
    """The entries as a lake keeps them: of a url its digest, as ``url_sha256``."""
    frame, is_url = removals.frame, pl.col("kind") == "url"
    hidden = frame.filter(is_url).select(
        kind=pl.lit("url_sha256"), value=pl.col("value").map_elements(canonical_digest, return_dtype=pl.String)
    )
    return Removals(pl.concat([frame.filter(~is_url), hidden]).unique().sort("kind", "value"))


def merged(one: Removals, other: Removals) -> Removals:
    """The entries of both."""
    return Removals(pl.concat([one.frame, other.frame]).unique().sort("kind", "value"))


def change_between(before: Removals, now: Removals, *, withdrawn: Removals | None = None) -> Change:
    """What changed from one list to another, both as they are kept.

    Args:
        before: the earlier one.
        now: the later one.
        withdrawn: of what is not in ``now``, what is known to count no more; None: all of it. For where a part of the
            later list is not at hand.
    """
    by = ["kind", "value"]
    came = now.frame.join(before.frame, on=by, how="anti")
    went = before.frame.join(now.frame, on=by, how="anti")
    if withdrawn is not None:
        went = went.join(withdrawn.frame, on=by, how="semi")
    both = pl.concat([came, went]).sort(by)
    other = (pl.col("kind") == "hash") & (pl.col("value").str.len_bytes() < _SHA256_LENGTH)
    return Change(
        Removals(both),
        lets_in_addresses=not went.filter(pl.col("kind").is_in(_ADDRESSES)).is_empty(),
        judges_bodies=not both.filter(other).is_empty(),
    )
