/*
materialized: incremental_by_crawl
description: How the pairs of a crawl spread over languages before and after the filter. LAION-5B released 40 %
  English, 39 % other languages and 22 % without a clear one (Schuhmann et al. 2022); a language whose released_share
  is far below its share is one the encoder or its threshold is hard on.
columns:
  crawl:
    tests: [not_null]
  language:
    tests: [not_null]
  subset:
    tests: [not_null, {accepted_values: [en, multi, nolang]}]
  unique_pairs:
    description: Unique pairs in the language.
    tests: [not_null, {range: {min: 1}}]
  released:
    description: Released pairs in the language.
    tests: [not_null, {range: {min: 0}}]
  share:
    description: Share of the crawl's unique pairs; sums to 1 for each crawl.
    tests: [not_null, {range: {min: 0, max: 1}}]
  released_share:
    description: Share of the crawl's released pairs; sums to 1 for each crawl, null where it released none.
    tests: [{range: {min: 0, max: 1}}]
tests:
  - unique: [crawl, language]
*/
WITH languages AS (
    SELECT pair.crawl, pair.language, count(*) AS unique_pairs, count(released.pair_id) AS released
    FROM {{ source('unique_pairs') }} AS pair
    LEFT JOIN {{ source('filtered_pairs') }} AS released USING (crawl, bucket, pair_id)
    GROUP BY ALL
),
crawls AS (
    SELECT crawl, sum(unique_pairs) AS unique_pairs, sum(released) AS released FROM languages GROUP BY crawl
)
SELECT
    language.crawl,
    language.language,
    language_group(language.language) AS subset,
    language.unique_pairs,
    language.released,
    language.unique_pairs / crawls.unique_pairs::DOUBLE AS share,
    language.released / nullif(crawls.released, 0)::DOUBLE AS released_share
FROM languages AS language
JOIN crawls USING (crawl)
