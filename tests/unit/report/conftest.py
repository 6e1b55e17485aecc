"""A session over an empty lake, whose tables and models are filled by hand."""

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from PIL import Image

from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.report.blocks import Block, Cell, Table
from laion_assets.sql.session import connect

EARLY, LATE = "CC-MAIN-2026-04", "CC-MAIN-2026-08"
SHA = {name: name[0] * 64 for name in ("a", "b", "c", "d", "e", "f")}
Fill = Callable[..., None]


@pytest.fixture(scope="session")
def empty_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake nobody built anything in. Not to be written to."""
    return open_lake(str(tmp_path_factory.mktemp("empty") / "lake"))


@pytest.fixture(scope="session")
def con(empty_lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session over it; opening one takes longer than any test."""
    with connect(empty_lake) as made:
        yield made


@pytest.fixture
def fill(con: duckdb.DuckDBPyConnection) -> Iterator[Fill]:
    """``fill(name, rows)`` gives a table or model these rows for one test; what is left out is null."""
    filled: set[str] = set()

    def put(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        fill_table(con, name, rows)
        filled.add(name)

    yield put
    for name in filled:
        con.execute(f"DELETE FROM _{name}")


def fill_table(con: duckdb.DuckDBPyConnection, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put rows in the place of what a session shows of a table or model."""
    columns = con.execute(f"DESCRIBE {name}").fetchall()
    unknown = {key for row in rows for key in row} - {column[0] for column in columns}
    assert not unknown, f"{name} has no column {unknown}"
    con.execute(f"CREATE OR REPLACE TABLE _{name} AS FROM {name} LIMIT 0")
    for row in rows:
        values = [row.get(column[0]) for column in columns]
        con.execute(f"INSERT INTO _{name} VALUES ({', '.join('?' * len(values))})", values)
    con.execute(f"CREATE OR REPLACE VIEW {name} AS FROM _{name}")


def scored(pair_id: int, similarity: float, **changes: Any) -> dict[str, Any]:
    """A row of ``scored_pairs`` with a picture of its own."""
    row = {
        "crawl": EARLY,
        "bucket": 0,
        "pair_id": pair_id,
        "url": f"http://example.org/{pair_id}.jpg",
        "text": f"the picture {pair_id}",
        "language": "en",
        "subset": "en",
        "sha256": f"{pair_id:064x}",
        "byte_size": 9_000,
        "width": 300,
        "height": 200,
        "shard_path": "files/one.tar",
        "sample_key": f"{pair_id:09}",
        "encoder": "model/abc",
        "encoder_sha256": SHA["e"],
        "similarity": similarity,
        "released": False,
    }
    return row | changes


def released(row: Mapping[str, Any], policy: str = "laion_clean", threshold: float | None = 0.5) -> dict[str, Any]:
    """The row of ``filtered_pairs`` for a row of ``scored_pairs``."""
    kept = ("crawl", "bucket", "pair_id", "url", "text", "language", "subset", "sha256", "similarity")
    kept += ("encoder", "encoder_sha256")
    return {name: row[name] for name in kept} | {"policy": policy, "threshold": threshold}


def picture(color: str = "red", size: tuple[int, int] = (60, 40)) -> bytes:
    """A picture of one colour, as JPEG."""
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, format="JPEG")
    return out.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    """A webdataset tar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def lines(block: Block) -> list[list[str]]:
    """The texts of a table's cells, row by row."""
    assert isinstance(block, Table)
    return [[_said(cell) for cell in row] for row in block.rows]


def _said(cell: Cell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note and cell.kind == "number" else cell.text
