"""What earlier versions told Dagster of rows is in no file of its home any more, and the rest is."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_shared.record import replace

from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.orchestration.execution.origin import job_origin
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.runs import forgotten as forgotten_module
from laion_assets.orchestration.runs.forgotten import forget_rows, tell_anew
from tests.unit.delta.tables_made import FIRST, made_crawl

CAPTION, THUMBNAIL, BROKEN = "a caption of somebody", "data:image/jpeg;base64,c29tZWJvZHk", "https://somebody.example/"
NUMBERS = "told of numbers alone"
LAKE = "/a/lake"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


def run(instance: dg.DagsterInstance, name: str, beside: str | None = None, **metadata: Any) -> str:
    @dg.asset(name=name)
    def told(context: dg.AssetExecutionContext) -> None:
        context.add_output_metadata(metadata)

    others = [dg.AssetsDefinition.from_op(dg.op(name=beside)(lambda: None))] if beside else []
    return dg.materialize([told, *others], instance=instance).run_id


def run_that_fails(instance: dg.DagsterInstance, name: str, prefix: str | None = None) -> str:
    key = dg.AssetKey([prefix, name] if prefix else [name])

    @dg.asset(key=key, check_specs=[dg.AssetCheckSpec("unique", asset=key, blocking=True)], output_required=False)
    def failing():
        yield dg.AssetCheckResult(passed=False, metadata={"sample": [{"url": BROKEN}]})
        raise dg.Failure(f"not published: for instance {BROKEN}")

    return dg.materialize([failing], instance=instance, raise_on_error=False).run_id


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def give_runs_an_origin(instance: dg.DagsterInstance, of: str) -> None:
    """Let runs belong to another code location, as its own processes have it."""
    create, ours = instance.create_run_for_job, job_origin("a_job")
    repository = ours.repository_origin
    location = replace(repository.code_location_origin, location_name=of)
    theirs = replace(ours, repository_origin=replace(repository, code_location_origin=location))
    vars(instance)["create_run_for_job"] = partial(create, remote_job_origin=theirs)


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
    assert forget_rows(instance, LAKE, ["filtered_pairs", "images", "unique_pairs", "a_model", "never_built"]).runs == 3
    found = kept(home)
    assert not any(words.encode() in found for words in (CAPTION, THUMBNAIL, BROKEN))
    assert NUMBERS.encode() in found
    assert [instance.get_run_by_id(one) is None for one in (old, model, failed, new)] == [True] * 3 + [False]


def test_it_is_looked_for_once_for_each_lake(instance: dg.DagsterInstance) -> None:
    forget_rows(instance, LAKE, ["a_model"]).settle()
    told = run(instance, "a_model", **{"first rows": dg.MetadataValue.md(CAPTION)})
    assert forget_rows(instance, LAKE, ["a_model"]).was_settled
    assert instance.get_run_by_id(told) is not None
    assert forget_rows(instance, f"{LAKE}-of-another", ["a_model"]).runs == 1


def test_runs_and_assets_of_others_stay(instance: dg.DagsterInstance) -> None:
    foreign = run_that_fails(instance, "quality")
    prefixed = run_that_fails(instance, "images", prefix="theirs")
    mixed = run(instance, "images", beside="their_report", kept=dg.MetadataValue.md(CAPTION))
    give_runs_an_origin(instance, of="theirs")
    located = run(instance, "pairs", kept=dg.MetadataValue.md(CAPTION))
    forgotten = forget_rows(instance, LAKE, ["images", "pairs", "theirs/images"])
    assert forgotten.runs == 0
    assert all(instance.get_run_by_id(one) is not None for one in (foreign, prefixed, mixed, located))
    assert instance.get_latest_materialization_event(dg.AssetKey("images")) is not None
    assert instance.get_latest_materialization_event(dg.AssetKey("pairs")) is not None
    forgotten.settle()
    assert forget_rows(instance, LAKE, ["images"]).was_settled, "others' runs are no reason to look again"


def test_files_of_others_in_the_home_stay_as_they_are(instance: dg.DagsterInstance, home: Path) -> None:
    run(instance, "images", kept=dg.MetadataValue.md(CAPTION))
    theirs = home / "reports" / "their.db"
    theirs.parent.mkdir()
    theirs.write_bytes(b"no database of SQLite, whatever its name says " * 100)
    forgotten = forget_rows(instance, LAKE, ["images"])
    forgotten.settle()
    assert forgotten.runs == 1
    assert forget_rows(instance, LAKE, ["images"]).was_settled


def test_a_broken_database_of_dagster_ends_nothing_and_it_is_looked_for_again(
    instance: dg.DagsterInstance, home: Path
) -> None:
    run(instance, "images", kept=dg.MetadataValue.md(CAPTION))
    (home / "history" / "torn.db").write_bytes(b"no database of SQLite, whatever its name says " * 100)
    forgotten = forget_rows(instance, LAKE, ["images"])
    forgotten.settle()
    assert forgotten.runs == 1
    assert not forget_rows(instance, LAKE, ["images"]).was_settled


def test_what_was_killed_between_runs_and_assets_is_finished(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(instance, "images", kept=dg.MetadataValue.md(CAPTION))
    with monkeypatch.context() as patch:
        patch.setattr(instance, "wipe_assets", killed)
        with pytest.raises(KeyboardInterrupt):
            forget_rows(instance, LAKE, ["images"])
    forget_rows(instance, LAKE, ["images"])
    assert CAPTION.encode() not in kept(home)


def test_the_lake_tells_again_what_those_runs_built(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake: Lake = open_lake(str(tmp_path / "lake"))
    made_crawl(lake, FIRST)
    run(instance, "filtered_pairs", kept=dg.MetadataValue.md(CAPTION))
    partitions = Partitions(shards=lake.shape["shards"], buckets=lake.shape["buckets"])
    assert tell_anew(instance, lake, partitions) == 1
    known = instance.get_materialized_partitions(dg.AssetKey("filtered_pairs"))
    assert len(known) == len(lake.ledger("filtered_pairs").commits) > 0


def test_a_lake_tells_also_after_it_was_killed_before_it_told(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake: Lake = open_lake(str(tmp_path / "lake"))
    made_crawl(lake, FIRST)
    run(instance, "filtered_pairs", kept=dg.MetadataValue.md(CAPTION))
    partitions = Partitions(shards=lake.shape["shards"], buckets=lake.shape["buckets"])
    with monkeypatch.context() as patch:
        patch.setattr(forgotten_module, "register_built", killed)
        with pytest.raises(KeyboardInterrupt):
            tell_anew(instance, lake, partitions)
    assert tell_anew(instance, lake, partitions) == 0
    known = instance.get_materialized_partitions(dg.AssetKey("filtered_pairs"))
    assert len(known) == len(lake.ledger("filtered_pairs").commits) > 0
    assert forget_rows(instance, lake.uri, lake.tables).was_settled
