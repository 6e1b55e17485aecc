/*
materialized: incremental_by_crawl
description: How few hosts hold how much of a crawl, one row each. A jump from one crawl to the next tells of a site
  that was crawled in full, or of a trap of generated pages.
columns:
  crawl:
    tests: [not_null, unique]
  hosts:
    description: Distinct hosts of image urls.
    tests: [not_null, {range: {min: 1}}]
  pairs:
    description: Unique pairs of the crawl.
    tests: [not_null, {range: {min: 1}}]
  top_1_share:
    description: Share of the pairs on the largest host.
    tests: [not_null, {range: {min: 0, max: 1}}]
  top_10_share:
    description: Share on the 10 largest hosts.
    tests: [not_null, {range: {min: 0, max: 1}}]
  top_100_share:
    description: Share on the 100 largest hosts.
    tests: [not_null, {range: {min: 0, max: 1}}]
  hhi:
    description: Herfindahl-Hirschman index, the sum of squared shares. 1 over it is the number of equally large hosts
      that would be as concentrated; 1 means one host.
    tests: [not_null, {range: {min: 0, max: 1}}]
  gini:
    description: Gini coefficient of pairs over hosts, 0 where all hosts are equally large, towards 1 where one has all.
    tests: [not_null, {range: {min: 0, max: 1}}]
  hosts_for_half:
    description: The smallest number of hosts that hold half of the pairs.
    tests: [not_null, {range: {min: 1}}]
*/
WITH crawls AS (
    SELECT
        crawl,
        count(*) AS hosts,
        sum(pairs)::BIGINT AS pairs,
        sum(pairs) FILTER (rank <= 1) AS top_1,
        sum(pairs) FILTER (rank <= 10) AS top_10,
        sum(pairs) FILTER (rank <= 100) AS top_100,
        -- Whole numbers, so that the order in which threads add them up does not show.
        sum(pairs::HUGEINT * pairs) AS squares,
        sum(pairs::HUGEINT * rank) AS ranked,
        min(rank) FILTER (cumulative_share >= 0.5) AS hosts_for_half
    FROM {{ ref('domain_statistics') }}
    GROUP BY crawl
)
SELECT
    crawl,
    hosts,
    pairs,
    top_1 / pairs::DOUBLE AS top_1_share,
    top_10 / pairs::DOUBLE AS top_10_share,
    top_100 / pairs::DOUBLE AS top_100_share,
    squares / pairs::DOUBLE / pairs AS hhi,
    -- Of values x in falling order, (n + 1 - 2 * sum(rank * x) / sum(x)) / n.
    greatest((hosts + 1 - 2 * ranked / pairs::DOUBLE) / hosts, 0) AS gini,
    hosts_for_half
FROM crawls
