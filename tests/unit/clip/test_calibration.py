import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.clip.calibration import (
    CALIBRATION_SCHEMA,
    CalibrationError,
    best_threshold,
    calibrate,
    distribution_warning,
    roc_auc,
)
from laion_assets.clip.encoder import Encoder
from tests.unit.clip.conftest import picture

scores = st.lists(st.integers(-5, 5).map(lambda k: k / 5), min_size=1, max_size=12).map(np.array)


@given(scores, scores)
def test_roc_auc_is_the_chance_that_a_positive_scores_higher(positives, negatives):
    pairs = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
    assert roc_auc(positives, negatives) == pytest.approx(np.mean(pairs))


@given(scores, scores)
def test_no_threshold_beats_the_best(positives, negatives):
    best = best_threshold(positives, negatives)
    assert best.keep_rate == np.mean(positives >= best.value)
    assert best.drop_rate == np.mean(negatives < best.value)
    for threshold in np.linspace(-1.1, 1.1, 45):
        gain = np.mean(positives >= threshold) + np.mean(negatives < threshold)
        assert best.keep_rate + best.drop_rate >= gain - 1e-12


def test_the_threshold_stands_in_the_middle_between_clean_and_shuffled():
    best = best_threshold(np.array([0.7, 0.8, 0.9]), np.array([0.1, 0.2, 0.3]))
    assert best.value == pytest.approx(0.5)
    assert (best.keep_rate, best.drop_rate, best.roc_auc) == (1, 1, 1)


def test_shuffled_pairs_that_happen_to_be_true_do_not_move_the_threshold():
    rng = np.random.default_rng(0)
    clean, wrong = rng.normal(0.7, 0.05, 20_000), rng.normal(0.3, 0.1, 20_000)
    pure = best_threshold(clean, wrong)
    mixed = best_threshold(clean, np.concatenate([wrong, rng.normal(0.7, 0.05, 4_000)]))
    assert mixed.value == pytest.approx(pure.value, abs=0.02)


def test_scores_on_one_side_only_are_refused():
    with pytest.raises(ValueError, match="expected scores on both sides"):
        best_threshold(np.array([]), np.array([0.1]))


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
