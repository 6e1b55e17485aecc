"""Lineage for programs: JSON and Graphviz."""

import json
from collections import deque
from dataclasses import asdict
from itertools import count
from typing import Any

from laion_assets.cli.common import json_value
from laion_assets.cli.lineage.branches import Branch, Branches, moment, shared_values, versions_text
from laion_assets.delta.history import LogEntry
from laion_assets.delta.lineage import UNRECORDED, CommitKey, Graph, Node, Read
from laion_assets.delta.rows import Found
from laion_assets.lake.pair_lineage import PairTrace


def lineage_json(graph: Graph, trace: PairTrace | None = None) -> str:
    """Everything that is known, as one JSON object.

    Keys: ``table``, ``version`` (at which was asked), ``direction`` (``back`` or ``forward``), ``roots`` (ids of what
    was asked for), ``nodes``, ``reads``, ``unsure`` (forward: reads that could not be identified), ``left_out``
    (forward: how many commits replaced since are not among the nodes; none with ``--full``), ``entry`` (with
    ``--version``: what made it, with the partitions ``touched`` where it has no record; otherwise null).

    A node is one partition as one commit wrote it: ``id``, ``table``, ``partition``, ``version``, ``committed_at``,
    ``run_id``, ``code_version``, ``settings_digest``, ``externals``, ``rows``, ``rows_in``, ``drops``, ``counts``,
    ``content_digest``, ``validated``, ``replaced_in`` (the version that wrote it anew, or null), ``foreign`` (later
    writes without a record). Where nothing ever recorded it all but the first three are null. A read: ``reader`` (id),
    ``table``, ``version``, ``digest``, ``partitions`` (how many), ``sources`` (ids; null where not identified).

    Of a pair there are also ``pair_id``, ``pair_rows`` (by node: ``id``, ``read_version``, ``vacuumed``, ``total``,
    ``winner`` (which of them became the unique pair), ``rows``), ``records`` (where in the crawl it was found) and
    ``elsewhere`` (as ``pair_rows``: who holds a pair that the table does not hold).
    """
    answer: dict[str, Any] = {
        "table": graph.table,
        "version": graph.version,
        "direction": graph.direction,
        "roots": [str(key) for key in graph.roots],
        "nodes": [_node(node) for node in graph.nodes.values()],
        "reads": [_read(read) for read in graph.reads],
        "unsure": [_read(read) for read in graph.unsure],
        "left_out": graph.left_out,
        "entry": _entry(graph.entry) | {"touched": graph.touched} if graph.entry else None,
    }
    if trace is not None:
        answer |= {
            "pair_id": trace.pair_id,
            "pair_rows": [
                _found(key, rows.found) | {"read_version": rows.read_version, "winner": rows.winner}
                for key, rows in trace.rows.items()
            ],
            "records": [asdict(record) for record in trace.records],
            "elsewhere": [_found(key, found) for key, found in trace.elsewhere.items()],
        }
    return json.dumps(answer, ensure_ascii=False, indent=1, default=json_value)


def lineage_dot(graph: Graph, *, full: bool = False) -> str:
    """The graph in Graphviz's language, data flowing from left to right; every node once.

    Args:
        graph: the graph.
        full: one node a partition; otherwise commits that were read together are one node.
    """
    cut = Branches(graph, full=full)
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    drawn: dict[CommitKey, list[tuple[frozenset[CommitKey], str]]] = {}
    queue: deque[tuple[Branch, str]] = deque()
    names = count()

    def draw(branch: Branch, style: str) -> str:
        name = f"n{next(names)}"
        for key in branch.keys:
            drawn.setdefault(key, []).append((frozenset(branch.keys), name))
        lines.append(_dot_node(name, branch, graph, style))
        queue.append((branch, name))
        return name

    for root in cut.roots():
        draw(root, "style=bold")
    while queue:
        branch, name = queue.popleft()
        for other in cut.below(branch.keys):
            if not other.keys and not other.unidentified:
                continue  # nothing was there to be read
            keys = frozenset(other.keys)
            known = drawn.get(other.keys[0], []) if keys and not other.unidentified else []
            within = [n for held, n in known if keys <= held]  # of what is there already, it is a part
            end = within[0] if within else draw(other, "style=dashed" if other.unidentified else "")
            ends = (end, name) if graph.direction == "back" else (name, end)
            lines.append(f"  {ends[0]} -> {ends[1]} [label={_quoted(versions_text(other.versions))}];")
    return "\n".join([*lines, "}"])


def _dot_node(name: str, branch: Branch, graph: Graph, style: str) -> str:
    label = [branch.table]
    if len(branch.keys) > 1:
        label.append(f"{len(branch.keys)} partitions")
    if branch.keys:
        written = {key.version for key in branch.keys} - {UNRECORDED}
        label += [shared_values(branch.keys), versions_text(written) if written else "written without a record"]
    if branch.unidentified:
        label.append(f"{branch.unidentified} partitions, not identified")
    if graph.entry is not None and graph.entry.commit is None:
        kind = "written without a record by " if graph.entry.foreign else ""
        label.append(f"version {graph.entry.version}: {kind}{graph.entry.operation}")
    attributes = [f"label={_quoted(chr(10).join(part for part in label if part))}", *([style] if style else [])]
    return f"  {name} [{', '.join(attributes)}];"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _node(node: Node) -> dict[str, Any]:
    key, commit = node.key, node.commit
    names = ("run_id", "code_version", "settings_digest", "externals", "rows", "rows_in", "drops", "counts")
    return {
        "id": str(key),
        "table": key.table,
        "partition": key.partition,
        "version": commit.version if commit else None,
        "committed_at": moment(commit.timestamp_ms) if commit else None,
        **{name: getattr(commit, name, None) for name in (*names, "content_digest", "validated")},
        "replaced_in": node.replaced_in,
        "foreign": [_entry(entry) for entry in node.foreign],
    }


def _read(read: Read) -> dict[str, Any]:
    sources = None if read.sources is None else [str(source) for source in read.sources]
    return {**vars(read), "reader": str(read.reader), "sources": sources}


def _entry(entry: LogEntry) -> dict[str, Any]:
    return {
        "version": entry.version,
        "operation": entry.operation,
        "committed_at": moment(entry.timestamp_ms),
        "recorded": entry.commit is not None,
        "foreign": entry.foreign,
    }


def _found(key: CommitKey, found: Found) -> dict[str, Any]:
    return {"id": str(key), "vacuumed": found.gone, "total": found.total, "rows": found.rows}
