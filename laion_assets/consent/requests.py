"""Files of removal requests: a request a row, read whole before any counts."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from laion_assets.consent.removals import RemovalError, normal_value

_COLUMNS = ("kind", "value", "reason")


class Request(NamedTuple):
    """One request, as somebody wrote it."""

    kind: str
    value: str
    reason: str | None


def read_requests(path: Path) -> list[Request]:
    """The requests of a file: CSV or TSV with a heading, or JSON lines; columns kind, value and, if any, reason.

    Raises:
        RemovalError: it cannot be read, has other columns, or a row is no request; the message names the row.
    """
    try:
        rows = _rows(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise RemovalError(f"{path}: these requests cannot be read: {reason}") from error
    unknown, missing = set(rows.columns) - set(_COLUMNS), {"kind", "value"} - set(rows.columns)
    if unknown or missing:
        found = ", ".join(rows.columns) or "nothing"
        raise RemovalError(f"{path}: expected columns kind, value and, where there are reasons, reason; found {found}")
    if "reason" not in rows.columns:
        rows = rows.with_columns(reason=pl.lit(None, pl.String))
    requests = []
    for number, (kind, value, reason) in enumerate(rows.select(_COLUMNS).iter_rows(), start=1):
        place = f"{path}, row {number}"
        if kind is None and value is None:
            continue  # an empty line
        if any("\n" in str(cell) for cell in (kind, value)):
            raise RemovalError(f"{place}: one request is more than a line; is there a quote that does not end?")
        normal_value(str(kind), value, place)
        requests.append(Request(kind, value.strip(), reason))
    return requests


def _rows(path: Path) -> pl.DataFrame:
    if path.suffix in (".jsonl", ".ndjson"):
        return pl.read_ndjson(path, infer_schema_length=None).cast(pl.String)
    if path.suffix in (".csv", ".tsv"):
        return pl.read_csv(path, infer_schema=False, separator="\t" if path.suffix == ".tsv" else ",")
    raise RemovalError(f"{path}: expected a file of requests that ends with .csv, .tsv or .jsonl")
