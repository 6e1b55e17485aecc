"""Where progress of long work goes: to whatever listens in this process, such as the command line's bars."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol


class Listener(Protocol):
    """Something that shows progress."""

    def work(self, label: str, done: int, total: int, unit: str) -> None:
        """``done`` of ``total`` units of the work called ``label`` are behind us."""

    def say(self, text: str) -> None:
        """Something about the work that is worth a line."""


_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send all progress of this process to ``listener`` as well."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@dataclass
class Progress:
    """Progress of one piece of work; ``log`` gets a line at every tenth of it."""

    label: str
    total: int
    unit: str
    log: Callable[[str], None] = lambda _: None
    done: int = 0
    note: str = ""
    """How it goes, in a few words, shown beside the label."""

    def __call__(self, count: int = 1) -> None:
        """Another ``count`` units are done."""
        before, self.done = self.done, self.done + count
        for listener in _listeners:
            listener.work(f"{self.label} {self.note}".rstrip(), self.done, self.total, self.unit)
        if self.total and before * 10 // self.total != self.done * 10 // self.total:
            self.log(f"{self.label}: {self.done:,} of {self.total:,} {self.unit}")

    def say(self, text: str) -> None:
        """Something that is worth a line."""
        for listener in _listeners:
            listener.say(text)
        self.log(text)
