"""One point: a copy of the undisturbed lake, a fault in it, and what is asked of everything after."""

import json
import random
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from laion_assets.sample.options import CRAWLS
from tests.faults.forked import Happening, Ran, untold
from tests.faults.ground import MODEL, Ground, Place
from tests.pipeline.conftest import BUILT, assert_same_rows, unfinished, verified

COMPARED = (*BUILT, "takedowns")
_FAULT = re.compile(r"^(?P<place>\w+(?: \[[^\]]*\])?) (?P<file>\S+): (?P<what>.*)$")
_COMMAND = re.compile(r"`(laion [^`]+)`")
_TOLD = ("laion:", "failed", "stopped")
_ADVICE = re.compile(r"`laion [^`]+`|make room|the same command|again")
_MOST_COLUMNS = 1_000


@dataclass
class Point:
    """What happened at one point, and what was said and done about it."""

    ground: Ground
    kind: str
    seed: int
    chance: random.Random = field(init=False)
    place: Place = field(init=False)
    said: str = ""
    """What was said of the fault, in one line; empty where nothing needs to be."""
    recovery: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.kind} {self.seed}")
        self.place = self.ground.copy(re.sub(r"\W+", "-", f"{self.kind} {self.seed}"))

    @property
    def root(self) -> Path:
        return self.place.root

    def without(self, table: str) -> None:
        """Let a table never have been built."""
        shutil.rmtree(self.root / table)
        shutil.rmtree(self.root / "files" / table, ignore_errors=True)

    # -- what is said -------------------------------------------------------------------------------------------------

    def hear(self, ran: Ran, *, codes: Collection[int] = (0, 1, 2)) -> Ran:
        """What a command said: nothing that only a programmer reads, and if it failed, lines for people."""
        assert untold(ran.said) == [], f"{self}: {ran.said}"
        assert ran.code in codes, f"{self}: it ended with {ran.code}: {ran.said}"
        assert all(len(line) < _MOST_COLUMNS for line in ran.lines), f"{self}: {ran.said}"
        return ran

    def note(self, line: str) -> None:
        """Keep a line as what was said of the fault; the first counts."""
        self.said = self.said or line.replace(str(self.root), "LAKE").replace(str(self.place.folder), "…")

    def laion(self, *arguments: str, happening: Happening | None = None, codes: Collection[int] = (0, 1, 2)) -> Ran:
        """Run a command, and hear it."""
        return self.hear(self.place.laion(*arguments, happening=happening), codes=codes)

    def advice(self, ran: Ran) -> str:
        """The line of a command that failed: there is one, it names what to do, and it is noted."""
        told = [line for line in ran.lines if line.startswith(_TOLD) or _FAULT.match(line)]
        assert told, f"{self}: it ended with {ran.code}, and said no line: {ran.said}"
        advised = [line for line in told if _ADVICE.search(line)]
        assert advised, f"{self}: nobody says what to do: {told}"
        self.note(advised[0])
        return advised[0]

    # -- what is found ------------------------------------------------------------------------------------------------

    def verify(self, *, broken: Collection[str] = ()) -> list[str]:
        """``laion verify`` finds exactly these files, and says a line of each; gives the lines."""
        ran = self.laion("verify", codes=(0, 1))
        lines = [line for line in ran.lines if _FAULT.match(line)]
        found = {match["file"] for line in lines if (match := _FAULT.match(line))}
        assert found == {*broken}, f"{self}: broken {sorted(broken)}, found {ran.said}"
        assert (ran.code == 1) == bool(broken), f"{self}: {ran.said}"
        for line in lines:
            assert _COMMAND.search(line), f"{self}: nothing to do is named: {line}"
        if lines:
            self.note(lines[0])
        return lines

    # -- what heals ---------------------------------------------------------------------------------------------------

    def follow(self, lines: Sequence[str]) -> None:
        """Run the commands that lines name, or those that the documentation does: the dice say which."""
        commands = [command for line in lines for command in _COMMAND.findall(line)]
        models = dict.fromkeys(command for command in commands if command.startswith("laion models run"))
        if self.chance.random() < 0.5:
            commands = ["laion verify --repair", "laion build CRAWL"]
        repairs = dict.fromkeys(command for command in commands if "--repair" in command)
        crawls = {crawl for command in commands if command.startswith("laion build") for crawl in command.split()[2:]}
        for command in repairs:
            ran = self.laion(*command.split()[1:], codes=(0, 1))
            models |= dict.fromkeys(name for name in _COMMAND.findall(ran.said) if name.startswith("laion models run"))
            self._followed(command)
        if crawls:
            ran = self.laion("build", *(CRAWLS if "CRAWL" in crawls else sorted(crawls)))
            assert ran.code == 0, f"{self}: {ran.said}"
            self._followed("laion build CRAWL")
        for command in models:
            assert self.laion(*command.split()[1:]).code == 0
            self._followed(command)

    def build(self) -> None:
        """``laion build``, which is to succeed."""
        ran = self.hear(self.place.build())
        assert ran.code == 0, f"{self}: {ran.said}"
        self._followed("laion build CRAWL")

    def restore(self, line: str) -> None:
        """``laion restore``, as the line says."""
        assert "`laion restore`" in line, f"{self}: {line}"
        assert self.laion("restore").code == 0
        self.recovery.append("laion restore")

    def judge(self) -> None:
        """The rows are those of the undisturbed lake, and nothing is due or broken."""
        try:
            assert_same_rows(self.place.lake, self.ground.place.lake, COMPARED, places=False)
            assert_frame_equal(_model_rows(self.place), _model_rows(self.ground.place), check_row_order=False)
        except AssertionError as error:
            raise AssertionError(f"{self}: other rows: {error}") from error
        assert unfinished(self.place.settings) == {}, f"{self}"
        assert [fault.line for fault in verified(self.place.settings).faults] == [], f"{self}"

    def done(self) -> None:
        """The copy is of no use any more."""
        shutil.rmtree(self.place.folder, ignore_errors=True)

    def _followed(self, command: str) -> None:
        for crawl in CRAWLS:
            command = command.replace(crawl, "CRAWL")
        if command not in self.recovery:
            self.recovery.append(command)

    def __str__(self) -> str:
        return f"{self.kind}, seed {self.seed}"


def _model_rows(place: Place) -> pl.DataFrame:
    lake = place.lake
    return pl.scan_delta(lake.opened(MODEL), storage_options=lake.storage.polars_options or None).collect()


@dataclass(frozen=True)
class Kind:
    """A kind of fault."""

    name: str
    happen: Callable[[Point], None]
    """Lets it happen, and judges."""
    share: int
    """How many of the 200 points of a build of this project are of this kind; a longer run has them in proportion."""
    needs_mount: bool = False


@dataclass(frozen=True)
class Result:
    """What came of one point."""

    kind: str
    seed: int
    said: str = ""
    recovery: tuple[str, ...] = ()
    wrong: str = ""
    """What should not have been; empty: all is well."""

    def to_json(self) -> str:
        return json.dumps(self.__dict__)


def run_point(ground: Ground, kind: Kind, seed: int) -> Result:
    """Run one point.

    Raises:
        AssertionError: something was not as it should be; says what, at which seed.
    """
    point = Point(ground, kind.name, seed)
    kind.happen(point)
    point.done()
    return Result(kind.name, seed, point.said, tuple(point.recovery))
