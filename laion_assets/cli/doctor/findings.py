"""What a check finds of one thing, and how it is asked."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warn", "fail"]


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
