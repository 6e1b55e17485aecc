/*
description: What a stage kept and what it dropped is all that it took in, by what each stage says of itself.
*/
SELECT found.crawl, found.stage, found.share, found.rows, reported.rows_in
FROM (
    SELECT crawl, stage, sum(share) AS share, sum(rows) AS rows FROM {{ ref('drop_reasons') }} GROUP BY crawl, stage
) AS found
LEFT JOIN (
    SELECT crawl, table_name AS stage, sum(rows_in) AS rows_in FROM {{ source('commits') }} GROUP BY crawl, table_name
) AS reported USING (crawl, stage)
WHERE abs(found.share - 1) > 1e-9 OR found.rows IS DISTINCT FROM reported.rows_in
