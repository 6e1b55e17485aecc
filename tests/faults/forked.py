"""``laion`` in a process of its own that has everything imported, with something that happens to it on the way.

What happens comes at the N-th *moment* of the process: whenever Python writes, renames, links or removes a file below
the lake, and before and after the calls that hand work on a partition to Delta and DuckDB.
"""

import importlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.clock import shift_clock
from tests.warm import become_laion, end_group, warm

_HANDED_ON = (
    ("laion_assets.delta.writing", "write_deltalake"),
    ("laion_assets.delta.build", "validate"),
    ("laion_assets.delta.build", "content_digest"),
    ("laion_assets.delta.build", "write_seal"),
    ("laion_assets.delta.seals", "make_seal"),
)
_CHANGES = frozenset({"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.utime", "shutil.rmtree"})
_SECONDS = 400


@dataclass(frozen=True, kw_only=True)
class Happening:
    """What happens to a process, and when."""

    signal: int = 0
    """Which signal it gets; 0: none."""
    moment: int = 0
    """At which moment, counted from 1."""
    inside: int = 0
    """Instead of at a moment: during the how manieth write to a Delta table."""
    after: float = 0.0
    """So many seconds after that write began."""
    clock: float = 0.0
    """By how many seconds the clock jumps then."""
    pause: float = 0.0
    """How many seconds the process stands still then."""


@dataclass(frozen=True)
class Ran:
    """How a process ended, and what it said."""

    code: int
    said: str

    @property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.said.splitlines() if line.strip()]


@dataclass
class Running:
    """A process that was started."""

    process: Any
    said: Path

    def ended(self) -> Ran:
        """Wait until it has; what it left running is ended."""
        self.process.join(_SECONDS)
        code = self.process.exitcode
        end_group(self.process.pid)
        self.process.join()
        text = self.said.read_text(errors="replace")
        assert code is not None, f"it did not end within {_SECONDS} s: {text[-2000:]}"
        return Ran(code, text)


def start(
    arguments: tuple[str, ...], variables: Mapping[str, str], said: Path, happening: Happening | None = None
) -> Running:
    """Start ``laion`` with these arguments and this environment, its output in the file ``said``."""
    process = warm().Process(target=_enter, args=(arguments, dict(variables), str(said), happening))
    process.start()
    return Running(process, said)


def _enter(arguments: tuple[str, ...], variables: dict[str, str], said: str, happening: Happening | None) -> None:
    become_laion(arguments, variables, Path(said).parent, said, said)
    from laion_assets.cli import main

    if happening is not None:
        _arm(happening, variables["LAION_LAKE"], variables.get("LAION_SCRATCH"))
    main()


def _arm(happening: Happening, *roots: str | None) -> None:
    below = tuple(f"{root}/" for root in roots if root)
    passed = 0

    def moment() -> None:
        nonlocal passed
        passed += 1
        if passed == happening.moment:
            _happen(happening)

    def heard(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            changes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            changes = event in _CHANGES
        if changes and str(args[0]).startswith(below):
            moment()

    sys.addaudithook(heard)
    for module, name in _HANDED_ON:
        _wrap(module, name, moment)
    if happening.inside:
        _inside(happening)


def _wrap(module: str, name: str, moment: Callable[[], None]) -> None:
    owner = importlib.import_module(module)
    real = getattr(owner, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        moment()
        result = real(*args, **options)
        moment()
        return result

    setattr(owner, name, wrapped)


def _inside(happening: Happening) -> None:
    from laion_assets.delta import writing

    real, calls = writing.write_deltalake, 0

    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == happening.inside:
            timer = threading.Timer(happening.after, _happen, [happening])
            timer.daemon = True
            timer.start()
        return real(*args, **options)

    setattr(writing, "write_deltalake", wrapped)  # noqa: B010 - mypy knows it as a function


def _happen(happening: Happening) -> None:
    if happening.clock:
        shift_clock(happening.clock)
    if happening.pause:
        time.sleep(happening.pause)
    if happening.signal:
        os.kill(os.getpid(), happening.signal)


def untold(said: str) -> list[str]:
    """The lines that no user should see: of tracebacks, and of panics of libraries."""
    return re.findall(r"(?m)^(?:Traceback .*|.*panicked at.*|  File \".*|Fatal Python error.*)$", said)


SIGNALS = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM}
