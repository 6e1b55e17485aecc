/*
description: The funnel, counted from rows, has the numbers that the stages reported when they wrote them. Where it
  has not, rows were written past the stages, or a stage was built again and those after it were not.
*/
WITH counted AS (
    SELECT crawl, sum(candidates) AS candidates, sum(unique_pairs) AS unique_pairs, sum(kept) AS kept
    FROM {{ ref('funnel') }}
    GROUP BY crawl
),
reported AS (
    SELECT
        crawl,
        sum(rows) FILTER (table_name = 'candidate_pairs') AS candidates,
        sum(rows) FILTER (table_name = 'unique_pairs') AS unique_pairs,
        sum(rows) FILTER (table_name = 'filtered_pairs') AS kept
    FROM {{ source('commits') }}
    GROUP BY crawl
)
SELECT *
FROM counted
JOIN reported USING (crawl)
WHERE counted.candidates IS DISTINCT FROM reported.candidates
    OR counted.unique_pairs IS DISTINCT FROM reported.unique_pairs
    OR counted.kept IS DISTINCT FROM reported.kept
