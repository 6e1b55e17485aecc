"""Plots: well formed, inside their frame, in proportion, with texts that stay texts."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from laion_assets.charts.axes import axis
from laion_assets.charts.bars import Bin, columns, histogram, stacked_bars
from laion_assets.charts.drawing import tones
from laion_assets.charts.series import Mark, Series, marks_and_lines
from laion_assets.charts.web import concentration

HOSTILE = "</title><script>alert(1)</script>&\"'"


def drawn(plot):
    return ElementTree.fromstring(str(plot.svg))


def rects(plot):
    return [{key: float(r.get(key)) for key in ("x", "y", "width", "height")} for r in drawn(plot).iter("rect")]


PLOTS = {
    "stacked_bars": lambda text: stacked_bars(text, text, [(text, {"en": 3, "multi": 1}), ("b", {"en": 0})], text),
    "histogram": lambda text: histogram(
        text, text, [Bin(low=0.1, high=0.2, total=9, part=4), Bin(low=0.9, high=1.0, total=1)],
        tone="en", label=text, span=(-0.5, 1.0), part=text, marks=[(0.3, text)], caption=text,
    ),
    "columns": lambda text: columns(text, text, [(text, {"en": 5}), ("b", {"en": 2, "multi": 2})], label=text),
    "concentration": lambda text: concentration({text: [(1, 0.1), (10, 0.5), (3_000, 1.0)]}).plots[0],
    "marks and lines": lambda text: marks_and_lines(
        text, text,
        [Series(tone="c0", line=[(1, 0.0), (9, 1.0)], marks=[Mark(x=3, y=0.2, said=text, along=(0, 1), expected=0.3)])],
        x=axis([1, 9], text, "log"), y=axis([0.0, 1.0], text, "logit"), equal=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_a_plot_is_named_described_and_inside_its_frame(plot):
    root = drawn(plot("what it shows"))
    assert root.get("role") == "img"
    assert [child.tag for child in root][:2] == ["title", "desc"]
    _, _, width, height = (float(part) for part in root.get("viewBox").split())
    for rect in rects(plot("x")):
        assert 0 <= rect["x"] <= rect["x"] + rect["width"] <= width
        assert 0 <= rect["y"] <= rect["y"] + rect["height"] <= height
    for text in root.iter("text"):
        assert 0 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= height


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_texts_stay_texts(plot):
    root = drawn(plot(HOSTILE))
    assert HOSTILE in [element.text for element in root.iter()]
    assert not [element for element in root.iter() if element.tag == "script"]


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_colours_are_the_page_s(plot):
    assert not re.search(r"(?:fill|stroke|style|color)=", str(plot("x").svg))


def test_bars_are_as_long_as_their_counts():
    two = rects(stacked_bars("", "", [("all", {"en": 60, "multi": 40}), ("half", {"en": 50})], ""))
    assert two[0]["width"] + two[1]["width"] == pytest.approx(2 * two[2]["width"], abs=0.2)
    assert two[0]["width"] / two[1]["width"] == pytest.approx(1.5, abs=0.01)
    assert two[1]["x"] == pytest.approx(two[0]["x"] + two[0]["width"], abs=0.1)


def test_the_released_part_of_a_bin_is_drawn_over_the_whole():
    whole, part = rects(histogram("", "", [Bin(low=0, high=1, total=80, part=20)], tone="en", label="", span=(0, 1)))
    assert part["height"] == pytest.approx(whole["height"] / 4, abs=0.1)
    assert part["y"] + part["height"] == pytest.approx(whole["y"] + whole["height"], abs=0.1)


def test_a_threshold_stands_where_it_belongs():
    bins = [Bin(low=low / 10, high=(low + 1) / 10, total=1) for low in range(10)]
    plot = histogram("", "", bins, tone="en", label="", span=(0, 1), marks=[(0.3, "threshold 0.3")])
    mark = next(line for line in drawn(plot).iter("line") if line.get("class") == "mark")
    assert float(mark.get("x1")) == pytest.approx(rects(plot)[3]["x"], abs=0.1)


@pytest.mark.parametrize("plot", [stacked_bars, columns])
def test_nothing_to_draw_is_drawn_without_failing(plot):
    options = {"label": ""} if plot is columns else {"caption": ""}
    assert rects(plot("", "", [], **options)) == []
    assert all(rect["width"] * rect["height"] == 0 for rect in rects(plot("", "", [("a", {"en": 0})], **options)))


def test_counts_on_the_axis_are_round_and_few():
    plot = columns("", "", [("a", {"all": 1_234_567})], label="")
    shown = [text.text for text in drawn(plot).iter("text")][:-2]
    assert shown == ["0", "0.5M", "1M"] or shown == ["0", "500k", "1M"]


def circles(plot):
    return [(float(c.get("cx")), float(c.get("cy"))) for c in drawn(plot).iter("circle")]


def shown_at(kind, values):
    marks = [Mark(x=value, y=0.5, said="") for value in values]
    line = [(value, 0.5) for value in values]
    scales = {"x": axis(values, "x", kind), "y": axis([0.0, 1.0], "y")}
    return marks_and_lines("", "", [Series(tone="c0", marks=marks, line=line)], **scales)


@pytest.mark.parametrize(("kind", "values"), [("linear", [1, 2, 3]), ("log", [1, 10, 100]), ("logit", [0.2, 0.5, 0.8])])
def test_equal_steps_of_a_scale_are_equally_long(kind, values):
    (one, _), (two, _), (three, _) = circles(shown_at(kind, values))
    assert two - one == pytest.approx(three - two, abs=0.2)
    assert three - one > 250


@pytest.mark.parametrize("kind", ["linear", "log", "logit"])
@pytest.mark.parametrize("values", [[0.5], [0.0, 1.0], [], [0.98, 0.99], [1e-5, 0.3], [3, 5e13], [-2.0, 1.0]])
def test_any_values_have_a_place_and_few_numbers_that_do_not_touch(kind, values):
    plot = shown_at(kind, values)
    assert all(46 <= x <= 384 and 26 <= y <= 186 for x, y in circles(plot))
    numbers = [t for t in drawn(plot).iter("text") if t.get("text-anchor") == "middle"][:-1]
    places = [float(t.get("x")) for t in numbers]
    assert 1 <= len(numbers) <= 10
    assert all(right - left >= 36 for left, right in pairwise(places))
    assert len({t.text for t in numbers}) == len(numbers)


def test_large_amounts_are_written_as_powers():
    assert axis([1, 1e13], "", "log").said(3e12) == "3·10¹²"
    assert axis([1, 1e13], "", "log").said(1e-5) == "10⁻⁵"
    assert axis([1, 1e5], "", "log").said(20_000) == "20k"
    assert axis([0.1, 0.9], "", "logit").said(0.3) == "30%"


def test_intervals_are_drawn_around_their_mark():
    mark = Mark(x=0.5, y=0.5, said="", across=(0.25, 0.75), along=(0.5, 1.0))
    plot = marks_and_lines("", "", [Series(tone="c0", marks=[mark])], x=axis([0, 1], ""), y=axis([0, 1], ""))
    across, along = (
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in drawn(plot).iter("polyline")
    )
    ((x, y),) = circles(plot)
    assert [across[0][1], across[1][1], along[0][0]] == [y, y, x]
    assert x - across[0][0] == pytest.approx(across[1][0] - x, abs=0.2)
    assert along[0][1] == y
    assert along[1][1] < y


def test_a_single_value_stands_in_the_middle_of_what_an_axis_spans_at_least():
    one = axis([238.7], "", "log", least=0.6)
    assert one.at(238.7) == pytest.approx(0.5)
    assert one.ticks() == [200, 300, 400, 500]


@pytest.mark.parametrize("strange", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_left_out(strange):
    marks = [Mark(x=1, y=0.5, said="here"), Mark(x=2, y=strange, said="nowhere"), Mark(x=strange, y=1, said="nowhere")]
    series = [Series(tone="c0", marks=marks, line=[(mark.x, mark.y) for mark in marks])]
    scales = {"x": axis([1, 2, strange], ""), "y": axis([0.5, strange, 1], "")}
    plot = marks_and_lines("", "", series, **scales)
    assert [circle.find("title").text for circle in drawn(plot).iter("circle")] == ["here"]
    assert "nan" not in str(plot.svg)
    assert "inf" not in str(plot.svg)


def test_many_names_are_told_apart_by_colour_and_then_by_form():
    names = [f"r{number}" for number in range(25)]
    assert len(set(tones(names).values())) == 25
    looks = [Series(tone=tone, marks=[Mark(x=0, y=0, said=name)]) for name, tone in tones(names).items()]
    root = drawn(marks_and_lines("", "", looks, x=axis([0], ""), y=axis([0], "")))
    assert len(list(root.iter("circle"))) == 8
    assert len({path.get("d") for path in root.iter("path")}) == 3
