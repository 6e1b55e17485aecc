/*
materialized: incremental_by_crawl
description: How many pairs each stage let through, by crawl and language group. Every count is of pairs, whatever the
  number of encoders, and a pair counts under the crawl that was first to hold it.
columns:
  crawl:
    tests: [not_null]
  subset:
    description: Language group of the alt text.
    tests: [not_null, {accepted_values: [en, multi, nolang]}]
  candidates:
    description: Image links with alt text, copies and pairs of earlier crawls included.
    tests: [not_null, {range: {min: 0}}]
  unique_pairs:
    description: Distinct (url, text) that no earlier crawl holds.
    tests: [not_null, {range: {min: 0}}]
  downloaded:
    description: Unique pairs whose picture was stored.
    tests: [not_null, {range: {min: 0}}]
  embedded:
    description: Downloaded pairs with a similarity of the picture that their url has now.
    tests: [not_null, {range: {min: 0}}]
  kept:
    description: Released pairs.
    tests: [not_null, {range: {min: 0}}]
tests:
  - unique: [crawl, subset]
*/
WITH candidates AS (
    SELECT crawl, language_group(language) AS subset, count(*) AS candidates
    FROM {{ source('candidate_pairs') }}
    GROUP BY ALL
),
embedded AS (
    -- Several encoders may have scored a pair: it is embedded once.
    SELECT DISTINCT crawl, bucket, pair_id, sha256 FROM {{ source('clip_embeddings') }}
),
stages AS (
    SELECT
        pair.crawl,
        language_group(pair.language) AS subset,
        count(*) AS unique_pairs,
        count(image.url) AS downloaded,
        count(embedded.pair_id) AS embedded,
        count(kept.pair_id) AS kept
    FROM {{ source('unique_pairs') }} AS pair
    LEFT JOIN {{ source('images') }} AS image
        ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url = pair.url AND image.status = 'success'
    LEFT JOIN embedded
        ON embedded.crawl = pair.crawl AND embedded.bucket = pair.bucket AND embedded.pair_id = pair.pair_id
        AND embedded.sha256 = image.sha256
    LEFT JOIN {{ source('filtered_pairs') }} AS kept
        ON kept.crawl = pair.crawl AND kept.bucket = pair.bucket AND kept.pair_id = pair.pair_id
    GROUP BY ALL
)
SELECT
    candidates.crawl,
    candidates.subset,
    candidates.candidates,
    coalesce(stages.unique_pairs, 0) AS unique_pairs,
    coalesce(stages.downloaded, 0) AS downloaded,
    coalesce(stages.embedded, 0) AS embedded,
    coalesce(stages.kept, 0) AS kept
FROM candidates
LEFT JOIN stages USING (crawl, subset)
