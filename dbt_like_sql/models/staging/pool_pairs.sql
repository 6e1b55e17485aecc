/*
materialized: view
description: The pool that selections choose from (DataComp's word), every pair with a picture and a similarity, once,
  scored by the one encoder that judges its language group. Removed urls, sites and pictures leave it when the tables
  below are built again, which `laion build` does after a takedown.
columns:
  encoder: Name of the encoder that judges the language group.
  encoder_sha256: SHA-256 of its weights, hex.
  similarity: Cosine of image and text vector by the encoder that judges the language group, always a number.
  released: Whether filtered_pairs holds the pair on that score.
tests:
  - unique: [crawl, bucket, pair_id]
*/
SELECT
    pair.crawl,
    pair.bucket,
    pair.pair_id,
    pair.url_id,
    pair.url,
    pair.text,
    pair.language,
    pair.subset,
    pair.sha256,
    pair.content_type,
    pair.byte_size,
    pair.width,
    pair.height,
    pair.encoder,
    pair.encoder_sha256,
    pair.similarity,
    pair.released
FROM {{ ref('scored_pairs') }} AS pair
JOIN {{ ref('group_encoders') }} AS judge USING (crawl, subset, encoder, encoder_sha256)
WHERE NOT isnan(pair.similarity)
