"""``laion doctor``: whether everything that a build needs is there, line by line, and what to do where it is not."""

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Final, Literal, TypeAlias

import typer
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, SourceOption, out

Level: TypeAlias = Literal["ok", "warn", "fail"]
_LOOKS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True)
class Finding:
    """What was found of one thing."""

    name: str
    level: Level
    text: str
    advice: str = ""
    """What to do about it; empty where nothing is to be done."""


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", text)


def warn(name: str, text: str, advice: str) -> Finding:
    """It goes, and could go better."""
    return Finding(name, "warn", text, advice)


def fail(name: str, text: str, advice: str = "") -> Finding:
    """Builds will fail."""
    return Finding(name, "fail", text, advice)


@dataclass(frozen=True)
class Check:
    """One question, and for how long an answer is waited for."""

    name: str
    ask: Callable[[], Iterable[Finding]]
    seconds: float = 20.0


def answer(check: Check) -> list[Finding]:
    """What a check finds; that it broke, or took too long, is a finding too."""
    findings: list[Finding] = []
    errors: list[Exception] = []

    def ask() -> None:
        try:
            findings.extend(check.ask())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a machine is a line, and the next check goes on
            errors.append(error)

    # A thread cannot be ended: one that hangs is left behind, and goes with the process.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(check.seconds)
    if thread.is_alive():
        return [fail(check.name, f"no answer within {check.seconds:.0f} s", "look at what it waits for")]
    if errors:
        text = " ".join(str(errors[0]).split()) or type(errors[0]).__name__
        return [fail(check.name, text)]
    return list(findings)


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
