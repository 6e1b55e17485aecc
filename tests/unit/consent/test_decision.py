"""What follows from all that was said of one picture."""

import pytest

from laion_assets.consent.decision import before_asking, refusal
from laion_assets.consent.signals import SIGNALS, Said


def no(signal: str) -> Said:
    return Said(signal, "no", False, SIGNALS[signal].forbids)


def yes(signal: str) -> Said:
    return Said(signal, "yes", True)


@pytest.mark.parametrize(
    ("said", "by"),
    [
        ([], None),
        ([no("ai_txt"), yes("content_usage")], "ai_txt"),
        ([no("tdmrep_file")], "tdmrep_file"),
        ([no("tdmrep_file"), yes("tdm_header")], None),
        ([yes("tdmrep_file"), no("tdm_header")], "tdm_header"),
        ([no("tdm_header_page"), yes("tdm_meta")], None),
        ([no("tdmrep_file"), yes("tdm_header"), no("c2pa")], "c2pa"),
        ([no("content_usage"), yes("content_usage_robots")], "content_usage"),
    ],
)
def test_the_nearest_reservation_holds_and_every_other_no(said: list[Said], by: str | None) -> None:
    found = refusal(said)
    assert (None if found is None else found.signal) == by


@pytest.mark.parametrize("signal", SIGNALS)
def test_each_signal_can_be_left_out(signal: str) -> None:
    assert refusal([no(signal)]) == no(signal)
    assert refusal([no(signal)], SIGNALS.keys() - {signal}) is None


def test_what_an_answer_may_override_is_asked_for() -> None:
    assert before_asking([no("tdmrep_file")]) is None
    assert before_asking([no("tdmrep_file"), no("robots_txt")]) == no("robots_txt")
