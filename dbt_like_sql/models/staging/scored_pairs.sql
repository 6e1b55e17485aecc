/*
materialized: view
description: Every pair with a picture and a similarity, one row per pair and encoder, and whether that score released
  it. What training recipes read; what counts pairs reads pool_pairs, which has each pair once.
columns:
  crawl: Common Crawl's name of the snapshot the pair was first seen in.
  bucket: url_id modulo the lake's number of buckets. With crawl, the partition a pair_id is unique in.
  pair_id: First 64 bits of MurmurHash3-x64-128 over url+text, LAION's `hash`.
  text: The alt text, mojibake repaired, whitespace folded.
  final_url: Address after redirects.
  sha256: SHA-256 of the picture as downloaded, hex.
  content_type: Content-Type the server declared; null where it declared none.
  width: Width as downloaded, in pixels.
  height: Height as downloaded, in pixels.
  shard_path: Webdataset tar that holds the picture, below the lake's folder.
  encoder: Name of the encoder, model and weights.
  similarity: Cosine of image and text vector by this encoder.
  image_embedding: L2-normalised image vector, rounded to float16 precision.
  text_embedding: L2-normalised text vector, rounded to float16 precision.
  released:
    description: Whether filtered_pairs holds the pair on the score of this encoder. Rows with true are the released
      pairs, each once, however many encoders there are.
  policy: The filter policy that released the pair; null where it was not released.
tests:
  - unique: [crawl, bucket, pair_id, encoder]
*/
SELECT
    pair.crawl,
    pair.bucket,
    pair.pair_id,
    pair.url_id,
    pair.url,
    pair.text,
    pair.language,
    language_group(pair.language) AS subset,
    pair.page_url,
    image.final_url,
    image.sha256,
    image.content_type,
    image.byte_size,
    coalesce(image.original_width, image.width) AS width,
    coalesce(image.original_height, image.height) AS height,
    image.perceptual_hash,
    image.shard_path,
    image.sample_key,
    embedding.encoder,
    embedding.encoder_sha256,
    embedding.similarity,
    embedding.image_embedding,
    embedding.text_embedding,
    released.pair_id IS NOT NULL AS released,
    released.policy
FROM {{ source('unique_pairs') }} AS pair
-- Each two of the four tables share a selective key (url, url_id or pair_id), not crawl and bucket alone: whichever the
-- optimiser joins first, no bucket is multiplied by another.
JOIN {{ source('images') }} AS image
    ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url_id = pair.url_id AND image.url = pair.url
    AND image.status = 'success'
-- A vector of a picture that was replaced since says nothing about the one the url has now.
JOIN {{ source('clip_embeddings') }} AS embedding
    ON embedding.crawl = pair.crawl AND embedding.bucket = pair.bucket AND embedding.pair_id = pair.pair_id
    AND embedding.url_id = pair.url_id AND embedding.sha256 = image.sha256
LEFT JOIN {{ source('filtered_pairs') }} AS released
    ON released.crawl = pair.crawl AND released.bucket = pair.bucket AND released.pair_id = pair.pair_id
    AND released.url = pair.url AND released.encoder = embedding.encoder
    AND released.encoder_sha256 = embedding.encoder_sha256
