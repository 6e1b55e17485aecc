"""A chart that stands alone has its colours, its legend and its captions; one at a glance fits into a line."""

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from laion_assets.charts.axes import axis
from laion_assets.charts.bars import Bin, histogram
from laion_assets.charts.drawing import Chart, tones
from laion_assets.charts.glance import at_a_glance
from laion_assets.charts.series import Mark, Series, marks_and_lines
from laion_assets.charts.standalone import standalone
from laion_assets.charts.training import training_curves

SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = "</svg><script>alert(1)</script>&\"')\x00 "
EPOCHS = [
    {
        "recipe": recipe,
        "samples_seen": 1000 * n,
        "loss": 5 - n / 9,
        "learning_rate": 1e-3 / n,
        "samples_per_second": 9.0,
    }
    for recipe in ("a", HOSTILE)
    for n in range(1, 31)
]


def dots(number, plots=1, said="x"):
    looks = tones([f"{n}" for n in range(number)])
    series = [Series(tone=looks[f"{n}"], marks=[Mark(x=n, y=n, said=said)]) for n in range(number)]
    scale = axis(range(number), said)
    plot = marks_and_lines(said, said, series, x=scale, y=scale, caption=said, notes=[("c0", said), ("", said)])
    return Chart(plots=[plot] * plots, legend=tuple((tone, said) for tone in looks.values()))


def bars():
    bins = [Bin(low=n / 50, high=(n + 1) / 50, total=n + 1, part=n // 2) for n in range(25)]
    plots = [
        histogram("", "", bins, tone=tone, label="", span=(0, 0.5), marks=[(0.3, "here")], caption=f"{tone}: 25 bins")
        for tone in ("en", "multi")
    ]
    return Chart(plots=plots)


CHARTS = {"dots": dots(25), "plots": dots(3, 5), "curves": training_curves(EPOCHS, ["a", HOSTILE]), "bars": bars()}


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_all_that_a_chart_says_lies_inside_its_picture(chart):
    root = ElementTree.fromstring(standalone(chart, "a title"))
    _, _, width, height = map(float, root.get("viewBox").split())
    assert float(root.get("width")) <= 1_050
    assert float(root.get("width")) / float(root.get("height")) == pytest.approx(width / height, rel=0.01)
    (frame,) = root.findall("{*}g")
    places = [(0.0, 0.0, text) for text in frame.findall("{*}text")]
    for group in frame.findall("{*}g"):
        x, y = map(float, re.findall(r"[\d.]+", group.get("transform")))
        places += [(x, y, text) for text in group.findall("{*}text")]
    for x, y, text in places:
        assert 0 <= x + float(text.get("x")) <= width
        assert 0 <= y + float(text.get("y")) <= height
    said = "".join(text.text or "" for _, _, text in places)
    assert "a title" in said
    assert all(plot.caption in said and all(note in said for _, note in plot.notes) for plot in chart.plots)


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_a_picture_has_every_colour_it_names_in_light_and_in_dark(chart):
    root = ElementTree.fromstring(standalone(chart, ""))
    look = root.find("{*}style").text
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", look))
    assert light.keys() == dark.keys()
    assert set(re.findall(r"var\(--(\w+)\)", look)) <= light.keys()
    tones_named = {word for element in root.iter() for word in (element.get("class") or "").split()}
    assert tones_named - {"square", "diamond", "triangle"} <= set(re.findall(r"\.(\w+)", look)) | {"pale"}


@pytest.mark.parametrize("draw", [lambda: dots(3, 2, HOSTILE), lambda: training_curves(EPOCHS, ["a", HOSTILE])])
def test_names_stay_names_in_pictures(draw):
    for picture in (standalone(draw(), HOSTILE), unquote(at_a_glance(draw(), 4_000).partition(",")[2])):
        root = ElementTree.fromstring(picture)
        assert not [element for element in root.iter() if element.tag.rpartition("}")[2] == "script"]


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
@pytest.mark.parametrize("most", [100, 950])
def test_a_chart_is_seen_at_a_glance_in_as_many_characters_as_there_are(chart, most):
    address = at_a_glance(chart, most)
    if most == 100:
        assert address is None
        return
    assert len(address) <= most
    assert not re.search(r"[\s()<>\[\]\\\"]", address), "it stands in Markdown"
    kind, _, svg = address.partition(",")
    assert kind == "data:image/svg+xml"
    root = ElementTree.fromstring(unquote(svg))
    assert int(root.get("width")) >= 120
    paths = list(root.iter(f"{SVG}path"))
    assert len(paths) >= 2
    for path in paths:
        for x, y in re.findall(r"[ML](\d+),(\d+)", path.get("d")):
            assert int(x) <= int(root.get("width"))
            assert int(y) <= int(root.get("height"))


def test_what_stands_out_in_bars_stands_out_at_a_glance():
    root = ElementTree.fromstring(unquote(at_a_glance(bars(), 2_000).partition(",")[2]))
    fills = [(path.get("fill"), path.get("opacity")) for path in root.iter(f"{SVG}path") if path.get("fill")]
    assert fills[:2] == [("#2f6fb7", ".3"), ("#2f6fb7", None)]
    assert len(fills) == 4
    assert [text.text for text in root.iter(f"{SVG}text")] == ["en: 25 bins", "multi: 25 bins"]


def test_a_chart_of_nothing_says_so_at_a_glance():
    assert "nothing was measured" in unquote(at_a_glance(Chart(plots=[]), 900))
