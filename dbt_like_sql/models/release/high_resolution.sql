/*
materialized: incremental_by_crawl
description: The released pairs whose picture is at least 1024 pixels wide and high, as LAION-High-Resolution is of
  LAION-5B (170 million pairs). The demo's pictures are far smaller, so there it selects nothing.
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
  width:
    tests: [not_null]
  height:
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
