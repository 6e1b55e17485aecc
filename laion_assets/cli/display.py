"""How the command line shows builds."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from laion_assets.cli.common import err
from laion_assets.common.progress import listening


class BuildDisplay:
    """A bar for each stage and one for the work inside the partition at hand; plain lines without a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.bars = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._detail: TaskID | None = None

    def begin(self, part: str, total: int) -> None:
        """A stage begins. One that has nothing to build is not shown."""
        if not total:
            return
        self._tasks[part] = self.bars.add_task(part, total=total, unit="partitions")
        if not self._console.is_terminal:
            self._console.print(f"{part}: {total} partitions to build", highlight=False)

    def advance(self, part: str) -> None:
        """One partition is behind us."""
        if part in self._tasks:
            self.bars.advance(self._tasks[part])
        if self._detail is not None:
            self.bars.remove_task(self._detail)
            self._detail = None

    def failed(self, table: str, partition: str, error: str) -> None:
        """One partition could not be built."""
        text = f"failed {table} {partition}: {error.splitlines()[0]}"
        self._console.print(Text.assemble((text[:6], "red"), text[6:]), soft_wrap=True)

    def notice(self, text: str) -> None:
        """Something about the build itself: no part of what a command answers."""
        err.print(text, soft_wrap=True, highlight=False)

    def say(self, text: str) -> None:
        """Something about the work inside a partition that is worth a line."""
        self._console.print(Text(text), soft_wrap=True)

    def work(self, label: str, done: int, total: int, unit: str) -> None:
        """Progress inside a partition."""
        if self._detail is None:
            self._detail = self.bars.add_task(f"  {label}", total=total, unit=unit)
        self.bars.update(self._detail, description=f"  {label}", completed=done, total=total, unit=unit)


@contextmanager
def build_display(console: Console) -> Iterator[BuildDisplay]:
    """Show the builds inside the block."""
    display = BuildDisplay(console)
    with display.bars, listening(display):
        yield display
