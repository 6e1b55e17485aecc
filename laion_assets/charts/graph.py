"""What is built from what, as inline SVG: from left to right, so that few lines cross.

Layers of columns, ordered by the barycentres of their neighbours (Sugiyama, Tagawa and Toda 1981). All lines of one
box share one lane through the columns that they pass.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from markupsafe import Markup

from laion_assets.charts.drawing import fixed

_ROW, _BOX, _LANE = 31, 23, 13
_LETTER, _PADDING, _GAP, _TOP = 6.7, 7, 38, 34

Item: TypeAlias = tuple[int, int]
"""(node, column): the node itself where the column is its own, elsewhere the lane of what is built on it."""
Segments: TypeAlias = Mapping[tuple[Item, Item], set[int]]
"""Lines from one item to another, each with the nodes that it leads to."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One box, which links to the element with its name as id."""

    name: str
    band: int
    """The group of columns it stands in."""
    tone: str = ""
    """Classes that say what it looks like."""
    said: str = ""
    """What pointing at it tells."""


def dependency_graph(
    label: str, bands: Sequence[str], nodes: Sequence[Node], edges: Sequence[tuple[str, str]]
) -> Markup:
    """Boxes in bands from left to right, joined by lines from each to what is built on it.

    Args:
        label: what the graph shows, for those who do not see it.
        bands: what stands above each group of columns.
        nodes: the boxes.
        edges: (from, to), by the names of nodes. There is no cycle among nodes of one band.
    """
    place = {node.name: number for number, node in enumerate(nodes)}
    joined = [(place[a], place[b]) for a, b in edges]
    column, first = _columns(nodes, joined, len(bands))
    segments = _segments(column, joined)
    ranks = _ordered(column, segments)
    heights = _placed(ranks, segments, column)
    widths = [max((len(nodes[n].name) for n, c in rank if column[n] == c), default=0) for rank in ranks]
    widths = [round(letters * _LETTER) + 2 * _PADDING for letters in widths]
    left = [1 + sum(widths[:c]) + c * _GAP for c in range(len(ranks) + 1)]
    body = [_heading(left[c], bands[band]) for band, c in first.items()]
    for (a, b), targets in sorted(segments.items()):
        known = " ".join(f"e{n}" for n in sorted({a[0], *targets}))
        begin = left[a[1]] + (widths[a[1]] if a[1] == column[a[0]] else 0)
        body.append(_line(known, begin, left[a[1]] + widths[a[1]], heights[a], left[b[1]], heights[b]))
    for number, node in enumerate(nodes):
        at = column[number]
        body.append(_box(number, node, left[at], heights[number, at], widths[at]))
    width, height = max(left[-1] - _GAP + 1, 1), max(heights.values(), default=0) + _ROW / 2 + 2
    return Markup(
        '<svg class="graph" role="group" aria-label="{}" viewBox="0 0 {} {}" style="max-width:{}px;min-width:{}px">'
        "{}<style>{}</style></svg>"
    ).format(label, width, fixed(height), width, round(width * 0.86), Markup("").join(body), _marked(len(nodes)))


def _columns(nodes: Sequence[Node], edges: Sequence[tuple[int, int]], bands: int) -> tuple[list[int], dict[int, int]]:
    """The column of each node, and the first column of each band that has one."""
    depth = [0] * len(nodes)
    for _ in nodes:
        for a, b in edges:
            if nodes[a].band == nodes[b].band:
                depth[b] = max(depth[b], depth[a] + 1)
    first, used = {}, 0
    for band in range(bands):
        of_band = [depth[number] for number, node in enumerate(nodes) if node.band == band]
        if of_band:
            first[band] = used
            used += max(of_band) + 1
    return [first[node.band] + depth[number] for number, node in enumerate(nodes)], first


def _segments(column: Sequence[int], edges: Sequence[tuple[int, int]]) -> Segments:
    """Every edge as steps from column to column; one that leads back takes a single step."""
    found: dict[tuple[Item, Item], set[int]] = defaultdict(set)
    for a, b in edges:
        way = [(a, c) for c in range(column[a], column[b])] or [(a, column[a])]
        way.append((b, column[b]))
        for step in pairwise(way):
            found[step].add(b)
    return found


def _neighbours(segments: Segments) -> Mapping[tuple[Item, int], list[Item]]:
    """By item and side (-1 left, 1 right), what it is joined to there."""
    found: dict[tuple[Item, int], list[Item]] = defaultdict(list)
    for a, b in sorted(segments):
        if b[1] == a[1] + 1:
            found[a, 1].append(b)
            found[b, -1].append(a)
    return found


def _ordered(column: Sequence[int], segments: Segments, sweeps: int = 24) -> list[list[Item]]:
    """The items of each column from top to bottom."""
    lanes = {a for a, _ in segments if a[1] != column[a[0]]}
    ranks = [
        [(n, of) for n, of in enumerate(column) if of == c] + sorted(lane for lane in lanes if lane[1] == c)
        for c in range(max(column, default=-1) + 1)
    ]
    beside = _neighbours(segments)
    best, fewest = ranks, _crossings(ranks, beside)
    for sweep in range(sweeps):
        side = -1 if sweep % 2 == 0 else 1
        ranks = [list(rank) for rank in ranks]
        for c in range(len(ranks)) if side < 0 else reversed(range(len(ranks))):
            at = {item: (n + 0.5) / len(rank) for rank in ranks for n, item in enumerate(rank)}
            ranks[c].sort(key=lambda item: _mean([at[other] for other in beside[item, side]], at[item]))
        crossings = _crossings(ranks, beside)
        if crossings < fewest:
            best, fewest = ranks, crossings
    return best


def _crossings(ranks: Sequence[Sequence[Item]], beside: Mapping[tuple[Item, int], Sequence[Item]]) -> int:
    at = {item: n for rank in ranks for n, item in enumerate(rank)}
    count = 0
    for rank in ranks:
        ends = [sorted(at[other] for other in beside[item, 1]) for item in rank]
        count += sum(x > y for n, upper in enumerate(ends) for lower in ends[n + 1 :] for x in upper for y in lower)
    return count


def _placed(
    ranks: Sequence[Sequence[Item]], segments: Segments, column: Sequence[int], sweeps: int = 16
) -> dict[Item, float]:
    """The middle of each item: near its neighbours, in order, and none upon another."""
    beside = _neighbours(segments)
    high = {item: _ROW if item[1] == column[item[0]] else _LANE for rank in ranks for item in rank}
    y: dict[Item, float] = {}
    for rank in ranks:
        y |= _apart(rank, dict.fromkeys(rank, 0.0), high)
    for sweep in range(sweeps):
        for rank in ranks if sweep % 2 == 0 else reversed(ranks):
            joined = {item: [y[other] for side in (-1, 1) for other in beside[item, side]] for item in rank}
            y |= _apart(rank, {item: _mean(of, y[item]) for item, of in joined.items()}, high)
    top = min((of - high[item] / 2 for item, of in y.items()), default=0)
    return {item: of - top + _TOP for item, of in y.items()}


def _apart(rank: Sequence[Item], wanted: Mapping[Item, float], high: Mapping[Item, int]) -> dict[Item, float]:
    """The places nearest to those wanted, by least squares, where no two items touch (pool adjacent violators)."""
    offsets = [sum(high[other] for other in rank[:n]) + high[item] / 2 for n, item in enumerate(rank)]
    pools: list[list[float]] = []
    for item, offset in zip(rank, offsets, strict=True):
        pools.append([wanted[item] - offset])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = [_mean(pool) for pool in pools for _ in pool]
    return {item: of + offset for item, of, offset in zip(rank, level, offsets, strict=True)}


def _mean(values: Sequence[float], otherwise: float = 0.0) -> float:
    return sum(values) / len(values) if values else otherwise


def _heading(x: float, text: str) -> Markup:
    return Markup('<text class="band" x="{}" y="14">{}</text>').format(fixed(x), text)


def _line(known: str, begin: float, right: float, y: float, x: float, end: float) -> Markup:
    between = (right + x) / 2
    begins, middle, ends, low, high = map(fixed, (begin, between, x, y, end))
    path = f"M{begins} {low}H{fixed(right)}C{middle} {low} {middle} {high} {ends} {high}"
    return Markup('<path class="edge {}" d="{}"/>').format(known, path)


def _box(number: int, node: Node, x: float, y: float, width: float) -> Markup:
    return Markup(
        '<a href="#{}" class="n{} {}"><title>{}</title><rect x="{}" y="{}" width="{}" height="{}" rx="4"/>'
        '<text x="{}" y="{}">{}</text></a>'
    ).format(
        node.name, number, node.tone, node.said, fixed(x), fixed(y - _BOX / 2), fixed(width), _BOX,
        fixed(x + _PADDING), fixed(y + 4), node.name,
    )  # fmt: skip


def _marked(nodes: int) -> Markup:
    """Style that marks the lines of the box that somebody points at or has come to."""
    rule = Markup(".graph:has(.n{0}:is(:hover,:focus-visible)) .e{0}")
    which = Markup(",").join(rule.format(n) for n in range(nodes))
    return which + Markup("{stroke:var(--accent);stroke-width:2}") if nodes else which
