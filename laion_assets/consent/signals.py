"""Every signal by which somebody may say no, in one table: where it stands, what it forbids, who wrote it down.

What a signal forbids is said in three uses: to *fetch* the picture, to *train* on it, to *index* it (find and show it).
The lake obeys all signals unless ``LAION_CONSENT__…`` leaves one out. Nothing here reads anything: the readers of each
format stand beside this file and give ``Said``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import pyarrow as pa

Use: TypeAlias = Literal["fetch", "train", "index"]
Subject: TypeAlias = Literal["host", "prefix", "url", "page", "sha256"]

LONGEST_RAW: Final = 500
"""Characters of what was said that are kept as evidence."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One way to say no, as its specification means it."""

    name: str
    subject: Subject
    forbids: tuple[Use, ...]
    precedence: int
    source: str

    @property
    def yields_to(self) -> tuple[str, ...]:
        """The signals that override this one where they speak of the same thing, by a yes too: TDMRep's alone yield.

        A file of a host speaks of what a header does, a page's or a picture's; a page's header, of what its meta
        elements do.
        """
        return tuple(
            other.name
            for other in SIGNALS.values()
            if other.source == _TDMREP == self.source
            and other.precedence > self.precedence
            and self.subject in (other.subject, "prefix")
        )


@dataclass(frozen=True, slots=True)
class Said:
    """What one place said, by one signal.

    Attributes:
        signal: Name of the signal, of ``SIGNALS``.
        raw: The value as it was written, at most ``LONGEST_RAW`` characters.
        allows: True for an explicit yes, which matters where a later source overrides an earlier one; False for a no.
        forbids: What a no forbids; empty for a yes.
    """

    signal: str
    raw: str
    allows: bool
    forbids: tuple[Use, ...] = ()

    @property
    def is_no(self) -> bool:
        """Whether it forbids anything."""
        return bool(self.forbids)


def _signal(name: str, subject: Subject, forbids: tuple[Use, ...], precedence: int, source: str) -> Signal:
    return Signal(name, subject, forbids, precedence, source)


_AIPREF: Final = "IETF AIPREF: draft-ietf-aipref-vocab, draft-ietf-aipref-attach"
_TDMREP: Final = "W3C Community Group, TDM Reservation Protocol (TDMRep)"
_ROBOTS: Final = "Google Search Central, Robots meta tag and X-Robots-Tag; DeviantArt's noai; Mojeek's noml"

SIGNALS: Final = {
    signal.name: signal
    for signal in (
        _signal("robots_txt", "prefix", ("fetch",), 0, "RFC 9309, Robots Exclusion Protocol"),
        _signal("content_usage_robots", "prefix", ("train", "index"), 0, _AIPREF),
        _signal(
            "content_signal", "prefix", ("train", "index"), 0, "Cloudflare, Content Signals Policy (contentsignals.org)"
        ),
        _signal("ai_txt", "prefix", ("train",), 0, "Spawning, ai.txt"),
        _signal("tdmrep_file", "prefix", ("train",), 0, _TDMREP),
        _signal("x_robots_page", "page", ("train", "index"), 1, _ROBOTS),
        _signal("tdm_header_page", "page", ("train",), 1, _TDMREP),
        _signal("content_usage_page", "page", ("train", "index"), 1, _AIPREF),
        _signal("meta_robots", "page", ("train", "index"), 2, _ROBOTS),
        _signal("tdm_meta", "page", ("train",), 2, _TDMREP),
        _signal("x_robots_tag", "url", ("train", "index"), 1, _ROBOTS),
        _signal("tdm_header", "url", ("train",), 1, _TDMREP),
        _signal("content_usage", "url", ("train", "index"), 1, _AIPREF),
        _signal("iptc_data_mining", "sha256", ("train", "index"), 3, "IPTC Photo Metadata 2023.1, PLUS Data Mining"),
        _signal("c2pa", "sha256", ("train", "index"), 3, "C2PA 1.4 and CAWG 1.1, training and data mining assertion"),
        _signal(
            "deny_list", "url", ("fetch", "train", "index"), 4, "lists of this lake's keepers, registries' exports"
        ),
        _signal("takedown", "url", ("fetch", "train", "index"), 4, "requests entered by `laion takedown`"),
    )
}
"""Every signal by its name.

``forbids`` is the most that a no by it can forbid; what one does forbid is told by its reader (``train-ai=n`` does not
keep a picture out of an index). ``precedence`` orders signals of one specification that speak of one picture (TDMRep:
file, header, page, what is embedded): a later one overrides an earlier one, its yes as well. Across specifications the
strictest holds.
"""


SAID: Final = pa.list_(pa.struct([("signal", pa.string()), ("raw", pa.string()), ("forbids", pa.list_(pa.string()))]))
"""What was said as a column of a table has it; an explicit yes forbids nothing."""


def as_column(said: Iterable[Said]) -> list[dict[str, object]] | None:
    """What was said as a column of a table has it, each thing once; None where nothing was said."""
    told: list[dict[str, object]] = [
        {"signal": one.signal, "raw": one.raw.encode("utf-8", "replace").decode(), "forbids": list(one.forbids)}
        for one in dict.fromkeys(said)
    ]
    return told or None
