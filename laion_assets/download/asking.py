"""Asking again what is allowed of pictures that are had: hosts' documents, and the heads of their answers."""

# Names of relations, never values, are put into SQL here.

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from laion_assets.common.duck import quoted
from laion_assets.consent.signals import SAID, SIGNALS, as_column
from laion_assets.download.failures import Failure
from laion_assets.download.fetch import Fetcher
from laion_assets.download.hosts import Heed
from laion_assets.download.options import DownloadOptions
from laion_assets.download.reuse import KEPT_OF_REFUSED

_ASKED = pa.schema(
    [("url", pa.string()), ("refused", pa.string()), ("heard", SAID), ("asked_at", pa.timestamp("us", tz="UTC"))]
)
_BATCH = 10_000
_OF_HOSTS = tuple(name for name, signal in SIGNALS.items() if signal.subject == "prefix")
_EMBEDDED = tuple(name for name, signal in SIGNALS.items() if signal.subject == "sha256")


class AskedAgain(NamedTuple):
    """What came of it."""

    asked: int
    """Pictures whose owners were asked."""
    answered: int
    """Those of them of which somebody said what holds now."""
    refused: int
    """Those that may be had no more."""


def ask_again(
    con: duckdb.DuckDBPyConnection,
    known: Path,
    output: Path,
    *,
    before: datetime,
    now: datetime,
    options: DownloadOptions,
    heed: Heed,
    progress: Callable[[int], None],
) -> AskedAgain:
    """Ask for pictures that are had what their owners allow by now, and write the rows as they are then.

    A picture that is refused becomes the failure ``opted_out`` and keeps what says why; what its own bytes said is kept
    in all. Where nobody answered a row stays as it is, and is asked about the next time.

    Args:
        con: a connection.
        known: Parquet file of rows of ``images``, as ``plan_attempts`` writes it.
        output: Parquet file of the same rows.
        before: rows that were fetched or asked about before are asked about.
        now: what is written as the time of asking.
        options: manners of downloads.
        heed: what of what is said of pictures.
        progress: called with the number of urls done since the last call.
    """
    old = f"""
        SELECT url FROM read_parquet({quoted(known)})
        WHERE status = 'success' AND attempts > 0 AND coalesce(asked_at, fetched_at) < ?
    """
    urls = con.cursor().execute(old, [before]).fetch_record_batch(_BATCH)
    con.register("asked_nothing", _ASKED.empty_table())
    con.execute("CREATE OR REPLACE TEMP TABLE asked_again AS FROM asked_nothing")
    con.unregister("asked_nothing")
    book = heed.book(options)
    fetcher = Fetcher(options, hosts=book, obeyed=heed.obeyed)
    asked = 0
    try:
        for batch in urls:
            told: list[dict[str, Any]] = []
            for url, outcome in fetcher.ask_all((url, url) for url in batch["url"].to_pylist()):
                asked += 1
                progress(1)
                refused = outcome.failure_detail if outcome.failure is Failure.OPTED_OUT else None
                if refused is not None or outcome.failure is None:
                    told.append({"url": url, "refused": refused, "heard": as_column(outcome.said), "asked_at": now})
            con.register("asked_batch", pa.Table.from_pylist(told, schema=_ASKED))
            con.execute("INSERT INTO asked_again FROM asked_batch")
            con.unregister("asked_batch")
    finally:
        fetcher.close()
    kept = (*_EMBEDDED, *(_OF_HOSTS if book is None else ()))
    return AskedAgain(asked, *_write(con, known, output, kept))


def _write(con: duckdb.DuckDBPyConnection, known: Path, output: Path, kept: tuple[str, ...]) -> tuple[int, int]:
    """Write the rows with what was heard; how many were answered, and how many of those are refused.

    What was said before by the signals of ``kept`` stays: nobody was asked for it.
    """
    own = ", ".join(f"'{name}'" for name in kept)
    said = f"list_concat(list_filter(coalesce(signals, []), one -> one.signal IN ({own})), coalesce(heard, []))"
    values = {
        "status": "CASE WHEN refused IS NULL THEN status ELSE 'failed' END",
        "failure": f"CASE WHEN refused IS NULL THEN failure ELSE '{Failure.OPTED_OUT}' END",
        "failure_detail": "coalesce(refused, failure_detail)",
        "signals": f"CASE WHEN answer.asked_at IS NULL THEN signals WHEN len({said}) > 0 THEN {said} END",
        "asked_at": "coalesce(answer.asked_at, row.asked_at)",
    }
    names = con.execute(f"FROM read_parquet({quoted(known)}) LIMIT 0").fetch_arrow_table().column_names
    columns = (
        values.get(name, name if name in KEPT_OF_REFUSED else f"CASE WHEN refused IS NULL THEN row.{name} END")
        for name in names
    )
    listed = ", ".join(f"{value} AS {name}" for name, value in zip(names, columns, strict=True))
    con.execute(f"""
        COPY (SELECT {listed} FROM read_parquet({quoted(known)}) AS row LEFT JOIN asked_again AS answer USING (url))
        TO {quoted(output)} (FORMAT parquet, COMPRESSION zstd)
    """)
    [(answered, refused)] = con.execute("SELECT count(*), count(refused) FROM asked_again").fetchall()
    return answered, refused
