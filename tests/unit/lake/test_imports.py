"""Entering imports: their place among the crawls, and what entering them again comes to."""

from collections.abc import Sequence

import polars as pl
import pytest

from laion_assets.delta import build
from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.errors import LakeError
from laion_assets.delta.flow import partitions_read
from laion_assets.delta.inputs import Inputs
from laion_assets.delta.lake import Lake
from laion_assets.delta.lineage import Lineage
from laion_assets.delta.partition import partition_name
from laion_assets.delta.staleness import lake_states
from laion_assets.delta.states import Expectation, State
from laion_assets.lake.imports import ImportedFile, register_import
from laion_assets.lake.opening import open_lake
from laion_assets.tables.catalogue import STAGES, TABLES
from tests.unit.delta.conftest import publish_files

EXPECTED = dict.fromkeys(STAGES, Expectation(settings_digest="s"))


def files(*names: str, rows: int = 10) -> list[ImportedFile]:
    return [
        ImportedFile(
            uri=f"/lists/{name}", kind="list", format="csv", rows=rows, bytes=100, sha256=f"{number:064}",
            mapping={"url": "URL", "text": "TEXT"}, left_out=["WIDTH"],
        )
        for number, name in enumerate(names)
    ]  # fmt: skip


def unique(lake: Lake, crawl: str, numbers: Sequence[int]) -> None:
    """Publish a bucket of ``unique_pairs``, built on the same bucket of all crawls before."""
    provenance = Provenance(run_id="r", code_version=TABLES["unique_pairs"].code_version, settings_digest="s")
    rows = pl.DataFrame({"pair_id": numbers}, schema={"pair_id": pl.Int64}).with_columns(
        url_id=pl.col("pair_id"), url=pl.lit("u"), text=pl.lit("t"), language=pl.lit("en"),
        language_confidence=pl.lit(1.0), page_url=pl.lit(None, pl.String), file_number=0, path=pl.lit("p"),
        record_offset=pl.lit(None, pl.Int64), link_position=pl.lit(None, pl.Int32),
        warc_filename=pl.lit(None, pl.String),
        warc_offset=pl.lit(None, pl.Int64), row_number=pl.col("pair_id"), duplicate_count=1,
    )  # fmt: skip
    partition = {"crawl": crawl, "bucket": 0}
    with lake_build(lake, "unique_pairs", partition, provenance) as building:
        read = TABLES["unique_pairs"].read("unique_pairs", "earlier")
        building.view("earlier", "unique_pairs", partitions_read(lake, read, partition))
        building.add(rows)
        building.rows_in = rows.height
        building.publish()


def earlier(lake: Lake, crawl: str) -> list[str]:
    read = TABLES["unique_pairs"].read("unique_pairs", "earlier")
    found = partitions_read(lake, read, {"crawl": crawl, "bucket": 0})
    return [str(partition["crawl"]) for partition in found]


OLD, NEW = "CC-MAIN-2024-10", "CC-MAIN-2024-18"


@pytest.fixture
def crawls(lake: Lake) -> Lake:
    """A crawl, an import whose name comes before it, another import, and a crawl that came later."""
    unique(lake, OLD, [1])
    register_import(lake, "aaa", files("a.csv"))
    register_import(lake, "AAA", files("b.csv"))
    for crawl, number in (("aaa", 2), ("AAA", 3), (NEW, 4)):
        unique(lake, crawl, [number])
    return lake


def test_an_import_stands_after_all_crawls_that_are_there_whatever_its_name(crawls: Lake) -> None:
    assert crawls.periods == [OLD, "aaa", "AAA", NEW]
    assert {crawl: set(earlier(crawls, crawl)) for crawl in crawls.periods} == {
        OLD: set(), "aaa": {OLD}, "AAA": {OLD, "aaa"}, NEW: {OLD, "aaa", "AAA"},
    }  # fmt: skip


def test_it_keeps_its_place_when_it_is_entered_again(crawls: Lake) -> None:
    again = register_import(crawls, "aaa", files("c.csv", "d.csv"))
    assert (again.after, again.files_before, again.is_changed) == (OLD, 1, True)
    assert crawls.periods == [OLD, "aaa", "AAA", NEW]


def test_what_is_built_on_earlier_crawls_is_judged_in_that_order(crawls: Lake) -> None:
    def stale() -> set[str]:
        states = lake_states(crawls, crawls.periods, EXPECTED, until="unique_pairs")
        found = [s for s in states if s.table == "unique_pairs" and s.partition["bucket"] == 0]
        return {str(s.partition["crawl"]) for s in found if "unique_pairs changed" in s.reasons}

    assert stale() == set()
    unique(crawls, "aaa", [2, 5])
    assert stale() == {"AAA", NEW}
    unique(crawls, OLD, [1, 6])
    assert stale() == {"aaa", "AAA", NEW}


def test_inputs_are_told_as_they_are_recorded_in_whatever_order_they_are_asked(crawls: Lake) -> None:
    declared, inputs = TABLES["unique_pairs"], Inputs(crawls.at_rest(), {})
    for crawl in ("AAA", OLD, NEW, "aaa"):
        partition = {"crawl": crawl, "bucket": 0}
        recorded = crawls.commit("unique_pairs", partition).upstreams["unique_pairs"].digest
        assert inputs.of(declared, partition)["unique_pairs"].digest == recorded


def test_lineage_finds_the_crawls_before_an_import(crawls: Lake) -> None:
    graph = Lineage(crawls).back("unique_pairs", partition=partition_name({"crawl": "AAA", "bucket": 0}))
    [read] = [read for read in graph.reads if read.reader.partition.startswith("crawl=AAA")]
    assert {source.partition for source in read.sources or ()} == {f"crawl={OLD}/bucket=0", "crawl=aaa/bucket=0"}


def test_entering_the_same_files_again_changes_nothing(lake: Lake) -> None:
    assert register_import(lake, "mine", files("a.csv", "b.csv")).is_changed
    before = lake.ledger("imports").version
    again = register_import(lake, "mine", files("a.csv", "b.csv"))
    assert (again.is_changed, again.files_before, lake.ledger("imports").version) == (False, 2, before)


def test_what_a_kill_leaves_is_what_the_next_run_writes(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def table(of: Lake) -> pl.DataFrame:
        return of.scan("imports").collect().drop("registered_at")

    undisturbed = open_lake(f"{lake.uri}-other")
    register_import(undisturbed, "mine", files("a.csv", "b.csv"))
    for function in ("in_order", "write_partition", "write_seal"):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):

            def stop(*_: object, **__: object) -> None:
                raise KeyboardInterrupt

            patched.setattr(build, function, stop)
            register_import(lake, "mine", files("a.csv", "b.csv", "c.csv" if function == "in_order" else "d.csv"))
    register_import(lake, "mine", files("a.csv", "b.csv"))
    assert table(lake).equals(table(undisturbed))
    digests = [of.commit("imports", {"crawl": "mine"}).content_digest for of in (lake, undisturbed)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("CC-MAIN-2031-05", "called like a snapshot of Common Crawl"),
        ("has", "the lake has a crawl has already, which is no import"),
        ("a/b", "cannot name a partition"),
        ("", "cannot name a partition"),
    ],
)
def test_names_that_cannot_be_an_import_s_are_refused(lake: Lake, name: str, told: str) -> None:
    publish_files(lake, "has", ["a"])
    with pytest.raises(LakeError, match=told):
        register_import(lake, name, files("a.csv"))
    assert lake.scan("imports").collect().is_empty()


def test_an_import_without_a_row_is_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match="would have no row: none of its 2 files holds any"):
        register_import(lake, "mine", files("a.csv", "b.csv", rows=0))


def test_crawls_of_the_web_are_not_built_on_imports(lake: Lake) -> None:
    read = TABLES["wat_files"].read("imports")
    assert partitions_read(lake, read, {"crawl": OLD}) == []
    register_import(lake, "mine", files("a.csv"))
    assert partitions_read(lake, read, {"crawl": OLD}) == []
    assert partitions_read(lake, read, {"crawl": "mine"}) == [{"crawl": "mine"}]
    states = {s.table: s.state for s in lake_states(lake, ["mine"], EXPECTED, until="wat_files")}
    assert states == {"crawl_snapshots": State.MISSING, "wat_files": State.MISSING}
