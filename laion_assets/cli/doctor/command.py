"""``laion doctor``: whether everything that a build needs is there, line by line, and what to do where it is not."""

import json
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, SourceOption, out
from laion_assets.cli.doctor.findings import Finding, answer

_LOOKS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    lake: LakeOption = None,
    source: SourceOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Load no encoder and look for no GPU.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Look at this alone, `clock`; may be given again.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """Look at everything a build needs: settings, lake, source, encoder, GPU, Dagster, disk, clock, versions.

    Each line is ok, a warning, or a failure with what to do. Exit code 1 if something failed.
    """
    from laion_assets.cli.doctor.checks import checks

    findings: list[Finding] = []
    for check in checks(lake, source, quick=quick or bool(only and "encoder" not in only)):
        if only and check.name not in only:
            continue
        found = answer(check)
        findings += found
        if not as_json:
            for finding in found:
                _print(finding)
    failed = sum(finding.level == "fail" for finding in findings)
    warned = sum(finding.level == "warn" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}))
    else:
        out.print(f"{len(findings) - failed - warned} ok, {warned} to look at, {failed} failed", highlight=False)
    if failed:
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    line = Table.grid(padding=(0, 1), expand=False)
    line.add_column(width=4)
    line.add_column(width=11, no_wrap=True)
    line.add_column()
    line.add_row(Text(finding.level, style=_LOOKS[finding.level]), finding.name, Text(finding.text))
    if finding.advice:
        line.add_row("", "", Text(f"→ {finding.advice}", style="bold"))
    out.print(line)
