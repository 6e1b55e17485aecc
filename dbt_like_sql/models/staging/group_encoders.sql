/*
materialized: incremental_by_crawl
description: Which encoder judges a language group of a crawl, the one that released most of its pairs, else the one
  that scored most. Similarities of two encoders cannot be compared, and a pair that two encoders scored must not be
  counted twice.
columns:
  crawl:
    tests: [not_null]
  subset:
    tests: [not_null, {accepted_values: [en, multi, nolang]}]
  encoder:
    description: Name of the encoder, model and weights.
    tests: [not_null]
  encoder_sha256:
    description: SHA-256 of its weights, hex.
    tests: [not_null]
  scored:
    description: Pairs of the group that it scored, pictures replaced since included.
    tests: [not_null, {range: {min: 0}}]
  released:
    description: Pairs of the group that were released on its score.
    tests: [not_null, {range: {min: 0}}]
tests:
  - unique: [crawl, subset]
*/
WITH scored AS (
    SELECT
        pair.crawl,
        language_group(pair.language) AS subset,
        embedding.encoder,
        embedding.encoder_sha256,
        count(*) AS scored
    FROM {{ source('clip_embeddings') }} AS embedding
    JOIN {{ source('unique_pairs') }} AS pair USING (crawl, bucket, pair_id)
    WHERE NOT isnan(embedding.similarity)
    GROUP BY ALL
),
released AS (
    SELECT crawl, subset, encoder, encoder_sha256, count(*) AS released
    FROM {{ source('filtered_pairs') }}
    GROUP BY ALL
)
SELECT scored.crawl, scored.subset, scored.encoder, scored.encoder_sha256, scored, coalesce(released, 0) AS released
FROM scored
LEFT JOIN released USING (crawl, subset, encoder, encoder_sha256)
QUALIFY row_number() OVER (
    PARTITION BY scored.crawl, scored.subset
    ORDER BY coalesce(released, 0) DESC, scored DESC, scored.encoder, scored.encoder_sha256
) = 1
