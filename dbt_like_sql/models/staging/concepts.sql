/*
materialized: table
description: The concepts that metaclip_balanced balances over. By default what this lake's own captions talk about,
  the words of at least 100 distinct captions and the pairs of words that occur together far more often than chance,
  as MetaCLIP (Xu et al. 2024, arXiv:2309.16671) takes words from Wikipedia. Replace the query by a list of your own,
  such as WordNet's synsets, that gives the same two columns.
columns:
  concept:
    description: A word, or words separated by one space, in lower case and cut as caption_words cuts captions. Anything
      else matches no caption.
    tests: [not_null, unique]
  kind:
    description: Where the concept comes from, unigram or bigram; a list of your own may name kinds of its own.
    tests: [not_null]
*/
WITH parameters AS (
    SELECT
        100 AS min_captions,  -- distinct captions; MetaCLIP asks 100 occurrences of a word in Wikipedia
        4.0 AS min_pmi        -- bits; MetaCLIP asks 30 of bigrams, on counts of another scale
),
captions AS (
    -- A caption repeated on a thousand pictures says no more than one.
    SELECT DISTINCT words FROM {{ ref('caption_words') }}
),
total AS (
    SELECT count(*) AS captions FROM captions
),
unigrams AS (
    SELECT word, count(*) AS captions
    FROM (SELECT unnest(list_distinct(words)) AS word FROM captions)
    GROUP BY word
    HAVING count(*) >= (SELECT min_captions FROM parameters)
),
bigrams AS (
    SELECT bigram.first_word, bigram.second_word, count(*) AS captions
    FROM (
        SELECT
            unnest(
                list_distinct(
                    list_transform(
                        range(1, len(words)),
                        lambda place: {'first_word': words[place], 'second_word': words[place + 1]}
                    )
                )
            ) AS bigram
        FROM captions
    )
    GROUP BY ALL
    HAVING count(*) >= (SELECT min_captions FROM parameters)
),
telling_bigrams AS (
    -- Pointwise mutual information: how much more often the two stand together than they would by chance.
    SELECT
        bigram.first_word || ' ' || bigram.second_word AS concept,
        log2(bigram.captions::DOUBLE * total.captions / (first_word.captions::DOUBLE * second_word.captions)) AS pmi
    FROM bigrams AS bigram
    JOIN unigrams AS first_word ON first_word.word = bigram.first_word
    JOIN unigrams AS second_word ON second_word.word = bigram.second_word
    CROSS JOIN total
)
SELECT word AS concept, 'unigram' AS kind FROM unigrams
UNION ALL
SELECT concept, 'bigram' AS kind FROM telling_bigrams WHERE pmi >= (SELECT min_pmi FROM parameters)
