"""What follows from all that was said of one picture.

Within one specification what is nearer to the work overrides what is farther, its yes as well (TDMRep: file, header,
what is embedded). Across specifications the strictest holds: nobody's no is outvoted.
"""

from collections.abc import Collection, Iterable
from typing import Final

from laion_assets.consent.signals import SIGNALS, Said

_OVERRIDING: Final = frozenset({"tdmrep_file", "tdm_header", "tdm_header_page", "tdm_meta"})
"""Signals of which only the nearest counts."""


def refusal(said: Iterable[Said], obeyed: Collection[str] = SIGNALS.keys()) -> Said | None:
    """The first no that counts, or None.

    Args:
        said: all that was said, by whatever signal.
        obeyed: names of the signals that are obeyed.
    """
    told = [one for one in said if one.signal in obeyed]
    layers = [SIGNALS[one.signal].precedence for one in told if one.signal in _OVERRIDING]
    nearest = max(layers, default=0)
    for one in told:
        overridden = one.signal in _OVERRIDING and SIGNALS[one.signal].precedence < nearest
        if one.forbids and not overridden:
            return one
    return None


def before_asking(said: Iterable[Said], obeyed: Collection[str] = SIGNALS.keys()) -> Said | None:
    """The first no that no answer of the server can override: what makes asking for the picture itself needless."""
    return refusal((one for one in said if one.signal not in _OVERRIDING), obeyed)
