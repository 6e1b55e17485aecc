"""Which urls of a partition are known already, and which must be attempted.

An answer is kept for good if it is a success or a failure that time does not mend; the rest is attempted. What was
removed since is neither attempted nor kept.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb

from laion_assets.common.duck import number, quoted
from laion_assets.common.passing import PASSING_REFUSALS
from laion_assets.consent.removals import Removals
from laion_assets.download.failures import TRANSIENT_FAILURES

_OUTGROWN = """(outdated AND coalesce(CASE status
    WHEN 'success' THEN exif IS NOT NULL
        OR NOT regexp_matches(coalesce(content_type, ''), '(?i)^image/(jpe?g|webp|gif)')
    ELSE failure IN ('other', 'not_an_image', 'decode') END, false))"""
"""What the code before this one may have got wrong: pictures with metadata (stored lying on their side, or with the
place they were taken at in them), pictures that may be PNGs (those of 16 bits were stored white), and failures that it
took for final."""


KEPT_OF_REFUSED = (
    "url_id", "url", "attempts", "fetched_at", "http_status", "final_url", "content_type", "byte_size", "sha256",
)  # fmt: skip
"""Columns of a picture's row that stay when the picture must go: what proves why."""

_SAYS_NO = ("hash_listed", "opted_out")
"""Failures by which a url's picture must not be had, whoever has a copy of it."""

_AS_EXPECTED = """(expected IS NOT DISTINCT FROM wanted OR CASE status
    WHEN 'success' THEN wanted IS NULL OR coalesce(list_contains(string_split(wanted, ' '), sha256), false)
    ELSE failure <> 'hash_mismatch' END)"""
"""Whether a row says what it would say had it been held against the digests that are expected now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reuse:
    """What became of the urls wanted: wanted == known + removed + attempted."""

    wanted: int
    known: int
    """Rows taken over from earlier attempts."""
    removed: int
    """Rows that were a success, of pictures that must go since."""
    attempted: int
    """Urls left to attempt, in the table ``attempted``."""
    sources: dict[str, int] = field(default_factory=dict)
    """Rows taken over, by the crawl that fetched them."""


def plan_attempts(
    con: duckdb.DuckDBPyConnection,
    *,
    pairs: str,
    earlier: str,
    crawl: str,
    columns: tuple[str, ...],
    removals: Removals,
    output: Path,
    refetch: bool = False,
    ask_again: datetime | None = None,
    copied: bool = False,
) -> Reuse:
    """Write the rows that are known, and leave the others in the table ``attempted`` (url_id, url, expected).

    Of several earlier rows of one url the one of this crawl is taken, else that of the first crawl by name; where some
    crawl was told no, the latest, so that no old yes outvotes a newer no. Where a
    list says which bytes a url must give, a row counts that was held against the same digests, or whose picture has one
    of them; of several that a url's pairs name, any will do. A row whose picture is on a list of removals becomes the
    failure ``hash_listed``, without asking its host again. What is on a
    deny list is judged anew, and so is a picture that came by a redirect from there: where the url itself is on the
    list, that takes no connection. A picture whose removal was withdrawn is attempted again.

    A failure of another crawl is none of this one's where nobody was asked: its pictures were copied out of tars.

    Args:
        con: knows the views.
        pairs: view with url_id, url, expected_md5 and expected_sha256, repeated urls allowed.
        earlier: view of earlier rows of ``images`` in this bucket, of any crawl, with a column ``outdated``: whether
            other code made them, so that they are attempted again where it may have got them wrong.
        crawl: the crawl being built.
        columns: the columns of ``images`` to write, all but the partition's.
        removals: takedowns and deny lists.
        output: Parquet file to write.
        refetch: attempt everything that is not removed.
        ask_again: also attempt what was opted out when it was last asked about before this: a no may be taken back.
        copied: whether this crawl's pictures are copied out of tars: what other crawls could not have is in there all
            the same, and is left alone only where somebody said no to it; what it failed of itself is looked at anew,
            which costs nobody anything.
    """
    registered = removals.register(con)
    transient = f"failure IN {tuple(f.value for f in TRANSIENT_FAILURES)!r} OR http_status IN {PASSING_REFUSALS!r}"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE wanted AS
        SELECT url_id, url, string_agg(DISTINCT digest, ' ' ORDER BY digest) AS expected
        FROM (SELECT url_id, url, unnest([expected_md5, expected_sha256]) AS digest FROM {pairs}) GROUP BY url_id, url
    """)
    rows = f"(SELECT row.*, wanted.expected AS wanted FROM {earlier} AS row JOIN wanted USING (url))"
    matched = registered.annotate(rows, final_url="final_url", sha256="sha256")
    # Where a list names bodies by md5 or sha1, nobody can say by the sha256 alone that one is on no list any more.
    listed_no_more = "failure = 'hash_listed' AND sha256 IS NOT NULL AND removal IS NULL"
    let_in = "false" if removals.lists_bodies_by_other_digests else listed_no_more
    kept = "is_own OR attempts > 0 OR failure = 'opted_out'"
    if copied:
        kept = f"NOT is_own AND failure IN {_SAYS_NO!r}"
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE known AS
        SELECT *, status = 'success' AND removal IS NOT NULL AS gone
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY url ORDER BY NOT is_own, if(refused, -epoch(last_asked), 0), crawl
            ) AS place
            FROM (
                SELECT *, crawl = ? AS is_own, coalesce(asked_at, fetched_at) AS last_asked,
                       coalesce(bool_or(failure = 'opted_out') OVER (PARTITION BY url), false) AS refused
                FROM ({matched})
            )
            WHERE coalesce(removal, '') NOT IN ('url', 'domain')
              AND (status = 'success' OR NOT coalesce(({transient}) OR failure = 'deny_listed' OR ({let_in}), false))
              AND (status = 'success' OR {kept})
              AND NOT coalesce(failure = 'opted_out' AND last_asked < ?, false)
              AND (removal IS NOT NULL OR NOT {_OUTGROWN})
              AND (removal IS NOT NULL OR {_AS_EXPECTED})
        )
        WHERE place = 1 AND ({not refetch} OR (status = 'success' AND removal IS NOT NULL))
    """,
        [crawl, ask_again],
    )
    names = ", ".join(_after_removal(name) for name in columns)
    con.execute(f"COPY (SELECT {names} FROM known) TO {quoted(output)} (FORMAT parquet, COMPRESSION zstd)")
    con.execute(
        "CREATE OR REPLACE TEMP TABLE attempted AS "
        "SELECT url_id, url, expected FROM wanted ANTI JOIN known USING (url) ORDER BY url_id, url"
    )
    sources = dict(con.execute("SELECT crawl, count(*) FROM known WHERE NOT gone GROUP BY crawl ORDER BY 1").fetchall())
    return Reuse(
        wanted=number(con, "SELECT count(*) FROM wanted"),
        known=sum(sources.values()),
        removed=number(con, "SELECT count(*) FROM known WHERE gone"),
        attempted=number(con, "SELECT count(*) FROM attempted"),
        sources=sources,
    )


def _after_removal(column: str) -> str:
    # What a download says of a picture it refuses for its hash.
    values = {
        "status": "'failed'",
        "failure": "'hash_listed'",
        "failure_detail": "'the body is on a list of hash entries'",
    }
    if column == "expected":
        return "wanted AS expected"
    if column in KEPT_OF_REFUSED:
        return column
    return f"CASE WHEN gone THEN {values.get(column, 'NULL')} ELSE {column} END AS {column}"
