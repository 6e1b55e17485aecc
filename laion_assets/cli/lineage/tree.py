"""Lineage as a tree for people. Commits of one table that were read together are one branch; ``--full`` parts them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from laion_assets.cli.lineage.branches import Branch, Branches, moment, shared_values, versions_text
from laion_assets.common.quantities import counted
from laion_assets.delta.lineage import CommitKey, Graph, Node
from laion_assets.lake.pair_lineage import PairRows, PairTrace
from laion_assets.tables.catalogue import TABLES

_MANY_ROWS = 8


class LineageTree:
    """Builds the tree of one graph."""

    def __init__(self, graph: Graph, *, trace: PairTrace | None = None, full: bool = False) -> None:
        """Make a builder.

        Args:
            graph: what to show.
            trace: the pair that the graph belongs to, to show its rows.
            full: show every partition on its own, and whole digests.
        """
        self._graph = graph
        self._branches = Branches(graph, full=full)
        self._trace = trace
        self._full = full
        self._seen: dict[str, set[CommitKey]] = {}

    def trees(self) -> Iterator[Tree | Text]:
        """One tree for each thing asked for, and the warnings that belong to them."""
        graph = self._graph
        if graph.entry is not None and graph.entry.commit is None:
            yield Text.assemble((f"{graph.table} version {graph.entry.version}", "bold"), *_unrecorded(graph))
            return
        for root in self._branches.roots(apart=self._trace is not None):
            yield self._tree(root, None)
        if graph.direction == "forward" and not graph.reads:
            yield Text(f"{'nothing' if self._trace is None else 'no row'} that is there now was made from it")
        if graph.left_out:
            yield Text(f"left out: {counted(graph.left_out, 'commit')} replaced since; --full shows them", "dim")
        if graph.unsure:
            readers = ", ".join(str(read.reader) for read in graph.unsure[:3])
            more = f" and {len(graph.unsure) - 3} more" if len(graph.unsure) > 3 else ""
            yield Text(f"what these read could not be identified, so they may belong here: {readers}{more}", "yellow")

    def _tree(self, branch: Branch, above: Tree | None) -> Tree:
        title = self._title(branch, root=above is None)
        parts: list[RenderableType] = [title]
        seen = self._seen.setdefault(branch.table, set())
        repeated = bool(branch.keys) and seen.issuperset(branch.keys)
        if repeated:
            title.append(" (see above)", "dim")
        else:
            parts += self._lines(branch)
        seen |= set(branch.keys)
        tree = Tree(Group(*parts), guide_style="dim", highlight=False)
        if above is not None:
            above.children.append(tree)
        if not repeated:
            for below in self._branches.below(branch.keys):
                self._tree(below, tree)
        return tree

    def _title(self, branch: Branch, *, root: bool) -> Text:
        title = Text.assemble((branch.table, "bold"))
        keys = branch.keys or tuple(branch.others)
        others = len(branch.others) if branch.keys else 0
        several = len(keys) + branch.unidentified
        if max(branch.versions) < 0:
            return title.append(": there was no such table yet")
        if several > 1:
            title.append(f", {several:,} partitions")
        common = "" if branch.unidentified or not keys else self._short(shared_values(keys))
        if common:
            title.append(f"{' of' if several > 1 else ''} {common}")
        title.append(f", {'' if several else 'empty, '}{self._verb(root)} {versions_text(branch.versions)}")
        if others:
            title.append(f" with {others:,} other{'s' if others > 1 else ''}")
        if branch.unidentified:
            title.append(f", {branch.unidentified} not identified", "yellow")
        if self._trace is not None and not branch.keys and branch.others:
            title.append(": no row of this pair")
        return title

    def _verb(self, root: bool) -> str:
        return "at" if root else "read at" if self._graph.direction == "back" else "from"

    def _lines(self, branch: Branch) -> Iterator[RenderableType]:
        if self._trace is not None and branch.keys:
            yield from self._pair_lines(branch.table, [self._trace.rows[key] for key in branch.keys])
        nodes = [self._graph.nodes[key] for key in branch.keys]
        commits = [node.commit for node in nodes if node.commit is not None]
        if commits:
            runs = sorted({commit.run_id for commit in commits} - {""})
            written = versions_text({commit.version for commit in commits})
            when = _span([commit.timestamp_ms for commit in commits])
            run = f", run {runs[0] if self._full else runs[0][:8]}" if len(runs) == 1 else f", {len(runs):,} runs"
            codes = ", ".join(sorted({commit.code_version for commit in commits}))
            yield Text(f"written in {written}, {when}{run if runs else ''}, code {codes}", "dim")
            if self._trace is None:
                yield Text(_rows_text([(c.rows, c.rows_in, c.drops) for c in commits], drops=len(commits) == 1))
            yield from self._digest_lines(nodes)
        unrecorded = [node for node in nodes if node.commit is None]
        if unrecorded:
            yield Text(f"{counted(len(unrecorded), 'partition')} written without a record, never by a build", "yellow")
        foreign = {entry.version: entry for node in nodes for entry in node.foreign}
        if foreign:
            by = ", ".join(sorted({entry.operation for entry in foreign.values()}))
            text = f"{versions_text(foreign)} written without a record by {by}: what is shown here may have changed"
            yield Text(text, "yellow")
        replaced = {node.replaced_in for node in nodes if node.replaced_in is not None}
        if replaced:
            which = "" if len(nodes) == 1 else f"{sum(n.replaced_in is not None for n in nodes)} of them "
            yield Text(f"{which}replaced since, in {versions_text(replaced)}", "yellow")

    def _digest_lines(self, nodes: list[Node]) -> Iterator[Text]:
        commits = [node.commit for node in nodes if node.commit is not None]
        digests: dict[str, set[str]] = {"settings": {commit.settings_digest for commit in commits} - {""}}
        for commit in commits:
            for name, digest in commit.externals.items():
                digests.setdefault(name, set()).add(digest)
        shown = [
            f"{name} {self._short(next(iter(found))) if len(found) == 1 else f'{len(found)} different'}"
            for name, found in digests.items()
            if found
        ]
        if shown:
            yield Text(", ".join(shown), "dim")

    def _pair_lines(self, table: str, held: list[PairRows]) -> Iterator[RenderableType]:
        for rows in held:
            if rows.found.gone:
                read = (
                    f"; read from version {rows.found.version}, which has the same content" if rows.found.rows else ""
                )
                yield Text(f"the files of version {rows.read_version} were vacuumed away{read}", "yellow")
        total = sum(rows.found.total for rows in held)
        if table == "candidate_pairs":
            yield from self._candidate_lines(held, total)
            return
        declared = TABLES[table].pair if table in TABLES else None
        for row in (row for rows in held for row in rows.found.rows):
            names = (declared and declared.shows) or [n for n in row if n not in ("crawl", "bucket", "pair_id")]
            yield fields({n: self._short(value_text(row[n])) for n in names if row.get(n) is not None})

    def _candidate_lines(self, held: list[PairRows], total: int) -> Iterator[RenderableType]:
        known = any(rows.winner is not None for rows in held)
        listed = [(known and n == rows.winner, row) for rows in held for n, row in enumerate(rows.found.rows)]
        listed.sort(key=lambda item: not item[0])
        for kept, row in listed[:_MANY_ROWS]:
            if row.get("row_number") is not None:
                place = f"row {row['row_number']} of {row['path']}"
                if row["record_offset"] is not None:  # of a tar
                    place = f"picture at {row['record_offset']} of {row['path']}"
            else:
                place = f"file {row['file_number']}, record at {row['record_offset']}, link {row['link_position']}"
            name = "kept" if kept else "duplicate" if known else "candidate"
            yield fields({name: ", ".join(filter(None, (place, row["page_url"])))}, width=9)
        if total > min(len(listed), _MANY_ROWS):
            yield Text(f"{total - min(len(listed), _MANY_ROWS):,} more rows with this url and text")

    def _short(self, text: str) -> str:
        """The text with long digests cut: enough of them to be told apart."""
        if self._full:
            return text
        return "/".join(
            "=".join(f"{p[:16]}…" if len(p) >= 32 and set(p) <= set("0123456789abcdef") else p for p in part.split("="))
            for part in text.split("/")
        )


def record_parts(trace: PairTrace) -> Iterator[RenderableType]:
    """Where in the crawl, or in which list, the pair was found."""
    for record in trace.records:
        is_row = record.row_number is not None
        is_sample = is_row and record.record_offset is not None
        what = "the picture of the tar" if is_sample else "the row of the list" if is_row else "the crawl record"
        yield Text(f"\n{what}", "bold")
        shown = {
            "source": record.source_uri or "unknown: its row of crawl_snapshots is gone",
            "file": record.path,
            "SHA-256": record.file_sha256,
            "sample" if is_sample else "row number": f"{record.row_number}, counted from 0" if is_row else None,
            "header" if is_sample else "record offset": (
                None if record.record_offset is None else f"{record.record_offset} bytes into the file"
            ),
            "link position": None if is_row else str(record.link_position),
            "page": record.page_url,
            "WARC file": record.warc_filename,
            "WARC offset": None if record.warc_offset is None else str(record.warc_offset),
        }
        yield fields({name: value for name, value in shown.items() if value is not None})


def fields(values: Mapping[str, str], *, width: int | None = None) -> Table:
    """Names and values in two columns."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="cyan", no_wrap=True, min_width=width)
    grid.add_column(overflow="fold")
    for name, value in values.items():
        grid.add_row(Text(name), Text(value))
    return grid


def value_text(value: Any) -> str:
    """A value of a row, for people."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return " ".join(str(value).split())


def _span(timestamps: list[int]) -> str:
    first, last = (f"{moment(t):%Y-%m-%d %H:%M:%S}" for t in (min(timestamps), max(timestamps)))
    if first == last:
        return f"{first} UTC"
    return f"{first} to {last[11:] if first[:10] == last[:10] else last} UTC"


def _rows_text(counts: list[tuple[int, int, dict[str, int]]], *, drops: bool) -> str:
    rows, rows_in = sum(c[0] for c in counts), sum(c[1] for c in counts)
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in sorted(counts[0][2].items(), key=lambda item: -item[1]))
    text = (counted(rows, "row") if rows else "no row") + (f" of {rows_in:,}" if rows_in != rows else "")
    return f"{text}; dropped: {dropped}" if drops and dropped else text


def _unrecorded(graph: Graph) -> Iterator[str]:
    entry = graph.entry
    assert entry is not None
    when = f"{moment(entry.timestamp_ms):%Y-%m-%d %H:%M:%S} UTC"
    if not entry.foreign:
        yield f": {entry.operation}, {when}; it changed no rows"
        return
    partitions = ", ".join(graph.touched[:6]) + (
        f" and {len(graph.touched) - 6} more" if len(graph.touched) > 6 else ""
    )
    yield f": written without a record by {entry.operation}, {when}; "
    yield f"it changed the files of {counted(len(graph.touched), 'partition')}: {partitions}"


def elsewhere_text(trace: PairTrace) -> str:
    """Where a pair is that the table asked for does not hold, in one line."""
    held: dict[str, list[str]] = {}
    for key, found in trace.elsewhere.items():
        about = [f"{found.total:,} rows"] if found.total > 1 else []
        for row in found.rows[:1]:
            if "similarity" in row:
                about.append(f"similarity {value_text(row['similarity'])}")
            if "status" in row:
                about.append(": ".join(str(row[n]) for n in ("status", "failure", "failure_detail") if row.get(n)))
        held.setdefault(key.table, []).append(f"[{key.partition}]" + (f" ({', '.join(about)})" if about else ""))
    places = "; ".join(f"{table} {', '.join(where)}" for table, where in held.items())
    return f"pair {trace.pair_id} is not in {trace.table} (version {trace.graph.version}), but in {places}"
