/*
materialized: table
description: Pictures that lie, byte for byte, under more than one url. Deduplication goes by (url, text), as
  LAION-5B's did, and does not see them; the largest are logos, placeholders and stock pictures. Pictures that were
  scaled or encoded anew have other bytes and are not found.
columns:
  sha256:
    tests: [not_null, unique]
  pairs:
    description: Unique pairs with this picture, over all crawls.
    tests: [not_null, {range: {min: 2}}]
  urls:
    description: Distinct urls it lies under.
    tests: [not_null, {range: {min: 2}}]
  texts:
    description: Distinct alt texts. One picture with hundreds of texts is a placeholder.
    tests: [not_null, {range: {min: 1}}]
  hosts:
    description: Distinct hosts it lies on.
    tests: [not_null, {range: {min: 1}}]
  crawls:
    description: Crawls that added a pair with it.
    tests: [not_null, {range: {min: 1}}]
  first_crawl:
    description: The first of them, by name.
    tests: [not_null]
  example_url:
    description: The first of its urls in alphabetical order.
    tests: [not_null]
  example_text:
    description: The first alt text of that url in alphabetical order.
    tests: [not_null]
*/
WITH pictures AS (
    SELECT crawl, bucket, url, sha256 FROM {{ source('images') }} WHERE status = 'success'
),
repeated AS (
    -- The smallest and the largest url differ: cheaper than counting distinct ones of every picture there is.
    SELECT sha256 FROM pictures GROUP BY sha256 HAVING min(url) <> max(url)
),
pairs AS (
    SELECT picture.sha256, pair.crawl, pair.url, pair.text
    FROM pictures AS picture
    JOIN repeated USING (sha256)
    JOIN {{ source('unique_pairs') }} AS pair
        ON pair.crawl = picture.crawl AND pair.bucket = picture.bucket AND pair.url = picture.url
)
SELECT
    sha256,
    count(*) AS pairs,
    count(DISTINCT url) AS urls,
    count(DISTINCT text) AS texts,
    count(DISTINCT url_host(url)) AS hosts,
    count(DISTINCT crawl) AS crawls,
    min(crawl) AS first_crawl,
    min(url) AS example_url,
    arg_min(text, {'url': url, 'text': text}) AS example_text
FROM pairs
GROUP BY sha256
HAVING count(DISTINCT url) > 1
