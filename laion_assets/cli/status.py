"""``laion status``: how the partitions of every stage stand, as a picture, as tables, as JSON."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, complain, listing, out, settings_of
from laion_assets.common.quantities import counted
from laion_assets.orchestration.planning.parts import MODELS, SCORES, TRAININGS, Place
from laion_assets.orchestration.runs.status import STATES, LakeStatus, Standing, as_object
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import PER_RECIPE, PER_RELEASE, TABLES

if TYPE_CHECKING:
    from laion_assets.orchestration.runs.history import FailedBuild, RunHistory

_LOOKS: Final = {
    "done": ("█", "green"),
    "running": ("▓", "blue"),
    "stale": ("▒", "yellow"),
    "failed": ("!", "red"),
    "missing": ("·", "bright_black"),
    "waits": ("·", "yellow"),
}
_CRAWLS_IN_FULL = 4
_BAR_CELLS = 32
_WORDS_CELLS = 58
"""What stands beside a bar: the table's name, and how many partitions stand how."""
_REASONS_SHOWN = 200
_MODELS_NAMED = 8


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
    found, history = look(settings, crawl or ())
    wanted = [standing.place for standing in found.standings if standing.state == "failed"]
    failures = history.failures(wanted) if why or as_json else {}
    if as_json:
        typer.echo(json.dumps(as_object(found, failures)))
        return
    for fault in found.faults:
        complain("broken", str(fault))
    if not found.crawls:
        out.print("no crawl yet: `laion build CRAWL` builds one")
        return
    _print_bars(found)
    if len(found.crawls) <= _CRAWLS_IN_FULL:
        out.print(_table_in_full(found))
    else:
        _print_crawls(found, most)
    _print_recipes(found)
    _print_models(found)
    _print_removals(settings)
    if why:
        _print_reasons(found, failures)


def look(settings: Settings, crawls: Sequence[str] = ()) -> "tuple[LakeStatus, RunHistory]":
    """How everything stands now.

    Args:
        settings: of the lake.
        crawls: those to look at; none: all, and what belongs to no crawl.

    Raises:
        UsageError: the lake has no such crawl.
    """
    from laion_assets.orchestration.runs.home import dagster_instance
    from laion_assets.orchestration.runs.look import look as look_at

    settings.open_lake(create=False)  # says that there is none, before anything is made
    found, history = look_at(settings, dagster_instance(), crawls)
    unknown = sorted({*crawls} - {*found.crawls})
    if unknown:
        raise UsageError(f"--crawl: the lake has no crawl {', '.join(unknown)}; `laion status` shows those it has")
    return found, history


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


def _print_bars(lake: LakeStatus) -> None:
    counts = {table: lake.of_table(table) for table in lake.stages}
    counts |= {part: lake.beside.get(part, Counter()) for part in (MODELS, *TRAININGS, *SCORES, *PER_RELEASE)}
    shown = {part: found for part, found in counts.items() if found}
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    cells = min(_BAR_CELLS, max(12, out.width - _WORDS_CELLS))
    for part, found in shown.items():
        grid.add_row(part, bar(found, cells), _in_words(found))
    present = [state for state in STATES if any(found[state] for found in shown.values())]
    legend = [part for state in present for part in ((_LOOKS[state][0], _LOOKS[state][1]), f" {state}  ")]
    out.print(Text.assemble((lake.lake, "bold"), f", {counted(len(lake.crawls), 'crawl')}   ", *legend))
    out.print(grid)


def _in_words(counts: Mapping[str, int]) -> Text:
    """``17,200 of 25,600``, and what stands in other ways."""
    others = [s for s in STATES[1:-1] if counts.get(s)]
    words: list[Any] = [f"{counts.get('done', 0):,} of {sum(counts.values()):,}"]
    words += [part for s in others for part in (", ", (f"{counts[s]:,} {s}", _LOOKS[s][1]))]
    return Text.assemble(*words)


def _table_in_full(lake: LakeStatus) -> Table:
    running = any(counts["running"] for counts in lake.counts.values())
    columns = ("done", "stale", "missing", "failed", *(("running",) if running else ()))
    table = Table("table", pad_edge=not running)  # with one column more, 80 characters would not be enough
    table.add_column("crawl", no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right")
    for name in lake.stages:
        for crawl in lake.crawls:
            counts = lake.counts.get((name, crawl), Counter())
            cells = [
                Text(str(counts[state] or ""), style=_LOOKS[state][1] if counts[state] else "") for state in columns
            ]
            table.add_row(name, crawl, *cells)
    return table


_URGENT: Final = ("failed", "running", "stale", None)


def _print_crawls(lake: LakeStatus, most: int) -> None:
    """A row for each crawl that is not done: those with failures first, then what runs or is stale, then the newest."""
    undone = [crawl for crawl in reversed(lake.crawls) if not lake.is_done(crawl)]
    undone.sort(key=lambda crawl: _URGENT.index(_mark(lake.of_crawl(crawl))))
    if undone[:most]:
        stages = [TABLES[name].short for name in lake.stages]
        table = listing("crawl", *stages, numbers=stages)
        for crawl in undone[:most]:
            table.add_row(crawl, *(_cell(lake.counts.get((name, crawl), Counter())) for name in lake.stages))
        out.print(table)
    done = len(lake.crawls) - len(undone)
    words = [f"{counted(done, 'crawl')} done in every stage"]
    if len(undone) > most:
        words.append(f"{len(undone) - most:,} more that are not: --most shows more, --crawl one of them")
    out.print("; ".join(words))


def _print_recipes(lake: LakeStatus) -> None:
    """A row for each recipe that somebody trained or asked for."""
    if not lake.of_recipes:
        return
    stages = [TABLES[name].short for name in PER_RECIPE]
    table = listing("recipe", *stages, numbers=stages, folded=("recipe",))
    for recipe, counts in sorted(lake.of_recipes.items()):
        table.add_row(Text(recipe), *(_cell(counts[name]) if name in counts else "" for name in PER_RECIPE))
    out.print(table)


def _print_models(lake: LakeStatus) -> None:
    """The SQL models that are not done, by how they stand."""
    found: dict[str, list[str]] = {}
    for standing in lake.standings:
        if standing.part == MODELS and standing.state != "done":
            names = found.setdefault("waits" if standing.waits else standing.state, [])
            if standing.table not in names:
                names.append(standing.table)
    for state in (*STATES[1:], "waits"):
        names = found.get(state, [])
        if names:
            more = f" and {len(names) - _MODELS_NAMED} more" if len(names) > _MODELS_NAMED else ""
            text = Text.assemble((state, _LOOKS[state][1]), f" SQL models: {', '.join(names[:_MODELS_NAMED])}{more}")
            out.print(text, soft_wrap=True)


def _print_removals(settings: Settings) -> None:
    """The removal requests that are not done with, and what learned from removed pairs."""
    from laion_assets.cli.takedowns import requests_of, tainted_lines

    lake = settings.open_lake(create=False)
    requests = [*requests_of(lake)]
    waiting = sum(not one["withdrawn_at"] and one["completed_at"] is None for one in requests)
    if waiting:
        text = Text.assemble((f"{counted(waiting, 'removal request')} not done with", _LOOKS["stale"][1]))
        out.print(text + Text(": `laion build` removes what is left, `laion takedowns` lists them"), soft_wrap=True)
    for line in tainted_lines(lake):
        out.print(Text.assemble(("tainted", _LOOKS["stale"][1]), f": {line}"), soft_wrap=True)


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


def _print_reasons(lake: LakeStatus, failures: "Mapping[Place, FailedBuild]") -> None:
    lines = 0
    for standing in lake.standings:
        text = _why(standing, failures.get(standing.place))
        if not text:
            continue
        lines += 1
        if lines > _REASONS_SHOWN:
            out.print(f"and more: only the first {_REASONS_SHOWN} are shown; --crawl narrows, --json has all")
            return
        out.print(Text(f"{standing.table} {standing.partition}: {text}"), soft_wrap=True)


def _why(standing: Standing, failure: "FailedBuild | None") -> str:
    """Why a partition is stale, failed or waits; nothing of others."""
    if standing.state not in ("stale", "failed") and not standing.waits:
        return ""
    if failure is None:
        return "; ".join(standing.reasons)
    at = f" at {failure.at:%Y-%m-%d %H:%M} UTC" if failure.at else ""
    return f"failed {counted(failure.times, 'time')}, last{at} in run {failure.run_id[:8]}: {failure.error}"
