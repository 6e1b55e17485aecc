"""Lists of ``name=value`` that say what a thing may be used for: AIPREF's Content-Usage and Content-Signal.

Sources: draft-ietf-aipref-vocab and draft-ietf-aipref-attach (a dictionary of RFC 9651; ``y`` and ``n``; what is not
known is ignored; of several expressions a no holds); Cloudflare's Content Signals Policy (``yes`` and ``no``).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from laion_assets.consent.signals import LONGEST_RAW, Said, Use

CATEGORIES: Final[Mapping[str, Use]] = {
    **dict.fromkeys(("train-ai", "ai-train", "train-genai"), "train"),
    "search": "index",
}
"""Categories of use that concern a data set of pictures, in the spelling of either list and of earlier drafts."""

_VALUES: Final = {"y": True, "yes": True, "?1": True, "n": False, "no": False, "?0": False}
_MEMBER: Final = re.compile(r"([a-z][a-z0-9_.*-]*)=(\??[a-z0-9]+)", re.IGNORECASE)
_QUOTES: Final = str.maketrans("", "", "\"'`")


def preferences(expressions: Iterable[str]) -> dict[Use, bool]:
    """What several expressions say together, by use; a no holds against a yes.

    Case, quotes, and what separates members do not matter, and what cannot be read is passed over: a server that wrote
    ``Train-AI=n;`` meant no all the same, though RFC 9651 would have the whole line ignored.

    Args:
        expressions: Values of Content-Usage or Content-Signal lines, such as ``train-ai=n, search=y``.
    """
    told: dict[Use, bool] = {}
    for expression in expressions:
        plain = " ".join(expression.translate(_QUOTES).split()).replace(" =", "=").replace("= ", "=")
        for member in re.split(r"[,; ]", plain):
            read = _MEMBER.fullmatch(member)
            use = None if read is None else CATEGORIES.get(read[1].lower())
            value = None if read is None else _VALUES.get(read[2].lower())
            if use is not None and value is not None:
                told[use] = told.get(use, True) and value
    return told


def said_in(signal: str, expressions: Iterable[str]) -> list[Said]:
    """The same as what a signal said: a no with all that it forbids, else a yes; nothing where nothing was read."""
    lines = list(expressions)
    told = preferences(lines)
    if not told:
        return []
    forbids = tuple(use for use, allowed in told.items() if not allowed)
    return [Said(signal, ", ".join(lines)[:LONGEST_RAW], not forbids, forbids)]
