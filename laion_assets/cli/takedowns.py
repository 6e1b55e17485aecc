"""``laion takedown`` and ``laion takedowns``: removal requests, what they concern, and taking one back."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, existing_lake, out, settings_of
from laion_assets.common.quantities import counted
from laion_assets.delta.lake import Lake
from laion_assets.settings import Settings


@dataclass(frozen=True)
class Concerned:
    """What a removal request concerns, as a lake is now."""

    rows: dict[str, int]
    """By table, the rows that the next builds take out; of ``images`` stored pictures."""
    as_crawled: int
    """Rows of what was extracted from crawls, from which no build takes anything."""
    trainings: dict[str, int | None]
    """By recipe, the pairs that its training set was selected from; None where that cannot be looked up any more."""
    releases: dict[str, int | None]
    """By release, the pairs that it holds; None where that cannot be looked up any more."""


def takedown(
    kind: Annotated[
        str | None, typer.Argument(help="What to remove: `url`, `domain`, `sha256` of a picture, or `pair_id`.")
    ] = None,
    value: Annotated[
        str | None, typer.Argument(help="The url, domain (its subdomains too), hex digest or pair_id.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Many requests in one go: CSV, TSV or JSON lines with the columns kind, value and, if any, reason. "
            "Where one cannot be understood none is entered.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            help="Why, for whoever reads the table. Begin it with `rights`, `privacy`, `safety` or `opted out` and a "
            "colon: that word alone goes into the removals feeds of releases, `other` where there is none."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it concerns, and enter nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Enter it without asking.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back a request that was entered.")] = False,
    receipt: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write what a request that stands has removed, what remains of it and until when, as JSON with a "
            "digest; `-` prints it. Enters nothing.",
        ),
    ] = None,
    lake: LakeOption = None,
) -> None:
    """Enter a removal request. What holds such rows becomes stale, and `laion build` removes them for good.

    At a terminal it says first what is concerned, and asks; scripts are not asked. A request that was a mistake is
    taken back by `--withdraw`: both stay in the table, and what was removed comes back with the next builds, where the
    crawl still has it. `laion takedowns` lists all.
    """
    import polars as pl

    from laion_assets.consent.removals import REQUEST_KINDS, load_removals
    from laion_assets.lake.takedowns import request_takedown, withdraw_takedowns

    if file is not None:
        if kind or withdraw or receipt:
            raise UsageError("takedown: --file goes with --reason, --dry-run and --yes, and with no KIND of its own")
        _take_file(settings_of(lake), file, reason, dry_run=dry_run, yes=yes)
        return
    if kind is None or value is None:
        raise UsageError("takedown: expected KIND and VALUE, or --file FILE; `laion takedown --help` says more")
    for given in (kind, value if kind != "pair_id" else ""):
        if given.startswith("-"):
            raise UsageError(f"takedown: there is no option {given}; `laion takedown --help` lists them")
    if kind not in REQUEST_KINDS:
        raise UsageError(f"takedown: expected a kind out of {', '.join(REQUEST_KINDS)}, found {kind!r}")
    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    request = load_removals(pl.DataFrame({"kind": [kind], "value": [value]}))  # refuses what cannot be understood
    entries = _entries(opened, request.frame) if withdraw or receipt else []
    if receipt:
        _write_receipt(opened, settings, kind, entries[0], receipt)
        return
    if dry_run or _asks(yes):
        if withdraw:
            out.print(Text(f"to be withdrawn: {', '.join(f'{kind} {entry}' for entry in entries)}"), soft_wrap=True)
        else:
            _print(_concerned(opened, settings, request.frame), f"{kind} {value}")
        out.print("The next builds make again the partitions that hold any of it, and what is built on them.")
        if dry_run:
            return
        if not typer.confirm("Withdraw it?" if withdraw else "Enter it?"):
            out.print("nothing was changed")
            raise typer.Exit(1)
    if withdraw:
        withdraw_takedowns(opened, kind, entries, reason)
        out.print("withdrawn; `laion status` shows what is stale, and `laion build` brings back what the crawls have")
        return
    commit = request_takedown(opened, kind, value, reason)
    out.print(f"{commit.rows} requests of this kind; `laion status` shows what is stale, `laion build` removes it")


def _asks(yes: bool) -> bool:
    return not yes and sys.stdin.isatty() and sys.stdout.isatty()


def _take_file(settings: Settings, file: Path, reason: str | None, *, dry_run: bool, yes: bool) -> None:
    """Enter the requests of a file, in one pass over what they concern and one commit a kind."""
    import polars as pl

    from laion_assets.consent.removals import load_removals
    from laion_assets.consent.requests import read_requests
    from laion_assets.lake.takedowns import request_takedowns

    requests = read_requests(file)
    opened = settings.open_lake(create=False)
    by_kind: dict[str, dict[str, str | None]] = {}
    for request in requests:
        by_kind.setdefault(request.kind, {})[request.value] = request.reason or reason
    total = counted(sum(map(len, by_kind.values())), "request")
    if dry_run or _asks(yes):
        told = [(kind, value) for kind, values in by_kind.items() for value in values]
        frame = load_removals(pl.DataFrame(told, schema={"kind": pl.String, "value": pl.String}, orient="row")).frame
        _print(_concerned(opened, settings, frame), f"{total} of {file}")
        out.print("The next builds make again the partitions that hold any of it, and what is built on them.")
        if dry_run:
            return
        if not typer.confirm("Enter them?"):
            out.print("nothing was changed")
            raise typer.Exit(1)
    for kind, reasons in sorted(by_kind.items()):
        request_takedowns(opened, kind, reasons)
    out.print(f"{total} entered; `laion status` shows what is stale, `laion build` removes it", highlight=False)


def _write_receipt(lake: Lake, settings: Settings, kind: str, value: str, target: str) -> None:
    from laion_assets.common.files import write_file
    from laion_assets.orchestration.automation.maintenance import survey
    from laion_assets.orchestration.automation.receipt import receipt
    from laion_assets.orchestration.planning.completion import requests_in_force
    from laion_assets.orchestration.runs.home import dagster_instance

    [request] = [one for one in requests_in_force(lake) if (one.kind, one.value) == (kind, value)]
    told = receipt(lake, settings, request, survey(settings, lake, dagster_instance()))
    content = json.dumps(told, indent=2) + "\n"
    if target == "-":
        typer.echo(content, nl=False)
        return
    try:
        write_file(Path(target), content)
    except OSError as error:
        raise UsageError(f"--receipt: {target} cannot be written: {error.strerror or error}") from error
    done = "is done with" if request.completed_at else "is not done with: `laion build` removes what is left"
    out.print(Text(f"{target}: the request {done}; digest {told['sha256']}"), soft_wrap=True)


def takedowns(
    format: Annotated[str, typer.Option(help="`table` or `json`.")] = "table",
    lake: LakeOption = None,
) -> None:
    """List the removal requests: what, since when, why, and what became of each.

    A request is done once no row and no training set holds it; the build that removed the last of it writes down how
    many rows went from which table, and which checkpoints had learned from them.
    """
    if format not in ("table", "json"):
        raise UsageError(f"--format: expected table or json, found {format!r}")
    opened = existing_lake(lake)
    found = [*requests_of(opened)]
    if format == "json":
        typer.echo(json.dumps(found))
        return
    if not found:
        out.print("no removal was asked for")
        return
    table = Table("kind", "value", "requested", "reason", "what became of it")
    for request in found:
        said = [request[name] for name in ("kind", "value", "requested_at", "reason")]
        table.add_row(*(Text(str(one or "")) for one in said), Text(_became(request)))
    out.print(table)
    for line in tainted_lines(opened):
        out.print(Text(line), soft_wrap=True)


def _became(request: dict[str, Any]) -> str:
    if request["withdrawn_at"]:
        return ": ".join(filter(None, (f"withdrawn {request['withdrawn_at']}", request["withdrawn_for"])))
    removed = request["rows_removed"]
    rows = "" if removed is None else ", ".join(f"{table} {rows:,}" for table, rows in removed.items()) or "no rows"
    if request["completed_at"]:
        return f"done {request['completed_at']}, removed: {rows or 'nobody can say any more what'}"
    if removed is None:
        return "the next `laion build` removes it"
    return f"removed: {rows}; a training set still holds it: `laion train RECIPE` makes it again"


def tainted_lines(lake: Lake) -> Iterator[str]:
    """For people, the checkpoints that learned from removed pairs, a line a recipe."""
    from laion_assets.orchestration.planning.completion import tainted_epochs

    for recipe, epochs in tainted_epochs(lake).items():
        anew = f"`laion train {recipe}` trains it anew without them"
        yield f"{recipe} learned from removed pairs (epoch {', '.join(map(str, epochs))}): {anew}"


def requests_of(lake: Lake) -> Iterator[dict[str, Any]]:
    """Every request, the first first. One that was entered again after its withdrawal is not withdrawn."""
    from laion_assets.consent.removals import WITHDRAWAL, in_force
    from laion_assets.lake.takedowns import counts_of

    rows = lake.scan("takedowns").collect()
    standing = {(kind, value) for _, kind, value in in_force(rows)}
    withdrawn = {row["value"]: row for row in rows.filter(kind=WITHDRAWAL).to_dicts()}
    for row in rows.sort("requested_at", "kind", "value").to_dicts():
        taken_back = None if (row["kind"], row["value"]) in standing else withdrawn.get(f"{row['kind']} {row['value']}")
        if row["kind"] != WITHDRAWAL:
            yield {
                "kind": row["kind"],
                "value": row["value"],
                "requested_at": _time(row),
                "reason": row["reason"],
                "withdrawn_at": _time(taken_back) if taken_back else None,
                "withdrawn_for": taken_back["reason"] if taken_back else None,
                "rows_removed": counts_of(row["rows_removed"]),
                "tainted_checkpoints": row["tainted_checkpoints"] or [],
                "completed_at": _time(row, "completed_at") if row["completed_at"] else None,
            }


def _time(row: dict[str, Any], column: str = "requested_at") -> str:
    return str(row[column].isoformat(sep=" ", timespec="seconds"))


def _entries(lake: Lake, wanted: Any) -> list[str]:
    """The values, as they were entered, of the standing requests that mean the same as the one that is wanted.

    Raises:
        UsageError: there is none.
    """
    import polars as pl

    from laion_assets.consent.removals import in_force, load_removals

    [(kind, meant)] = wanted.rows()
    found = []
    for _, of_kind, value in in_force(lake.scan("takedowns").collect()):
        if of_kind == kind:
            entry = load_removals(pl.DataFrame({"kind": [kind], "value": [value]}))
            found += [str(value)] if entry.frame["value"].to_list() == [meant] else []
    if not found:
        raise UsageError(f"no request for {kind} {meant} stands; `laion takedowns` lists them")
    return found


def _concerned(lake: Lake, settings: Settings, frame: Any) -> Concerned:
    from laion_assets.consent.removals import Removals
    from laion_assets.sql.removed import AS_CRAWLED, holding, release_selections, rows_found, training_selections
    from laion_assets.sql.session import connect

    removals, models = Removals(frame), settings.models
    with connect(lake, models=models) as con:
        [rows] = rows_found(con, [removals])
    selections = training_selections(lake, models), release_selections(lake, models)
    as_crawled = rows.pop(AS_CRAWLED, 0)
    return Concerned(rows, as_crawled, *(dict(holding(lake, models, removals, of)) for of in selections))


def _print(found: Concerned, what: str) -> None:
    table = Table("table", title=Text(f"{what}: rows that are there now"))
    table.add_column("rows", justify="right")
    for name, rows in found.rows.items():
        table.add_row(name, f"{rows:,}")
    out.print(table)
    out.print(f"{counted(found.rows.get('images', 0), 'picture')}", highlight=False)
    if found.as_crawled:
        kept = f"{counted(found.as_crawled, 'row')} of candidate_pairs, with url, text and page, as the crawl has them"
        out.print(f"what builds leave: {kept}", highlight=False, soft_wrap=True)
    for recipe, pairs in found.trainings.items():
        out.print(Text(f"training {recipe}: {_pairs(pairs)}; `laion train {recipe}` makes its set again"))
    if not found.trainings:
        out.print("no training")
    for release, pairs in found.releases.items():
        out.print(
            Text(f"release {release}: {_pairs(pairs)}; `laion release feed {release}` tells those who have copies"),
            soft_wrap=True,
        )


def _pairs(count: int | None) -> str:
    return "perhaps some pairs (what it was selected from is gone)" if count is None else counted(count, "pair")
