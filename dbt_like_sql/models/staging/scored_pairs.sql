-- materialized: view
-- description: Every pair with a picture and a similarity, and whether it was released. What policies and recipes
--   select from.
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
    image.sha256,
    image.byte_size,
    image.original_width AS width,
    image.original_height AS height,
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
FROM unique_pairs AS pair
JOIN images AS image
    ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url = pair.url AND image.status = 'success'
JOIN clip_embeddings AS embedding
    ON embedding.crawl = pair.crawl AND embedding.bucket = pair.bucket AND embedding.pair_id = pair.pair_id
LEFT JOIN filtered_pairs AS released
    ON released.crawl = pair.crawl AND released.bucket = pair.bucket AND released.pair_id = pair.pair_id
