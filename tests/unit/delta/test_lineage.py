"""Lineage from commits: what was read, at which version, by whom, and what is claimed where that cannot be known."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable

from laion_assets.delta.commits import REPLACED
from laion_assets.delta.errors import LakeError
from laion_assets.delta.history import LakeHistory
from laion_assets.delta.lake import Lake
from laion_assets.delta.lineage import UNRECORDED, CommitKey, Graph, Lineage
from laion_assets.lake.opening import open_lake
from tests.unit.delta.tables_made import (
    FIRST,
    SECOND,
    THIRD,
    foreign,
    made,
    made_crawl,
    pair,
    undeclared,
)


def sources(graph: Graph, table: str) -> list[str] | None:
    """The partitions that the root read of ``table``; None where they were not identified."""
    (read,) = (read for read in graph.reads if read.table == table and read.reader == graph.roots[0])
    return None if read.sources is None else [source.partition for source in read.sources]


@pytest.fixture
def buckets(lake: Lake) -> Lake:
    """Unique pairs of three crawls in two buckets each, all different."""
    for crawl in (FIRST, SECOND, THIRD):
        for bucket in (0, 1):
            made(lake, "unique_pairs", f"crawl={crawl}/bucket={bucket}", [pair(hash_of(crawl, bucket))])
    return lake


def hash_of(crawl: str, bucket: int) -> int:
    return int(crawl[-2:]) * 10 + bucket


def names(*parts: tuple[str, int]) -> list[str]:
    return [f"crawl={crawl}/bucket={bucket}" for crawl, bucket in parts]


# -- which partitions were read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        [],
        names((SECOND, 1)),
        names((FIRST, 1)),
        names((FIRST, 1), (SECOND, 1)),
        names((FIRST, 1), (SECOND, 1), (THIRD, 1)),
        names((SECOND, 0), (SECOND, 1)),
        names((FIRST, 0), (FIRST, 1)),
        names((FIRST, 0), (FIRST, 1), (SECOND, 0), (SECOND, 1)),
        names(*((crawl, bucket) for crawl in (FIRST, SECOND, THIRD) for bucket in (0, 1))),
        names((THIRD, 0)),
        names((FIRST, 0), (SECOND, 0), (THIRD, 0)),
        names((THIRD, 0), (THIRD, 1)),
    ],
    ids=[
        "none", "same", "earlier", "same and earlier", "bucket in all crawls", "same crawl", "earlier crawls",
        "crawls so far", "all", "another one", "another bucket", "another crawl",
    ],
)  # fmt: skip
def test_the_partitions_read_are_found_by_their_digest(buckets: Lake, read: list[str]) -> None:
    made(buckets, "images", f"crawl={SECOND}/bucket=1", reads={"unique_pairs": read})
    graph = Lineage(buckets).back("images", partition=f"crawl={SECOND}/bucket=1")
    assert sources(graph, "unique_pairs") == read


def test_a_set_that_nobody_could_have_meant_is_not_identified(buckets: Lake) -> None:
    made(buckets, "images", f"crawl={SECOND}/bucket=1", reads={"unique_pairs": names((FIRST, 0), (THIRD, 1))})
    graph = Lineage(buckets).back("images")
    assert sources(graph, "unique_pairs") is None
    assert [(r.table, r.partitions) for r in graph.reads] == [("unique_pairs", 2)]
    assert set(graph.nodes) == set(graph.roots), "nothing is claimed"


def test_what_may_have_been_taken_by_an_unidentified_read_is_said(buckets: Lake) -> None:
    made(buckets, "images", f"crawl={SECOND}/bucket=1", reads={"unique_pairs": names((FIRST, 0), (THIRD, 1))})
    graph = Lineage(buckets).forward("unique_pairs", partition=f"crawl={FIRST}/bucket=0")
    assert graph.reads == []
    assert [str(read.reader) for read in graph.unsure] == [f"images@1[crawl={SECOND}/bucket=1]"]


def test_a_rebuilt_upstream_is_shown_as_it_was_when_it_was_read(buckets: Lake) -> None:
    (name,) = names((SECOND, 1))
    pinned = Lineage(buckets).history.of("unique_pairs").version
    made(buckets, "images", name, reads={"unique_pairs": [name]})
    before = buckets.commit("unique_pairs", {"crawl": SECOND, "bucket": 1})
    after = made(buckets, "unique_pairs", name, [pair(7_777)])
    graph = Lineage(buckets).back("images")
    (read,) = graph.reads
    assert before is not None
    assert read.version == pinned < after.version
    assert read.sources == (CommitKey("unique_pairs", name, before.version),)
    assert graph.nodes[read.sources[0]].replaced_in == after.version
    assert graph.nodes[read.sources[0]].commit == before


def test_every_upstream_is_followed_to_the_first_table(lake: Lake) -> None:
    made_crawl(lake, FIRST)
    made_crawl(lake, SECOND, earlier=[FIRST], numbers=(4, 5, 6))
    graph = Lineage(lake).back("filtered_pairs", partition=f"bucket=0/crawl={SECOND}")
    reached = {(key.table, key.partition) for key in graph.nodes}
    assert {table for table, _ in reached} == {
        "filtered_pairs", "clip_embeddings", "images", "unique_pairs", "candidate_pairs", "wat_files",
        "crawl_snapshots",
    }  # fmt: skip
    assert ("wat_files", f"crawl={FIRST}") in reached, "by way of the pairs of the earlier crawl"
    assert {(r.table, r.partitions) for r in graph.reads if r.sources == ()} == {("takedowns", 0), ("unique_pairs", 0)}


# -- as of a version --------------------------------------------------------------------------------------------------


def test_a_version_is_what_its_commit_wrote(buckets: Lake) -> None:
    graph = Lineage(buckets).back("unique_pairs", version=3)
    assert [str(root) for root in graph.roots] == [f"unique_pairs@3[crawl={SECOND}/bucket=0]"]
    assert graph.entry is not None
    assert graph.entry.commit == graph.nodes[graph.roots[0]].commit


def test_a_partition_can_be_asked_for_as_of_a_version(buckets: Lake) -> None:
    (name,) = names((FIRST, 0))
    made(buckets, "unique_pairs", name, [pair(5)])
    lineage = Lineage(buckets)
    assert lineage.back("unique_pairs", partition=name).roots[0].version == 7
    assert lineage.back("unique_pairs", partition=name, version=6).roots[0].version == 1
    with pytest.raises(LakeError, match=f"no partition crawl={SECOND}/bucket=0"):
        lineage.back("unique_pairs", partition=f"crawl={SECOND}/bucket=0", version=2)


@pytest.mark.parametrize("version", [7, 99])
def test_a_version_that_is_not_there_is_named(buckets: Lake, version: int) -> None:
    with pytest.raises(LakeError, match=f"no version {version}: its versions are 0 to 6"):
        Lineage(buckets).back("unique_pairs", version=version)


def test_a_table_that_is_not_there_is_named_with_those_that_are(buckets: Lake) -> None:
    with pytest.raises(LakeError, match="no table nothing; it has imports, unique_pairs, takedowns"):
        Lineage(buckets).back("nothing")
    with pytest.raises(LakeError, match="images, which has not been built yet"):
        Lineage(buckets).back("images")


def test_what_a_replaced_table_held_before_is_gone_after(lake: Lake) -> None:
    rows = pa.table({"crawl": [FIRST], "n": [1]})
    undeclared(lake, "counts", rows, {}, by="crawl")
    schema = pa.schema([("crawl", pa.string()), ("m", pa.int64())])
    DeltaTable.create(
        lake.path("counts"),
        schema=schema,
        mode="overwrite",
        partition_by=["crawl"],
        commit_properties=CommitProperties(custom_metadata={REPLACED: "true"}),
    )
    undeclared(lake, "counts", pa.table({"crawl": [SECOND], "m": [1]}), {}, by="crawl")
    history = LakeHistory(lake).of("counts")
    assert [c.partition for c in history.partitions_at(0)] == [f"crawl={FIRST}"]
    assert history.partitions_at(1) == []
    assert [c.partition for c in history.partitions_at(2)] == [f"crawl={SECOND}"]
    assert history.replaced_in(history.commits[f"crawl={FIRST}"][0]) == 1


def test_a_commit_that_lands_while_the_log_is_read_does_not_shift_the_others(buckets: Lake, monkeypatch) -> None:
    real = DeltaTable.history

    def racing(self: DeltaTable, *arguments: object, **options: object) -> list[dict[str, object]]:
        monkeypatch.setattr(DeltaTable, "history", real)
        made(open_lake(str(buckets.root)), "unique_pairs", f"crawl={FIRST}/bucket=0", [pair(1)])
        return real(self, *arguments, **options)

    monkeypatch.setattr(DeltaTable, "history", racing)
    history = LakeHistory(buckets).of("unique_pairs")
    expected = [f"crawl={c}/bucket={b}" for c in (FIRST, SECOND, THIRD) for b in (0, 1)]
    assert [entry.commit.partition for entry in history.entries if entry.commit] == expected
    assert [entry.version for entry in history.entries] == list(range(7))


# -- writes without a record ------------------------------------------------------------------------------------------


def test_a_write_without_a_record_is_named_with_what_it_touched(buckets: Lake) -> None:
    foreign(buckets, "unique_pairs", f"crawl={FIRST}/bucket=1")
    graph = Lineage(buckets).back("unique_pairs", version=7)
    assert graph.roots == []
    assert graph.entry is not None
    assert (graph.entry.foreign, graph.entry.operation) == (True, "WRITE")
    assert graph.touched == (f"crawl={FIRST}/bucket=1",)


def test_what_was_written_before_a_foreign_write_is_doubted_and_what_came_after_is_not(buckets: Lake) -> None:
    foreign(buckets, "unique_pairs", f"crawl={FIRST}/bucket=1")
    made(buckets, "unique_pairs", f"crawl={SECOND}/bucket=1", [pair(3)])
    graph = Lineage(buckets).back("unique_pairs")
    doubted = {key.partition for key in graph.roots if graph.nodes[key].foreign}
    assert doubted == set(names((FIRST, 0), (FIRST, 1), (SECOND, 0), (THIRD, 0), (THIRD, 1)))


def test_a_partition_that_only_others_wrote_is_shown_as_such(buckets: Lake) -> None:
    foreign(buckets, "unique_pairs", "crawl=CC-2025-01/bucket=3")
    graph = Lineage(buckets).back("unique_pairs", partition="crawl=CC-2025-01/bucket=3")
    assert graph.roots == [CommitKey("unique_pairs", "crawl=CC-2025-01/bucket=3", UNRECORDED)]
    assert graph.nodes[graph.roots[0]].commit is None


def test_a_version_that_changed_no_rows_says_what_it_was(buckets: Lake) -> None:
    graph = Lineage(buckets).back("unique_pairs", version=0)
    assert graph.entry is not None
    assert (graph.roots, graph.entry.operation, graph.entry.foreign) == ([], "CREATE TABLE", False)


# -- what was made from it --------------------------------------------------------------------------------------------


def test_forward_shows_only_what_took_exactly_that_commit(buckets: Lake) -> None:
    one, other = names((FIRST, 0), (FIRST, 1))
    made(buckets, "images", one, reads={"unique_pairs": [one]})
    made(buckets, "images", other, reads={"unique_pairs": [other]})
    made(buckets, "clip_embeddings", one, reads={"unique_pairs": [one], "images": [one]})
    graph = Lineage(buckets).forward("unique_pairs", partition=one)
    assert {str(key) for key in graph.nodes} == {
        f"unique_pairs@1[{one}]",
        f"images@1[{one}]",
        f"clip_embeddings@1[{one}]",
    }
    made(buckets, "unique_pairs", one, [pair(8)])
    assert Lineage(buckets).forward("unique_pairs", partition=one).reads == [], "all that is stale now"
    assert len(Lineage(buckets).forward("unique_pairs", version=1).nodes) == 3, "and was made from what there was"


def test_what_was_replaced_is_left_out_unless_something_there_now_came_from_it(buckets: Lake) -> None:
    (one,) = names((FIRST, 0))
    made(buckets, "images", one, reads={"unique_pairs": [one]})
    made(buckets, "clip_embeddings", one, reads={"images": [one]})
    made(buckets, "images", one, [pair(1)], reads={"unique_pairs": [one]})
    lineage = Lineage(buckets)
    assert {str(k) for k in lineage.forward("unique_pairs", partition=one).nodes} == {
        f"unique_pairs@1[{one}]",
        f"images@1[{one}]",
        f"images@2[{one}]",
        f"clip_embeddings@1[{one}]",
    }
    made(buckets, "clip_embeddings", one, reads={"images": [one]})
    lineage = Lineage(buckets)
    kept = lineage.forward("unique_pairs", partition=one)
    assert {str(k) for k in kept.nodes if k.table != "unique_pairs"} == {
        f"images@2[{one}]",
        f"clip_embeddings@2[{one}]",
    }
    assert kept.left_out == 2
    assert len(lineage.forward("unique_pairs", partition=one, replaced=True).nodes) == 5


# -- tables that no catalogue has -------------------------------------------------------------------------------------


def test_a_table_without_partitions_has_one_that_is_called_all(buckets: Lake) -> None:
    every = names(*((crawl, bucket) for crawl in (FIRST, SECOND, THIRD) for bucket in (0, 1)))
    undeclared(buckets, "overlap", pa.table({"n": [1]}), {"unique_pairs": every})
    undeclared(buckets, "summary", pa.table({"crawl": [SECOND], "n": [1]}), {"overlap": ["all"]}, by="crawl")
    graph = Lineage(buckets).back("summary", partition=f"crawl={SECOND}")
    assert sources(graph, "overlap") == ["all"]
    assert len([key for key in graph.nodes if key.table == "unique_pairs"]) == 6
    forward = Lineage(buckets).forward("unique_pairs", partition=every[0])
    assert [str(key) for key in forward.nodes][1:] == ["overlap@0[all]", f"summary@0[crawl={SECOND}]"]
    assert Lineage(buckets).back("overlap", partition="all").roots == [CommitKey("overlap", "all", 0)]


def test_an_upstream_whose_table_is_gone_is_not_identified(buckets: Lake) -> None:
    undeclared(buckets, "middle", pa.table({"n": [1]}), {"unique_pairs": names((FIRST, 0))})
    undeclared(buckets, "last", pa.table({"n": [1]}), {"middle": ["all"]})
    for file in sorted(Path(buckets.path("middle")).rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    assert sources(Lineage(buckets).back("last"), "middle") is None
