/*
materialized: incremental_by_crawl
description: Which concepts the alt text of each unique pair holds, as whole words, whatever their case. MetaCLIP's
  sub-string matching (Xu et al. 2024, arXiv:2309.16671) as a join on words. Rebuild it when `concepts` changes.
columns:
  crawl:
    tests: [not_null]
  bucket:
    tests: [not_null]
  pair_id:
    tests: [not_null, {relationships: {to: unique_pairs, column: pair_id}}]
  concept:
    description: The concept. A pair has one row for each concept it matches, none where it matches none.
    tests: [not_null, {relationships: {to: concepts, column: concept}}]
tests:
  - unique: [crawl, bucket, pair_id, concept]
*/
WITH captions AS (
    SELECT crawl, bucket, pair_id, words FROM {{ ref('caption_words') }}
),
word_lists AS (
    SELECT DISTINCT concept, string_split(concept, ' ') AS words FROM {{ ref('concepts') }}
),
-- A sequence of words is found by its first two, and then compared in full: an equality join either way.
sequences AS (
    SELECT concept, words, len(words) AS length, words[1] || ' ' || words[2] AS head
    FROM word_lists
    WHERE len(words) > 1
),
heads AS (
    SELECT crawl, bucket, pair_id, words, place, words[place] || ' ' || words[place + 1] AS head
    FROM captions, unnest(range(1, len(words))) AS places (place)
)
SELECT caption.crawl, caption.bucket, caption.pair_id, single.concept
FROM (SELECT crawl, bucket, pair_id, unnest(list_distinct(words)) AS word FROM captions) AS caption
JOIN word_lists AS single ON single.concept = caption.word
UNION ALL
SELECT DISTINCT caption.crawl, caption.bucket, caption.pair_id, several.concept
FROM heads AS caption
JOIN sequences AS several ON several.head = caption.head
WHERE several.length = 2 OR caption.words[caption.place:caption.place + several.length - 1] = several.words
