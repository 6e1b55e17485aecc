"""Removal requests: none is lost, whoever enters them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake

from laion_assets.consent.removals import in_force, load_removals
from laion_assets.delta import writing
from laion_assets.delta.build import PartitionBuild
from laion_assets.delta.errors import LakeError, PartitionBusy, UpstreamNotValidated
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.lake.takedowns import Outcome, counts_of, request_takedown, settle_takedowns, withdraw_takedowns
from laion_assets.sql import connect


def requests(lake: Lake) -> list[tuple[str, str, str | None]]:
    return connect(lake).sql("SELECT kind, value, reason FROM takedowns ORDER BY ALL").fetchall()


def test_requests_of_one_kind_are_kept_beside_one_another(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", "asked")
    request_takedown(lake, "domain", "b.example", None)
    request_takedown(lake, "url", "http://c.example/x.jpg", None)
    assert requests(lake) == [
        ("domain", "a.example", "asked"),
        ("domain", "b.example", None),
        ("url", "http://c.example/x.jpg", None),
    ]


def test_the_same_request_again_is_one_request(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", None)
    request_takedown(lake, "domain", "a.example", "now with a reason")
    assert requests(lake) == [("domain", "a.example", "now with a reason")]


def test_an_unknown_kind_is_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match="url, domain, sha256, pair_id"):
        request_takedown(lake, "phone", "12345", None)
    assert requests(lake) == []


def test_a_request_that_another_tool_wrote_is_not_written_over(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", None)
    written = pl.scan_delta(lake.path("takedowns")).collect().with_columns(value=pl.lit("b.example"))
    write_deltalake(lake.path("takedowns"), written.to_arrow(), mode="append")
    with pytest.raises(UpstreamNotValidated):
        request_takedown(lake, "domain", "c.example", None)


def standing(lake: Lake) -> set[tuple[str, str]]:
    return {(kind, str(value)) for _, kind, value in in_force(lake.scan("takedowns").collect())}


def test_a_withdrawn_request_stays_to_be_read_and_counts_no_more(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", "asked")
    request_takedown(lake, "domain", "b.example", None)
    withdraw_takedowns(lake, "domain", ["a.example"], "a mistake")
    assert requests(lake) == [
        ("domain", "a.example", "asked"),
        ("domain", "b.example", None),
        ("withdrawal", "domain a.example", "a mistake"),
    ]
    assert standing(lake) == {("domain", "b.example")}


def test_a_request_that_is_entered_again_counts_again_and_can_be_withdrawn_again(lake: Lake) -> None:
    for _ in range(2):
        request_takedown(lake, "pair_id", "-92", None)
        assert standing(lake) == {("pair_id", "-92")}
        withdraw_takedowns(lake, "pair_id", ["-92"], None)
        assert standing(lake) == set()
    assert len(requests(lake)) == 2


def test_a_withdrawal_takes_back_the_request_that_it_names_and_no_other(lake: Lake) -> None:
    for kind, value in (("domain", "a.example"), ("url", "http://a.example/"), ("domain", "b.a.example")):
        request_takedown(lake, kind, value, None)
    withdraw_takedowns(lake, "url", ["http://a.example/"], None)
    assert standing(lake) == {("domain", "a.example"), ("domain", "b.a.example")}
    assert len(load_removals(lake.scan("takedowns").collect()).frame) == 2


def test_removals_are_what_they_were_once_a_request_is_withdrawn(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", None)
    before = load_removals(lake.scan("takedowns").collect()).digest
    request_takedown(lake, "sha256", "0" * 64, None)
    assert load_removals(lake.scan("takedowns").collect()).digest != before
    withdraw_takedowns(lake, "sha256", ["0" * 64], None)
    assert load_removals(lake.scan("takedowns").collect()).digest == before


def settled(lake: Lake) -> dict[str, tuple[dict[str, int] | None, list[str] | None, datetime | None]]:
    rows = lake.scan("takedowns").collect().to_dicts()
    return {
        row["value"]: (
            counts_of(row["rows_removed"]),
            row["tainted_checkpoints"],
            row["completed_at"],
        )
        for row in rows
    }


def outcome(lake: Lake, value: str, **others: Any) -> Outcome:
    [asked] = lake.scan("takedowns").collect().filter(value=value)["requested_at"]
    told = {"rows_removed": {"images": 2}, "tainted_checkpoints": ["small epoch 1"], "completed_at": None, **others}
    return Outcome(value=value, requested_at=asked, **told)


DONE = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_what_became_of_a_request_is_written_beside_it_once(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", "asked")
    request_takedown(lake, "domain", "b.example", None)
    before = lake.commit("takedowns", {"kind": "domain"})
    assert settle_takedowns(lake, "domain", [outcome(lake, "a.example")]) is not None
    assert settled(lake)["a.example"] == ({"images": 2}, ["small epoch 1"], None)
    assert settled(lake)["b.example"] == (None, None, None)
    assert settle_takedowns(lake, "domain", [outcome(lake, "a.example")]) is None, "nothing else to say"
    late = outcome(lake, "a.example", rows_removed={}, completed_at=DONE)
    assert settle_takedowns(lake, "domain", [late]) is not None
    assert settled(lake)["a.example"] == ({"images": 2}, ["small epoch 1"], DONE), "what is written stays"
    after = lake.commit("takedowns", {"kind": "domain"})
    assert before is not None
    assert after is not None
    assert before.content_digest == after.content_digest, "nothing that is built on requests becomes stale"
    request_takedown(lake, "domain", "c.example", None)
    assert settled(lake)["a.example"] == ({"images": 2}, ["small epoch 1"], DONE), "nor does the next request"
    assert len(requests(lake)) == 3


def test_what_was_found_of_a_request_says_nothing_of_it_once_it_is_entered_again(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", None)
    found = outcome(lake, "a.example", completed_at=DONE)
    withdraw_takedowns(lake, "domain", ["a.example"], None)
    request_takedown(lake, "domain", "a.example", "again")
    assert settle_takedowns(lake, "domain", [found]) is None
    assert settled(lake)["a.example"] == (None, None, None)


def test_a_request_that_is_entered_meanwhile_is_not_lost(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", None)
    found = outcome(lake, "a.example", completed_at=DONE)
    request_takedown(lake, "domain", "b.example", "after the look")
    assert settle_takedowns(lake, "domain", [found]) is not None
    assert requests(lake) == [("domain", "a.example", None), ("domain", "b.example", "after the look")]
    assert settled(lake)["b.example"] == (None, None, None)


def elsewhere(lake: Lake, tmp_path: Path) -> Lake:
    """The same lake as another machine has it, whose locks are others."""
    other = open_lake(lake.uri)
    other.storage.scratch = tmp_path / "other_scratch"
    return other


@pytest.mark.parametrize("moment", ["own_earlier_rows", "add", "publish"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_request_that_another_machine_enters_at_the_same_time_is_not_lost(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, is_first: bool
) -> None:
    if not is_first:
        request_takedown(lake, "url", "http://a.example/1", None)
    other = elsewhere(lake, tmp_path)
    meanwhile(monkeypatch, moment, lambda: request_takedown(other, "url", "http://b.example/2", None))
    request_takedown(lake, "url", "http://c.example/3", None)
    found = [value for _, value, _ in requests(lake)]
    assert found == [*([] if is_first else ["http://a.example/1"]), "http://b.example/2", "http://c.example/3"]


@pytest.mark.parametrize("moment", ["own_earlier_rows", "publish"])
def test_what_is_written_down_of_requests_loses_none_that_another_machine_enters(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    request_takedown(lake, "url", "http://a.example/1", None)
    found = outcome(lake, "http://a.example/1")
    other = elsewhere(lake, tmp_path)
    meanwhile(monkeypatch, moment, lambda: request_takedown(other, "url", "http://b.example/2", None))
    with pytest.raises(PartitionBusy, match="another process wrote it since it was read"):
        settle_takedowns(lake, "url", [found])
    assert [value for _, value, _ in requests(lake)] == ["http://a.example/1", "http://b.example/2"]
    assert settle_takedowns(lake, "url", [found]) is not None
    assert settled(lake)["http://a.example/1"][0] == {"images": 2}


def test_a_request_that_is_entered_between_opening_the_table_and_writing_it_is_not_lost(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, written = elsewhere(lake, tmp_path), []

    def write(*args: Any, **options: Any) -> None:
        if not written:
            written.append(True)
            request_takedown(other, "url", "http://b.example/2", None)
        write_deltalake(*args, **options)

    monkeypatch.setattr(writing, "write_deltalake", write)
    request_takedown(lake, "url", "http://c.example/3", None)
    assert [value for _, value, _ in requests(lake)] == ["http://b.example/2", "http://c.example/3"]


def meanwhile(monkeypatch: pytest.MonkeyPatch, moment: str, act: Callable[[], object]) -> None:
    """Let something be done once, when a build next gets to a moment: after rows are read, or before the others."""
    method = getattr(PartitionBuild, moment)

    def with_it(build: PartitionBuild, *args: Any, **options: Any) -> Any:
        monkeypatch.setattr(PartitionBuild, moment, method)
        if moment != "own_earlier_rows":
            act()
            return method(build, *args, **options)
        found = method(build, *args, **options)
        act()
        return found

    monkeypatch.setattr(PartitionBuild, moment, with_it)


def test_a_request_that_stands_and_is_entered_again_keeps_what_was_written_down_of_it(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", "asked")
    settle_takedowns(lake, "domain", [outcome(lake, "a.example", completed_at=DONE)])
    before = lake.scan("takedowns").collect().to_dicts()
    request_takedown(lake, "domain", "a.example", None)
    assert lake.scan("takedowns").collect().to_dicts() == before
    request_takedown(lake, "domain", "a.example", "asked again")
    assert lake.scan("takedowns").collect().to_dicts() == [{**before[0], "reason": "asked again"}]
    withdraw_takedowns(lake, "domain", ["a.example"], None)
    request_takedown(lake, "domain", "a.example", "after all")
    assert settled(lake)["a.example"] == (None, None, None)


def test_checkpoints_that_turn_out_to_have_learned_from_it_are_added(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", None)
    for told, written in (
        ([], []),
        (["small epoch 2"], ["small epoch 2"]),
        (["small epoch 1", "small epoch 2"], ["small epoch 2", "small epoch 1"]),
        (["small epoch 3"], ["small epoch 2", "small epoch 1", "small epoch 3"]),
    ):
        assert settle_takedowns(lake, "domain", [outcome(lake, "a.example", tainted_checkpoints=told)]) is not None
        assert settled(lake)["a.example"][1] == written
        assert settle_takedowns(lake, "domain", [outcome(lake, "a.example", tainted_checkpoints=told)]) is None
