"""Which rows of a lake a page shows: few, the same ones each time, and nothing that anybody asked to remove."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from laion_assets.common.duck import quoted, records
from laion_assets.common.quantities import counted, figure
from laion_assets.consent.removals import RegisteredRemovals
from laion_assets.pairs.filter import reason_sql, scores_sql
from laion_assets.pairs.policy import SCORE_BOUNDS, policy_named
from laion_assets.report.blocks import Card, Place, shown

_KEPT = "kept"
_SHOWN = (
    "pair_id",
    "text",
    "language",
    "sha256",
    "similarity",
    "threshold",
    "width",
    "height",
    "shard_path",
    "sample_key",
)
_SPARE = 4
"""Times as many rows are fetched as are shown, since some have the same picture."""

_UNSAFE = "unsafe"
"""What a policy dropped for that nobody is shown."""

# Pictures on these lists are those that nobody should have to look for.
_NOT_SHOWN = ("hash_listed", "deny_listed")


@dataclass(frozen=True, kw_only=True)
class PairSamples:
    """Scored pairs to look at."""

    kept: Mapping[str, Sequence[Card]] = field(default_factory=dict)
    """By language group: released pairs, picked evenly."""
    above: Mapping[str, Sequence[Card]] = field(default_factory=dict)
    """By language group: released pairs that lie nearest to the threshold."""
    below: Mapping[str, Sequence[Card]] = field(default_factory=dict)
    """By language group: pairs that the threshold alone kept out, the nearest first."""
    dropped: Mapping[str, Sequence[Card]] = field(default_factory=dict)
    """By the filter's reason: pairs it dropped, picked evenly."""

    @property
    def cards(self) -> list[Card]:
        """All of them."""
        groups = (self.kept, self.above, self.below, self.dropped)
        return [card for group in groups for cards in group.values() for card in cards]


@dataclass(frozen=True, kw_only=True)
class FailedUrl:
    """A url that gave no picture."""

    url: str
    detail: str
    http_status: int | None


def pair_samples(
    con: duckdb.DuckDBPyConnection, removals: RegisteredRemovals, *, per_sheet: int, per_reason: int
) -> PairSamples:
    """Pairs of every language group and every reason, in one pass over ``scored_pairs``.

    What dropped a pair is not kept beside it: the policy that released its bucket is asked again. ``pair_id`` is a
    hash, so those with the lowest are as good as picked by chance, and are the same ones each time.
    """
    policies = [row[0] for row in con.execute("SELECT DISTINCT policy FROM filtered_pairs ORDER BY 1").fetchall()]
    reasons = " ".join(f"WHEN {quoted(name)} THEN ({_reason(name)})" for name in policies)
    if not reasons:
        return PairSamples()
    rules = """
        SELECT crawl, bucket, subset, any_value(policy ORDER BY policy) AS policy,
            max(threshold) AS threshold, any_value(encoder_sha256 ORDER BY encoder_sha256) AS encoder_sha256
        FROM filtered_pairs GROUP BY crawl, bucket, subset"""
    pairs = f"""
        SELECT pair.* EXCLUDE (policy), 'success' AS status, rule.policy, rule.threshold
        FROM (SELECT crawl, bucket, pair_id, url, final_url, text, language, subset, sha256, byte_size, width, height,
                shard_path, sample_key, encoder_sha256, similarity, released, policy FROM scored_pairs) AS pair
        JOIN ({rules}) AS rule USING (crawl, bucket, subset, encoder_sha256)"""
    if any(bound in name for name in policies for bound in SCORE_BOUNDS):
        pairs = f"SELECT * FROM ({pairs}) LEFT JOIN ({scores_sql(_view(con, 'image_scores'))}) USING (sha256)"
    clean = removals.annotate(f"({pairs})", final_url="final_url", pair_id="pair_id", sha256="sha256")
    row = "{" + ", ".join(f"'{name}': {name}" for name in _SHOWN) + "}"
    fetched = con.execute(f"""
        SELECT subset, reason,
            min({{'rank': pair_id, 'row': {row}}}, {max(per_sheet, per_reason) * _SPARE}),
            min({{'rank': abs(similarity - threshold), 'row': {row}}}, {per_sheet * _SPARE})
                FILTER (threshold IS NOT NULL)
        FROM (
            SELECT *, CASE WHEN released THEN '{_KEPT}' ELSE CASE policy {reasons} END END AS reason
            FROM ({clean}) WHERE removal IS NULL
        ) WHERE reason IS NOT NULL AND reason <> '{_UNSAFE}' GROUP BY subset, reason ORDER BY subset, reason
    """).fetchall()
    kept, above, below = {}, {}, {}
    dropped: dict[str, list[dict[str, Any]]] = {}
    for subset, reason, spread, near in fetched:
        if reason == _KEPT:
            kept[subset], above[subset] = _cards(spread, per_sheet), _cards(near or (), per_sheet)
        else:
            dropped.setdefault(reason, []).extend(spread)
        if reason.startswith("below_threshold"):
            below[subset] = _cards(near or (), per_sheet)
    by_reason = {reason: _cards(sorted(rows, key=_rank), per_reason) for reason, rows in dropped.items()}
    return PairSamples(kept=kept, above=above, below=below, dropped=by_reason)


def failure_samples(
    con: duckdb.DuckDBPyConnection, removals: RegisteredRemovals, *, per_reason: int
) -> Mapping[str, Sequence[FailedUrl]]:
    """Urls that gave no picture, by kind of failure."""
    listed = ", ".join(f"'{failure}'" for failure in _NOT_SHOWN)
    failed = f"(SELECT * FROM images WHERE status = 'failed' AND failure NOT IN ({listed}))"
    row = "{'url_id': url_id, 'url': url, 'detail': failure_detail, 'status': http_status}"
    clean = removals.annotate(failed, final_url="final_url")
    fetched = con.execute(f"""
        SELECT failure, min({row}, {per_reason})
        FROM ({clean}) WHERE removal IS NULL GROUP BY failure ORDER BY failure
    """).fetchall()
    return {
        failure: [FailedUrl(url=row["url"], detail=row["detail"] or "", http_status=row["status"]) for row in rows]
        for failure, rows in fetched
    }


def cluster_samples(con: duckdb.DuckDBPyConnection, removals: RegisteredRemovals, *, most: int) -> Sequence[Card]:
    """The pictures that lie under most urls."""
    clusters = removals.annotate("duplicate_clusters", url="example_url", sha256="sha256")
    fetched = con.execute(f"""
        WITH largest AS (SELECT * FROM ({clusters}) WHERE removal IS NULL ORDER BY pairs DESC, sha256 LIMIT {most})
        SELECT cluster.*, picture.place FROM largest AS cluster
        LEFT JOIN (
            SELECT sha256, min({{'shard_path': shard_path, 'sample_key': sample_key, 'width': original_width,
                'height': original_height}}) AS place
            FROM images WHERE status = 'success' AND sha256 IN (SELECT sha256 FROM largest) GROUP BY sha256
        ) AS picture USING (sha256) ORDER BY pairs DESC, sha256
    """)
    return [
        Card(
            text=shown(row["example_text"]),
            url=shown(row["example_url"], 160),
            facts=tuple(counted(row[f"{what}s"], what) for what in ("pair", "url", "text", "host", "crawl")),
            place=_place(row["place"] or {}),
            size=_size(row["place"] or {}),
        )
        for row in records(fetched)
    ]


def _cards(ranked: Iterable[Mapping[str, Any]], most: int) -> list[Card]:
    """The first pairs, no picture twice."""
    cards: dict[str, Card] = {}
    for entry in ranked:
        row = entry["row"]
        if len(cards) < most and row["sha256"] not in cards:
            cards[row["sha256"]] = _card(row)
    return list(cards.values())


def _card(row: Mapping[str, Any]) -> Card:
    facts = [figure(row["similarity"])]
    if row["threshold"] is not None:
        away = row["similarity"] - row["threshold"]
        facts.append(f"{'+' if away >= 0 else ''}{figure(away)}")
    return Card(
        text=shown(row["text"]),
        language=row["language"],
        facts=facts,
        place=_place(row),
        size=_size(row),
    )


def _place(row: Mapping[str, Any]) -> Place | None:
    tar, key = row.get("shard_path"), row.get("sample_key")
    return Place(tar=tar, key=key) if tar and key else None


def _size(row: Mapping[str, Any]) -> tuple[int, int] | None:
    return (row["width"], row["height"]) if row.get("width") and row.get("height") else None


def _rank(entry: Mapping[str, Any]) -> int:
    return int(entry["rank"])


def _view(con: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """The name, where there is such a view or table."""
    found = con.execute("SELECT 1 FROM information_schema.tables WHERE table_name = ?", [name]).fetchone()
    return name if found else None


def _reason(policy: str) -> str:
    try:
        return reason_sql(policy_named(policy))
    except ValueError:  # a policy of an older or newer version: nothing can be said about what it dropped
        return "NULL"
