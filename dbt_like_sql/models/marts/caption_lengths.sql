/*
materialized: incremental_by_crawl
description: Unique pairs by the length of their alt text and language. The short end is what a lower bound on
  characters drops, the long end what a text encoder cuts off (77 tokens in CLIP, about 300 characters of English).
columns:
  crawl:
    tests: [not_null]
  language:
    tests: [not_null]
  characters_low:
    description: Least length of the class, in Unicode code points.
    tests: [not_null, {range: {min: 0}}]
  characters_high:
    description: Greatest length, inclusive; null for the open last class.
    tests: [{range: {min: 0}}]
  pairs:
    description: Unique pairs.
    tests: [not_null, {range: {min: 1}}]
tests:
  - unique: [crawl, language, characters_low]
*/
WITH classes AS (
    SELECT unnest([0, 5, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 500, 1000]) AS characters_low
),
bounds AS (
    SELECT characters_low, lead(characters_low) OVER (ORDER BY characters_low) - 1 AS characters_high FROM classes
),
lengths AS (
    SELECT crawl, language, length(text) AS characters, count(*) AS pairs
    FROM {{ source('unique_pairs') }}
    GROUP BY ALL
)
SELECT
    lengths.crawl,
    lengths.language,
    bounds.characters_low,
    bounds.characters_high,
    sum(lengths.pairs)::BIGINT AS pairs
FROM lengths
ASOF JOIN bounds ON lengths.characters >= bounds.characters_low
GROUP BY ALL
