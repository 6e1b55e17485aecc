"""Charts of pairs: a plot for each group, bins that agree with the lake's, and what reaches a threshold stands out."""

from xml.etree import ElementTree

import numpy as np
import pytest

from laion_assets.charts.bars import Bin
from laion_assets.charts.pairs import Similarities, binned, similarity
from laion_assets.charts.standalone import standalone
from laion_assets.sql import PROJECT


def drawn(groups, thresholds):
    similarities = [
        Similarities(
            group=name, bins=binned(values, thresholds.get(name)), thresholds=[*filter(None, [thresholds.get(name)])]
        )
        for name, values in groups.items()
    ]
    return similarity(similarities, part="at or above the threshold", rest="below the threshold")


def normal(seed=0):
    return np.random.default_rng(seed).normal(0.25, 0.06, size=500).astype(np.float32)


def test_each_group_has_a_plot_with_its_threshold_on_the_same_scale():
    chart = drawn({"en": normal(), "multi": normal(1)}, {"en": 0.3})
    en, multi = chart.plots
    reached = int((normal() >= 0.3).sum())
    assert en.caption == f"en: 500 pairs, {reached} of them at or above the threshold ({reached / 500:.1%})."
    assert multi.caption == "multi: 500 pairs."
    texts = [[t.text for t in ElementTree.fromstring(str(plot.svg)).iter("text")] for plot in chart.plots]
    assert "threshold 0.300" in texts[0]
    assert [text for text in texts[0] if "." in text][-4:] == [text for text in texts[1] if "." in text][-4:]
    assert "pale" not in str(multi.svg), "nothing is said to lie below a threshold that there is not"
    assert chart.legend == (("pale", "below the threshold"),)


@pytest.mark.parametrize("values", [[], [0.25], [0.5] * 100, [-1.0, 1.0], [float("nan"), 0.3]])
def test_similarities_can_be_drawn_of_anything(values):
    groups = {"en": np.array(values, np.float32), "multi": np.array([], np.float32)}
    chart = drawn(groups, {"en": 0.28, "nolang": 0.26})
    assert len(chart.plots) == (1 if values else 0)
    ElementTree.fromstring(standalone(chart, "a title"))


def test_bins_are_those_of_the_sql_model(duckdb_bins):
    values = np.array([-1, -0.5, 0.0199999, 0.02, 0.26, 0.28, 0.279999, 0.98, 1, float("nan")], np.float32)
    values = np.concatenate([values, normal()])
    assert [(b.low, b.high, b.total) for b in binned(values, None)] == duckdb_bins(values)


@pytest.fixture
def duckdb_bins():
    """What the model's own expression makes of similarities."""
    import duckdb
    import polars as pl

    sql = (PROJECT / "models" / "marts" / "similarity_distribution.sql").read_text()
    expression = (
        next(line for line in sql.splitlines() if line.strip().endswith("AS bin,")).strip().removesuffix(" AS bin,")
    )

    def made(values):
        with duckdb.connect() as con:
            con.register("frame", pl.DataFrame({"similarity": values}))
            return con.execute(f"""
            SELECT bin / 50.0::DOUBLE, (bin + 1) / 50.0::DOUBLE, count(*)
            FROM (SELECT {expression} AS bin FROM frame WHERE NOT isnan(similarity)) GROUP BY ALL ORDER BY ALL
        """).fetchall()

    return made


def test_what_reaches_the_threshold_is_the_part_of_its_bin():
    values = np.array([0.281, 0.289, 0.295, 0.31], np.float32)
    assert binned(values, 0.29) == [
        Bin(low=0.28, high=0.3, total=3, part=1),
        Bin(low=0.3, high=0.32, total=1, part=1),
    ]
