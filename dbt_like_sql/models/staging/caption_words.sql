/*
materialized: view
description: The words of every unique pair's alt text, in order and in lower case, the one place that says what a
  word is. Punctuation separates. Scripts without spaces are cut only where hiragana, katakana and Han characters
  meet, which does for Japanese; Chinese and Thai come out as whole phrases and want a real segmenter.
columns:
  words: Runs of letters, marks and digits of the text, lower-cased; empty where it holds none.
*/
SELECT
    crawl,
    bucket,
    pair_id,
    language,
    regexp_extract_all(
        lower(text),
        -- RE2 has no intersection of classes: `[^\P{L}\p{Han}…]` is a letter of none of these scripts.
        '[\p{Katakana}ー]+|\p{Hiragana}+|\p{Han}+|(?:[^\P{L}\p{Han}\p{Hiragana}\p{Katakana}ー]|[\p{M}\p{N}])+'
    ) AS words
FROM {{ source('unique_pairs') }}
