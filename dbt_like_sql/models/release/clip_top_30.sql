/*
materialized: table
description: The 30 % of the pool with the highest similarity, DataComp's CLIP score filter (Gadre et al. 2023,
  arXiv:2304.14108), whatever the language. Of each encoder's pairs by themselves, since similarities of two encoders
  cannot be compared; ties at the cut-off are all kept.
columns:
  crawl:
    tests: [not_null]
  bucket:
    tests: [not_null]
  pair_id:
    tests: [not_null, {relationships: {to: pool_pairs, column: pair_id}}]
  url:
    tests: [not_null]
  text:
    tests: [not_null]
  sha256:
    tests: [not_null, {relationships: {to: pool_pairs, column: sha256}}]
  similarity:
    tests: [not_null, {range: {min: -1.001, max: 1.001}}]
  encoder:
    description: Name of the encoder, model and weights.
    tests: [not_null]
  similarity_cutoff:
    description: The cut-off found. Pairs of the encoder with at least this similarity are kept.
    tests: [not_null, {range: {min: -1.001, max: 1.001}}]
  pool_pairs:
    description: Pairs of the encoder that the share was taken of.
    tests: [not_null, {range: {min: 1}}]
  released:
    description: Whether filtered_pairs holds the pair too.
    tests: [not_null]
tests:
  - unique: [crawl, bucket, pair_id]
*/
WITH parameters AS (
    SELECT 0.3 AS share  -- of the pool
),
-- An exact quantile in bounded memory: there are few different floats between -1 and 1, however many pairs there are.
counts AS (
    SELECT encoder, encoder_sha256, similarity, count(*) AS pairs FROM {{ ref('pool_pairs') }} GROUP BY ALL
),
ranked AS (
    SELECT
        encoder,
        encoder_sha256,
        similarity,
        sum(pairs) OVER (PARTITION BY encoder, encoder_sha256 ORDER BY similarity DESC) AS pairs_from_here_up,
        sum(pairs) OVER (PARTITION BY encoder, encoder_sha256) AS pool_pairs
    FROM counts
),
cutoffs AS (
    -- As DataComp takes it: the similarity that stands at place floor(share * pool), counted from 0 downwards.
    SELECT
        encoder,
        encoder_sha256,
        coalesce(max(similarity) FILTER (pairs_from_here_up > share * pool_pairs), min(similarity))
            AS similarity_cutoff,
        any_value(pool_pairs)::BIGINT AS pool_pairs
    FROM ranked
    CROSS JOIN parameters
    GROUP BY encoder, encoder_sha256
)
SELECT
    pair.crawl, pair.bucket, pair.pair_id, pair.url, pair.text, pair.sha256, pair.similarity, pair.encoder,
    cutoff.similarity_cutoff, cutoff.pool_pairs, pair.released
FROM {{ ref('pool_pairs') }} AS pair
JOIN cutoffs AS cutoff USING (encoder, encoder_sha256)
WHERE pair.similarity >= cutoff.similarity_cutoff
