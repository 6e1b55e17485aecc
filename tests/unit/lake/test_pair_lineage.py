"""A pair followed row by row: at the versions that were pinned, with all that is known where rows are gone."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.lineage import UNRECORDED, Lineage
from laion_assets.delta.rows import RowFinder
from laion_assets.lake.pair_lineage import PairLineage
from tests.unit.delta.tables_made import (
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
)  # fmt: skip


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
        "filtered_pairs", "clip_embeddings", "images", "unique_pairs", "candidate_pairs", "wat_files",
        "crawl_snapshots", "calibrations",
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
    with pytest.raises(LakeError, match=r"images has no column pair_id.*candidate_pairs, unique_pairs, clip"):
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
    made(crawls, "unique_pairs", bucket, [pair(1, language="de")], reads={"takedowns": []})
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
