"""Opening a lake: what it remembers about itself."""

from pathlib import Path

import polars as pl
import pytest

from laion_assets.delta.errors import LakeError, LakeMismatch
from laion_assets.delta.history import LakeHistory, lost
from laion_assets.lake.opening import lake_at, open_lake, recorded_shape
from laion_assets.lake.takedowns import request_takedown
from laion_assets.sql.session import connect
from tests.unit.delta.tables_made import FIRST, made, pair


def test_a_lake_keeps_its_numbers_of_shards_and_buckets(tmp_path: Path) -> None:
    open_lake(str(tmp_path), shards=2, buckets=8)
    assert recorded_shape(str(tmp_path)) == (2, 8)
    with pytest.raises(LakeMismatch, match="LAION_SHARDS=2 LAION_BUCKETS=8"):
        open_lake(str(tmp_path), shards=2, buckets=16)


def test_a_missing_lake_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="nowhere"):
        open_lake(str(tmp_path / "nowhere"), create=False)


def test_an_unsupported_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="a folder or s3"):
        open_lake("gs://bucket/lake")


def test_a_table_nobody_wrote_is_empty(tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path))
    assert lake.sizes("images")["rows"] == 0
    assert lake.commit("images", {"crawl": "CC-1", "bucket": 0}) is None


def test_takedowns_are_there_from_the_first_day(tmp_path: Path) -> None:
    assert open_lake(str(tmp_path)).exists("takedowns")


PLACES = [
    "a b",
    "ümläut",
    "写真",
    "a+b",
    "a&b",
    "a'b",
    'a"b',
    "a;b,c:d@e!f$g(h)",
    "<a>",
    "a`b",
    "a\u2028b",
    " a ",
    "-a",
    ".a",
    "~a",
]


UNUSABLE = [
    "a%b",
    "100%",
    "%",
    "a%2Fb",
    "a%41b",
    "a%20b",
    "%zz",
    "a=b",
    "a?b",
    "a#b",
    "a*b",
    "[a]",
    "{a}",
    "a|b",
    "a^b",
]
UNUSABLE += ["a\\b", "a\tb", "a\nb", "a\x01b", "a\x7fb", "a\udcffb"]


@pytest.mark.parametrize("place", PLACES, ids=ascii)
def test_a_lake_below_any_such_folder_is_written_and_read(place: str, tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / place / "lake"))
    bucket = f"crawl={FIRST}/bucket=0"
    made(lake, "unique_pairs", bucket, [pair(1), pair(2)])
    request_takedown(lake, "pair_id", "-5", None)
    again = lake_at(str(tmp_path / place / "lake"))
    assert again.scan("takedowns").collect()["value"].to_list() == ["-5"]
    assert again.rows("unique_pairs", {"crawl": FIRST, "bucket": 0}, ["pair_id"])["pair_id"].to_list() == [1, 2]
    listed = LakeHistory(again).snapshot("unique_pairs", again.table("unique_pairs").version()).files
    assert [file.ranges["pair_id"] for file in listed] == [(1, 2)]
    assert lost(again, listed) == []
    assert connect(again).sql("SELECT pair_id FROM unique_pairs ORDER BY ALL").fetchall() == [(1,), (2,)]
    assert [path.name for path in tmp_path.iterdir()] == [place]


@pytest.mark.parametrize("place", UNUSABLE, ids=ascii)
def test_a_lake_is_refused_where_a_library_would_read_another_path(place: str, tmp_path: Path) -> None:
    """delta-rs's and DuckDB's readers make urls and patterns of paths; nothing is written before it is refused."""
    with pytest.raises(LakeError, match=r"tables cannot be written below .* in it; choose another path for the lake"):
        open_lake(str(tmp_path / place / "lake"))
    with pytest.raises(LakeError, match="tables cannot be written below"):
        open_lake(f"s3://bucket/{place}/lake")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a lake", "ümlaut", "plain"])
def test_rows_are_read_whatever_the_lake_is_called(name: str, tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / name))
    request_takedown(lake, "url", "http://a.example/1.jpg", None)
    rows = lake.scan("takedowns").collect()
    assert rows.select("kind", "value").rows() == [("url", "http://a.example/1.jpg")]
    assert rows.schema["kind"] == pl.String
