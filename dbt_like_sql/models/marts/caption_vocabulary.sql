/*
materialized: incremental_by_crawl
description: The most frequent words of alt texts, by language. Shows boilerplate ("image", "logo", "click to
  enlarge"), what a crawl is about, and languages that were told wrongly.
columns:
  crawl:
    tests: [not_null]
  language:
    tests: [not_null]
  word:
    description: A word as caption_words cuts it, in lower case.
    tests: [not_null]
  pairs:
    description: Unique pairs of the language whose text holds the word at least once.
    tests: [not_null, {range: {min: 1}}]
  rank:
    description: 1 for the most frequent word of the crawl and language, ties in the words' order. The first 1,000 are
      kept.
    tests: [not_null, {range: {min: 1}}]
tests:
  - unique: [crawl, language, word]
  - unique: [crawl, language, rank]
*/
WITH parameters AS (
    SELECT 1000 AS words_kept  -- of each crawl and language
),
counted AS (
    SELECT crawl, language, word, count(*) AS pairs
    FROM (SELECT crawl, language, unnest(list_distinct(words)) AS word FROM {{ ref('caption_words') }})
    GROUP BY ALL
)
SELECT
    crawl,
    language,
    word,
    pairs,
    row_number() OVER (PARTITION BY crawl, language ORDER BY pairs DESC, word) AS rank
FROM counted
QUALIFY rank <= (SELECT words_kept FROM parameters)
