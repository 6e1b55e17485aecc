/*
materialized: incremental_by_crawl
description: How many released pairs are tagged unsafe or watermarked, and how they look, by language group. LAION-5B
  counted 2.9 % unsafe and 6.1 % watermarked of its English pairs (Schuhmann et al. 2022). Everything but pairs and
  scored is null until pairs carry scores.
columns:
  crawl:
    tests: [not_null]
  subset:
    tests: [not_null, {accepted_values: [en, multi, nolang]}]
  pairs:
    description: Released pairs.
    tests: [not_null, {range: {min: 1}}]
  scored:
    description: Those among them with any of the three scores. 0 until there are scores.
    tests: [not_null, {range: {min: 0}}]
  unsafe_rate:
    description: Share of punsafe above 0.5 among pairs that have it; null where none has.
    tests: [{range: {min: 0, max: 1}}]
  watermark_rate:
    description: Share of pwatermark above 0.8 among pairs that have it; null where none has.
    tests: [{range: {min: 0, max: 1}}]
  aesthetic_mean:
    description: Mean aesthetic score, 1 to 10, of pairs that have one; null where none has.
    tests: [{range: {min: 0, max: 11}}]
tests:
  - unique: [crawl, subset]
*/
WITH parameters AS (
    SELECT
        0.5 AS unsafe_above,    -- LAION-5B; the research-safe Re-LAION-5B drops above 0.45
        0.8 AS watermark_above  -- LAION-5B
)
SELECT
    crawl,
    subset,
    count(*) AS pairs,
    count(coalesce(punsafe, pwatermark, aesthetic_score)) AS scored,
    count(*) FILTER (punsafe > unsafe_above) / nullif(count(punsafe), 0)::DOUBLE AS unsafe_rate,
    count(*) FILTER (pwatermark > watermark_above) / nullif(count(pwatermark), 0)::DOUBLE AS watermark_rate,
    -- Summed as whole millionths: a sum of floats would depend on the order of rows.
    sum(round(aesthetic_score::DOUBLE * 1000000)::BIGINT) / nullif(count(aesthetic_score), 0)::DOUBLE / 1000000
        AS aesthetic_mean
FROM {{ source('filtered_pairs') }}
CROSS JOIN parameters
GROUP BY ALL
