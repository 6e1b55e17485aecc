/*
description: Neither the pool that selections choose from nor the released pairs hold one whose removal was asked for,
  by pair_id, sha256, host or url. They do between `laion takedown` and the next `laion build`, and no selection is
  built meanwhile. A request that was withdrawn asks for nothing. Urls are compared without scheme and fragment here; the stages compare them more carefully.
*/
WITH held AS (
    SELECT crawl, pair_id, url, sha256 FROM {{ ref('pool_pairs') }}
    UNION ALL
    SELECT crawl, pair_id, url, sha256 FROM {{ source('filtered_pairs') }}
),
asked AS (
    SELECT
        kind,
        CASE kind
            WHEN 'url' THEN regexp_replace(split_part(value, '#', 1), '^(?i:https?://)', '')
            WHEN 'domain' THEN regexp_replace(lower(value), '^[*]?[.]', '')
            ELSE lower(value)
        END AS value
    FROM {{ source('takedowns') }} AS request
    WHERE kind <> 'withdrawal' AND NOT EXISTS (
        FROM {{ source('takedowns') }} AS withdrawn
        WHERE withdrawn.kind = 'withdrawal' AND withdrawn.value = request.kind || ' ' || request.value
            AND withdrawn.requested_at >= request.requested_at
    )
),
-- A domain stands for the hosts below it as well: each host is looked up with all its endings.
hosts AS (
    SELECT host, unnest(list_transform(range(1, len(labels) + 1), lambda place: array_to_string(labels[place:], '.')))
        AS domain
    FROM (SELECT DISTINCT url_host(url) AS host, string_split(url_host(url), '.') AS labels FROM held)
),
removed_hosts AS (
    SELECT DISTINCT host FROM hosts JOIN asked ON asked.kind = 'domain' AND asked.value = hosts.domain
)
SELECT crawl, pair_id, url, 'pair_id' AS asked FROM held
SEMI JOIN asked ON asked.kind = 'pair_id' AND asked.value = held.pair_id::VARCHAR
UNION ALL
SELECT crawl, pair_id, url, 'sha256' FROM held SEMI JOIN asked ON asked.kind = 'sha256' AND asked.value = held.sha256
UNION ALL
SELECT crawl, pair_id, url, 'url' FROM held
SEMI JOIN asked
    ON asked.kind = 'url' AND asked.value = regexp_replace(split_part(held.url, '#', 1), '^(?i:https?://)', '')
UNION ALL
SELECT crawl, pair_id, url, 'domain' FROM held SEMI JOIN removed_hosts ON removed_hosts.host = url_host(held.url)
