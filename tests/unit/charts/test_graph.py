"""The graph: boxes from left to right that do not touch, and a line for everything that is built on something."""

import re
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser, LexborNode

from laion_assets.charts.graph import Node, dependency_graph

BANDS = ("tables", "staging", "marts")


def drawn(nodes: Sequence[Node], edges: Sequence[tuple[str, str]]) -> LexborHTMLParser:
    return LexborHTMLParser(dependency_graph("Models", BANDS, nodes, edges))


def boxes(tree: LexborHTMLParser) -> dict[str, tuple[float, float, float, float]]:
    """By name left, right, top and bottom of each box."""
    found = {}
    for link in tree.css("a"):
        at = {key: float(value or 0) for key, value in link.css_first("rect").attributes.items()}
        name = link.css_first("text").text()
        found[name] = (at["x"], at["x"] + at["width"], at["y"], at["y"] + at["height"])
    return found


def numbers(path: LexborNode) -> list[float]:
    return [float(n) for n in re.findall(r"-?[\d.]+", path.attributes["d"] or "")]


@st.composite
def graphs(draw):
    """Nodes in bands, and edges that never lead back inside a band."""
    bands = draw(st.lists(st.integers(0, 2), max_size=12))
    nodes = [Node(name=f"model_{n}" * (1 + n % 2), band=band) for n, band in enumerate(bands)]
    pairs = [(a.name, b.name) for n, a in enumerate(nodes) for b in nodes[n + 1 :]]
    return nodes, draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []


@settings(deadline=None)
@given(graphs())
def test_boxes_do_not_touch_and_lie_inside(graph):
    nodes, edges = graph
    tree = drawn(nodes, edges)
    placed = list(boxes(tree).values())
    assert len(placed) == len(nodes)
    width, height = (float(n) for n in (tree.css_first("svg").attributes["viewBox"] or "").split()[2:])
    for n, (left, right, top, bottom) in enumerate(placed):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        for other in placed[n + 1 :]:
            assert right < other[0] or other[1] < left or bottom < other[2] or other[3] < top


@settings(deadline=None)
@given(graphs())
def test_lines_lead_from_each_box_to_all_that_is_built_on_it(graph):
    nodes, edges = graph
    tree = drawn(nodes, edges)
    place = boxes(tree)
    number = {node.name: n for n, node in enumerate(nodes)}
    for a, b in edges:
        parts = [numbers(p) for p in tree.css(f".e{number[a]}.e{number[b]}")]
        starts, ends = {tuple(p[:2]) for p in parts}, {tuple(p[-2:]) for p in parts}
        assert any(x == place[a][1] and place[a][2] < y < place[a][3] for x, y in starts)
        assert any(x == place[b][0] and place[b][2] < y < place[b][3] for x, y in ends)


@settings(deadline=None)
@given(graphs())
def test_what_is_built_on_something_in_its_band_or_an_earlier_one_stands_to_the_right(graph):
    nodes, edges = graph
    place, band = boxes(drawn(nodes, edges)), {node.name: node.band for node in nodes}
    assert all(place[a][1] < place[b][0] for a, b in edges if band[a] <= band[b])


def test_lines_do_not_cross_where_they_need_not():
    names = {0: ["a", "b", "c"], 2: ["z", "y", "x"]}
    nodes = [Node(name=name, band=band) for band, of_band in names.items() for name in of_band]
    nodes.append(Node(name="between", band=1))
    place = boxes(drawn(nodes, [("a", "x"), ("b", "y"), ("c", "z")]))
    assert (place["a"][2] < place["c"][2]) == (place["x"][2] < place["z"][2])
    assert (place["a"][2] < place["b"][2]) == (place["x"][2] < place["y"][2])
