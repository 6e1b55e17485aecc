/*
materialized: incremental_by_crawl
description: Histogram of similarities by encoder and language, and how much of each bin was released. Where two humps
  part is where a threshold belongs; a language whose hump lies lower is one the encoder reads badly. One row counts a
  pair once, but two encoders count it twice, so do not add over encoders.
columns:
  crawl:
    tests: [not_null]
  encoder:
    tests: [not_null]
  language:
    tests: [not_null]
  bin_low:
    description: Least cosine of the bin, a multiple of 0.02.
    tests: [not_null, {range: {min: -1, max: 0.98}}]
  bin_high:
    description: Where the next bin begins, 0.02 above. Only the bin below 1 holds its upper end.
    tests: [not_null, {range: {min: -0.98, max: 1}}]
  pairs:
    description: Pairs with a similarity in the bin.
    tests: [not_null, {range: {min: 1}}]
  released:
    description: Those among them that were released on it.
    tests: [not_null, {range: {min: 0}}]
tests:
  - unique: [crawl, encoder, language, bin_low]
*/
WITH binned AS (
    SELECT
        crawl,
        encoder,
        language,
        -- Fiftieths, by way of whole millionths: the float nearest to 0.26 is a little less than 0.26.
        least(greatest(floor(round(similarity * 1000000.0::DOUBLE) / 20000)::INTEGER, -50), 49) AS bin,
        released
    FROM {{ ref('scored_pairs') }}
    WHERE NOT isnan(similarity)
)
SELECT
    crawl,
    encoder,
    language,
    bin / 50.0::DOUBLE AS bin_low,
    (bin + 1) / 50.0::DOUBLE AS bin_high,
    count(*) AS pairs,
    count(*) FILTER (released) AS released
FROM binned
GROUP BY ALL
