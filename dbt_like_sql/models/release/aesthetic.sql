/*
materialized: incremental_by_crawl
description: The released pairs that look good, large, safe and without a watermark, after LAION-Aesthetics V2 (score
  of at least 5) and the bounds Stable Diffusion 1 was trained with (at least 512 pixels a side, watermark below 0.5).
columns:
  crawl:
    description: Common Crawl's name of the snapshot the pair was first seen in.
    tests: [not_null]
  bucket:
    description: url_id modulo the lake's number of buckets. With crawl, the partition a pair_id is unique in.
    tests: [not_null]
  pair_id:
    description: First 64 bits of MurmurHash3-x64-128 over url+text, LAION's `hash`.
    tests: [not_null]
  url:
    description: The image's absolute http(s) address.
    tests: [not_null]
  text:
    description: The alt text, mojibake repaired, whitespace folded.
    tests: [not_null]
  sha256:
    description: SHA-256 of the picture as downloaded, hex. What the url gives later should have it.
    tests: [not_null]
  similarity:
    description: Cosine of image and text vector by the encoder that judges the pair's language group.
    tests: [not_null, {range: {min: -1.001, max: 1.001}}]
  width:
    description: Width as downloaded, in pixels.
    tests: [not_null]
  height:
    description: Height as downloaded, in pixels.
    tests: [not_null]
  aesthetic_score:
    description: Aesthetic score, 1 to 10.
    tests: [not_null]
  pwatermark:
    description: Probability of a watermark.
    tests: [not_null, {range: {min: 0, max: 1}}]
  punsafe:
    description: Probability of unsafe content.
    tests: [not_null, {range: {min: 0, max: 1}}]
tests:
  - unique: [crawl, bucket, pair_id]
only_with: image_scores
*/
WITH parameters AS (
    SELECT
        5.0 AS min_aesthetic_score,
        0.5 AS watermark_below,
        0.45 AS max_unsafe,  -- the research-safe Re-LAION-5B drops above it
        512 AS min_side      -- pixels of the shorter side, as downloaded
)
SELECT
    crawl, bucket, pair_id, url, text, sha256, similarity, width, height, aesthetic_score, pwatermark, punsafe
FROM {{ source('filtered_pairs') }}
CROSS JOIN parameters
WHERE aesthetic_score >= min_aesthetic_score
    AND pwatermark < watermark_below
    AND punsafe <= max_unsafe
    AND least(width, height) >= min_side
