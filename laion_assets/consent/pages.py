"""What a page says of its use: in the headers it was served with, and in its meta elements.

Sources: Google Search Central on the robots meta element and X-Robots-Tag (the strictest of several rules holds);
DeviantArt's noai and noimageai, Mojeek's noml; W3C TDM Reservation Protocol, sections 5.2 (headers) and 5.3 (meta
elements: they override headers; what is absent, or is neither 0 nor 1, is unset and overrides nothing); AIPREF.

What is said depends on what was captured alone: an ``unavailable_after`` counts by the time of the capture.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from laion_assets.consent.optout import directives
from laion_assets.consent.preferences import said_in
from laion_assets.consent.signals import LONGEST_RAW, SIGNALS, Said, Use
from laion_assets.consent.tdmrep import reservation

AGENT: Final = "laion-lakehouse"
"""The name by which a page may speak to this lakehouse alone. Which pages did is fixed when they are read: it is the
same whatever name the download is given."""

_FORBIDS: Final[dict[str, Use]] = {
    "noai": "train", "noimageai": "train", "noml": "train",
    "noindex": "index", "noimageindex": "index", "none": "index", "unavailable_after": "index",
}  # fmt: skip
"""By directive, what it forbids as whoever wrote it down means it."""

HEADER_HINTS: Final = (b"x-robots-tag", b"tdm-reservation", b"content-usage")
META_HINTS: Final = (b"robots", b"tdm-reservation", AGENT.encode())
"""In lower case, what headers and meta elements that say anything must hold."""

Named = tuple[str, str]
"""A name, as written, and a value."""


def page_says(headers: Iterable[Named], metas: Iterable[Named], at: datetime | None) -> list[Said]:
    """What a page says, by signal in their order of precedence; an explicit yes among it, by which a no may be lifted.

    Args:
        headers: of the answer that the page came with.
        metas: ``name`` and ``content`` of its meta elements.
        at: when it was captured; None where that is not known.
    """
    served, within = _by_name(headers, _HEADERS), _by_name(metas, _METAS)
    return [
        *_robots("x_robots_page", served["x-robots-tag"], at),
        *reservation("tdm_header_page", served["tdm-reservation"], ", ".join(served["tdm-policy"][:1])),
        *said_in("content_usage_page", served["content-usage"]),
        *_robots("meta_robots", within["robots"] + within[AGENT], at),
        *reservation("tdm_meta", within["tdm-reservation"], ", ".join(within["tdm-policy"][:1])),
    ]


_HEADERS: Final = frozenset({"x-robots-tag", "tdm-reservation", "tdm-policy", "content-usage"})
_METAS: Final = frozenset({"robots", AGENT, "tdm-reservation", "tdm-policy"})


def _by_name(pairs: Iterable[Named], wanted: frozenset[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in wanted}
    for name, value in pairs:
        if (plain := name.strip().lower()) in wanted:
            found[plain].append(value)
    return found


def _robots(signal: str, values: Sequence[str], at: datetime | None) -> list[Said]:
    uses = _robots_uses(tuple(values), at if any("unavailable" in value.lower() for value in values) else None)
    forbids = tuple(use for use in SIGNALS[signal].forbids if use in uses)
    return [Said(signal, ", ".join(values)[:LONGEST_RAW], False, forbids)] if forbids else []


@lru_cache(maxsize=4096)
def _robots_uses(values: tuple[str, ...], at: datetime | None) -> frozenset[Use]:
    """What directives forbid. Pages of all sites say the same few things."""
    return frozenset(_FORBIDS[directive] for directive in directives(values, AGENT, at))
