"""What follows from all that was said of one picture.

Within one specification what is nearer to the work overrides what is farther, its yes as well (TDMRep: file, header,
what is embedded). Across specifications the strictest holds: nobody's no is outvoted.
"""

from collections.abc import Collection, Iterable

from laion_assets.consent.signals import SIGNALS, Said


def refusal(said: Iterable[Said], obeyed: Collection[str] = SIGNALS.keys()) -> Said | None:
    """The first no that counts, or None.

    Args:
        said: all that was said, by whatever signal.
        obeyed: names of the signals that are obeyed.
    """
    told = [one for one in said if one.signal in obeyed]
    heard = {one.signal for one in told}
    return next((one for one in told if one.forbids and heard.isdisjoint(SIGNALS[one.signal].yields_to)), None)


def before_asking(said: Iterable[Said], obeyed: Collection[str] = SIGNALS.keys()) -> Said | None:
    """The first no that no answer of the server can override: what makes asking for the picture itself needless."""
    return refusal((one for one in said if not SIGNALS[one.signal].yields_to), obeyed)
