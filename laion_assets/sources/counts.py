"""What became of every record and every image link of a file: the first two steps of the funnel."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_NUMBERS: Final = ("records", "pages", "links", "bytes", "rows")


@dataclass(kw_only=True, slots=True)
class ExtractionCounts:
    """Counters of one extraction, filled while it runs and complete when it ends.

    Every record and every link is counted where it is seen and every drop where it happens; nothing is computed as a
    difference. At the end ``links == rows + sum(drops.values())``, and
    ``records == pages + sum(non_pages.values()) + sum(bad_records.values())``.
    """

    records: int = 0
    """Records met, bad ones included."""
    pages: int = 0
    """HTML pages among them."""
    links: int = 0
    """Image links on these pages: ``IMG@/src`` in a WAT, ``<img>`` with a usable source in a WARC."""
    bytes: int = 0
    """Bytes the source delivered, those of repeated readings too."""
    rows: int = 0
    """Pairs yielded."""
    drops: dict[str, int] = field(default_factory=dict)
    """Links that became no pair, by reason."""
    bad_records: dict[str, int] = field(default_factory=dict)
    """Records that could not be used, by reason."""
    non_pages: dict[str, int] | None = field(default_factory=dict)
    """Records that are in order and hold no HTML page, by what they are; null in counts of versions that did not count
    them."""

    def drop(self, reason: str, count: int = 1) -> None:
        """Count links that become no pair; nothing is noted for a count of 0."""
        if count:
            self.drops[reason] = self.drops.get(reason, 0) + count

    def bad_record(self, reason: str) -> None:
        """Count one record that cannot be used."""
        self.bad_records[reason] = self.bad_records.get(reason, 0) + 1

    def non_page(self, kind: str) -> None:
        """Count one record that holds no HTML page."""
        if self.non_pages is not None:
            self.non_pages[kind] = self.non_pages.get(kind, 0) + 1

    @property
    def balanced(self) -> bool:
        """Whether every link is accounted for."""
        return self.links == self.rows + sum(self.drops.values())

    @property
    def every_record_counted(self) -> bool:
        """Whether every record is a page, no page, or a fault; true where it was not known."""
        if self.non_pages is None:
            return True
        return self.records == self.pages + sum(self.non_pages.values()) + sum(self.bad_records.values())

    def __add__(self, other: "ExtractionCounts") -> "ExtractionCounts":
        """The counts of both extractions together."""
        uncounted = self.non_pages is None or other.non_pages is None
        return ExtractionCounts(
            **{name: getattr(self, name) + getattr(other, name) for name in _NUMBERS},
            drops=_sum(self.drops, other.drops),
            bad_records=_sum(self.bad_records, other.bad_records),
            non_pages=None if uncounted else _sum(self.non_pages or {}, other.non_pages or {}),
        )

    def to_json(self) -> str:
        """The counts as one JSON object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ExtractionCounts":
        """Read what ``to_json`` wrote, that of versions which did not count ``non_pages`` too.

        Raises:
            ValueError: The text is something else.
        """
        values: Any = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"expected the counts of an extraction as a JSON object, found {text[:80]!r}")
        try:
            return cls(**{"non_pages": None, **values})
        except TypeError as error:
            raise ValueError(f"expected the counts of an extraction, found {text[:80]!r}") from error


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {reason: one.get(reason, 0) + other.get(reason, 0) for reason in sorted({*one, *other})}
