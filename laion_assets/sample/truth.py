"""How well a filter did against the sample's truth.

Only pairs that can reach the filter count: those whose outcome is `embedded`. A pair is wrong if something its caption
mentions contradicts its picture.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from laion_assets.clip.calibration import roc_auc
from laion_assets.sample.world import ATTRIBUTES

PLAIN_TO_SEE: Final = ("shape", "colour")
"""A pair contradicts its picture plainly if it does so in two or more attributes, one of these among them."""


@dataclass(frozen=True, slots=True)
class Score:
    """Rates of a filter against the truth; a rate is None where nothing is there to count."""

    rows: pl.DataFrame
    """`measure` (kept | dropped), `group`, `pairs`, `rate`, `roc_auc`: see `to_frame`."""

    def rate(self, measure: str, group: str) -> float | None:
        """One rate, such as `rate("kept", "de")` or `rate("dropped", "plain")`; None for a group without pairs."""
        found = self.rows.filter((pl.col("measure") == measure) & (pl.col("group") == group))["rate"]
        return found[0] if len(found) else None

    @property
    def kept_by_language(self) -> dict[str, float]:
        """Part of the matching pairs that was kept, by the language of the caption."""
        kept = self.rows.filter(
            (pl.col("measure") == "kept") & (pl.col("group") != "all") & pl.col("rate").is_not_null()
        )
        return dict(zip(kept["group"], kept["rate"], strict=True))

    def passes(self, least: float = 0.9) -> bool:
        """Whether matching pairs are kept, in every language, and plain contradictions dropped at this rate."""
        rates = [self.rate("kept", "all"), self.rate("dropped", "plain"), *self.kept_by_language.values()]
        return all(rate is not None and rate >= least for rate in rates)

    def to_frame(self) -> pl.DataFrame:
        """One row a group.

        `kept` rows: matching pairs, for `all` and for each language. `dropped` rows: mismatched pairs, for `all`, for
        `plain` (two or more contradictions, colour or shape among them) and for each attribute (that one contradicted
        and no other); `roc_auc` is how well similarity separates them from the matching pairs.
        """
        return self.rows


def score(truth: pl.DataFrame, embedded: pl.DataFrame) -> Score:
    """Compare what a filter kept with what it ought to have kept.

    Args:
        truth: The rows of truth.parquet.
        embedded: One row per pair that was embedded: `url`, `text`, `similarity` (float), `kept` (bool). Pairs that the
            truth does not know, or does not expect to be embedded, are left aside.

    Raises:
        ValueError: A column is missing from `embedded`, or a pair is there twice.
    """
    missing = {"url", "text", "similarity", "kept"} - set(embedded.columns)
    if missing:
        raise ValueError(f"embedded pairs need the columns url, text, similarity and kept; missing: {sorted(missing)}")
    if embedded.select("url", "text").is_duplicated().any():
        raise ValueError("embedded pairs must be distinct; join crawls and encoders to one row a pair first")
    known = truth.filter((pl.col("outcome") == "embedded") & pl.col("matched").is_not_null())
    pairs = known.join(embedded.select("url", "text", "similarity", "kept"), on=["url", "text"], how="inner")
    against = pl.col("contradicted")
    good = pairs.filter("matched")
    bad = pairs.filter(~pl.col("matched"))
    rows = [_kept("all", good)]
    rows.extend(
        _kept(str(language), group)
        for (language,), group in good.sort("language").group_by("language", maintain_order=True)
    )
    plain = bad.filter(
        (against.list.len() >= 2) & pl.any_horizontal([against.list.contains(name) for name in PLAIN_TO_SEE])
    )
    rows.append(_dropped("all", bad, good))
    rows.append(_dropped("plain", plain, good))
    single = bad.filter(against.list.len() == 1)
    rows.extend(_dropped(name, single.filter(against.list.first() == name), good) for name in ATTRIBUTES)
    schema = {"measure": pl.String, "group": pl.String, "pairs": pl.Int64, "rate": pl.Float64, "roc_auc": pl.Float64}
    return Score(pl.DataFrame(rows, schema=schema, orient="row"))


_Row = tuple[str, str, int, float | None, float | None]


def _kept(group: str, pairs: pl.DataFrame) -> _Row:
    return ("kept", group, len(pairs), _mean(pairs["kept"]), None)


def _dropped(group: str, pairs: pl.DataFrame, good: pl.DataFrame) -> _Row:
    auc = roc_auc(good["similarity"].to_numpy(), pairs["similarity"].to_numpy()) if len(good) and len(pairs) else None
    return ("dropped", group, len(pairs), _mean(~pairs["kept"]), auc)


def _mean(flags: pl.Series) -> float | None:
    return float(flags.to_numpy().mean()) if len(flags) else None
