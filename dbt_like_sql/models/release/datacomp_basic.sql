/*
materialized: incremental_by_crawl
description: DataComp's basic filtering (Gadre et al. 2023, arXiv:2304.14108) of the whole pool, which looks at
  language, text and picture and not at similarity. The demo's pictures are all smaller than 200 pixels, so there it
  selects nothing.
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
  words:
    description: Words of the text, parted by white space.
    tests: [not_null, {range: {min: 1}}]
  width:
    tests: [not_null]
  height:
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
