/*
materialized: table
description: The pool balanced over `concepts` as MetaCLIP does it (Xu et al. 2024, arXiv:2309.16671). Rare concepts
  stay whole, frequent ones are thinned, texts without any are left out, and similarity is not looked at.
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
  concepts:
    description: All concepts that the text holds, in their order.
    tests: [not_null]
  probability:
    description: Chance that the pair had to be kept, 1 - product(1 - min(1, t / count)) over its concepts. Weighting by
      1 over it undoes the balancing.
    tests: [not_null, {range: {min: 0, max: 1}}]
  released:
    description: Whether filtered_pairs holds the pair too.
    tests: [not_null]
tests:
  - unique: [crawl, bucket, pair_id]
*/
-- Each concept a text holds is one independent chance of min(1, t / count). The draws are hashes of pair and concept:
-- the same pool and concepts give the same selection, and a larger t only adds pairs.
WITH parameters AS (
    SELECT
        -- Pairs aimed at for each concept. MetaCLIP took 20000 for 400 million pairs and 170000 for 2.5 billion.
        NULL::BIGINT AS t,
        -- Where t is null it is the smallest count at which concepts up to it make up this share of all matches: the
        -- `p_to_t` by which MetaCLIP 2 (Chuang et al. 2025, arXiv:2507.22062) carries t to pools of another size.
        0.1 AS tail_share
),
matches AS (
    SELECT crawl, bucket, pair_id, concept
    FROM {{ ref('concept_matches') }}
    SEMI JOIN {{ ref('pool_pairs') }} USING (crawl, bucket, pair_id)
),
counts AS (
    SELECT concept, count(*) AS pairs FROM matches GROUP BY concept
),
tail AS (
    SELECT pairs, sum(sum(pairs)) OVER (ORDER BY pairs) AS matches_up_to, sum(sum(pairs)) OVER () AS matches
    FROM counts
    GROUP BY pairs
),
threshold AS (
    SELECT coalesce(any_value(parameters.t), min(pairs) FILTER (matches_up_to >= tail_share * matches)) AS t
    FROM tail
    CROSS JOIN parameters
),
chances AS (
    SELECT concept, least(1, threshold.t / pairs::DOUBLE) AS chance FROM counts CROSS JOIN threshold
),
draws AS (
    SELECT
        match.crawl,
        match.bucket,
        match.pair_id,
        match.concept,
        chance,
        -- 53 bits of an MD5, as a number from 0 to below 1.
        (md5_number_lower(match.pair_id || ' ' || match.concept) >> 11) / 9007199254740992.0::DOUBLE AS draw
    FROM matches AS match
    JOIN chances USING (concept)
),
kept AS (
    SELECT
        crawl,
        bucket,
        pair_id,
        list(concept ORDER BY concept) AS concepts,
        -- In the order of the concepts: a product of floats depends on the order of its factors.
        1 - list_reduce(list(1 - chance ORDER BY concept), lambda product, factor: product * factor) AS probability
    FROM draws
    GROUP BY crawl, bucket, pair_id
    HAVING bool_or(draw < chance)
)
SELECT
    pair.crawl, pair.bucket, pair.pair_id, pair.url, pair.text, pair.sha256, pair.similarity, kept.concepts,
    kept.probability, pair.released
FROM kept
JOIN {{ ref('pool_pairs') }} AS pair USING (crawl, bucket, pair_id)
