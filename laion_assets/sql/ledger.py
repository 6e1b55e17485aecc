"""The ledger of consent as sessions show it: who said what of a use, and to which pairs of the lake a page says no.

Views over what is stored already: what a further producer writes is one more branch of ``opt_outs``.
"""

from typing import Final

import pyarrow as pa

from laion_assets.consent.policy import ConsentOptions, refusing_sql
from laion_assets.consent.signals import SIGNALS
from laion_assets.delta.table import Column, Table

_TIME = pa.timestamp("us", tz="UTC")
_STRINGS = pa.list_(pa.string())


def _c(name: str, type_: pa.DataType, description: str, *, nullable: bool = False) -> Column:
    return Column(name=name, type=type_, description=description, nullable=nullable)


OPT_OUTS: Final = Table(
    name="opt_outs",
    description="One row for everything that anybody said about a use and that is known. Deny lists are files.",
    key=("subject_kind", "subject", "signal", "evidence_file", "evidence_offset"),
    columns=(
        _c("subject_kind", pa.string(), "What `subject` is: page (all it shows), url, domain, sha256 or pair_id."),
        _c("subject", pa.string(), "What it was said of."),
        _c("signal", pa.string(), "By what it was said, as in docs/consent.md."),
        _c("raw", pa.string(), "What was said, as written; of a removal the reason that was given.", nullable=True),
        _c("forbids", _STRINGS, "The uses that it forbids: fetch, train, index; none of an explicit yes."),
        _c("source", pa.string(), "Where it was found: crawl (a capture), download, takedowns."),
        _c("crawl", pa.string(), "The crawl that captured it.", nullable=True),
        _c("seen_at", _TIME, "When it was captured, or last asked for.", nullable=True),
        _c("valid_until", _TIME, "When it was taken back; null while it holds.", nullable=True),
        _c(
            "evidence_file",
            pa.string(),
            "The WAT or WARC file that holds it; of a download the address that answered.",
            nullable=True,
        ),
        _c("evidence_offset", pa.int64(), "Byte offset of the record in that file.", nullable=True),
    ),
)

CONSENT_CHANGES: Final = Table(
    name="consent_changes",
    description="Pairs that were let in and to whose use a page says no, in whatever crawl, as if all signals counted.",
    key=("crawl", "bucket", "pair_id"),
    columns=(
        _c("crawl", pa.string(), "The crawl that the pair was let in by."),
        _c("bucket", pa.int32(), "Its bucket."),
        _c("pair_id", pa.int64(), "The pair."),
        _c("url", pa.string(), "The image's address."),
        _c("text", pa.string(), "The alt text."),
        _c("changed_at", _TIME, "When the first page that says no was captured: the answer's day.", nullable=True),
        _c("signals", _STRINGS, "By what pages say no."),
        _c("said_in", _STRINGS, "The crawls that captured them."),
    ),
)

_FROM_PAGES = """
    SELECT 'page' AS subject_kind, page_url AS subject, said.signal AS signal, said.raw AS raw, said.forbids AS forbids,
           'crawl' AS source, crawl, page_seen_at AS seen_at, NULL::TIMESTAMPTZ AS valid_until, path AS evidence_file,
           record_offset AS evidence_offset
    FROM (
        SELECT DISTINCT crawl, page_url, path, record_offset, page_seen_at, unnest(page_signals) AS said
        FROM candidate_pairs WHERE page_signals IS NOT NULL
    )"""

_WITHIN: Final = tuple(name for name, signal in SIGNALS.items() if signal.subject == "sha256")

_FROM_DOWNLOADS = f"""
    SELECT if(said.signal IN {_WITHIN}, 'sha256', 'url'), if(said.signal IN {_WITHIN}, sha256, url), said.signal,
           said.raw, said.forbids, 'download', crawl, seen_at, NULL, final_url, NULL
    FROM (
        SELECT crawl, url, final_url, sha256, coalesce(asked_at, fetched_at) AS seen_at, unnest(signals) AS said
        FROM images WHERE signals IS NOT NULL
    )"""

_FROM_TAKEDOWNS = """
    SELECT request.kind, request.value, 'takedown', request.reason, ['fetch', 'train', 'index'], 'takedowns', NULL,
           request.requested_at, min(withdrawn.requested_at), NULL, NULL
    FROM takedowns AS request
    LEFT JOIN takedowns AS withdrawn
        ON withdrawn.kind = 'withdrawal' AND withdrawn.value = request.kind || ' ' || request.value
        AND withdrawn.requested_at >= request.requested_at
    WHERE request.kind <> 'withdrawal'
    GROUP BY request.kind, request.value, request.reason, request.requested_at"""

_CHANGES = f"""
    WITH refused AS (
        SELECT bucket, url, min(page_seen_at) AS changed_at,
               list_sort(list_distinct(flatten(list(refusing)))) AS signals,
               list_sort(list_distinct(list(crawl))) AS said_in
        FROM (
            SELECT crawl, bucket, url, page_seen_at, {refusing_sql("page_signals", ConsentOptions())} AS refusing
            FROM candidate_pairs WHERE page_signals IS NOT NULL
        ) WHERE len(refusing) > 0 GROUP BY bucket, url
    )
    SELECT pair.crawl, pair.bucket, pair.pair_id, pair.url, pair.text, refused.changed_at, refused.signals,
           refused.said_in
    FROM unique_pairs AS pair JOIN refused ON refused.bucket = pair.bucket AND refused.url = pair.url"""

LEDGER: Final = {
    OPT_OUTS: " UNION ALL ".join((_FROM_PAGES, _FROM_DOWNLOADS, _FROM_TAKEDOWNS)),
    CONSENT_CHANGES: _CHANGES,
}
"""The views, and what each selects from the tables of a session."""
