"""``laion takedown`` and ``laion takedowns``: removal requests, what they concern, and taking one back."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, existing_lake, out, settings_of
from laion_assets.common.quantities import counted
from laion_assets.delta.lake import Lake
from laion_assets.settings import Settings

if TYPE_CHECKING:
    from laion_assets.consent.removals import RegisteredRemovals

_OF_PAIRS: Final = ("clip_embeddings", "filtered_pairs")
"""Tables that say of a pair its crawl, bucket and pair_id, and no more."""


@dataclass(frozen=True)
class Concerned:
    """What a removal request concerns, as a lake is now."""

    rows: dict[str, int]
    """By table, the rows that the next builds take out."""
    pictures: int
    """Stored pictures among them."""
    trainings: dict[str, int | None]
    """By recipe, the pairs that its training set was selected from; None where that cannot be looked up any more."""
    releases: dict[str, int | None]
    """By release, the pairs that it holds; None where that cannot be looked up any more."""


def takedown(
    kind: Annotated[str, typer.Argument(help="What to remove: `url`, `domain`, `sha256` of a picture, or `pair_id`.")],
    value: Annotated[str, typer.Argument(help="The url, domain (its subdomains too), hex digest or pair_id.")],
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

    for given in (kind, value if kind != "pair_id" else ""):
        if given.startswith("-"):
            raise UsageError(f"takedown: there is no option {given}; `laion takedown --help` lists them")
    if kind not in REQUEST_KINDS:
        raise UsageError(f"takedown: expected a kind out of {', '.join(REQUEST_KINDS)}, found {kind!r}")
    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    request = load_removals(pl.DataFrame({"kind": [kind], "value": [value]}))  # refuses what cannot be understood
    entries = _entries(opened, request.frame) if withdraw else []
    if dry_run or (not yes and sys.stdin.isatty() and sys.stdout.isatty()):
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


def takedowns(
    format: Annotated[str, typer.Option(help="`table` or `json`.")] = "table",
    lake: LakeOption = None,
) -> None:
    """List the removal requests: what, since when, why, and whether they were withdrawn."""
    if format not in ("table", "json"):
        raise UsageError(f"--format: expected table or json, found {format!r}")
    found = [*_listed(existing_lake(lake))]
    if format == "json":
        typer.echo(json.dumps(found))
        return
    table = Table("kind", "value", "requested", "reason", "withdrawn", "why")
    for request in found:
        table.add_row(*(Text(str(said or "")) for said in request.values()))
    out.print(table if found else "no removal was asked for")


def _listed(lake: Lake) -> Iterator[dict[str, Any]]:
    """Every request, the first first. One that was entered again after its withdrawal is not withdrawn."""
    from laion_assets.consent.removals import WITHDRAWAL, in_force

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
            }


def _time(row: dict[str, Any]) -> str:
    return str(row["requested_at"].isoformat(sep=" ", timespec="seconds"))


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
    from laion_assets.common.duck import number
    from laion_assets.consent.removals import Removals
    from laion_assets.sql.removed import find_removed, holding, release_selections, training_selections
    from laion_assets.sql.session import connect

    removals, models = Removals(frame), settings.models
    with connect(lake, models=models) as con:
        known = removals.register(con)
        removed = f"SELECT count(*) FROM ({_pictures(known)}) WHERE removal IS NOT NULL"
        pictures = number(con, f"{removed} AND status = 'success'")
        find_removed(con, known)
        pairs = known.annotate("unique_pairs", pair_id="pair_id")
        rows = {"unique_pairs": number(con, f"SELECT count(*) FROM ({pairs}) WHERE removal IS NOT NULL")}
        rows["images"] = number(con, removed)
        for table in _OF_PAIRS:
            rows[table] = number(con, f"SELECT count(*) FROM {table} SEMI JOIN hit USING (crawl, bucket, pair_id)")
    selections = training_selections(lake, models), release_selections(lake, models)
    return Concerned(rows, pictures, *(dict(holding(lake, models, removals, of)) for of in selections))


def _pictures(known: "RegisteredRemovals") -> str:
    return known.annotate("images", final_url="final_url", sha256="sha256")


def _print(found: Concerned, what: str) -> None:
    table = Table("table", title=Text(f"{what}: rows that are there now"))
    table.add_column("rows", justify="right")
    for name, rows in found.rows.items():
        table.add_row(name, f"{rows:,}")
    out.print(table)
    out.print(f"{found.pictures:,} pictures", highlight=False)
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
