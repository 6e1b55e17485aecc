"""Lineage from commits: what was read, at which version, by whom, and what is claimed where that cannot be known."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from laion_assets.lake.errors import LakeError
from laion_assets.lake.history import LakeHistory
from laion_assets.lake.lake import Lake
from laion_assets.lake.lineage import UNRECORDED, CommitKey, Graph, Lineage
from laion_assets.lake.pair_lineage import PairLineage
from laion_assets.lake.rows import RowFinder
from tests.unit.lake.tables_made import (
    ENCODER,
    FIRST,
    SECOND,
    THIRD,
    foreign,
    made,
    made_crawl,
    pair,
    record,
    released,
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
        "filtered_pairs", "clip_embeddings", "images", "unique_pairs", "candidate_pairs", "wat_files", "crawl_snapshots",
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
    with pytest.raises(LakeError, match="no table nothing; it has unique_pairs, takedowns"):
        Lineage(buckets).back("nothing")
    with pytest.raises(LakeError, match="images, which has not been built yet"):
        Lineage(buckets).back("images")


def test_what_a_replaced_table_held_before_is_gone_after(lake: Lake) -> None:
    rows = pa.table({"crawl": [FIRST], "n": [1]})
    undeclared(lake, "counts", rows, {}, by="crawl")
    schema = pa.schema([("crawl", pa.string()), ("m", pa.int64())])
    DeltaTable.create(lake.path("counts"), schema=schema, mode="overwrite", partition_by=["crawl"])
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
        made(Lake.open(str(buckets.root)), "unique_pairs", f"crawl={FIRST}/bucket=0", [pair(1)])
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


# -- pairs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def crawls(lake: Lake) -> Lake:
    """Two crawls in every table, thresholds measured."""
    made(lake, "calibrations", f"encoder_sha256={ENCODER}", [{"encoder": "small", "threshold": 0.25}])
    made_crawl(lake, FIRST)
    made_crawl(lake, SECOND, earlier=[FIRST], numbers=(4, 5, 6))
    return lake


@pytest.fixture
def follow(crawls: Lake) -> Iterator[PairLineage]:
    lineage = Lineage(crawls)
    with RowFinder(lineage.history) as finder:
        yield PairLineage(lineage, finder)


def follow_anew(lake: Lake, table: str, number: int, *, forward: bool = False, **options: object):
    lineage = Lineage(lake)
    with RowFinder(lineage.history) as finder:
        pairs = PairLineage(lineage, finder)
        return (pairs.forward if forward else pairs.back)(table, number, **options)


def test_a_released_pair_is_followed_to_its_record(follow: PairLineage) -> None:
    trace = follow.back("filtered_pairs", 1)
    tables = {key.table for key in trace.rows}
    assert tables == {
        "filtered_pairs", "clip_embeddings", "images", "unique_pairs", "candidate_pairs", "wat_files", "crawl_snapshots",
        "calibrations",
    }  # fmt: skip
    (found,) = trace.records
    assert (found.crawl, found.source_uri, found.path) == (FIRST, f"/source/{FIRST}", "0.wat.gz")
    assert (found.record_offset, found.link_position) == (100, 0)
    assert found.page_url == "http://pages.example/0/100"


def test_the_row_that_won_and_those_it_won_against_are_told_apart(follow: PairLineage) -> None:
    trace = follow.back("unique_pairs", 1)
    held = {key.partition: rows for key, rows in trace.rows.items() if key.table == "candidate_pairs"}
    assert set(held) == {f"crawl={FIRST}/shard=0", f"crawl={FIRST}/shard=3"}
    assert held[f"crawl={FIRST}/shard=0"].winner == 0
    assert held[f"crawl={FIRST}/shard=3"].winner is None
    assert held[f"crawl={FIRST}/shard=3"].found.rows[0]["record_offset"] == 9
    (wat,) = (rows.found.rows for key, rows in trace.rows.items() if key.table == "wat_files")
    assert [row["file_number"] for row in wat] == [0], "the file of the winner alone"


def test_vectors_are_not_read(follow: PairLineage) -> None:
    trace = follow.back("clip_embeddings", 1)
    (row,) = trace.rows[trace.graph.roots[0]].found.rows
    assert row["similarity"] == pytest.approx(0.325)
    assert not {name for name in row if "embedding" in name}


def test_rows_are_those_of_the_pinned_version(crawls: Lake) -> None:
    bucket = f"crawl={FIRST}/bucket=0"
    rescored = [pair(n, sha256=f"{n}", encoder="small", encoder_sha256=ENCODER, similarity=0.9) for n in (1, 2, 3)]
    reads = {"unique_pairs": [bucket], "images": [bucket]}
    after = made(crawls, "clip_embeddings", bucket, rescored, reads=reads)
    made(crawls, "unique_pairs", bucket, [pair(1) | record(3, 9)])
    trace = follow_anew(crawls, "filtered_pairs", 1)
    (scored,) = (rows for key, rows in trace.rows.items() if key.table == "clip_embeddings")
    assert scored.read_version < after.version
    assert scored.found.rows[0]["similarity"] == pytest.approx(0.325)
    assert [r.record_offset for r in trace.records] == [100]


def test_several_rows_with_one_pair_id_are_all_followed(crawls: Lake) -> None:
    other = f"crawl={FIRST}/bucket=1"
    alike = pair(1, bucket=1, url="http://b.example/forged.jpg", text="another text") | record(2, 555)
    made(crawls, "unique_pairs", other, [alike])
    trace = follow_anew(crawls, "unique_pairs", 1)
    assert [key.partition for key in trace.graph.roots] == [f"crawl={FIRST}/bucket=0", other]
    assert {rows.found.rows[0]["url"] for key, rows in trace.rows.items() if key.table == "unique_pairs"} == {
        "http://a.example/1.jpg",
        "http://b.example/forged.jpg",
    }


def test_a_pair_that_went_no_further_is_found_where_it_is(follow: PairLineage) -> None:
    trace = follow.back("filtered_pairs", 3)
    assert trace.graph.roots == []
    held = {key.table: found.rows[0] for key, found in trace.elsewhere.items()}
    assert set(held) == {"candidate_pairs", "unique_pairs", "images", "clip_embeddings"}
    assert held["clip_embeddings"]["similarity"] == pytest.approx(0.575)
    assert held["images"]["status"] == "success"


def test_a_pair_that_nobody_holds_is_nowhere(follow: PairLineage) -> None:
    trace = follow.back("filtered_pairs", 999)
    assert (trace.graph.roots, trace.elsewhere, trace.records) == ([], {}, [])


def test_only_tables_of_pairs_can_be_asked_for_one(follow: PairLineage) -> None:
    with pytest.raises(LakeError, match="images has no column pair_id.*candidate_pairs, unique_pairs, clip_embeddings"):
        follow.back("images", 1)


def test_forward_finds_every_row_made_from_a_candidate(follow: PairLineage) -> None:
    trace = follow.forward("candidate_pairs", 2)
    assert {key.table: rows.found.total for key, rows in trace.rows.items()} == {
        "candidate_pairs": 1, "unique_pairs": 1, "images": 1, "clip_embeddings": 1, "filtered_pairs": 1,
    }  # fmt: skip
    assert "filtered_pairs" not in {key.table for key in follow.forward("candidate_pairs", 3).rows}


def test_tables_of_models_are_part_of_a_pairs_way(crawls: Lake) -> None:
    buckets = [f"crawl={crawl}/bucket=0" for crawl in (FIRST, SECOND)]
    rows = pa.table({"pair_id": [1, 4], "crawl": [FIRST, SECOND], "bucket": pa.array([0, 0], pa.int32())})
    undeclared(crawls, "best", rows, {"filtered_pairs": buckets})
    trace = follow_anew(crawls, "best", 4)
    assert [r.crawl for r in trace.records] == [SECOND]
    assert {key.partition for key in trace.rows if key.table == "filtered_pairs"} == {buckets[1]}
    down = follow_anew(crawls, "clip_embeddings", 4, forward=True)
    assert {key.table for key in down.rows} == {"clip_embeddings", "filtered_pairs", "best"}


def vacuum(lake: Lake, table: str) -> Sequence[str]:
    return lake.table(table).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def test_rows_that_were_vacuumed_away_are_said_to_be(crawls: Lake) -> None:
    bucket = f"crawl={FIRST}/bucket=0"
    made(crawls, "unique_pairs", bucket, [pair(77)], reads={"takedowns": []})
    assert vacuum(crawls, "unique_pairs")
    trace = follow_anew(crawls, "filtered_pairs", 1)
    (rows,) = (rows for key, rows in trace.rows.items() if key.table == "unique_pairs")
    assert (rows.found.gone, rows.found.rows) == (True, [])
    assert "images" in {key.table for key in trace.rows}, "what else is known is shown"
    assert {key.partition for key in trace.rows if key.table == "candidate_pairs"} >= {f"crawl={FIRST}/shard=0"}


def test_rows_with_the_same_content_stand_in_for_those_vacuumed_away(crawls: Lake) -> None:
    before = crawls.commit("clip_embeddings", {"crawl": FIRST, "bucket": 0})
    scored = [
        pair(n, sha256=f"{n}", encoder="small", encoder_sha256=ENCODER, similarity=0.2 + n / 8) for n in (1, 2, 3)
    ]
    after = made(crawls, "clip_embeddings", f"crawl={FIRST}/bucket=0", scored)
    assert before is not None
    assert after.content_digest == before.content_digest
    assert vacuum(crawls, "clip_embeddings")
    trace = follow_anew(crawls, "filtered_pairs", 1)
    (rows,) = (rows for key, rows in trace.rows.items() if key.table == "clip_embeddings")
    newest = Lineage(crawls).history.of("clip_embeddings").version
    assert (rows.found.gone, rows.found.total, rows.found.version) == (True, 1, newest)


def test_a_pair_can_be_asked_for_as_of_a_version(crawls: Lake) -> None:
    before = Lineage(crawls).history.of("filtered_pairs").version
    released(crawls, FIRST, [])
    assert follow_anew(crawls, "filtered_pairs", 1).graph.roots == []
    assert follow_anew(crawls, "filtered_pairs", 1, version=before).records


def test_rows_in_what_another_tool_wrote_have_no_way_back(crawls: Lake) -> None:
    foreign(crawls, "filtered_pairs", f"crawl={THIRD}/bucket=2", [pair(31)])
    trace = follow_anew(crawls, "filtered_pairs", 31)
    assert [key.version for key in trace.graph.roots] == [UNRECORDED]
    assert trace.graph.reads == []
    assert trace.rows[trace.graph.roots[0]].found.rows[0]["pair_id"] == 31


def test_a_pair_with_very_many_copies_is_counted_and_not_read_whole(lake: Lake) -> None:
    copies = [pair(1) | record(0, n) for n in range(500)]
    made(lake, "candidate_pairs", f"crawl={FIRST}/shard=0", copies)
    trace = follow_anew(lake, "candidate_pairs", 1)
    (rows,) = trace.rows.values()
    assert (rows.found.total, len(rows.found.rows)) == (500, 20)
    assert [row["record_offset"] for row in rows.found.rows] == list(range(20))


def test_a_column_that_old_files_lack_does_not_matter(lake: Lake) -> None:
    write_deltalake(lake.path("ours"), pa.table({"pair_id": [1], "n": [1]}))
    more = pa.table({"pair_id": [2], "n": [2], "more": ["x"]})
    write_deltalake(lake.path("ours"), more, mode="append", schema_mode="merge")
    for number in (1, 2):
        (rows,) = follow_anew(lake, "ours", number).rows.values()
        assert rows.found.rows[0]["n"] == number
