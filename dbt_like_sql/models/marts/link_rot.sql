/*
materialized: incremental_by_crawl
description: Why urls gave no picture, by host. dns, connect, timeout, protocol, http_4xx, http_5xx, not_an_image, decode
  and hash_mismatch are rot; the others are rules of ours or of the site (opted_out, blocked_address, deny_listed, hash_listed,
  too_small, too_large, too_costly, aspect).
columns:
  crawl:
    tests: [not_null]
  host:
    description: Host of the image's url, lower case, without port.
    tests: [not_null]
  failure:
    description: Kind of failure. Hosts without any have no row.
    tests:
      - not_null
      - accepted_values:
          values: [dns, connect, timeout, protocol, http_4xx, http_5xx, not_an_image, decode, too_small, too_large,
            too_costly, aspect, opted_out, blocked_address, hash_listed, deny_listed, other]
          later: [hash_mismatch]
  urls:
    description: Distinct urls that failed so, at their last attempt.
    tests: [not_null, {range: {min: 1}}]
  host_urls:
    description: Distinct urls of the host that were attempted, successes included.
    tests: [not_null, {range: {min: 1}}]
  share:
    description: urls over host_urls.
    tests: [not_null, {range: {min: 0, max: 1}}]
tests:
  - unique: [crawl, host, failure]
*/
WITH outcomes AS (
    SELECT crawl, url_host(url) AS host, failure, count(*) AS urls
    FROM {{ source('images') }}
    GROUP BY ALL
),
hosts AS (
    SELECT crawl, host, sum(urls)::BIGINT AS host_urls FROM outcomes GROUP BY ALL
)
SELECT crawl, host, outcomes.failure, outcomes.urls, hosts.host_urls, outcomes.urls / hosts.host_urls::DOUBLE AS share
FROM outcomes
JOIN hosts USING (crawl, host)
WHERE outcomes.failure IS NOT NULL
