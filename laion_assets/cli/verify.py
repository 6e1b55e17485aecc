"""``laion verify``: whether the lake still holds the bytes that were written, and what to do where it does not."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, complain, err, out, settings_of
from laion_assets.common.quantities import measured_bytes

if TYPE_CHECKING:
    from rich.progress import Progress

    from laion_assets.delta.lake import Lake
    from laion_assets.delta.verify import Report
    from laion_assets.settings import Settings


def verify(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, SQL models among them; none: all.")] = None,
    crawl: Annotated[list[str] | None, typer.Option(help="Only partitions of this crawl; may be given again.")] = None,
    sample: Annotated[
        float, typer.Option(min=0.0001, max=1, help="Look at this share; each week at another one.", metavar="SHARE")
    ] = 1.0,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend logs, and make damaged partitions stale so that a build heals them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
    lake: LakeOption = None,
) -> None:
    """Compare what is stored with what was written: logs, rows, and the files that rows name.

    Every commit has a seal with a copy of its log entry and the SHA-256 of each file that came with it, and a digest of
    its rows. Read are all data files of the newest versions, the tars that rows of `images` name, training shards and
    weights. What older versions of laion wrote has no seal: there rows are compared by their digest, and tars are read
    to their end, with every picture in them.

    Each fault is a line: table, partition, file, what is wrong, and the command that heals it; exit code 1 if there is
    any. Files that no row names are no faults; `laion gc` removes them in time.

    `--repair` puts back what there is a copy of, and marks the other damaged partitions: the next `laion build` makes
    them again, and of `images` it downloads what lay in the damaged tars and nothing else. It also records the bytes
    of what was written before there were seals. Nothing else is changed, and without it nothing at all.

    Interrupted, the same command goes on where it stopped; with `--repair` it takes over what was found sound within
    the last week.
    """
    from laion_assets.delta.scope import Scope
    from laion_assets.delta.verify import verify_lake
    from laion_assets.images.decode import picture_fault
    from laion_assets.lake.tars import tar_check

    settings = settings_of(lake)
    opened = _opened(settings)
    _known_tables(opened, tables or [])
    scope = Scope(tuple(tables or ()), tuple(sorted(crawl or ())), sample)
    lines = (lambda _: None) if as_json else (lambda line: out.print(Text(line), soft_wrap=True))
    with _bars() as bars:
        watch = _Bar(bars)
        try:
            report = verify_lake(
                opened, scope, archive=tar_check(picture_fault), repair=repair, watch=watch, told=lines
            )
        except KeyboardInterrupt:
            complain("stopped:", "the same command goes on from what was found sound")
            raise
    if scope.periods and sample == 1 and not report.seen.partitions and not report.faults:
        raise UsageError(
            f"--crawl: the lake has no partition of {', '.join(scope.periods)}; `laion status` shows crawls"
        )
    if as_json:
        typer.echo(json.dumps({"lake": opened.uri, **report.to_json()}))
    else:
        _print_summary(report, repair=repair)
    if report.faults:
        raise typer.Exit(1)


def _opened(settings: "Settings") -> "Lake":
    """The lake, although a table of it may be damaged; its SQL models as far as they are sound."""
    from laion_assets.lake.opening import damaged_lake_at, recorded_shape
    from laion_assets.sql.build import declared
    from laion_assets.sql.errors import ModelError
    from laion_assets.sql.project import load_project

    if recorded_shape(settings.lake) is None:
        settings.open_lake(create=False)  # says that there is none
    opened = damaged_lake_at(settings.lake, settings.shards, settings.buckets)
    try:
        return declared(opened, load_project(settings.models))
    except ModelError as error:
        complain("warning", f"SQL models are looked at without their columns: {error.faults[0]}")
        return opened


def _known_tables(lake: "Lake", names: list[str]) -> None:
    from laion_assets.delta.logs import table_folders

    known = {*lake.tables, *table_folders(lake.storage, lake.catalogue)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no table {', '.join(unknown)}; `laion tables` lists them")


def _bars() -> "Progress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("verify"), BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("files"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=err, disable=not err.is_terminal)


class _Bar:
    """Shows how a verification goes; there is more to look at the further it comes."""

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._task = bars.add_task("verify", total=0)
        self._total = 0

    def more(self, files: int) -> None:
        self._total += files
        self._bars.update(self._task, total=self._total)

    def done(self, files: int = 1) -> None:
        self._bars.advance(self._task, files)


def _print_summary(report: "Report", *, repair: bool) -> None:
    seen = report.seen
    words = f"{seen.partitions:,} partitions, {seen.files:,} files, {measured_bytes(seen.bytes)} read"
    if seen.taken_over:
        words += f"; {seen.taken_over:,} were found sound before"
    healed = sum(done.healed for done in report.repaired)
    number = len(report.faults)
    faults = "no fault" if not number else "1 fault" if number == 1 else f"{number:,} faults"
    out.print(f"{words}; {faults}{f', {healed:,} of them healed' if repair and report.faults else ''}", highlight=False)
    if seen.unnamed:
        out.print(
            f"{seen.unnamed:,} files that no row names: no faults, `laion gc` removes what is old", highlight=False
        )
    if report.sealed:
        out.print(f"{report.sealed:,} commits and tars of before are sealed now", highlight=False)
    elif seen.unsealed:
        out.print(
            f"{seen.unsealed:,} partitions have no seal, since an older version wrote them: `--repair` seals them",
            highlight=False,
        )
