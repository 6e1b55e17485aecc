"""Scores that somebody else computed, as a Parquet file: ``value``, and ``sha256`` of a picture or ``pair_id``.

Such a file counts as a head: it is described, pinned and named like one.
"""

import math
from pathlib import Path
from typing import Final

import duckdb

from laion_assets.clip.options import content_sha256
from laion_assets.common.duck import number, numbers, quoted
from laion_assets.scoring.head import Head, Kind
from laion_assets.scoring.score import COLUMNS
from laion_assets.scoring.tensors import HeadError

_KEYS: Final = {"sha256": "VARCHAR", "pair_id": "BIGINT"}


def check_scores(con: duckdb.DuckDBPyConnection, file: Path, measures: Kind) -> tuple[str, int]:
    """What a file of scores is by, ``sha256`` or ``pair_id``, and how many rows it has.

    Raises:
        HeadError: it is no such file, says something twice, or has values that are none.
    """
    try:
        rows = con.execute(f"DESCRIBE SELECT * FROM read_parquet({quoted(file)})").fetchall()
    except duckdb.Error as error:
        raise HeadError(f"{file}: expected a Parquet file of scores: {' '.join(str(error).split())[:200]}") from error
    columns = {str(name): str(kind) for name, kind, *_ in rows}
    by = [key for key, kind in _KEYS.items() if columns.get(key) == kind]
    if len(by) != 1 or columns.get("value") not in ("FLOAT", "DOUBLE"):
        found = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        raise HeadError(
            f"{file}: expected a column value (FLOAT or DOUBLE), and one of sha256 (VARCHAR) and pair_id (BIGINT), "
            f"found {found}"
        )
    key = by[0]
    most = math.inf if measures == "aesthetic" else 1.0
    least = -math.inf if measures == "aesthetic" else 0.0
    scores = f"read_parquet({quoted(file)})"
    count, distinct, wrong = numbers(
        con,
        f"""SELECT count(*), count(DISTINCT {_key(key)}),
                   count(*) FILTER (NOT coalesce(isfinite(value) AND value BETWEEN '{least}'::DOUBLE
                                                 AND '{most}'::DOUBLE, false))
            FROM {scores}""",
    )
    if distinct != count:
        raise HeadError(f"{file}: expected one row for each {key}, found {count:,} rows of {distinct:,}")
    if wrong:
        wanted = "numbers" if measures == "aesthetic" else "probabilities from 0 to 1"
        raise HeadError(f"{file}: expected {wanted}, found other values in {wrong:,} of {count:,} rows")
    return key, count


def imported_scores(con: duckdb.DuckDBPyConnection, embeddings: str, head: Head, output: Path) -> tuple[Path, int]:
    """Write what a file of scores says of the pictures that are wanted, planned by ``plan_scores``.

    Where pairs of one picture have several scores, the pair with the lowest pair_id decides.

    Args:
        con: knows the view, and what was planned.
        embeddings: view of ``clip_embeddings``, which says what a pair's picture is.
        head: the file's description.
        output: folder for the Parquet file.

    Returns:
        The file, and how many pictures the table does not have.

    Raises:
        HeadError: the file is not there, is another than the one that was pinned, or no file of scores.
    """
    file = Path(head.weights)
    found = content_sha256(file) if file.is_file() else "nothing"
    if found != head.sha256:
        raise HeadError(f"the scores {head.name}: expected {file} with the SHA-256 {head.sha256}, found {found}")
    key, _ = check_scores(con, file, head.measures)
    scores = f"read_parquet({quoted(file)})"
    if key == "sha256":
        said = f"SELECT lower(sha256) AS sha256, value FROM {scores}"
    else:
        said = f"""SELECT embedded.sha256, arg_min(scores.value, scores.pair_id) AS value
                   FROM {scores} AS scores JOIN {embeddings} AS embedded USING (pair_id) GROUP BY 1"""
    wanted = f"(SELECT * EXCLUDE (value) FROM planned_scores WHERE outcome = 'wanted' AND head = {quoted(head.name)})"
    known = ", ".join(f"planned.{name}" for name in COLUMNS[:-1])
    target = output / f"imported-{head.name}.parquet"
    con.execute(f"""
        COPY (SELECT {known}, said.value::FLOAT AS value FROM {wanted} AS planned JOIN ({said}) AS said USING (sha256))
        TO {quoted(target)} (FORMAT parquet, COMPRESSION zstd)""")
    lacking = number(con, f"SELECT count(*) FROM {wanted} AS planned ANTI JOIN ({said}) AS said USING (sha256)")
    return target, lacking


def _key(key: str) -> str:
    return "lower(sha256)" if key == "sha256" else key
