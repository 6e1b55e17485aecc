"""Watches over what damaged inputs cost, and tells it at the end of the run."""

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.mutation.mutator import SEED

TOLD = "mutation"
"""Name of the property of a test that the end of the run prints."""


@dataclass
class Watch:
    """What the inputs of one test cost, and what became of them."""

    what: str
    longest_seconds: float = 1.0
    """Most processor time of one input."""
    most_bytes: int = 1_000_000_000
    """Most memory that the whole test may add to what its process held at its peak before."""
    ends: Counter[str] = field(default_factory=Counter)
    """What became of the inputs."""
    slowest: tuple[float, int] = (0.0, 0)
    count: int = 0
    _before: int = field(default_factory=lambda: _peak_bytes())

    @contextmanager
    def over(self, number: int, content: bytes | str) -> Iterator[None]:
        """One input: whatever is raised names it, and so does a breach of the limit."""
        started = time.process_time()
        try:
            yield
        except Exception as error:
            raise AssertionError(f"{self._name(number, content)}: {type(error).__name__}: {error}") from error
        spent = time.process_time() - started
        assert spent <= self.longest_seconds, f"{self._name(number, content)}: {spent:.2f} s of processor time"
        self.slowest = max(self.slowest, (spent, number))
        self.count += 1

    def tell(self, record_property: Callable[[str, object], None]) -> None:
        """Check the memory, and say what became of the inputs."""
        added = max(_peak_bytes() - self._before, 0)
        assert added <= self.most_bytes, f"{self.what}, seed {SEED}: {added / 1e6:,.0f} MB more at the peak"
        ends = ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items()))
        record_property(
            TOLD,
            f"{self.what}: {self.count:,} mutants, seed {SEED}; slowest {1000 * self.slowest[0]:.0f} ms (number "
            f"{self.slowest[1]}), {added / 1e6:,.0f} MB more at the peak; {ends}",
        )

    def _name(self, number: int, content: bytes | str) -> str:
        return f"{self.what}, seed {SEED}, mutant {number}, {len(content):,} long, begins {content[:300]!r}"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
