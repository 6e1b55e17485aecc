"""``laion gc``: what the lake may forget, shown and on request removed."""

import json
import sys
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, complain, listing, out, settings_of
from laion_assets.common.quantities import measured_bytes

if TYPE_CHECKING:
    from laion_assets.delta.retention import RetentionPlan
    from laion_assets.delta.sweep import Swept
    from laion_assets.orchestration.automation.maintenance import Survey


def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Remove it. Without this nothing is touched.")] = False,
    days: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Days for which replaced versions stay readable, and files that no row names "
            "(LAION_RETENTION__DAYS; 30).",
            show_default=False,
        ),
    ] = None,
    unpin: Annotated[
        list[str] | None,
        typer.Option(
            "--unpin",
            metavar="RECIPE|release=NAME",
            help="Keep nothing that this recipe's training set, or this release, was made from; may be given several "
            "times. Its shards and checkpoints, or its files, stay, but it cannot be made again as it was: of a recipe "
            "only with `laion train --refresh`.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    lake: LakeOption = None,
) -> None:
    """Show how much the lake could forget, by table; with `--delete`, remove it.

    Every build of a partition adds a version of its table and removes nothing: what was there before can still be
    read. Of those old versions these stay, with all files they name:

    - the newest of each table, and those that were the newest within the last `--days`;

    - those that a training set, the set behind a checkpoint, or a release was made from, however old (its pins), and
      those that a recipe's file names;

    - all that could be read when the oldest running step began.

    Beside the tables lie pictures, training shards and weights. They stay while a row of any of those versions names
    them. Files younger than `--days` stay in any case: somebody may be about to name them, or to go on with an
    interrupted training. What you put into `files/` yourself, encoders and evaluation sets, is never touched. Nor is
    what the log tells: `laion lineage` tells of old versions whose rows are gone. But where logs of earlier versions
    hold texts of rows, as the least and the largest value of a file, those go.

    **Removal requests** take rows out of the newest versions when they are built again. The rows lie in old versions
    for `--days` more, and in pinned ones until `laion train RECIPE --refresh` or `--unpin RECIPE` lets them go; where
    that is so this command says it.

    **Dagster's storage** is no part of the lake. Earlier versions told it rows and pictures; with `--delete` the runs
    that did are deleted there, and the lake tells again what they built, as `laion ui` does too.

    The schedule `maintenance` removes the same of the lake, once somebody turns it on.
    """
    from laion_assets.delta.sweep import sweep
    from laion_assets.orchestration.automation.maintenance import survey
    from laion_assets.orchestration.partitions import Partitions
    from laion_assets.orchestration.runs.abandoned import end_abandoned_runs
    from laion_assets.orchestration.runs.forgotten import tell_anew
    from laion_assets.orchestration.runs.home import dagster_instance
    from laion_assets.sql.build import declared
    from laion_assets.sql.project import open_project

    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    instance = dagster_instance()
    end_abandoned_runs(instance)
    let_go = unpin or []
    for name in let_go:
        if name.startswith("release="):
            if name not in opened.ledger("releases").commits:
                raise UsageError(f"--unpin: there is no release {name.partition('=')[2]!r}; see `laion release list`")
        elif name not in settings.known_recipes and opened.commit("training_sets", {"recipe": name}) is None:
            raise UsageError(f"--unpin: there is no recipe {name!r}; `laion recipes` lists them")
    seen = survey(settings, opened, instance, days=days, let_go=let_go)
    swept = sweep(opened, seen.plan) if delete else None
    if delete:
        told = declared(opened, open_project(settings.models))  # runs that built models, too
        tell_anew(instance, told, Partitions(shards=settings.shards, buckets=settings.buckets))
    if as_json:
        sys.stdout.write(json.dumps(_as_json(seen, swept), indent=2) + "\n")
        return
    _show(opened.uri, seen, swept)


def _show(uri: str, seen: "Survey", swept: "Swept | None") -> None:

    plan = seen.plan
    numbers = ("stays", "for pins alone", "goes" if swept is None else "could go", "files")
    table = listing("what", *numbers, numbers=numbers, title=uri)
    for area in plan.areas:
        sizes = [measured_bytes(n) if n else "" for n in (area.kept, area.pinned, area.freed)]
        table.add_row(Text(area.name), *sizes, f"{area.freed_files:,}" if area.freed_files else "")
    out.print(table)
    for area in plan.areas:
        if area.note:
            out.print(Text(f"{area.name}: {area.note}"), soft_wrap=True)
    out.print(f"readable stays what could be read since {plan.since:%Y-%m-%d %H:%M} UTC", highlight=False)
    if plan.running_since is not None:
        out.print(f"(a step has been running since {plan.running_since:%Y-%m-%d %H:%M} UTC)", highlight=False)
    for reader, versions in _by_reader(plan).items():
        out.print(Text(f"pinned by {reader}: {', '.join(versions)}"), soft_wrap=True)
    for name, rows in seen.removed_rows.items():
        complain(
            "warning",
            f"{rows:,} rows of {name} that removal requests name stay readable in pinned versions: `laion train RECIPE "
            "--refresh` selects anew without them, `laion gc --unpin RECIPE` lets the old versions go",
        )
    for name, rows in seen.replaced_rows.items():
        days = (plan.made_at - plan.since).total_seconds() / 86_400
        complain(
            "warning",
            f"{rows:,} rows of {name} that removal requests name stay readable in versions that were replaced within "
            f"{days:.3g} days, and then go; `laion gc --days 1 --delete` lets those of before yesterday go now",
        )
    if swept is None:
        done = f"{measured_bytes(plan.freed_bytes)} in {plan.freed_files:,} files would go"
        out.print(f"{done}; `laion gc --delete` removes them" if plan.freed_files else "nothing to remove")
        return
    spared = f"; {swept.spared:,} were taken into use meanwhile, and stay" if swept.spared else ""
    if swept.entries:
        out.print(f"{swept.entries:,} log entries of earlier versions held texts of rows as bounds, and no longer do")
    removed = f"{measured_bytes(sum(swept.bytes.values()))} in {sum(swept.files.values()):,} files removed"
    out.print(f"{removed}{spared}", highlight=False)


def _by_reader(plan: "RetentionPlan") -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for pin in plan.pins:
        found[pin.reader].append(f"{pin.table} {pin.version}")
    return found


def _as_json(seen: "Survey", swept: "Swept | None") -> dict[str, object]:
    plan = seen.plan
    return {
        "made_at": plan.made_at.isoformat(),
        "readable_since": plan.since.isoformat(),
        "running_since": plan.running_since.isoformat() if plan.running_since else None,
        "areas": [
            {
                "name": area.name,
                "bytes_kept": area.kept,
                "bytes_pinned": area.pinned,
                "bytes_to_free": area.freed,
                "files_to_free": area.freed_files,
                "note": area.note or None,
            }
            for area in plan.areas
        ],
        "pins": [asdict(pin) for pin in plan.pins],
        "removed_rows_in_pinned_versions": dict(seen.removed_rows),
        "removed_rows_in_replaced_versions": dict(seen.replaced_rows),
        "removed": None
        if swept is None
        else {"files": dict(swept.files), "bytes": dict(swept.bytes), "spared": swept.spared},
    }
