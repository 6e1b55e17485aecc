"""``laion plan``: what crawls will take, in hours, machines, bytes and money, from the rates this lake was built at."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, out, settings_of
from laion_assets.common.quantities import (
    byte_size,
    count,
    digits,
    duration,
    money,
    number,
    rate,
    short_duration,
    time_unit,
)
from laion_assets.operations.assumptions import (
    FILES_PER_CRAWL,
    LAION_5B_CANDIDATES,
    LAION_5B_CRAWLS,
    PUBLISHED,
    Assumption,
    AssumptionError,
    Assumptions,
)
from laion_assets.operations.estimate import UNKNOWN_SPREAD, Estimate, total
from laion_assets.operations.plan import Fleet, Plan, Workload
from laion_assets.operations.plan import plan as made_plan
from laion_assets.tables.catalogue import FUNNEL

if TYPE_CHECKING:
    from laion_assets.operations.measured import Measurements
    from laion_assets.settings import Settings


class Like(StrEnum):
    """Something that was built before."""

    LAION_5B = "laion-5b"


class Device(StrEnum):
    """What encoders run on."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


Price = Annotated[float | None, typer.Option(min=0, help="US dollars; see the assumptions for the default.")]


_DIVIDED_BY = ("busy_share", "upload_part_bytes")
_SIZED_BY = ("candidates_per_file", "unique_share")


def plan(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CRAWL]...", help="Crawls to plan for.")] = None,
    lake: LakeOption = None,
    like: Annotated[Like | None, typer.Option(help="Plan for something of this size.")] = None,
    crawls: Annotated[int | None, typer.Option(min=1, help="Plan for so many crawls.")] = None,
    wat_files: Annotated[int | None, typer.Option(min=1, help="WAT files of each crawl.")] = None,
    machines: Annotated[int, typer.Option(min=1, help="Machines without GPU.")] = 10,
    cores: Annotated[int, typer.Option(min=1, help="Cores of each machine.")] = 16,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs, all together.")] = 8,
    device: Annotated[
        Device, typer.Option(help="What encoders run on; auto: what they ran on here, else a GPU.")
    ] = Device.AUTO,
    days: Annotated[float | None, typer.Option(min=0.01, help="Say how many machines do it in so many days.")] = None,
    core_hour_price: Price = None,
    gpu_hour_price: Price = None,
    storage_price: Price = None,
    egress_price: Price = None,
    egress_share: Annotated[float | None, typer.Option(min=0, help="Share of pictures that leaves the region.")] = None,
    months: Annotated[float | None, typer.Option(min=0, help="How long it is kept.")] = None,
    assume: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Any assumption, by its name; may be given again.")
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Use published figures alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """Say what crawls will take: hours, machines, bytes, requests, cost, each with its range.

    Rates and ratios are those that this lake was built with, as `step_metrics` has them; where nothing was measured a
    published figure stands in. Every assumption is shown with where it comes from, and `--assume` replaces any of them.
    """
    settings = settings_of(lake)
    measurements = None if published else _measured(settings)
    known = PUBLISHED if measurements is None else PUBLISHED.measured(measurements.values)
    options = {
        "core_hour_price": core_hour_price, "gpu_hour_price": gpu_hour_price, "storage_price": storage_price,
        "egress_price": egress_price, "egress_share": egress_share, "months": months,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    try:
        known = known.given(given | _assumed(assume or ()))
    except AssumptionError as error:
        raise UsageError(f"--assume: {error}") from error
    for name in (*_DIVIDED_BY, *(_SIZED_BY if like else ())):
        if known[name].value <= 0:
            raise UsageError(f"{name} is 0, and this plan needs more; --assume {name}=VALUE says what it is")
    workload, what = _workload(settings, known, names or [], like, crawls, wat_files)
    on_gpu = device is Device.GPU or (device is Device.AUTO and not _only_cpu(measurements))
    made = made_plan(workload, Fleet(machines=machines, cores=cores, gpus=gpus if on_gpu else 0), known)
    if as_json:
        typer.echo(json.dumps(as_object(made, what, days)))
        return
    _print(made, what, days)
    if measurements is not None and not (names and all(_is_built_here(settings, name) for name in names)):
        _warn_of_small_partitions(made, measurements)
    if not on_gpu and device is Device.AUTO:
        out.print(Text("Encoders ran on the CPU here, and so they do in this plan; --device gpu plans with GPUs."))


def _measured(settings: "Settings") -> "Measurements | None":
    opened = settings.lake_if_any()
    if opened is None:
        return None
    from laion_assets.operations.measured import measure
    from laion_assets.sql.session import connect

    with connect(opened, models=settings.models) as con:
        return measure(con)


def _only_cpu(measurements: "Measurements | None") -> bool:
    return measurements is not None and set(measurements.devices) == {"cpu"}


def _assumed(texts: Sequence[str]) -> dict[str, float]:
    values = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name] = float(value)
        except ValueError as error:
            raise UsageError(f"--assume: expected NAME=VALUE with a number, found {text!r}") from error
    return values


def _workload(
    settings: "Settings",
    known: Assumptions,
    names: Sequence[str],
    like: Like | None,
    crawls: int | None,
    wat_files: int | None,
) -> tuple[Workload, str]:
    """What is planned for, and that in words."""
    if sum((bool(names), like is not None or crawls is not None)) != 1:
        raise UsageError("name crawls, or give --crawls N, or --like laion-5b: one of these says what is planned for")
    shape = {"shards": settings.shards, "buckets": settings.buckets, "urls_per_tar": settings.download.urls_per_tar}
    if like is Like.LAION_5B:
        per_file = known["candidates_per_file"].value * known["unique_share"].value
        files = Estimate.exactly(LAION_5B_CANDIDATES / per_file)
        return (
            Workload(crawls=crawls or LAION_5B_CRAWLS, files=files, **shape),
            f"{number(LAION_5B_CANDIDATES)} unique pairs like LAION-5B's, in {crawls or LAION_5B_CRAWLS} crawls",
        )
    if crawls is not None:
        each = wat_files or FILES_PER_CRAWL
        return Workload(
            crawls=crawls, files=Estimate.exactly(crawls * each), **shape
        ), f"{crawls:,} crawls of {each:,} files"
    counts = {name: wat_files or _files_of(settings, name) for name in names}
    files = Estimate.exactly(sum(counts.values()))
    return Workload(crawls=len(counts), files=files, **shape), ", ".join(
        f"{n} ({c:,} files)" for n, c in counts.items()
    )


def _files_of(settings: "Settings", crawl: str) -> int:
    """The files that the lake reads of a crawl, or as many as Common Crawl has of one."""
    opened = settings.lake_if_any()
    commit = None if opened is None else opened.commit("wat_files", {"crawl": crawl})
    return FILES_PER_CRAWL if commit is None else commit.rows


def _is_built_here(settings: "Settings", crawl: str) -> bool:
    """Whether the lake holds pairs of a crawl: its partitions have the size that they have."""
    return crawl in settings.open_lake(create=False).ledger("unique_pairs").periods


def as_object(made: Plan, what: str, days: float | None = None) -> dict[str, Any]:
    """All of a plan as JSON values."""
    costs = made.costs()
    return {
        "workload": {"what": what, "crawls": made.workload.crawls, "wat_files": asdict(made.workload.files)},
        "fleet": asdict(made.fleet),
        "funnel": {name: asdict(rows) for name, rows in made.funnel.items()},
        "stages": [{**asdict(stage), "hours": asdict(made.hours(stage))} for stage in made.stages],
        **{name: asdict(getattr(made, name)) for name in _IN_ALL},
        "cost": {name: asdict(cost) for name, cost in {**costs, "total": total(costs.values())}.items()},
        **({"for_days": dict(zip(("machines", "gpus"), made.machines_for(days), strict=True))} if days else {}),
        "assumptions": [
            {
                "name": a.name, **asdict(a.estimate), "unit": a.unit, "meaning": a.meaning, "source": a.source,
                "partitions": a.partitions,
            }
            for a in made.assumptions.all()
        ],
    }  # fmt: skip


_IN_ALL = ("core_hours", "gpu_hours", "elapsed_hours", "read_bytes", "stored_bytes")
_WIDE = 130
_MUCH_LARGER = 100
# -- for people ------------------------------------------------------------------------------------------------------


def _print(made: Plan, what: str, days: float | None) -> None:
    out.print(Text.assemble(("plan for ", "bold"), what))
    out.print(_funnel_table(made))
    out.print(_stage_table(made))
    out.print(_cost_table(made))
    fleet = f"{made.fleet.machines:,} machines of {made.fleet.cores} cores"
    fleet += f" and {made.fleet.gpus:,} GPUs" if made.fleet.gpus else ", no GPU"
    words = [f"{_spread(made.elapsed_hours, duration)} on {fleet}, one stage after another."]
    downloads = next(stage for stage in made.stages if stage.table == "images")
    lasting = made.hours(downloads).value * 3_600
    if lasting:
        words.append(f"Downloads need {rate(downloads.read_bytes.value * 8 / lasting)} all together.")
    if days:
        machines, gpus = made.machines_for(days)
        words.append(f"Within {days:g} days: {machines:,} machines and {gpus:,} GPUs, all stages side by side.")
    out.print(Text(" ".join(words)))
    out.print(_assumption_table(made.assumptions))
    out.print(Text(_what_ranges_are(made.assumptions)))


def _warn_of_small_partitions(made: Plan, measurements: "Measurements") -> None:
    """What a partition costs once, whatever is in it, is most of the cost of a small one."""
    planned = made.funnel["unique pairs"].value / (made.workload.crawls * made.workload.buckets)
    if 0 < measurements.largest < planned / _MUCH_LARGER:
        words = (
            f"Partitions built here have {measurements.largest:,} rows at most, those of this plan {count(planned)}. "
            "What a partition costs once weighs more in the measured rates than it will: build one real bucket first."
        )
        out.print(Text(words))


def _table(title: str, first: str, *numbers: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title_justify="left")
    table.add_column(first, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _funnel_table(made: Plan) -> Table:
    table = _table("funnel", "", "rows", "low", "high")
    for name, rows in made.funnel.items():
        table.add_row(name, *(count(n) for n in (rows.value, rows.low, rows.high)))
    return table


def _stage_table(made: Plan) -> Table:
    times = (made.core_hours, made.gpu_hours, made.elapsed_hours)
    units = [time_unit(each.value) for each in times]
    core, gpu, elapsed = (unit for unit, _ in units)
    headings = (f"core {core}", f"GPU {gpu}", {"s": "seconds", "min": "minutes"}.get(elapsed, "hours"))
    table = _table("by stage", "table", "runs", *headings, "read", "stored", "puts", "gets")
    shows: list[Callable[[float], str]] = [
        *(partial(_in_unit, seconds=length) for _, length in units),
        byte_size,
        byte_size,
        count,
        count,
    ]
    for stage in made.stages:
        figures = [stage.core_hours, stage.gpu_hours, made.hours(stage)]
        figures += [stage.read_bytes, stage.stored_bytes, stage.puts, stage.gets]
        table.add_row(stage.table, count(stage.runs) if stage.runs else "", *_shown(figures, shows))
    table.add_section()
    sums = [*times, made.read_bytes, made.stored_bytes]
    sums += [total(getattr(stage, name) for stage in made.stages) for name in ("puts", "gets")]
    table.add_row("all", count(sum(stage.runs for stage in made.stages)), *_shown(sums, shows))
    return table


def _in_unit(hours: float, seconds: float) -> str:
    value = hours * 3_600 / seconds
    return number(value) if value >= 0.01 else digits(value)


def _shown(figures: Sequence[Estimate], shows: Sequence[Callable[[float], str]]) -> list[str]:
    return [show(figure.value) if figure.value else "" for figure, show in zip(figures, shows, strict=True)]


def _cost_table(made: Plan) -> Table:
    table = _table("cost in US dollars", "", "likely", "low", "high")
    costs = made.costs()
    whole = total(costs.values())
    for name, cost in costs.items():
        table.add_row(name, *(money(value) for value in (cost.value, cost.low, cost.high)))
    table.add_section()
    table.add_row("all", *(money(value) for value in (whole.value, whole.low, whole.high)))
    return table


def _assumption_table(known: Assumptions) -> Table:
    """One line each where the terminal is wide, two where it is not."""
    wide = out.width >= _WIDE
    table = Table(title="assumptions", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title_justify="left")
    for heading in ("name", "value", "what it is", "where it comes from") if wide else ("what it is", "value"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for assumption in known.all():
        source = Text(assumption.source, style="green" if assumption.partitions else "dim")
        if wide:
            table.add_row(assumption.name, _value(assumption), assumption.meaning, source)
        else:
            what = Text.assemble((assumption.name, "bold"), f": {assumption.meaning}\n  ", source)
            table.add_row(what, _value(assumption))
    return table


def _value(assumption: Assumption) -> str:
    estimate = assumption.estimate
    show: Callable[[float], str] = {"s": short_duration, "B": byte_size}.get(assumption.unit, number)
    value = f"{'$' if assumption.unit == '$' else ''}{show(estimate.value)}"
    return value if estimate.low == estimate.high else f"{value}\n({show(estimate.low)} to {show(estimate.high)})"


def _what_ranges_are(known: Assumptions) -> str:
    measured = {assumption.name for assumption in known.all() if assumption.partitions}
    words = [f"{len(measured)} of {len(known)} numbers were measured in this lake."]
    unmeasured = [stage for stage, step in FUNNEL.items() if measured.isdisjoint(step.rates)]
    if unmeasured:
        words.append(
            f"How long it takes was not measured here for {', '.join(unmeasured)}: published figures stand in."
        )
    if measured:
        words.append("What was measured lies between the tenth and the ninetieth percentile of its partitions.")
    words.append(f"A figure without a known spread is taken to be right within a factor of {UNKNOWN_SPREAD:g}.")
    return " ".join([*words, "Factors are taken to err independently of one another."])


def _spread(estimate: Estimate, show: Callable[[float], str]) -> str:
    return f"{show(estimate.value)} ({show(estimate.low)} to {show(estimate.high)})"
