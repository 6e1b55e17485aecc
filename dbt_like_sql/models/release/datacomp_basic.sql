/*
materialized: incremental_by_crawl
description: DataComp's basic filtering (Gadre et al. 2023, arXiv:2304.14108) of the whole pool, which looks at
  language, text and picture and not at similarity. The demo's pictures are all smaller than 200 pixels, so there it
  selects nothing.
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
  words:
    description: Words of the text, parted by white space.
    tests: [not_null, {range: {min: 1}}]
  width:
    description: Width as downloaded, in pixels.
    tests: [not_null]
  height:
    description: Height as downloaded, in pixels.
    tests: [not_null]
  released:
    description: Whether filtered_pairs holds the pair too.
    tests: [not_null]
tests:
  - unique: [crawl, bucket, pair_id]
*/
WITH parameters AS (
    SELECT
        'en' AS language,        -- by fastText; DataComp also takes what the identifier was not sure of
        2 AS words_exceeded,     -- more words than this
        5 AS characters_exceeded,
        200 AS min_side,         -- pixels of the shorter side
        3.0 AS max_aspect_ratio  -- longer over shorter side
),
pool AS (
    SELECT *, len(regexp_extract_all(text, '\S+')) AS words FROM {{ ref('pool_pairs') }}
)
SELECT
    pool.crawl, pool.bucket, pool.pair_id, pool.url, pool.text, pool.sha256, pool.similarity, pool.words, pool.width,
    pool.height, pool.released
FROM pool
CROSS JOIN parameters
WHERE pool.language = parameters.language
    AND pool.words > words_exceeded
    AND length(pool.text) > characters_exceeded
    AND least(pool.width, pool.height) >= min_side
    AND greatest(pool.width, pool.height) <= least(pool.width, pool.height) * max_aspect_ratio
