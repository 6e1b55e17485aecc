"""What earlier versions told Dagster of rows is in no file of its home any more, and the rest is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.runs.forgotten import forget_rows, tell_anew
from tests.unit.delta.tables_made import FIRST, made_crawl

CAPTION, THUMBNAIL, BROKEN = "a caption of somebody", "data:image/jpeg;base64,c29tZWJvZHk", "https://somebody.example/"
NUMBERS = "told of numbers alone"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


def run(instance: dg.DagsterInstance, name: str, **metadata: Any) -> str:
    @dg.asset(name=name)
    def told(context: dg.AssetExecutionContext) -> None:
        context.add_output_metadata(metadata)

    return dg.materialize([told], instance=instance).run_id


def run_that_fails(instance: dg.DagsterInstance, name: str) -> str:
    @dg.asset(name=name, check_specs=[dg.AssetCheckSpec("unique", asset=name, blocking=True)], output_required=False)
    def failing():
        yield dg.AssetCheckResult(passed=False, metadata={"sample": [{"url": BROKEN}]})
        raise dg.Failure(f"not published: for instance {BROKEN}")

    return dg.materialize([failing], instance=instance, raise_on_error=False).run_id


def kept(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())


def test_no_byte_of_a_row_is_left_and_numbers_are(instance: dg.DagsterInstance, home: Path) -> None:
    old = run(instance, "filtered_pairs", kept=dg.MetadataValue.md(f"![picture]({THUMBNAIL}) {CAPTION}"))
    link = dg.MetadataValue.md("[now](/laion/rows/images/all)")
    new = run(instance, "images", **{"first rows": link, "said": NUMBERS})
    model = run(instance, "a_model", **{"first rows": dg.MetadataValue.md(f"| {CAPTION} |"), "seconds": 3})
    failed = run_that_fails(instance, "unique_pairs")
    found = kept(home)
    assert all(words.encode() in found for words in (CAPTION, THUMBNAIL, BROKEN, NUMBERS))
    assert forget_rows(instance, ["filtered_pairs", "images", "a_model", "never_built"]) == 3
    found = kept(home)
    assert not any(words.encode() in found for words in (CAPTION, THUMBNAIL, BROKEN))
    assert NUMBERS.encode() in found
    assert [instance.get_run_by_id(one) is None for one in (old, model, failed, new)] == [True] * 3 + [False]


def test_it_is_looked_for_once(instance: dg.DagsterInstance) -> None:
    forget_rows(instance, ["a_model"])
    told = run(instance, "a_model", **{"first rows": dg.MetadataValue.md(CAPTION)})
    assert forget_rows(instance, ["a_model"]) == 0
    assert instance.get_run_by_id(told) is not None


def test_the_lake_tells_again_what_those_runs_built(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake: Lake = open_lake(str(tmp_path / "lake"))
    made_crawl(lake, FIRST)
    run(instance, "filtered_pairs", kept=dg.MetadataValue.md(CAPTION))
    partitions = Partitions(shards=lake.shape["shards"], buckets=lake.shape["buckets"])
    assert tell_anew(instance, lake, partitions) == 1
    known = instance.get_materialized_partitions(dg.AssetKey("filtered_pairs"))
    assert len(known) == len(lake.ledger("filtered_pairs").commits) > 0
