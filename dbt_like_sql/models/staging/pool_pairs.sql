/*
materialized: view
description: The pool that selections choose from (DataComp's word), every pair with a picture and a similarity, once,
  scored by the one encoder that judges its language group. Removed urls, sites and pictures leave it when the tables
  below are built again, which `laion build` does after a takedown.
columns:
  crawl: Common Crawl's name of the snapshot.
  bucket: url_id modulo the lake's number of buckets. With crawl, the partition a pair_id is unique in.
  pair_id: First 64 bits of MurmurHash3-x64-128 over url+text, LAION's `hash`.
  url_id: First 64 bits of MurmurHash3-x64-128 over the url.
  url: The image's absolute http(s) address.
  text: The alt text, mojibake repaired, whitespace folded.
  language: ISO code by fastText lid.176, or `nolang` below the confidence floor.
  subset: Language group.
  sha256: SHA-256 of the picture as downloaded, hex.
  content_type: Content-Type the server declared; null where it declared none.
  byte_size: Bytes downloaded.
  width: Width as downloaded, in pixels.
  height: Height as downloaded, in pixels.
  encoder: Name of the encoder that judges the language group.
  encoder_sha256: SHA-256 of its weights, hex.
  similarity: Cosine of image and text vector by that encoder, always a number.
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
