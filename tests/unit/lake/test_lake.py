"""Opening a lake: what it remembers about itself."""

from pathlib import Path

import pytest

from laion_assets.lake.errors import LakeError, LakeMismatch
from laion_assets.lake.lake import Lake


def test_a_lake_keeps_its_numbers_of_shards_and_buckets(tmp_path: Path) -> None:
    Lake.open(str(tmp_path), shards=2, buckets=8)
    assert Lake.recorded_shape(str(tmp_path)) == (2, 8)
    with pytest.raises(LakeMismatch, match="LAION_SHARDS=2 LAION_BUCKETS=8"):
        Lake.open(str(tmp_path), shards=2, buckets=16)


def test_a_missing_lake_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="nowhere"):
        Lake.open(str(tmp_path / "nowhere"), create=False)


def test_an_unsupported_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="a folder or s3"):
        Lake.open("gs://bucket/lake")


def test_a_table_nobody_wrote_is_empty(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    assert lake.sizes("images")["rows"] == 0
    assert lake.commit("images", {"crawl": "CC-1", "bucket": 0}) is None


def test_takedowns_are_there_from_the_first_day(tmp_path: Path) -> None:
    assert Lake.open(str(tmp_path)).exists("takedowns")
