"""What single rows say of themselves, where there is no table: the json of a sample, a line of a list."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa

from laion_assets.release.cleaning.columns import Columns, columns_of
from laion_assets.release.cleaning.matching import Matcher, pair_ids_of

_SCHEMA: Final = pa.schema(
    [(name, pa.string()) for name in ("url", "final_url", "text", "pair_id", "sha256", "image_sha256")]
)
_PAIR_ID: Final = re.compile(r"-?[0-9]{1,19}")  # any other `hash` is MD5
_SAID: Final = Columns(
    urls=("url", "final_url"), texts=("text",), pair_ids=("pair_id",), sha256=("sha256", "image_sha256")
)
_UNTOLD: Final = Columns(urls=("url",), texts=("text",))
"""Of rows that say no pair id: their address and text make it."""

Said = dict[str, str]
"""``url, final_url, text, pair_id, sha256, image_sha256`` of a row, as far as it says them."""


@dataclass(frozen=True)
class Listed:
    """Which of some rows are listed."""

    places: list[int]
    pair_ids: frozenset[int]
    looked_up: frozenset[str]
    """The kinds of removals that all of the rows can be found by."""


def said(fields: dict[str, Any]) -> Said:
    """What named values say, by the names that the field uses."""
    scalars = {name: value for name, value in fields.items() if isinstance(value, str | int)}
    columns = _meant(tuple((name, isinstance(value, str)) for name, value in scalars.items()))
    told: Said = {}
    for name, meant in (("text", columns.texts), ("sha256", columns.sha256)):
        if meant:
            told[name] = str(scalars[meant[0]])
    for name, value in scalars.items():
        if name.lower() in ("pair_id", "hash") and _PAIR_ID.fullmatch(str(value)):
            told["pair_id"] = str(value)
    return told | {name: str(scalars[one]) for name, one in zip(("url", "final_url"), columns.urls, strict=False)}


def listed(rows: Sequence[Said], matcher: Matcher, also: Sequence[int] = ()) -> Listed:
    """Which rows are listed.

    Args:
        rows: some.
        matcher: finds them.
        also: places of rows that are listed for another reason.
    """
    table = pa.Table.from_pylist([*rows], schema=_SCHEMA)
    untold = [place for place, row in enumerate(rows) if "pair_id" not in row]
    of_untold = table.take(pa.array(untold, type=pa.int64()))
    places = {*also, *matcher.rows(table, _SAID).tolist()}
    places |= {untold[place] for place in matcher.rows(of_untold, _UNTOLD).tolist()}
    pair_ids: set[int] = set()
    if places:
        gone = table.take(pa.array(sorted(places)))
        pair_ids = {*pair_ids_of(gone, _SAID), *pair_ids_of(gone.filter(gone["pair_id"].is_null()), _UNTOLD)}
    return Listed(sorted(places), frozenset(pair_ids), _looked_up(table))


def _looked_up(table: pa.Table) -> frozenset[str]:
    has = {name: table[name].null_count == 0 for name in table.column_names}
    has_id = table["pair_id"].is_valid().to_numpy() | (
        table["url"].is_valid().to_numpy() & table["text"].is_valid().to_numpy()
    )
    kinds = {
        "url": has["url"],
        "domain": has["url"],
        "pair_id": bool(has_id.all()),
        "sha256": has["sha256"] or has["image_sha256"],
    }
    return frozenset(kind for kind, is_known in kinds.items() if is_known)


@lru_cache(maxsize=256)
def _meant(fields: tuple[tuple[str, bool], ...]) -> Columns:
    return columns_of(pa.schema([(name, pa.string() if is_text else pa.int64()) for name, is_text in fields]))
