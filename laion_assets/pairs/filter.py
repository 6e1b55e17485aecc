"""Applies a filter policy to the embedded pairs of one bucket of one crawl.

Every pair comes out, or is counted under exactly one reason. What the bounds are stands in ``policy``; how thresholds
are found is the business of ``clip.calibration``.
"""

# Names of columns, views and files, never values a user gave, are put into SQL here.

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import polars as pl

from laion_assets.common.duck import number, quoted
from laion_assets.consent.removals import Removals
from laion_assets.pairs.dedup import REMOVAL_DROPS
from laion_assets.pairs.policy import Policy
from laion_assets.text.language import LANGUAGE_GROUPS, language_group_sql
from laion_assets.text.rules import FILE_NAME_PATTERN, MARKUP_PATTERN

_FILTERED_COLUMNS = """
    pair_id, url, text, width, height, license, language, similarity, punsafe,
    pwatermark, aesthetic_score, subset, sha256, policy, threshold, encoder,
    encoder_sha256"""
_SCORES = {"punsafe": "unsafe", "pwatermark": "watermark", "aesthetic_score": "aesthetic"}
"""The columns of scores, and what heads measure of each."""


class FilterError(ValueError):
    """The filter was asked for something it has no numbers for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterCounts:
    """What became of the pairs of one bucket."""

    rows_in: int
    """Unique pairs."""
    rows_out: int
    """Released pairs, as written."""
    drops: dict[str, int] = field(default_factory=dict)
    """Pairs by the reason they were dropped for; only reasons that occurred."""
    subsets: dict[str, int] = field(default_factory=dict)
    """Released pairs by language group; only groups that occurred."""


def filter_pairs(
    connection: duckdb.DuckDBPyConnection,
    *,
    pairs: str,
    images: str,
    embeddings: str,
    thresholds: pl.DataFrame,
    encoders: Mapping[str, str],
    policy: Policy,
    output: Path,
    scores: str | None = None,
    removals: Removals | None = None,
    threshold_overrides: Mapping[str, float] | None = None,
) -> FilterCounts:
    """Write the pairs that a policy releases, ordered by pair_id.

    A pair is dropped under the first reason that holds: ``image_missing`` (no row in images), ``image_failed``,
    ``not_embedded`` (by its group's encoder, from the picture that images has now, with a similarity that is a
    number), ``removed_url, removed_domain, removed_hash, removed_pair, removed_sha256``, ``unsafe`` or
    ``unsafe_unknown`` (no head could say), ``too_short, file_name, markup, too_few_bytes, too_small, aspect``,
    ``watermark, watermark_unknown, unaesthetic, aesthetic_unknown``, ``below_threshold_en, below_threshold_multi,
    below_threshold_nolang``.
    A url is removed by the address that was asked last, too. Hash lists can match a picture by its sha256 only: by md5
    and sha1 they are matched while it is downloaded.

    Each view is scanned once (and the pairs counted); the judged rows are staged beside ``output`` and the stage is
    deleted at the end, so that memory does not grow with the bucket where the connection may spill.

    Args:
        connection: A DuckDB connection that knows the views; temporary tables named ``_filter_…`` are made and dropped.
        pairs: Name of a view of unique_pairs (``pair_id, url_id, url, text, language, license``).
        images: Name of a view of images (``url_id, url, final_url, status, width, height, original_width,
            original_height, byte_size, sha256``), one row a url.
        embeddings: Name of a view of clip_embeddings (``pair_id, sha256, encoder, encoder_sha256, similarity``), one
            row for each pair and encoder.
        thresholds: Columns ``encoder_sha256, language_group, threshold``: the smallest similarity to keep. Not looked
            at if the policy does not use the similarity.
        encoders: For each language group (en, multi, nolang) the sha256 of the encoder that judges it.
        policy: The bounds to keep, see ``FilterOptions.resolve``.
        output: The Parquet file to write: the columns of filtered_pairs without crawl and bucket. Width and height
            are those of the picture as it was published. The threshold is a float32, as the similarity is, and null
            where the policy uses none.
        scores: Name of a view of image_scores (``sha256, measures, priority, value``); None: nothing was scored.
        removals: What must not come out, whenever it came in.
        threshold_overrides: Thresholds by language group, in place of those of the encoder.

    Raises:
        FilterError: If a language group has no encoder, or its encoder no threshold.
        duckdb.Error: If a view or a column is missing, or a file cannot be written.
    """
    groups = _groups(encoders, thresholds, threshold_overrides or {}, policy)
    judged = output.with_name(f"{output.name}.judged")
    try:
        joined = _joined(pairs, images, embeddings, scores)
        _judge(connection, joined, groups, policy, removals or Removals.none(), judged)
        staged = f"read_parquet({quoted(judged)})"
        counts = FilterCounts(
            rows_in=number(connection, f"SELECT count(*) FROM {pairs}"),
            rows_out=_write_kept(connection, staged, policy, output),
            drops=_counts(connection, f"SELECT reason, count(*) FROM {staged} WHERE reason IS NOT NULL GROUP BY ALL"),
            subsets=_counts(connection, f"SELECT subset, count(*) FROM {staged} WHERE reason IS NULL GROUP BY ALL"),
        )
    finally:
        judged.unlink(missing_ok=True)
    return counts


def _judge(
    connection: duckdb.DuckDBPyConnection,
    joined: str,
    groups: pl.DataFrame,
    policy: Policy,
    removals: Removals,
    judged: Path,
) -> None:
    """Write every joined pair with the reason for which it is dropped, null if it is kept."""
    connection.register("_filter_groups", groups.to_arrow())
    try:
        candidates = removals.register(connection).annotate(
            f"({joined})", final_url="final_url", pair_id="pair_id", sha256="sha256"
        )
        connection.execute(
            f"COPY (SELECT * EXCLUDE (removal), {reason_sql(policy)} AS reason FROM ({candidates}))"
            f" TO {quoted(judged)} (FORMAT parquet, COMPRESSION lz4)"
        )
    finally:
        connection.unregister("_filter_groups")


def _groups(
    encoders: Mapping[str, str], thresholds: pl.DataFrame, overrides: Mapping[str, float], policy: Policy
) -> pl.DataFrame:
    """One row for each language group: its encoder, and its threshold (null if the policy uses none)."""
    if set(encoders) != set(LANGUAGE_GROUPS):
        raise FilterError(f"expected an encoder for each of {', '.join(LANGUAGE_GROUPS)}, found {sorted(encoders)}")
    known = {
        (encoder, group): threshold
        for encoder, group, threshold in thresholds.select("encoder_sha256", "language_group", "threshold").iter_rows()
    }
    rows = []
    for group in LANGUAGE_GROUPS:
        encoder = encoders[group]
        threshold = overrides.get(group, known.get((encoder, group)))
        if policy.use_similarity and threshold is None:
            raise FilterError(
                f"the encoder {encoder} has no threshold for the language group {group}, which the policy"
                f" {policy.name} needs: calibrate the encoder, set threshold_{group}, or use the policy none"
            )
        rows.append((group, encoder, threshold if policy.use_similarity else None))
    schema = {"subset": pl.String, "group_encoder": pl.String, "threshold": pl.Float32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def scores_sql(scores: str | None) -> str:
    """SQL: what pairs of each picture carry of its scores: ``sha256, punsafe, pwatermark, aesthetic_score``.

    Args:
        scores: name of a view of image_scores; None: there are none.
    """
    if scores is None:
        nulls = ", ".join(f"NULL::FLOAT AS {name}" for name in _SCORES)
        return f"SELECT NULL::VARCHAR AS sha256, {nulls} WHERE false"
    first = "arg_min(value, priority) FILTER (measures = '{}')"
    said = [f"({first.format(kind)})::FLOAT AS {name}" for name, kind in _SCORES.items()]
    return f"SELECT sha256, {', '.join(said)} FROM {scores} GROUP BY sha256"


def _joined(pairs: str, images: str, embeddings: str, scores: str | None) -> str:
    """Every pair once, with its picture, its scores and the embedding of its group's encoder, where there are such."""
    known = ", ".join(f"score.{name}" for name in _SCORES)
    return f"""
        SELECT pair.pair_id, pair.url_id, pair.url, pair.text, pair.license, pair.language,
               language_group.subset, language_group.threshold, image.final_url, image.status, image.byte_size,
               image.sha256,
               coalesce(image.original_width, image.width) AS width,
               coalesce(image.original_height, image.height) AS height,
               embedding.encoder, embedding.encoder_sha256, embedding.similarity, {known}
        FROM {pairs} AS pair
        JOIN _filter_groups AS language_group
          ON language_group.subset = {language_group_sql("pair.language")}
        LEFT JOIN {images} AS image ON image.url_id = pair.url_id AND image.url = pair.url
        LEFT JOIN {embeddings} AS embedding
          ON embedding.pair_id = pair.pair_id AND embedding.encoder_sha256 = language_group.group_encoder
         AND embedding.sha256 = image.sha256
        LEFT JOIN ({scores_sql(scores)}) AS score ON score.sha256 = image.sha256"""


def reason_sql(policy: Policy) -> str:
    """SQL: the first reason for which the policy drops a joined pair, null if it is kept.

    The pair has the columns ``status, similarity, removal, text, byte_size, width, height, threshold, subset, punsafe,
    pwatermark, aesthetic_score``.
    """
    removed = " ".join(f"WHEN removal = '{kind}' THEN '{reason}'" for kind, reason in REMOVAL_DROPS.items())
    branches = [
        "WHEN status IS NULL THEN 'image_missing'",
        "WHEN status <> 'success' THEN 'image_failed'",
        "WHEN similarity IS NULL OR isnan(similarity) THEN 'not_embedded'",
        removed,
        *_bounded("punsafe", ">", policy.max_punsafe, "unsafe", "unsafe_unknown"),
        f"WHEN length(text) < {int(policy.min_text_length)} THEN 'too_short'",
    ]
    if policy.drop_file_names:
        branches.append(f"WHEN regexp_matches(text, {quoted(FILE_NAME_PATTERN)}) THEN 'file_name'")
    if policy.drop_markup:
        branches.append(f"WHEN regexp_matches(text, {quoted(MARKUP_PATTERN)}) THEN 'markup'")
    if policy.min_bytes:
        branches.append(f"WHEN coalesce(byte_size, 0) < {int(policy.min_bytes)} THEN 'too_few_bytes'")
    if policy.min_side:
        branches.append(f"WHEN coalesce(least(width, height), 0) < {int(policy.min_side)} THEN 'too_small'")
    if policy.max_aspect_ratio is not None:
        long_side = f"greatest(width, height) > least(width, height) * {float(policy.max_aspect_ratio)}::DOUBLE"
        branches.append(f"WHEN coalesce({long_side}, true) THEN 'aspect'")
    branches += _bounded("pwatermark", ">", policy.max_pwatermark, "watermark", "watermark_unknown")
    branches += _bounded("aesthetic_score", "<", policy.min_aesthetic, "unaesthetic", "aesthetic_unknown")
    if policy.use_similarity:
        branches.append("WHEN similarity < threshold THEN 'below_threshold_' || subset")
    return f"CASE {' '.join(branches)} END"


def _bounded(score: str, beyond: str, bound: float | None, reason: str, unknown: str) -> list[str]:
    """Nothing where there is no bound. What nobody scored does not pass: a bound that lets it through is none."""
    if bound is None:
        return []
    return [f"WHEN {score} IS NULL THEN '{unknown}'", f"WHEN {score} {beyond} {float(bound)}::FLOAT THEN '{reason}'"]


def _write_kept(connection: duckdb.DuckDBPyConnection, staged: str, policy: Policy, output: Path) -> int:
    kept = f"SELECT *, {quoted(policy.name)} AS policy FROM {staged} WHERE reason IS NULL"
    return number(
        connection,
        f"COPY (SELECT {_FILTERED_COLUMNS} FROM ({kept}) ORDER BY pair_id)"
        f" TO {quoted(output)} (FORMAT parquet, COMPRESSION zstd)",
    )


def _counts(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, int]:
    return {str(name): int(rows) for name, rows in connection.execute(f"{query} ORDER BY 1").fetchall()}
