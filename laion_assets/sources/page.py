"""What the WAT and the WARC reader have in common: a page and its image links."""

from dataclasses import dataclass
from datetime import UTC, datetime

from laion_assets.consent.signals import Said


@dataclass(frozen=True, slots=True)
class Page:
    """One HTML page with the image links on it that have an alt text."""

    record_offset: int
    """Where its record begins in the file that was read."""
    page_url: str
    """Its address; empty where the record names none."""
    base: str | None
    """The absolute http(s) address its references are resolved against; null where there is none."""
    warc_filename: str | None
    """The WARC file the page itself lies in."""
    warc_offset: int | None
    """Where it lies there."""
    image_links: int
    """Image links on the page, with or without an alt text."""
    links: list[tuple[int, str | None, str]]
    """Those that have one: (place among the page's image links, reference, alt text)."""
    encoding: str = "utf-8"
    """What its bytes were decoded by, a label of the Encoding standard: queries of its addresses are asked for in it. A
    WAT does not say it."""
    signals: tuple[Said, ...] = ()
    """What the page says of its use."""
    seen_at: datetime | None = None
    """When it was captured, where it says anything."""


def capture_time(text: str | None) -> datetime | None:
    """A ``WARC-Date``; null where it is none."""
    try:
        time = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
