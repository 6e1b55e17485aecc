/*
materialized: table
description: How much two crawls have in common, counted on what each of them held by itself (candidate_pairs;
  unique_pairs has only what no earlier crawl holds). Says how much a further crawl would add. Urls and pairs are
  counted by their 64-bit ids.
columns:
  crawl:
    description: The earlier crawl, by name.
    tests: [not_null]
  other_crawl:
    description: The later crawl. Each two crawls have one row.
    tests: [not_null]
  urls:
    description: Distinct image urls of the earlier crawl.
    tests: [not_null, {range: {min: 1}}]
  other_urls:
    description: Distinct image urls of the later crawl.
    tests: [not_null, {range: {min: 1}}]
  shared_urls:
    description: Distinct image urls that both hold.
    tests: [not_null, {range: {min: 0}}]
  jaccard:
    description: shared_urls over the distinct urls of both together.
    tests: [not_null, {range: {min: 0, max: 1}}]
  shared_pairs:
    description: Distinct (url, text) that both hold.
    tests: [not_null, {range: {min: 0}}]
tests:
  - unique: [crawl, other_crawl]
*/
-- Which crawls hold a url is brought to a set first. A join of the urls with themselves would give a row for every two
-- crawls of every url; there are few different sets.
WITH pairs AS (
    SELECT bucket, url_id, pair_id, list_sort(list_distinct(list(crawl))) AS crawls
    FROM {{ source('candidate_pairs') }}
    GROUP BY bucket, url_id, pair_id
),
pair_sets AS (
    SELECT crawls, count(*) AS pairs FROM pairs GROUP BY crawls
),
url_sets AS (
    SELECT crawls, count(*) AS urls
    FROM (
        SELECT list_sort(list_distinct(flatten(list(crawls)))) AS crawls FROM pairs GROUP BY bucket, url_id
    )
    GROUP BY crawls
),
holdings AS (
    SELECT crawl, sum(urls)::BIGINT AS urls
    FROM (SELECT unnest(crawls) AS crawl, urls FROM url_sets)
    GROUP BY crawl
),
shared AS (
    SELECT crawl, other_crawl, sum(urls)::BIGINT AS urls, sum(pairs)::BIGINT AS pairs
    FROM (
        SELECT one.crawl, other.crawl AS other_crawl, sets.urls, sets.pairs
        FROM (
            SELECT crawls, urls, 0 AS pairs FROM url_sets
            UNION ALL
            SELECT crawls, 0 AS urls, pairs FROM pair_sets
        ) AS sets,
            unnest(sets.crawls) AS one (crawl),
            unnest(sets.crawls) AS other (crawl)
    )
    WHERE crawl < other_crawl
    GROUP BY ALL
)
SELECT
    one.crawl,
    other.crawl AS other_crawl,
    one.urls,
    other.urls AS other_urls,
    coalesce(shared.urls, 0) AS shared_urls,
    coalesce(shared.urls, 0) / (one.urls + other.urls - coalesce(shared.urls, 0))::DOUBLE AS jaccard,
    coalesce(shared.pairs, 0) AS shared_pairs
FROM holdings AS one
JOIN holdings AS other ON one.crawl < other.crawl
LEFT JOIN shared ON shared.crawl = one.crawl AND shared.other_crawl = other.crawl
