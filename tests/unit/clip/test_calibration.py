import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.clip.calibration import (
    CALIBRATION_SCHEMA,
    CalibrationError,
    calibrate,
    distribution_warning,
    keeping_threshold,
    roc_auc,
)
from laion_assets.clip.encoder import Encoder
from tests.unit.clip.conftest import picture

scores = st.lists(st.integers(-5, 5).map(lambda k: k / 5), min_size=1, max_size=12).map(np.array)


@given(scores, scores)
def test_roc_auc_is_the_chance_that_a_positive_scores_higher(positives, negatives):
    pairs = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
    assert roc_auc(positives, negatives) == pytest.approx(np.mean(pairs))


@given(scores, scores, st.floats(0.5, 0.99))
def test_the_threshold_keeps_the_share_that_was_asked_for(positives, negatives, keep):
    found = keeping_threshold(positives, negatives, keep)
    assert found.keep_rate == np.mean(positives >= found.value)
    assert found.drop_rate == np.mean(negatives < found.value)
    assert np.mean(positives >= found.value) >= keep - 1 / len(positives)
    assert np.mean(positives > found.value) <= keep + 1 / len(positives)
    assert found.low <= found.value <= found.high or len(positives) < 3


def test_clean_pairs_alone_decide_whatever_the_shuffled_ones_are():
    rng = np.random.default_rng(0)
    clean, wrong = rng.normal(0.7, 0.05, 20_000), rng.normal(0.3, 0.1, 20_000)
    pure = keeping_threshold(clean, wrong, 0.95)
    mixed = keeping_threshold(clean, np.concatenate([wrong, rng.normal(0.7, 0.05, 4_000)]), 0.95)
    assert (mixed.value, mixed.keep_rate) == (pure.value, pure.keep_rate)
    assert mixed.drop_rate < pure.drop_rate


@pytest.mark.parametrize(("pairs", "keep"), [(100, 0.95), (100, 0.5), (1_000, 0.95), (1_000, 0.99)])
def test_the_interval_holds_the_threshold_of_endlessly_many_pairs_as_often_as_it_says(pairs, keep):
    rng = np.random.default_rng(pairs)
    drawn = [keeping_threshold(rng.random(pairs), np.zeros(1), keep) for _ in range(400)]
    assert np.mean([found.low <= 1 - keep <= found.high for found in drawn]) >= 0.93
    assert np.mean([found.high - found.low for found in drawn]) < 5 * np.sqrt(keep * (1 - keep) / pairs)


def test_an_interval_of_a_few_pairs_reaches_to_the_outermost():
    found = keeping_threshold(np.array([0.4, 0.5, 0.6]), np.zeros(1), 0.95)
    assert (found.low, found.high) == (0.4, 0.5)


def best_parting(positives, negatives):
    """The rule there was before: where keep rate and drop rate are largest together (Youden, Cancer 3 (1950) 32-35)."""
    cuts = np.unique(np.concatenate([positives, negatives]))
    keep = 1 - np.searchsorted(np.sort(positives), cuts) / len(positives)
    return cuts[np.argmax(keep + np.searchsorted(np.sort(negatives), cuts) / len(negatives))]


def of_the_share(positives, negatives):
    return keeping_threshold(positives, negatives, 0.95).value


def kept_shares(rule, noise, *, other_pairs=False):
    """What 20 machines keep of one crawl, whose encoders differ by some noise, each by its own threshold."""
    rng = np.random.default_rng(0)
    true, wrong = rng.normal(0.6, 0.18, 3_000), rng.normal(0.1, 0.2, 12_000)
    crawl = np.concatenate([rng.normal(0.6, 0.18, 6_500), rng.normal(0.1, 0.2, 3_500)])
    found = []
    for machine in range(20):
        rng = np.random.default_rng(1_000 + machine)
        positives = rng.choice(true, len(true)) if other_pairs else true
        negatives = rng.choice(wrong, len(wrong)) if other_pairs else wrong
        threshold = rule(
            positives + rng.normal(0, noise, len(positives)), negatives + rng.normal(0, noise, len(negatives))
        )
        found.append(np.mean(crawl + rng.normal(0, noise, len(crawl)) >= threshold))
    return np.array(found)


@pytest.mark.parametrize("noise", [0.001, 0.005, 0.02])
def test_machines_whose_encoders_differ_a_little_keep_the_same_share(noise):
    assert np.ptp(kept_shares(of_the_share, noise)) < 0.01
    if noise >= 0.005:
        assert np.ptp(kept_shares(best_parting, noise)) > 0.02, "the rule there was before"


def test_other_pairs_of_the_same_kind_keep_about_the_same_share():
    assert np.std(kept_shares(of_the_share, 0.005, other_pairs=True)) < 0.007
    assert np.std(kept_shares(of_the_share, 0.005)) < 0.25 * np.std(kept_shares(best_parting, 0.005))


@pytest.mark.parametrize("keep", [0, 1, 1.5, float("nan")])
def test_what_is_no_share_is_refused(keep):
    with pytest.raises(ValueError, match="keep: expected more than 0 and less than 1"):
        keeping_threshold(np.array([0.1]), np.array([0.1]), keep)


def test_scores_on_one_side_only_are_refused():
    with pytest.raises(ValueError, match="expected scores on both sides"):
        keeping_threshold(np.array([]), np.array([0.1]), 0.95)


def calibration_pairs(groups: dict[str, int]) -> pl.DataFrame:
    rows = [(group, number) for group, size in groups.items() for number in range(size)]
    return pl.DataFrame(
        {
            "image": [picture(number) for number, _ in enumerate(rows)],
            "text": [f"{group} {number}" for group, number in rows],
            "language_group": [group for group, _ in rows],
        },
        schema={"image": pl.Binary, "text": pl.String, "language_group": pl.String},
    )


def test_each_language_group_gets_a_threshold_and_small_groups_that_of_all(wide_encoder: Encoder):
    pairs = calibration_pairs({"en": 120, "multi": 110, "nolang": 7})
    rows = calibrate(wide_encoder, pairs, seed=1, picture_domain="noise")
    assert rows.schema == CALIBRATION_SCHEMA
    assert rows["language_group"].to_list() == ["en", "multi", "nolang"]
    assert rows["positives"].to_list() == [120, 110, 237]
    assert rows["negatives"].to_list() == [480, 440, 948]
    assert ["all groups" in method for method in rows["method"]] == [False, False, True]
    assert rows["encoder_sha256"].unique().to_list() == [wide_encoder.sha256]
    assert [rate == pytest.approx(0.95, abs=0.01) for rate in rows["keep_rate"]] == [True] * 3
    told = (
        r"keeps 0\.95 of the true pairs; 95% interval (-?[\d.]+) to (-?[\d.]+); 4 shuffles within the language group.*"
    )
    for method, threshold in rows.select("method", "threshold").iter_rows():
        low, high = map(float, re.fullmatch(told, method).groups())
        assert low - 1e-4 <= threshold <= high + 1e-4
    fewer = calibrate(wide_encoder, pairs, seed=1, picture_domain="noise", keep=0.5)
    assert (fewer["threshold"] > rows["threshold"]).all()
    again = calibrate(wide_encoder, pairs, seed=1, picture_domain="noise")
    assert rows.drop("calibrated_at").equals(again.drop("calibrated_at"))


def test_a_text_shared_by_many_pictures_is_no_negative_of_theirs(wide_encoder: Encoder):
    pairs = calibration_pairs({"en": 150}).with_columns(
        text=pl.when(pl.int_range(pl.len()) < 75).then(pl.lit("the same")).otherwise("text")
    )
    rows = calibrate(wide_encoder, pairs, seed=1, picture_domain="noise")
    assert rows["negatives"][0] < 4 * 150 * 0.85


def test_undecodable_pictures_are_left_out(wide_encoder: Encoder):
    pairs = pl.concat([calibration_pairs({"en": 130}), calibration_pairs({"en": 5}).with_columns(image=pl.lit(b"no"))])
    assert calibrate(wide_encoder, pairs, seed=1, picture_domain="noise")["positives"][0] == 130


def test_pairs_that_cannot_calibrate_are_refused(wide_encoder: Encoder):
    with pytest.raises(CalibrationError, match="at least 100 pictures"):
        calibrate(wide_encoder, calibration_pairs({"en": 20}), seed=1, picture_domain="noise")
    same = calibration_pairs({"en": 120}).with_columns(text=pl.lit("same"))
    with pytest.raises(CalibrationError, match="found the same text"):
        calibrate(wide_encoder, same, seed=1, picture_domain="noise")
    with pytest.raises(CalibrationError, match="found \\['klingon'\\]"):
        calibrate(wide_encoder, calibration_pairs({"klingon": 120}), seed=1, picture_domain="noise")


CALIBRATED = {"threshold": 0.5, "positive_mean": 0.7, "picture_domain": "drawn shapes"}


def test_a_crawl_like_the_calibration_is_not_warned_of():
    rng = np.random.default_rng(0)
    crawl = np.concatenate([rng.normal(0.7, 0.08, 650), rng.normal(0.1, 0.2, 350)])
    assert distribution_warning(crawl, CALIBRATED) is None
    assert distribution_warning(crawl[:20], CALIBRATED) is None


def test_a_crawl_that_barely_passes_or_never_passes_is_warned_of():
    rng = np.random.default_rng(0)
    foreign = distribution_warning(rng.normal(0.2, 0.2, 1000), CALIBRATED)
    assert foreign is not None
    assert "drawn shapes" in foreign
    assert "only 0.0%" in (distribution_warning(rng.normal(-0.2, 0.05, 1000), CALIBRATED) or "")


def test_pictures_that_do_not_decode_are_counted(encoder: Encoder):
    pairs = calibration_pairs({"en": 120})
    broken = pl.Series([b"no picture"] * 3 + pairs["image"].to_list()[3:])
    left_out: dict[str, int] = {}
    calibrate(encoder, pairs.with_columns(image=broken), seed=1, picture_domain="noise", left_out=left_out)
    assert left_out == {"undecodable": 3}
