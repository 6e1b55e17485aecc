"""Publishing: what is validated, what a failure leaves behind, what many writers do to one another."""

import multiprocessing
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.errors import LakeError, UpstreamMissing, UpstreamNotValidated, ValidationFailed
from laion_assets.delta.lake import Lake
from laion_assets.delta.writing import MIN_ROW_GROUP_ROWS
from laion_assets.lake.opening import open_lake
from tests.unit.delta.conftest import PROVENANCE, files_frame, paths_of, publish_files


def test_what_is_published_can_be_read_and_says_where_it_came_from(lake: Lake) -> None:
    commit = publish_files(lake, "CC-1", ["a", "b"])
    assert paths_of(lake, "CC-1") == ["a", "b"]
    assert (commit.rows, commit.rows_in, commit.validated, commit.run_id) == (2, 2, True, "run")


def test_a_second_write_replaces_the_partition_and_no_other(lake: Lake) -> None:
    publish_files(lake, "CC-1", ["a", "b"])
    publish_files(lake, "CC-2", ["c"])
    publish_files(lake, "CC-1", ["d"])
    assert (paths_of(lake, "CC-1"), paths_of(lake, "CC-2")) == (["d"], ["c"])


@pytest.mark.parametrize("row_groups", [None, 9])
def test_a_row_group_is_a_range_of_the_sort_order_however_many_there_are(lake: Lake, row_groups: int | None) -> None:
    frame = files_frame([f"{n:06d}" for n in range(450_000)]).reverse()
    with lake_build(lake, "wat_files", {"crawl": "CC-1"}, PROVENANCE) as build:
        build.add(frame)
        build.rows_in = frame.height
        build.publish(row_groups=row_groups)
    [file] = lake.partition_files("wat_files", [{"crawl": "CC-1"}], lake.ledger("wat_files").version)
    written = pq.ParquetFile(file)
    groups = [
        written.read_row_group(g, ["file_number"])["file_number"].to_pylist() for g in range(written.num_row_groups)
    ]
    assert len(groups) == (row_groups or 3)
    assert all(group == list(range(group[0], group[0] + len(group))) for group in groups)
    assert [number for group in sorted(groups) for number in group] == list(range(450_000))


def test_an_empty_result_empties_the_partition_and_is_recorded(lake: Lake) -> None:
    publish_files(lake, "CC-1", ["a", "b"])
    commit = publish_files(lake, "CC-1", [])
    assert commit.rows == 0
    assert lake.commit("wat_files", {"crawl": "CC-1"}) == commit
    assert paths_of(lake, "CC-1") == []


@pytest.mark.parametrize(
    ("frame", "rows_in", "check"),
    [
        (files_frame(["a", "b"]), 3, "conservation"),
        (files_frame(["a", "b"]), 1, "conservation"),
        (pl.concat([files_frame(["a"]), files_frame(["b"])]), 2, "unique_key"),
        (files_frame(["a", "b"]).with_columns(path=pl.lit(None, pl.String)), 2, "not_null"),
    ],
)
def test_a_broken_check_publishes_nothing(lake: Lake, frame: pl.DataFrame, rows_in: int, check: str) -> None:
    before = publish_files(lake, "CC-1", ["old"])
    with (
        pytest.raises(ValidationFailed, match=check) as caught,
        lake_build(lake, "wat_files", {"crawl": "CC-1"}, PROVENANCE) as build,
    ):
        build.add(frame)
        build.rows_in = rows_in
        build.publish()
    assert [c.name for c in caught.value.checks if not c.passed] == [check]
    assert paths_of(lake, "CC-1") == ["old"]
    assert lake.commit("wat_files", {"crawl": "CC-1"}) == before


def test_a_value_outside_the_vocabulary_is_refused(lake: Lake) -> None:
    with (
        pytest.raises(ValidationFailed, match="accepted_values"),
        lake_build(lake, "takedowns", {"kind": "url"}, PROVENANCE) as build,
    ):
        build.con.execute("SELECT 1")
        build.table = lake_table_with_vocabulary()
        build.add(pl.DataFrame({"crawl": ["x"], "url": ["u"], "status": ["perhaps"]}))
        build.rows_in = 1
        build.publish()


def lake_table_with_vocabulary():
    import pyarrow as pa

    from laion_assets.delta.table import Column, Table

    text = pa.string()
    return Table(
        name="takedowns",
        description="a table with a vocabulary",
        key=("url",),
        partition_by=("kind",),
        columns=(
            Column(name="crawl", type=text, description=""),
            Column(name="url", type=text, description=""),
            Column(name="status", type=text, description="", accepted=("success", "failed")),
        ),
    )


def test_a_write_must_name_exactly_one_partition(lake: Lake) -> None:
    with (
        pytest.raises(LakeError, match="only one whole partition"),
        lake_build(lake, "unique_pairs", {"crawl": "CC-1"}, PROVENANCE),
    ):
        pass


def test_reading_what_nobody_built_is_an_error(lake: Lake) -> None:
    with (
        pytest.raises(UpstreamMissing, match="CC-9"),
        lake_build(lake, "candidate_pairs", {"crawl": "CC-9", "shard": 0}, PROVENANCE) as build,
    ):
        build.view("w", "wat_files", [{"crawl": "CC-9"}])


def test_a_partition_written_by_hand_is_not_read_until_it_is_built_again(lake: Lake) -> None:
    publish_files(lake, "CC-1", ["a"])
    by_hand = files_frame(["forged"]).with_columns(crawl=pl.lit("CC-1")).select("crawl", "file_number", "path", "shard")
    write_deltalake(lake.path("wat_files"), by_hand.to_arrow(), mode="append", schema_mode="merge")
    with (
        pytest.raises(UpstreamNotValidated, match="build that partition again"),
        lake_build(lake, "candidate_pairs", {"crawl": "CC-1", "shard": 0}, PROVENANCE) as build,
    ):
        build.view("w", "wat_files", [{"crawl": "CC-1"}])
    publish_files(lake, "CC-1", ["a"])
    with lake_build(lake, "candidate_pairs", {"crawl": "CC-1", "shard": 0}, PROVENANCE) as build:
        build.view("w", "wat_files", [{"crawl": "CC-1"}])
        assert build.con.table("w").pl()["path"].to_list() == ["a"]


def test_reads_are_pinned_and_recorded(lake: Lake) -> None:
    first = publish_files(lake, "CC-1", ["a"])
    with lake_build(lake, "candidate_pairs", {"crawl": "CC-1", "shard": 0}, PROVENANCE) as build:
        build.view("w", "wat_files", [{"crawl": "CC-1"}])
        publish_files(lake, "CC-1", ["changed"])
        build.view("again", "wat_files", [{"crawl": "CC-1"}])
        assert build.con.table("again").pl()["path"].to_list() == ["a"]
        commit = build.publish()
    assert commit.upstreams["wat_files"].version == first.version


def test_the_content_digest_knows_rows_not_their_order(lake: Lake) -> None:
    frame = files_frame(["a", "b", "c"])
    digests = []
    for rows in (frame, frame.reverse(), frame.with_columns(path=pl.lit("z"))):
        with lake_build(lake, "wat_files", {"crawl": "CC-1"}, PROVENANCE) as build:
            build.add(rows)
            build.rows_in = 3
            digests.append(build.publish().content_digest)
    assert digests[0] == digests[1] != digests[2]


def candidates(rows: int, buckets: int) -> pl.DataFrame:
    number = pl.int_range(rows, dtype=pl.Int64)
    return pl.select(
        bucket=((number * 2_654_435_761) % buckets).cast(pl.Int32),
        pair_id=number,
        url_id=number,
        url=pl.format("http://a.example/{}.jpg", number),
        text=pl.format("text number {}", number),
        language=pl.lit("en"),
        language_confidence=pl.lit(0.9, pl.Float32),
        page_url=pl.lit("http://a.example/"),
        file_number=pl.lit(0, pl.Int32),
        path=pl.lit("a.wat.gz"),
        record_offset=number,
        link_position=pl.lit(0, pl.Int32),
        warc_filename=pl.lit(None, pl.String),
        warc_offset=pl.lit(None, pl.Int64),
    )


def test_a_bucket_of_a_shard_of_200_000_rows_lies_in_three_row_groups_of_a_file(lake: Lake) -> None:
    buckets = 64
    with lake_build(lake, "candidate_pairs", {"crawl": "CC-1", "shard": 0}, PROVENANCE) as build:
        build.add(candidates(200_000, buckets))
        build.rows_in = 200_000
        commit = build.publish(row_groups=buckets)
    files = lake.partition_files("candidate_pairs", [{"crawl": "CC-1", "shard": 0}], commit.version)
    for file in files:
        metadata = pq.ParquetFile(file).metadata
        column = pq.ParquetFile(file).schema_arrow.names.index("bucket")
        ranges = [metadata.row_group(g).column(column).statistics for g in range(metadata.num_row_groups)]
        assert all(metadata.row_group(g).num_rows >= MIN_ROW_GROUP_ROWS for g in range(metadata.num_row_groups - 1))
        assert len(ranges) > 10
        for bucket in range(buckets):
            assert sum(s.min <= bucket <= s.max for s in ranges) <= 3


def write_one(root: str, crawl: str, start: "multiprocessing.synchronize.Barrier") -> None:
    start.wait()
    publish_files(open_lake(root), crawl, [f"{crawl}-{n}" for n in range(50)])


def test_sixteen_writers_at_once_lose_nothing_the_first_write_included(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(16)
    crawls = [f"CC-{n:02d}" for n in range(16)]
    writers = [context.Process(target=write_one, args=(root, crawl, start)) for crawl in crawls]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0] * 16
    lake = open_lake(root)
    assert {crawl: len(paths_of(lake, crawl)) for crawl in crawls} == dict.fromkeys(crawls, 50)
    assert set(lake.ledger("wat_files").commits) == {f"crawl={crawl}" for crawl in crawls}


def test_log_entries_are_kept_for_ever(lake: Lake) -> None:
    publish_files(lake, "CC-1", ["a"])
    configuration = DeltaTable(lake.path("wat_files")).metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"


@pytest.mark.parametrize("crawl", ["a/b", "..", "", "../../elsewhere", "a b", "x" * 200])
def test_a_name_that_could_lead_elsewhere_is_no_crawl(lake: Lake, crawl: str) -> None:
    with pytest.raises(LakeError, match="cannot name a partition"):
        publish_files(lake, crawl, ["a"])


def test_a_commit_that_lands_while_the_log_is_read_is_taken_in_later(lake: Lake, monkeypatch) -> None:
    first = publish_files(lake, "CC-1", ["old"])
    history = DeltaTable.history
    reader = open_lake(str(lake.root))

    def racing_history(self: DeltaTable, *arguments: object, **options: object) -> list[dict[str, object]]:
        monkeypatch.setattr(DeltaTable, "history", history)
        publish_files(lake, "CC-1", ["new"])
        return history(self, *arguments, **options)

    monkeypatch.setattr(DeltaTable, "history", racing_history)
    seen = reader.ledger("wat_files").snapshot()
    assert (seen.version, seen.commits["crawl=CC-1"]) == (first.version, first)
    assert reader.commit("wat_files", {"crawl": "CC-1"}) == lake.commit("wat_files", {"crawl": "CC-1"}) != first


def test_settings_and_outside_inputs_are_in_the_commit(lake: Lake) -> None:
    provenance = Provenance(run_id="r", code_version="7", settings_digest="d", externals={"removals": "x"})
    with lake_build(lake, "wat_files", {"crawl": "CC-1"}, provenance) as build:
        build.add(files_frame(["a"]))
        build.rows_in = 3
        build.drop("beyond_limit", 2)
        build.publish()
    commit = open_lake(str(lake.root)).commit("wat_files", {"crawl": "CC-1"})
    assert commit is not None
    assert (commit.code_version, commit.settings_digest, commit.externals) == ("7", "d", {"removals": "x"})
    assert commit.drops == {"beyond_limit": 2}
