/*
materialized: incremental_by_crawl
description: Downloaded pictures by the length of their shorter side and their shape. Says beforehand what a bound on
  size would cost, such as DataComp's 200 pixels and aspect ratio of 3, or the 1024 of LAION-High-Resolution.
columns:
  crawl:
    tests: [not_null]
  short_side_low:
    description: Least length of the shorter side, in pixels as downloaded.
    tests: [not_null, {range: {min: 0}}]
  short_side_high:
    description: Greatest length, inclusive; null for the open last class.
    tests: [{range: {min: 1}}]
  aspect:
    description: square (longer side at most 1.05 times the shorter), portrait and landscape (at most 3 times), tall and
      wide (more).
    tests: [not_null, {accepted_values: [square, portrait, landscape, tall, wide]}]
  pictures:
    description: Pictures, one for each url. The same bytes under two urls count twice.
    tests: [not_null, {range: {min: 1}}]
  bytes:
    description: Bytes downloaded for them.
    tests: [not_null, {range: {min: 1}}]
tests:
  - unique: [crawl, short_side_low, aspect]
*/
WITH parameters AS (
    SELECT
        1.05 AS square_up_to,  -- longer over shorter side
        3.0 AS moderate_up_to  -- DataComp's bound
),
classes AS (
    SELECT unnest([0, 64, 128, 200, 256, 384, 512, 768, 1024, 1536, 2048, 4096]) AS short_side_low
),
bounds AS (
    SELECT short_side_low, lead(short_side_low) OVER (ORDER BY short_side_low) - 1 AS short_side_high FROM classes
),
sides AS (
    SELECT
        crawl,
        coalesce(original_width, width) AS width,
        coalesce(original_height, height) AS height,
        count(*) AS pictures,
        sum(byte_size)::BIGINT AS bytes
    FROM {{ source('images') }}
    WHERE status = 'success'
    GROUP BY ALL
),
shapes AS (
    SELECT
        crawl,
        least(width, height) AS short_side,
        CASE
            WHEN greatest(width, height) <= least(width, height) * square_up_to THEN 'square'
            WHEN height > width * moderate_up_to THEN 'tall'
            WHEN height > width THEN 'portrait'
            WHEN width > height * moderate_up_to THEN 'wide'
            ELSE 'landscape'
        END AS aspect,
        pictures,
        bytes
    FROM sides
    CROSS JOIN parameters
)
SELECT
    shape.crawl,
    bounds.short_side_low,
    bounds.short_side_high,
    shape.aspect,
    sum(shape.pictures)::BIGINT AS pictures,
    sum(shape.bytes)::BIGINT AS bytes
FROM shapes AS shape
ASOF JOIN bounds ON shape.short_side >= bounds.short_side_low
GROUP BY ALL
