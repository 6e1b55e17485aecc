/*
materialized: view
description: Pairs of the lake to whose use for learning a page said no, in whatever crawl, and since when that is known;
  as if every signal were obeyed. `WHERE changed_at > '2026-03-01' AND changed_at <= '2026-04-01'` gives those whose
  answer changed between these days. The crawl that says no lets no such pair in; one that was let in before stays until
  its url is on a deny list.
columns:
  crawl: The crawl that the pair was let in by.
  changed_at: When the first page that said no was captured; null where no such capture has a time.
  signals: By what pages said no.
  said_in: The crawls that captured one.
tests:
  - unique: [crawl, bucket, pair_id]
*/
WITH refused AS (
    SELECT
        bucket,
        url,
        min(page_seen_at) AS changed_at,
        list_sort(list_distinct(flatten(list(list_transform(refusing, lambda said: said.signal))))) AS signals,
        list_sort(list_distinct(list(crawl))) AS said_in
    FROM (
        SELECT
            crawl,
            bucket,
            url,
            page_seen_at,
            -- TDMRep: a page's meta element overrides its header.
            list_filter(
                page_signals,
                lambda said: list_contains(said.forbids, 'train') AND NOT (
                    said.signal = 'tdm_header_page'
                    AND list_contains(list_transform(page_signals, lambda other: other.signal), 'tdm_meta')
                )
            ) AS refusing
        FROM {{ source('candidate_pairs') }}
        WHERE page_signals IS NOT NULL
    )
    WHERE len(refusing) > 0
    GROUP BY bucket, url
)
SELECT pair.crawl, pair.bucket, pair.pair_id, pair.url, pair.text, refused.changed_at, refused.signals, refused.said_in
FROM {{ source('unique_pairs') }} AS pair
JOIN refused ON refused.bucket = pair.bucket AND refused.url = pair.url
