/*
materialized: incremental_by_crawl
description: Pairs by the host their picture lies on, largest first. Shows which stock sites, shops and templates a
  crawl is made of, and which hosts lose most to the filter.
columns:
  crawl:
    tests: [not_null]
  host:
    description: Host of the image's url, lower case, without port. Not of the page.
    tests: [not_null]
  pairs:
    description: Unique pairs whose picture lies there.
    tests: [not_null, {range: {min: 1}}]
  urls:
    description: Distinct image urls of these pairs. Far fewer than pairs where one picture has many texts, such as a
      logo or a placeholder.
    tests: [not_null, {range: {min: 1}}]
  released:
    description: Released pairs among them.
    tests: [not_null, {range: {min: 0}}]
  share:
    description: Share of the crawl's unique pairs; sums to 1 for each crawl.
    tests: [not_null, {range: {min: 0, max: 1}}]
  rank:
    description: 1 for the host with most pairs of the crawl, ties by name.
    tests: [not_null, {range: {min: 1}}]
  cumulative_share:
    description: Share of the crawl's unique pairs on this host and all larger ones.
    tests: [not_null, {range: {min: 0, max: 1}}]
tests:
  - unique: [crawl, host]
  - unique: [crawl, rank]
*/
WITH urls AS (
    -- All pairs of one url lie in one bucket, so urls are counted without a distinct over hosts.
    SELECT pair.crawl, pair.bucket, pair.url, count(*) AS pairs, count(released.pair_id) AS released
    FROM {{ source('unique_pairs') }} AS pair
    LEFT JOIN {{ source('filtered_pairs') }} AS released USING (crawl, bucket, pair_id)
    GROUP BY ALL
),
hosts AS (
    SELECT
        crawl,
        url_host(url) AS host,
        sum(pairs)::BIGINT AS pairs,
        count(*) AS urls,
        sum(released)::BIGINT AS released
    FROM urls
    GROUP BY ALL
),
crawls AS (
    SELECT crawl, sum(pairs) AS pairs FROM hosts GROUP BY crawl
)
SELECT
    crawl,
    host.host,
    host.pairs,
    host.urls,
    host.released,
    host.pairs / crawls.pairs::DOUBLE AS share,
    row_number() OVER largest_first AS rank,
    sum(host.pairs) OVER largest_first / crawls.pairs::DOUBLE AS cumulative_share
FROM hosts AS host
JOIN crawls USING (crawl)
WINDOW largest_first AS (PARTITION BY crawl ORDER BY host.pairs DESC, host.host ROWS UNBOUNDED PRECEDING)
