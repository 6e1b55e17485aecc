/*
materialized: incremental_by_crawl
description: The released pairs whose picture is at least 1024 pixels wide and high, as LAION-High-Resolution is of
  LAION-5B (170 million pairs). The demo's pictures are far smaller, so there it selects nothing.
columns:
  crawl:
    description: Common Crawl's name of the snapshot the pair was first seen in.
    tests: [not_null]
  bucket:
    description: url_id modulo the lake's number of buckets. With crawl, the partition a pair_id is unique in.
    tests: [not_null]
  pair_id:
    description: First 64 bits of MurmurHash3-x64-128 over url+text, LAION's `hash`.
    tests: [not_null, {relationships: {to: pool_pairs, column: pair_id}}]
  url:
    description: The image's absolute http(s) address.
    tests: [not_null]
  text:
    description: The alt text, mojibake repaired, whitespace folded.
    tests: [not_null]
  sha256:
    description: SHA-256 of the picture as downloaded, hex. What the url gives later should have it.
    tests: [not_null, {relationships: {to: pool_pairs, column: sha256}}]
  similarity:
    description: Cosine of image and text vector by the encoder that judges the pair's language group.
    tests: [not_null, {range: {min: -1.001, max: 1.001}}]
  width:
    description: Width as downloaded, in pixels.
    tests: [not_null]
  height:
    description: Height as downloaded, in pixels.
    tests: [not_null]
tests:
  - unique: [crawl, bucket, pair_id]
*/
WITH parameters AS (
    SELECT 1024 AS min_side  -- pixels of the shorter side, as downloaded
)
SELECT crawl, bucket, pair_id, url, text, sha256, similarity, width, height
FROM {{ ref('pool_pairs') }}
CROSS JOIN parameters
WHERE released AND least(width, height) >= min_side
