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

from laion_assets.consent.aipref import content_usage
from laion_assets.consent.optout import directives
from laion_assets.consent.signals import LONGEST_RAW, SIGNALS, Said, Use

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
    named = within.get("robots", []) + within.get(AGENT, [])
    found = (
        _robots("x_robots_page", served.get("x-robots-tag"), at),
        _reservation("tdm_header_page", served.get("tdm-reservation"), served.get("tdm-policy")),
        _usage("content_usage_page", served.get("content-usage")),
        _robots("meta_robots", named, at),
        _reservation("tdm_meta", within.get("tdm-reservation"), within.get("tdm-policy")),
    )
    return [said for said in found if said is not None]


_HEADERS: Final = frozenset({"x-robots-tag", "tdm-reservation", "tdm-policy", "content-usage"})
_METAS: Final = frozenset({"robots", AGENT, "tdm-reservation", "tdm-policy"})


def _by_name(pairs: Iterable[Named], wanted: frozenset[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        if (plain := name.strip().lower()) in wanted:
            found.setdefault(plain, []).append(value)
    return found


def _robots(signal: str, values: Sequence[str] | None, at: datetime | None) -> Said | None:
    if not values:
        return None
    uses = _robots_uses(tuple(values), at if any("unavailable" in value.lower() for value in values) else None)
    return said(signal, ", ".join(values), uses) if uses else None


@lru_cache(maxsize=4096)
def _robots_uses(values: tuple[str, ...], at: datetime | None) -> frozenset[Use]:
    """What directives forbid. Pages of all sites say the same few things."""
    return frozenset(_FORBIDS[directive] for directive in directives(values, AGENT, at))


def _reservation(signal: str, values: Sequence[str] | None, policies: Sequence[str] | None) -> Said | None:
    """TDMRep's number. Of several that are valid, the stricter one."""
    numbers = {part.strip(" \t\"'") for value in values or () for part in value.split(",")} & {"0", "1"}
    if not numbers:
        return None
    number = max(numbers)
    raw = "; tdm-policy=".join([number, *(policies or ())[:1]])
    return said(signal, raw, SIGNALS[signal].forbids if number == "1" else ())


def _usage(signal: str, values: Sequence[str] | None) -> Said | None:
    allowed = content_usage(values or ())
    return said(signal, ", ".join(values or ()), [use for use, yes in allowed.items() if not yes]) if allowed else None


def said(signal: str, raw: str, forbids: Iterable[Use]) -> Said:
    """A no that forbids these uses, in the order of its signal's; a yes where they are none."""
    uses = tuple(use for use in SIGNALS[signal].forbids if use in set(forbids))
    return Said(signal=signal, raw=raw[:LONGEST_RAW], allows=not uses, forbids=uses)
