/*
materialized: view
description: The ledger of consent, one row for everything that anybody said about a use and that is known, with where
  and when it was said. What counts of it is the policy's business (`LAION_CONSENT__…`). Deny lists are files, and not
  in it.
columns:
  subject_kind: What `subject` is, `page` (all pictures that it shows), `url`, `domain`, `sha256` or `pair_id`.
  subject: Who or what it was said of.
  signal: By what it was said, see docs/consent.md.
  raw: What was said, as it was written; of a removal the reason that was given.
  forbids: The uses that it forbids (fetch, train, index); empty where it is an explicit yes.
  source: Where it was found, `crawl` (the capture of the page), `download` (what the host allows, the answer, and the
    picture itself) or `takedowns`.
  crawl: The crawl that captured it; null where nobody crawled.
  seen_at: When it was said, captured, or last asked for; null where the capture has no time.
  valid_until: When it was taken back; null while it holds.
  evidence_file: The WAT or WARC file that holds the record; of a download the address that answered, where one did.
  evidence_offset: Byte offset of the record in that file.
*/
SELECT
    'page' AS subject_kind,
    page_url AS subject,
    said.signal AS signal,
    said.raw AS raw,
    said.forbids AS forbids,
    'crawl' AS source,
    crawl,
    page_seen_at AS seen_at,
    NULL::TIMESTAMPTZ AS valid_until,
    path AS evidence_file,
    record_offset AS evidence_offset
FROM (
    SELECT DISTINCT crawl, page_url, path, record_offset, page_seen_at, unnest(page_signals) AS said
    FROM {{ source('candidate_pairs') }}
    WHERE page_signals IS NOT NULL
)
UNION ALL
SELECT
    CASE WHEN said.signal IN ('iptc_data_mining', 'c2pa') THEN 'sha256' ELSE 'url' END,
    CASE WHEN said.signal IN ('iptc_data_mining', 'c2pa') THEN sha256 ELSE url END,
    said.signal,
    said.raw,
    said.forbids,
    'download',
    crawl,
    seen_at,
    NULL,
    final_url,
    NULL
FROM (
    SELECT crawl, url, final_url, sha256, coalesce(asked_at, fetched_at) AS seen_at, unnest(signals) AS said
    FROM {{ source('images') }}
    WHERE signals IS NOT NULL
)
UNION ALL
SELECT
    request.kind,
    request.value,
    'takedown',
    request.reason,
    ['fetch', 'train', 'index'],
    'takedowns',
    NULL,
    request.requested_at,
    (
        SELECT min(withdrawn.requested_at) FROM {{ source('takedowns') }} AS withdrawn
        WHERE withdrawn.kind = 'withdrawal' AND withdrawn.value = request.kind || ' ' || request.value
            AND withdrawn.requested_at >= request.requested_at
    ),
    NULL,
    NULL
FROM {{ source('takedowns') }} AS request
WHERE request.kind <> 'withdrawal'
