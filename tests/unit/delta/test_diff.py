"""What changed between two versions: counted, named by key, and nothing else looked at."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laion_assets.delta import diff as module
from laion_assets.delta.diff import diff
from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from tests.unit.delta.tables_made import FIRST, SECOND, foreign, made, pair, record, undeclared

BUCKET = f"crawl={FIRST}/bucket=0"
OTHER = f"crawl={SECOND}/bucket=0"


@pytest.fixture
def twice(lake: Lake) -> Lake:
    """A bucket with one row more, one less and one changed in its second version, beside one left alone."""
    made(lake, "unique_pairs", BUCKET, [pair(n) | record(0, n) for n in (1, 2, 3, 4)])
    made(lake, "unique_pairs", OTHER, [pair(9)])
    rows = [pair(n) | record(0, n) for n in (2, 3, 4, 5)]
    rows[1] |= {"language": "de", "duplicate_count": 7}
    made(lake, "unique_pairs", BUCKET, rows)
    return lake


def test_rows_added_removed_and_changed_are_told_apart(twice: Lake) -> None:
    found = diff(twice, "unique_pairs", 2, 3)
    assert found.key == ("pair_id",)
    assert found.rows == {"added": 1, "removed": 1, "changed": 1}
    assert [(p.partition, p.rows, p.changed_columns) for p in found.partitions] == [
        (BUCKET, {"added": 1, "removed": 1, "changed": 1}, {"language": 1, "duplicate_count": 1})
    ]
    added, removed, changed = found.sample
    assert (added.kind, added.key, added.old, added.new["text"]) == ("added", {"pair_id": 5}, {}, "picture number 5")
    assert (removed.kind, removed.key, removed.new) == ("removed", {"pair_id": 1}, {})
    assert removed.old["record_offset"] == 1
    assert (changed.kind, changed.key) == ("changed", {"pair_id": 3})
    assert (changed.old, changed.new) == (
        {"language": "x", "duplicate_count": 0},
        {"language": "de", "duplicate_count": 7},
    )


def test_the_other_way_round_what_was_added_is_removed(twice: Lake) -> None:
    assert diff(twice, "unique_pairs", 3, 2).rows == {"added": 1, "removed": 1, "changed": 1}
    assert [row.key for row in diff(twice, "unique_pairs", 3, 2).sample] == [
        {"pair_id": 1},
        {"pair_id": 5},
        {"pair_id": 3},
    ]


def test_only_partitions_whose_files_differ_are_compared(twice: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = module._Comparison._relation

    def relation(self: Any, files: list[Any]) -> str:
        read.extend(file.partition for file in files)
        return real(self, files)

    monkeypatch.setattr(module._Comparison, "_relation", relation)
    diff(twice, "unique_pairs", 2, 3)
    assert set(read) == {BUCKET}


def test_partitions_that_came_and_went_are_counted(twice: Lake) -> None:
    assert diff(twice, "unique_pairs", 1, 2).rows == {"added": 1, "removed": 0, "changed": 0}
    assert diff(twice, "unique_pairs", 0, 2).rows["added"] == 5
    made(twice, "unique_pairs", OTHER, [])
    assert diff(twice, "unique_pairs", 3, 4).rows == {"added": 0, "removed": 1, "changed": 0}


def test_a_partition_written_anew_with_the_same_rows_does_not_differ(twice: Lake) -> None:
    made(twice, "unique_pairs", OTHER, [pair(9)])
    found = diff(twice, "unique_pairs", 3, 4)
    assert [(p.partition, p.rows) for p in found.partitions] == [(OTHER, {})]
    assert found.sample == []
    assert diff(twice, "unique_pairs", 4, 4).partitions == []


def test_columns_that_differ_by_nature_are_looked_at_when_asked(lake: Lake) -> None:
    for day in (1, 2):
        rows = [pair(1, fetched_at=datetime(2026, 1, day, tzinfo=UTC), shard_path=f"{day}.tar")]
        made(lake, "images", BUCKET, rows)
    found = diff(lake, "images", 1, 2)
    assert found.rows["changed"] == 0
    assert set(found.ignored) == {"fetched_at", "asked_at", "shard_path", "sample_key"}
    assert diff(lake, "images", 1, 2, all_columns=True).partitions[0].changed_columns == {
        "shard_path": 1,
        "fetched_at": 1,
    }


def test_vectors_are_compared_but_not_shown(lake: Lake) -> None:
    for last in (0.5, 0.75):
        made(lake, "clip_embeddings", BUCKET, [pair(1, encoder="a", image_embedding=[0.25, last])])
    found = diff(lake, "clip_embeddings", 1, 2)
    assert found.rows["changed"] == 1
    (row,) = found.sample
    assert (row.key, row.vectors, row.old, row.new) == (
        {"pair_id": 1, "encoder": "a"},
        ("image_embedding",),
        {},
        {},
    )


def test_where_the_partition_is_the_key_its_one_row_is_compared(lake: Lake) -> None:
    for name in ("one", "two"):
        made(lake, "crawl_snapshots", f"crawl={FIRST}", [{"name": name}])
    found = diff(lake, "crawl_snapshots", 1, 2)
    assert found.key == ()
    assert [(row.old, row.new) for row in found.sample] == [({"name": "one"}, {"name": "two"})]


def test_of_each_kind_the_first_rows_are_shown(lake: Lake) -> None:
    made(lake, "unique_pairs", BUCKET, [pair(n) for n in range(50)])
    made(lake, "unique_pairs", OTHER, [pair(n) for n in range(50)])
    found = diff(lake, "unique_pairs", 0, 2, limit=60)
    assert found.rows["added"] == 100
    assert [(row.partition, row.key["pair_id"]) for row in found.sample] == [
        *((BUCKET, n) for n in range(50)),
        *((OTHER, n) for n in range(10)),
    ]
    assert diff(lake, "unique_pairs", 0, 2, limit=0).sample == []


# -- tables that no catalogue has, and versions that cannot be read ---------------------------------------------------


def test_a_table_that_is_not_declared_needs_a_key(lake: Lake) -> None:
    undeclared(lake, "hosts", pa.table({"host": ["a", "b"], "kind": [1, 1], "n": [1, 2]}), {})
    undeclared(lake, "hosts", pa.table({"host": ["a", "b"], "kind": [1, 1], "n": [1, 3]}), {})
    with pytest.raises(LakeError, match="--key"):
        diff(lake, "hosts", 0, 1)
    with pytest.raises(LakeError, match="names nothing, but both versions have only host, kind, n"):
        diff(lake, "hosts", 0, 1, key=["nothing"])
    with pytest.raises(LakeError, match=r"kind=1 names 2 rows of hosts \[all\] in version 0.*--key"):
        diff(lake, "hosts", 0, 1, key=["kind"])
    found = diff(lake, "hosts", 0, 1, key=["host", "kind"])
    assert [(row.key, row.old, row.new) for row in found.sample] == [({"host": "b", "kind": 1}, {"n": 2}, {"n": 3})]


def test_columns_that_came_went_or_changed_their_type_are_said(lake: Lake) -> None:
    write_deltalake(lake.path("ours"), pa.table({"k": [1, 2], "old": [1, 1], "n": pa.array([1, 2], pa.int32())}))
    rows = pa.table({"k": [1, 2], "n": ["1", "5"], "new": ["x", "x"]})
    write_deltalake(lake.path("ours"), rows, mode="overwrite", schema_mode="overwrite")
    found = diff(lake, "ours", 0, 1, key=["k"])
    assert (found.columns_added, found.columns_removed, found.compared) == (("new",), ("old",), ("n",))
    assert [(row.key["k"], row.old, row.new) for row in found.sample] == [(2, {"n": "2"}, {"n": "5"})]


def test_names_and_values_of_all_kinds_survive(lake: Lake) -> None:
    columns = {'a "quoted" name': [1, None], "kind": ["a.b", "b.a"], "list": [["x"], None], "nan": [float("nan"), 1.0]}
    write_deltalake(lake.path("odd"), pa.table(columns))
    write_deltalake(lake.path("odd"), pa.table({**columns, "list": [["x"], ["y"]]}), mode="overwrite")
    found = diff(lake, "odd", 0, 1, key=['a "quoted" name', "kind"])
    assert [(row.key, row.old, row.new) for row in found.sample] == [
        ({'a "quoted" name': None, "kind": "b.a"}, {"list": None}, {"list": ["y"]})
    ]


@pytest.mark.parametrize(("before", "after"), [(0, 99), (99, 0)])
def test_a_version_that_is_not_there_is_named(twice: Lake, before: int, after: int) -> None:
    with pytest.raises(LakeError, match="unique_pairs has no version 99: its versions are 0 to 3"):
        diff(twice, "unique_pairs", before, after)


def test_a_version_that_was_vacuumed_away_is_named(twice: Lake) -> None:
    delta = DeltaTable(twice.path("unique_pairs"))
    assert delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(LakeError, match="version 2 of unique_pairs cannot be read any more: 1 of its files"):
        diff(twice, "unique_pairs", 2, 3)
    assert diff(twice, "unique_pairs", 3, 3).partitions == []


def test_rows_another_tool_appended_are_added(twice: Lake) -> None:
    foreign(twice, "unique_pairs", BUCKET, [pair(6)])
    assert [row.key for row in diff(twice, "unique_pairs", 3, 4).sample] == [{"pair_id": 6}]
    foreign(twice, "unique_pairs", BUCKET, [pair(6)])
    with pytest.raises(LakeError, match="pair_id=6 names 2 rows"):
        diff(twice, "unique_pairs", 3, 5)


def test_nothing_is_left_behind(twice: Lake) -> None:
    diff(twice, "unique_pairs", 2, 3)
    assert list((twice.staging / "diff").iterdir()) == []


VALUES = st.dictionaries(
    st.integers(0, 12), st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([0.0, 1.5, None])), max_size=8
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=VALUES, after=VALUES)
def test_it_finds_what_a_dictionary_finds(tmp_path_factory: pytest.TempPathFactory, before: Any, after: Any) -> None:
    lake = open_lake(str(tmp_path_factory.mktemp("lake")))
    for rows in (before, after):
        frame = pl.DataFrame(
            [(k, *v) for k, v in rows.items()],
            schema={"k": pl.Int64, "text": pl.String, "real": pl.Float64},
            orient="row",
        )
        write_deltalake(lake.path("t"), frame.to_arrow(), mode="overwrite")
    found = diff(lake, "t", 0, 1, key=["k"], limit=100)
    assert {row.key["k"] for row in found.sample if row.kind == "added"} == set(after) - set(before)
    assert {row.key["k"] for row in found.sample if row.kind == "removed"} == set(before) - set(after)
    changed = {k: (before[k], after[k]) for k in set(before) & set(after) if before[k] != after[k]}
    shown = {row.key["k"]: row for row in found.sample if row.kind == "changed"}
    assert set(shown) == set(changed)
    for k, (old, new) in changed.items():
        differs = [n for n in (0, 1) if old[n] != new[n]]
        assert shown[k].old == {("text", "real")[n]: old[n] for n in differs}
        assert shown[k].new == {("text", "real")[n]: new[n] for n in differs}
