"""What is found once for many partitions is what would be found for each alone."""

import pytest

from laion_assets.delta.commits import Commit, UpstreamRead, combined_digest
from laion_assets.delta.flow import partitions_of, partitions_read
from laion_assets.delta.inputs import Inputs
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import partition_name
from laion_assets.delta.staleness import Judge, judge, lake_states
from laion_assets.delta.states import Expectation, PartitionState, State
from laion_assets.tables.catalogue import PER_CRAWL, STAGES, TABLES

CRAWLS = ["CC-1", "CC-2", "CC-2-B", "CC-3"]
EXPECTED = dict.fromkeys(STAGES, Expectation(settings_digest="s"))


def commit(lake: Lake, table: str, name: str, content: str, upstreams: dict[str, UpstreamRead] | None = None) -> None:
    """Let the lake's ledger hold a commit, as if its log said so."""
    ledger = lake.ledger(table)
    version = ledger.version + 1
    record = Commit(
        table=table, partition=name, rows=1, rows_in=1, drops={}, content_digest=content, run_id="r",
        code_version=TABLES[table].code_version, settings_digest="s", externals={}, upstreams=upstreams or {},
        counts={},
    )  # fmt: skip
    ledger.advance(
        [{**record.to_metadata(), "version": version, "timestamp": 0, "operation": "WRITE"}], version, "crawl"
    )


def build(lake: Lake, table: str, partition: dict[str, object], content: str | None = None) -> None:
    """A commit of one partition, built from what the lake has now."""
    upstreams = {}
    for read in TABLES[table].reads:
        commits = lake.ledger(read.table).commits
        names = [partition_name(p) for p in partitions_read(lake, read, partition)]  # type: ignore[arg-type]
        digests = [(name, commits[name].content_digest) for name in names if name in commits]
        upstreams[read.table] = UpstreamRead(0, combined_digest(digests), len(digests))
    name = partition_name(partition)  # type: ignore[arg-type]
    commit(lake, table, name, content or f"{table} {name}", upstreams)


@pytest.fixture
def still(lake: Lake) -> Lake:
    """A lake at rest in which every partition of four crawls is built."""
    resting = lake.at_rest()
    for table in PER_CRAWL:
        for crawl in CRAWLS:
            for partition in partitions_of(resting, table, crawl):
                build(resting, table, dict(partition))
    return resting


def one_by_one(lake: Lake) -> list[PartitionState]:
    """Every partition judged with nothing known of the others' inputs."""
    states: dict[tuple[str, str], PartitionState] = {}
    for table in PER_CRAWL:
        for crawl in CRAWLS:
            for partition in partitions_of(lake, table, crawl):
                state = judge(lake, TABLES[table], partition, EXPECTED[table], states)
                states[table, state.name] = state
    return list(states.values())


def not_done(states: list[PartitionState]) -> set[tuple[str, str]]:
    return {(state.table, state.name) for state in states if state.state is not State.DONE}


def test_everything_built_in_order_is_done(still: Lake) -> None:
    assert not_done(lake_states(still, CRAWLS, EXPECTED)) == set()


def test_an_optional_table_that_nobody_wants_is_neither_missed_nor_an_input(lake: Lake) -> None:
    resting, (optional,) = lake.at_rest(), [table for table in PER_CRAWL if TABLES[table].optional]
    for table in PER_CRAWL:
        for crawl in CRAWLS if table != optional else ():
            for partition in partitions_of(resting, table, crawl):
                build(resting, table, dict(partition))
    unwanted = {**EXPECTED, optional: Expectation(settings_digest="s", wanted=False)}
    states = lake_states(resting, CRAWLS, unwanted)
    assert not_done(states) == set()
    assert optional not in {state.table for state in states}

    every = {(table, partition_name(p)) for table in (optional, "filtered_pairs") for crawl in CRAWLS
             for p in partitions_of(resting, table, crawl)}  # fmt: skip
    wanted = lake_states(resting, CRAWLS, EXPECTED)
    assert not_done(wanted) == every
    assert {state.reasons for state in wanted} == {()}  # what is released waits for the scores, and is not due yet

    build(resting, optional, {"crawl": "CC-1", "bucket": 0})  # once it is there it counts, whoever wants it
    states = {(state.table, state.name): state for state in lake_states(resting, CRAWLS, unwanted)}
    assert not_done([*states.values()]) == {("filtered_pairs", "crawl=CC-1/bucket=0")}
    assert states["filtered_pairs", "crawl=CC-1/bucket=0"].reasons == (f"{optional} changed",)
    assert states[optional, "crawl=CC-1/bucket=0"].state is State.DONE


@pytest.mark.parametrize("crawls", [CRAWLS, ["CC-1", "CC-2", "CC-3"]])
def test_many_are_judged_as_each_alone(lake: Lake, still: Lake, crawls: list[str]) -> None:
    """Also where one crawl's name begins another's, and the order of names is not that of partitions."""
    commit(still, "candidate_pairs", "crawl=CC-1/shard=1", "other")
    commit(still, "unique_pairs", "crawl=CC-2/bucket=0", "other")
    del still.ledger("images").commits["crawl=CC-3/bucket=1"]
    found = [s for s in lake_states(still, CRAWLS, EXPECTED) if s.partition["crawl"] in crawls]
    expected = [s for s in one_by_one(still) if s.partition["crawl"] in crawls]
    assert found == expected
    assert ("unique_pairs", "crawl=CC-3/bucket=0") in not_done(found)
    assert ("unique_pairs", "crawl=CC-1/bucket=0") in not_done(found)


def test_inputs_asked_for_out_of_order_are_the_same(still: Lake) -> None:
    stage = TABLES["unique_pairs"]
    wanted = [{"crawl": crawl, "bucket": 1} for crawl in ("CC-3", "CC-1", "CC-2", "CC-3", "CC-1")]
    shared = Inputs(still, {})
    assert [shared.of(stage, p) for p in wanted] == [Inputs(still, {}).of(stage, p) for p in wanted]


def test_only_crawls_that_something_happened_to_are_judged_again(still: Lake) -> None:
    judging = Judge()
    judging.judge(still, CRAWLS, EXPECTED)
    every = judging.judged
    assert every == sum(len(partitions_of(still, t, c)) for t in PER_CRAWL for c in CRAWLS)
    judging.judge(still, CRAWLS, EXPECTED)
    assert judging.judged == every
    build(still, "filtered_pairs", {"crawl": "CC-2", "bucket": 0}, content="other")
    judging.judge(still, CRAWLS, EXPECTED)
    assert judging.judged == every + still.shape["buckets"]
    commit(still, "unique_pairs", "crawl=CC-2/bucket=0", "other")
    groups = judging.judge(still, CRAWLS, EXPECTED)
    # CC-2 and the two that come after it, in that table and the four that are built on it.
    assert judging.judged == every + still.shape["buckets"] + 3 * 5 * still.shape["buckets"]
    assert [s for group in groups.values() for s in group.states.values()] == one_by_one(still)


def test_other_settings_are_judged_anew(still: Lake) -> None:
    judging = Judge()
    judging.judge(still, CRAWLS, EXPECTED)
    before = judging.judged
    stricter = {**EXPECTED, "filtered_pairs": Expectation(settings_digest="t")}
    groups = judging.judge(still, CRAWLS, stricter)
    assert judging.judged - before == len(CRAWLS) * still.shape["buckets"]
    assert {table for (table, _), group in groups.items() if group.open} == {"filtered_pairs"}
