"""Why something is removed, in classes that can be told to everybody: the words of a request may name persons."""

import re
from typing import Final

REASONS: Final = ("rights", "privacy", "safety", "opted_out", "listed", "other")
"""``rights``: of whoever made or owns the picture or text; ``privacy``: of whoever is shown or named; ``safety``: it
does harm, or must not be kept by law; ``opted_out``: its site asks not to be used for this; ``listed``: it is on a deny
list; ``other``: nobody said."""

_CLASS: Final = re.compile(r"\s*([A-Za-z][A-Za-z _-]*?)\s*(?::|\Z)")


def reason_class(reason: str | None) -> str:
    """The class of a reason that was given in words: what stands before the first colon, or all of it.

    ``privacy: she asked by letter`` and ``Privacy`` are ``privacy``; whatever begins with none of the classes is
    ``other``.
    """
    begins = _CLASS.match(reason or "")
    named = re.sub(r"[ -]", "_", begins[1].lower()) if begins else ""
    return named if named in REASONS else "other"
