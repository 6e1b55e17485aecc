/*
materialized: incremental_by_crawl
description: The rules LAION-5B published (Schuhmann et al. 2022, arXiv:2210.08402), exactly, over the whole pool,
  whatever policy the lake filters by. Set beside filtered_pairs, it says what that policy costs or adds.
columns:
  crawl:
    tests: [not_null]
  bucket:
    tests: [not_null]
  pair_id:
    tests: [not_null, {relationships: {to: pool_pairs, column: pair_id}}]
  url:
    tests: [not_null]
  text:
    tests: [not_null]
  sha256:
    tests: [not_null, {relationships: {to: pool_pairs, column: sha256}}]
  similarity:
    tests: [not_null, {range: {min: -1.001, max: 1.001}}]
  subset:
    description: Language group, which decides the threshold.
    tests: [not_null, {accepted_values: [en, multi, nolang]}]
  threshold:
    description: Least similarity asked of the pair.
    tests: [not_null, {range: {min: -1, max: 1}}]
  threshold_source:
    description: calibrated (measured in this lake for the encoder and group) or published (0.28 and 0.26, right for
      LAION's B/32 encoders and meaningless for others).
    tests: [not_null, {accepted_values: [calibrated, published]}]
  released:
    description: Whether filtered_pairs holds the pair too.
    tests: [not_null]
tests:
  - unique: [crawl, bucket, pair_id]
*/
WITH parameters AS (
    SELECT
        5 AS min_characters,                 -- Unicode code points of the text
        5000 AS min_bytes,                   -- of the picture as downloaded
        89478484 AS max_pixels,              -- Pillow's limit for decompression bombs
        -- JPEG, PNG and WEBP pass. Servers declare what they like: only another image format counts against a picture.
        '(?i)^\s*image/(?:gif|bmp|x-ms-bmp|tiff|svg|avif|heic|heif|x-icon)' AS other_formats,
        0.28::FLOAT AS published_en,         -- CLIP ViT-B/32
        0.26::FLOAT AS published_other       -- the multilingual text tower beside it
),
pool AS (
    SELECT
        pair.*,
        coalesce(
            calibration.threshold::FLOAT, CASE pair.subset WHEN 'en' THEN published_en ELSE published_other END
        ) AS threshold,
        CASE WHEN calibration.threshold IS NULL THEN 'published' ELSE 'calibrated' END AS threshold_source
    FROM {{ ref('pool_pairs') }} AS pair
    LEFT JOIN {{ source('calibrations') }} AS calibration
        ON calibration.encoder_sha256 = pair.encoder_sha256 AND calibration.language_group = pair.subset
    CROSS JOIN parameters
)
SELECT
    crawl, bucket, pair_id, url, text, sha256, similarity, subset, threshold, threshold_source, released
FROM pool
CROSS JOIN parameters
WHERE similarity >= threshold
    AND length(text) >= min_characters
    AND byte_size >= min_bytes
    AND width::BIGINT * height <= max_pixels
    AND NOT regexp_matches(coalesce(content_type, ''), other_formats)
