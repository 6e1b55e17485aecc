/*
materialized: incremental_by_crawl
description: What became of everything a stage took in, by the reason it was dropped for, `kept` being the rest. The
  stages counted it while they ran. Each counts what itself took in, so a picture that failed shows in images,
  clip_embeddings and filtered_pairs.
columns:
  crawl:
    description: Common Crawl's name of the snapshot.
    tests: [not_null]
  stage:
    description: The table being built. Counted are image links (candidate_pairs), candidates (unique_pairs), urls
      (images) and unique pairs (clip_embeddings, filtered_pairs).
    tests:
      - not_null
      - accepted_values: [candidate_pairs, unique_pairs, images, clip_embeddings, filtered_pairs]
  reason:
    description: Why they were dropped, in the stage's own words, or `kept`.
    tests: [not_null]
  rows:
    description: How many.
    tests: [not_null, {range: {min: 0}}]
  share:
    description: Rows over all that the stage took in; they sum to 1 for each crawl and stage. Null where it took in
      nothing.
    tests: [{range: {min: 0, max: 1}}]
tests:
  - unique: [crawl, stage, reason]
*/
WITH stages AS (
    SELECT crawl, table_name AS stage, rows, map_entries(drops) AS drops
    FROM {{ source('commits') }}
    WHERE crawl IS NOT NULL
        AND table_name IN ('candidate_pairs', 'unique_pairs', 'clip_embeddings', 'filtered_pairs')
),
outcomes AS (
    SELECT crawl, stage, 'kept' AS reason, rows FROM stages
    UNION ALL
    SELECT crawl, stage, dropped.key AS reason, dropped.value AS rows
    FROM (SELECT crawl, stage, unnest(drops) AS dropped FROM stages)
    UNION ALL
    SELECT crawl, 'images' AS stage, coalesce(failure, 'kept') AS reason, count(*) AS rows
    FROM {{ source('images') }}
    GROUP BY ALL
),
by_reason AS (
    SELECT crawl, stage, reason, sum(rows)::BIGINT AS rows FROM outcomes GROUP BY ALL
),
taken_in AS (
    SELECT crawl, stage, sum(rows) AS rows FROM by_reason GROUP BY ALL
)
SELECT crawl, stage, by_reason.reason, by_reason.rows, by_reason.rows / nullif(taken_in.rows, 0)::DOUBLE AS share
FROM by_reason
JOIN taken_in USING (crawl, stage)
