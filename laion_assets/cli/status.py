"""``laion status``: how the partitions of every stage stand, as a picture, as tables, as JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, out, settings_of
from laion_assets.lake.partition import partition_name
from laion_assets.lake.stages import PER_CRAWL
from laion_assets.lake.staleness import PartitionState, State

if TYPE_CHECKING:
    from laion_assets.cli.attempts import Attempts, Failure, Place

STATES: Final = ("done", "running", "stale", "failed", "missing")
"""How a partition can stand, in the order in which bars show it."""

_LOOKS: Final = {
    "done": ("█", "green"),
    "running": ("▓", "blue"),
    "stale": ("▒", "yellow"),
    "failed": ("!", "red"),
    "missing": ("·", "bright_black"),
}
_CRAWLS_IN_FULL = 4
_BAR_CELLS = 32
_WORDS_CELLS = 58
"""What stands beside a bar: the table's name, and how many partitions stand how."""
_REASONS_SHOWN = 200


@dataclass(frozen=True)
class Standing:
    """One partition as it is shown."""

    table: str
    crawl: str
    partition: str
    state: str
    """One of :data:`STATES`."""
    reasons: tuple[str, ...] = ()

    @property
    def place(self) -> "Place":
        """What names it."""
        return self.table, self.partition


@dataclass(frozen=True)
class Picture:
    """All partitions of some crawls."""

    lake: str
    standings: Sequence[Standing]
    counts: Mapping[tuple[str, str], Counter[str]] = field(init=False)
    """By table and crawl, how many partitions stand how."""

    def __post_init__(self) -> None:
        counts: dict[tuple[str, str], Counter[str]] = {}
        for standing in self.standings:
            counts.setdefault((standing.table, standing.crawl), Counter())[standing.state] += 1
        object.__setattr__(self, "counts", counts)

    @property
    def crawls(self) -> list[str]:
        """The crawls, by name."""
        return sorted({crawl for _, crawl in self.counts})

    def of_table(self, table: str) -> Counter[str]:
        """How many partitions of a table stand how, over all crawls."""
        return sum((counts for (name, _), counts in self.counts.items() if name == table), Counter())

    def of_crawl(self, crawl: str) -> Counter[str]:
        """How many partitions of a crawl stand how, over all tables."""
        return sum((counts for (_, name), counts in self.counts.items() if name == crawl), Counter())

    def is_done(self, crawl: str) -> bool:
        """Whether every partition of a crawl is."""
        return set(self.of_crawl(crawl)) == {"done"}


def picture_of(
    lake: str, states: Iterable[PartitionState], attempts: "Attempts", crawls: Sequence[str] = ()
) -> Picture:
    """How partitions stand: what is done the lake says, what runs or failed Dagster.

    Args:
        lake: its name.
        states: of every partition of the lake.
        attempts: what Dagster remembers.
        crawls: those to look at; none: all.
    """
    standings = []
    for state in states:
        crawl, name = str(state.partition["crawl"]), partition_name(state.partition)
        if crawls and crawl not in crawls:
            continue
        shown = str(state.state)
        if (state.table, name) in attempts.running:
            shown = "running"
        elif (state.table, name) in attempts.failed and state.state is not State.DONE:
            shown = "failed"
        standings.append(Standing(state.table, crawl, name, shown, (*state.reasons, *state.inherited)))
    return Picture(lake, standings)


def status(
    lake: LakeOption = None,
    crawl: Annotated[list[str] | None, typer.Option(help="Show this crawl alone; may be given again.")] = None,
    why: Annotated[bool, typer.Option("--why", help="Say of each stale or failed partition why.")] = False,
    most: Annotated[int, typer.Option(min=0, help="Show so many of the crawls that are not done.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """Show how many partitions of each stage and crawl are done, stale, missing, failed or being built.

    What is done, stale or missing is read from the lake; what failed or is being built is what Dagster remembers.
    """
    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    from laion_assets.cli.attempts import Attempts
    from laion_assets.cli.build import current_states
    from laion_assets.cli.home import dagster_instance
    from laion_assets.partitions import CRAWLS

    instance = dagster_instance()
    states = current_states(opened, settings, instance.get_dynamic_partitions(str(CRAWLS.name)))
    known = {str(state.partition["crawl"]) for state in states}
    unknown = sorted({*(crawl or ())} - known)
    if unknown:
        raise UsageError(f"--crawl: the lake has no crawl {', '.join(unknown)}; `laion status` shows those it has")
    attempts = Attempts(instance, settings, PER_CRAWL)
    picture = picture_of(settings.lake, states, attempts, crawl or ())
    wanted = [standing.place for standing in picture.standings if standing.state == "failed"]
    failures = attempts.failures(wanted) if why or as_json else {}
    if as_json:
        typer.echo(json.dumps(as_object(picture, failures)))
        return
    if not known:
        out.print("no crawl yet: `laion build CRAWL` builds one")
        return
    _print_bars(picture)
    if len(picture.crawls) <= _CRAWLS_IN_FULL:
        out.print(_table_in_full(picture))
    else:
        _print_crawls(picture, most)
    if why:
        _print_reasons(picture, failures)


def as_object(picture: Picture, failures: "Mapping[Place, Failure]") -> dict[str, Any]:
    """All of it as JSON values; of the partitions those that are not done."""
    return {
        "lake": picture.lake,
        "stages": {table: {s: picture.of_table(table)[s] for s in STATES} for table in PER_CRAWL},
        "crawls": {
            crawl: {table: {s: picture.counts[table, crawl][s] for s in STATES} for table in PER_CRAWL}
            for crawl in picture.crawls
        },
        "partitions": [
            {
                "table": standing.table,
                "partition": standing.partition,
                "state": standing.state,
                "reasons": list(standing.reasons),
                **_failure_object(failures.get(standing.place)),
            }
            for standing in picture.standings
            if standing.state != "done"
        ],
    }


def _failure_object(failure: "Failure | None") -> dict[str, Any]:
    if failure is None:
        return {}
    return {
        "failures": failure.times,
        "run_id": failure.run_id,
        "error": failure.error,
        "failed_at": failure.at.isoformat(timespec="seconds") if failure.at else None,
    }


def bar(counts: Mapping[str, int], cells: int = _BAR_CELLS) -> Text:
    """A bar of so many cells; whatever is there at all has one of them at least."""
    total = sum(counts.values())
    present = [state for state in STATES if counts.get(state)]
    widths = {state: max(1, counts[state] * cells // total) for state in present}
    while (over := sum(widths.values()) - cells) != 0 and present:
        # The widest gives to, or takes from, what was rounded.
        widest = max(present, key=lambda state: widths[state])
        widths[widest] -= over
        if widths[widest] < 1:
            raise ValueError(f"{cells} cells are too few for {len(present)} states")
    return Text.assemble(*((_LOOKS[state][0] * widths[state], _LOOKS[state][1]) for state in present))


def _print_bars(picture: Picture) -> None:
    shown = [table for table in PER_CRAWL if picture.of_table(table)]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    cells = min(_BAR_CELLS, max(12, out.width - _WORDS_CELLS))
    for table in shown:
        grid.add_row(table, bar(picture.of_table(table), cells), _in_words(picture.of_table(table)))
    present = [state for state in STATES if any(picture.of_table(table)[state] for table in shown)]
    legend = [part for state in present for part in ((_LOOKS[state][0], _LOOKS[state][1]), f" {state}  ")]
    out.print(Text.assemble((picture.lake, "bold"), f", {_count(len(picture.crawls), 'crawl')}   ", *legend))
    out.print(grid)


def _in_words(counts: Mapping[str, int]) -> Text:
    """``17,200 of 25,600``, and what stands in other ways."""
    others = [s for s in STATES[1:-1] if counts.get(s)]
    words: list[Any] = [f"{counts.get('done', 0):,} of {sum(counts.values()):,}"]
    words += [part for s in others for part in (", ", (f"{counts[s]:,} {s}", _LOOKS[s][1]))]
    return Text.assemble(*words)


def _table_in_full(picture: Picture) -> Table:
    running = any(counts["running"] for counts in picture.counts.values())
    columns = ("done", "stale", "missing", "failed", *(("running",) if running else ()))
    table = Table("table", pad_edge=not running)  # with one column more, 80 characters would not be enough
    table.add_column("crawl", no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right")
    for name in PER_CRAWL:
        for crawl in picture.crawls:
            counts = picture.counts[name, crawl]
            cells = [
                Text(str(counts[state] or ""), style=_LOOKS[state][1] if counts[state] else "") for state in columns
            ]
            table.add_row(name, crawl, *cells)
    return table


_URGENT: Final = ("failed", "running", "stale", None)
_SHORT: Final = {
    "crawl_snapshots": "listed", "wat_files": "files", "candidate_pairs": "candid.", "unique_pairs": "unique",
    "images": "images", "clip_embeddings": "embedded", "filtered_pairs": "filtered",
}  # fmt: skip


def _print_crawls(picture: Picture, most: int) -> None:
    """A row for each crawl that is not done: those with failures first, then what runs or is stale, then the newest."""
    undone = [crawl for crawl in reversed(picture.crawls) if not picture.is_done(crawl)]
    undone.sort(key=lambda crawl: _URGENT.index(_mark(picture.of_crawl(crawl))))
    if undone[:most]:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("crawl", no_wrap=True)
        for name in PER_CRAWL:
            table.add_column(_SHORT.get(name, name), justify="right", no_wrap=True)
        for crawl in undone[:most]:
            table.add_row(crawl, *(_cell(picture.counts[name, crawl]) for name in PER_CRAWL))
        out.print(table)
    done = len(picture.crawls) - len(undone)
    words = [f"{_count(done, 'crawl')} done in every stage"]
    if len(undone) > most:
        words.append(f"{len(undone) - most:,} more that are not: --most shows more, --crawl one of them")
    out.print("; ".join(words))


def _cell(counts: Mapping[str, int]) -> Text:
    """``✓``, or how much is done and what stands in its way: ``62% 3!``."""
    total, done = sum(counts.values()), counts.get("done", 0)
    if done == total:
        return Text("✓", style=_LOOKS["done"][1])
    mark = _mark(counts)
    percent = Text(f"{done * 100 // total}%" if done or mark else "·", style="" if done else _LOOKS["missing"][1])
    if mark is None:
        return percent
    return Text.assemble(percent, " ", (f"{counts[mark]:,}{_LOOKS[mark][0]}", _LOOKS[mark][1]))


def _mark(counts: Mapping[str, int]) -> str | None:
    """The state of those there that wants looking at most; None: done or missing."""
    return next((state for state in _URGENT if state is not None and counts.get(state)), None)


def _print_reasons(picture: Picture, failures: "Mapping[Place, Failure]") -> None:
    lines = 0
    for standing in picture.standings:
        failure = failures.get(standing.place)
        text = "; ".join(standing.reasons)
        if failure is not None:
            at = f" at {failure.at:%Y-%m-%d %H:%M} UTC" if failure.at else ""
            text = f"failed {_count(failure.times, 'time')}, last{at} in run {failure.run_id[:8]}: {failure.error}"
        if standing.state not in ("stale", "failed") or not text:
            continue
        lines += 1
        if lines > _REASONS_SHOWN:
            out.print(f"and more: only the first {_REASONS_SHOWN} are shown; --crawl narrows, --json has all")
            return
        out.print(Text(f"{standing.table} {standing.partition}: {text}"), soft_wrap=True)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
