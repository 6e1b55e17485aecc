import polars as pl
import pytest

from laion_assets.sample.truth import score


def truth(rows):
    columns = {"url": pl.String, "text": pl.String, "language": pl.String, "matched": pl.Boolean,
               "contradicted": pl.List(pl.String), "outcome": pl.String}  # fmt: skip
    return pl.DataFrame(rows, schema=columns, orient="row")


def embedded(rows):
    schema = {"url": pl.String, "text": pl.String, "similarity": pl.Float64, "kept": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


TRUTH = truth(
    [
        ("u1", "a", "en", True, [], "embedded"),
        ("u2", "b", "en", True, [], "embedded"),
        ("u3", "c", "de", True, [], "embedded"),
        ("u4", "d", "de", False, ["size"], "embedded"),
        ("u5", "e", "en", False, ["shape", "size"], "embedded"),
        ("u6", "f", "en", False, ["count", "size"], "embedded"),
        ("u7", "g", "en", None, [], "markup"),
        ("u8", "h", "en", True, [], "http_4xx"),
    ]
)


def test_rates_by_language_and_kind_of_contradiction():
    result = score(
        TRUTH,
        embedded(
            [("u1", "a", 0.9, True), ("u2", "b", 0.2, False), ("u3", "c", 0.8, True), ("u4", "d", 0.85, True),
             ("u5", "e", 0.1, False), ("u6", "f", 0.6, True)]
        ),
    )  # fmt: skip
    assert result.rate("kept", "all") == pytest.approx(2 / 3)
    assert result.kept_by_language == {"de": 1.0, "en": 0.5}
    assert result.rate("dropped", "plain") == 1.0
    assert result.rate("dropped", "all") == pytest.approx(1 / 3)
    assert result.rate("dropped", "size") == 0.0
    assert result.rate("dropped", "colour") is None
    rows = result.to_frame().filter((pl.col("measure") == "dropped") & (pl.col("group") == "size"))
    assert rows["roc_auc"][0] == pytest.approx(1 / 3)
    assert not result.passes()


def test_what_never_reached_the_filter_is_not_judged():
    result = score(TRUTH, embedded([("u1", "a", 0.9, True), ("u7", "g", 0.9, True), ("strange", "pair", 0.9, True)]))
    assert result.to_frame().filter(pl.col("measure") == "kept")["pairs"].to_list() == [1, 1]


def test_a_good_filter_passes():
    result = score(TRUTH, embedded([("u1", "a", 0.9, True), ("u3", "c", 0.9, True), ("u5", "e", 0.1, False)]))
    assert result.passes()


def test_nothing_embedded_does_not_pass():
    assert not score(TRUTH, embedded([])).passes()


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="kept"):
        score(TRUTH, embedded([]).drop("kept"))
    with pytest.raises(ValueError, match="distinct"):
        score(TRUTH, embedded([("u1", "a", 0.9, True)] * 2))
