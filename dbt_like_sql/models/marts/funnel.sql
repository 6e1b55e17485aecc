-- materialized: view
-- description: How many pairs each stage let through, by crawl and language subset.
WITH subsets AS (
    SELECT *, language_group(language) AS subset FROM unique_pairs
),
downloaded AS (
    SELECT pair.crawl, pair.bucket, pair.pair_id
    FROM unique_pairs AS pair
    JOIN images AS image
        ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url = pair.url AND image.status = 'success'
),
candidates AS (
    SELECT crawl, language_group(language) AS subset, count(*) AS n
    FROM candidate_pairs
    GROUP BY ALL
),
stages AS (
    SELECT
        pair.crawl,
        pair.subset,
        count(*) AS unique_pairs,
        count(downloaded.pair_id) AS downloaded,
        count(embedding.pair_id) AS embedded,
        count(kept.pair_id) AS kept
    FROM subsets AS pair
    LEFT JOIN downloaded USING (crawl, bucket, pair_id)
    LEFT JOIN (SELECT DISTINCT crawl, bucket, pair_id FROM clip_embeddings) AS embedding
        USING (crawl, bucket, pair_id)
    LEFT JOIN filtered_pairs AS kept
        ON kept.crawl = pair.crawl AND kept.bucket = pair.bucket AND kept.pair_id = pair.pair_id
    GROUP BY ALL
)
SELECT
    candidates.crawl,
    candidates.subset,
    candidates.n AS candidates,
    coalesce(stages.unique_pairs, 0) AS unique_pairs,
    coalesce(stages.downloaded, 0) AS downloaded,
    coalesce(stages.embedded, 0) AS embedded,
    coalesce(stages.kept, 0) AS kept
FROM candidates
LEFT JOIN stages USING (crawl, subset)
ORDER BY candidates.crawl, candidates.subset
