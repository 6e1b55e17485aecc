"""The X-Robots-Tag header: what a server says about the use of a picture it serves."""

from collections.abc import Iterable

OPT_OUT_DIRECTIVES = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
"""Directives that keep a picture out; ``none`` is short for ``noindex, nofollow``."""

_DIRECTIVES_WITH_VALUES = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def opted_out(headers: Iterable[str], agent: str) -> str | None:
    """The first directive that opts out of use by ``agent``, or None.

    A directive after ``name:`` holds for the agent of that name alone, up to the end of its header line; one without a
    name, or after ``*:``, holds for all. Case does not matter.

    Args:
        headers: the values of the X-Robots-Tag header lines, in order.
        agent: product token of the User-Agent the request was made with.
    """
    for header in headers:
        addressed = "*"
        for part in header.lower().split(","):
            name, colon, rest = part.partition(":")
            if colon and name.strip() not in _DIRECTIVES_WITH_VALUES:
                addressed, directive = name.strip(), rest.strip()
            else:
                directive = name.strip()
            if directive in OPT_OUT_DIRECTIVES and addressed in ("*", "", agent.lower()):
                return directive
    return None
