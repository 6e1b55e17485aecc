"""How large the sample is and where its pictures are served."""

from dataclasses import dataclass
from typing import Final

CRAWLS: Final = ("CC-MAIN-2026-04", "CC-MAIN-2026-08")
"""The two crawls of the sample, in the order of their captures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleOptions:
    """Size, seed and address of the sample.

    Raises:
        ValueError: a value is out of its range; the message names the option, the range and the value.
    """

    pairs: int = 9_900
    """Distinct pairs of url and text that are not spoilt on purpose, over both crawls."""
    wat_files: int = 7
    """WAT files (and as many WARC files) in each crawl."""
    mismatched: float = 0.37
    """Part of these pairs whose caption is swapped or altered; a few of the swapped ones are true all the same."""
    seed: int = 0
    """Another seed draws another web."""
    port: int = 18_573
    """Port on 127.0.0.1 in the urls of the pictures, where `SampleServer` answers."""

    def __post_init__(self) -> None:
        limits = (("pairs", 1, 10_000_000), ("wat_files", 1, 99_999), ("mismatched", 0, 1), ("port", 1, 65_535))
        for name, low, high in (*limits, ("seed", 0, 2**31 - 1)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"sample option {name} must lie between {low} and {high}, not be {value}")
