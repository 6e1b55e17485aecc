"""The X-Robots-Tag header: what a server says about the use of what it serves. Meta elements say it in the same words.

Sources: Google Search Central, Robots meta tag, data-nosnippet, and X-Robots-Tag specifications (agents, rules, the
stricter of two rules holds); DeviantArt's noai and noimageai; Mojeek's noml. There is no grammar that servers keep to,
so that what can be read as an opt-out is one.
"""

import contextlib
import email.utils
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

OPT_OUT_DIRECTIVES = frozenset({"noai", "noimageai", "noml", "noindex", "noimageindex", "none"})
"""Directives that keep a picture out; ``none`` is short for ``noindex, nofollow``."""

_PREVIEWS = frozenset({"maxsnippet", "maximagepreview", "maxvideopreview"})
_OTHERS = frozenset(
    {"all", "follow", "index", "nofollow", "nosnippet", "noarchive", "nocache", "notranslate", "indexifembedded"}
)
"""Directives that say nothing of our use, and are nobody's name."""
_EVERYBODY = frozenset({"*", "robots", "x-robots-tag"})  # the last two: a meta element's or the header's name, repeated
_TOKEN = re.compile(r"[a-z0-9*/._-]+|[:=,;]")
_LONGEST_DATE = 64
_ZONE = re.compile(r"[ \t]+[a-z]{2,5}$")
_MONTH_FIRST = re.compile(r"[ \t\"']*([a-z]{3,9})[ \t]+([0-9]{1,2})[ \t]*,[ \t]*([0-9]{4})")


def opted_out(headers: Iterable[str], agent: str) -> str | None:
    """The first directive that opts out of use by ``agent``, or None.

    A directive after ``name:`` holds for the agent of that name alone, up to the next name or the end of its header
    line; one without a name, or after ``*:``, holds for all. Case, quotes, hyphens and a value (``noai=1``) do not
    matter; commas, semicolons and spaces all separate. ``unavailable_after`` is an opt-out when its time is over, as a
    search engine treats the page like one with ``noindex`` from then on, and where nothing else is one.

    Args:
        headers: The values of the X-Robots-Tag header lines, in order, as UTF-8 or as Latin-1 that should have been.
        agent: Product token of the User-Agent the request was made with.
    """
    over = None
    for directive in directives(headers, agent, datetime.now(UTC)):
        if directive in OPT_OUT_DIRECTIVES:
            return directive
        over = directive
    return over


def directives(headers: Iterable[str], agent: str, now: datetime | None) -> Iterable[str]:
    """All directives that opt out of use by ``agent``, as ``opted_out`` reads them, in their order.

    Args:
        headers: values of header lines, or contents of meta elements.
        agent: product token.
        now: the time at which an ``unavailable_after`` is past or not; None: it says nothing.
    """
    for header in headers:
        yield from _directives(_plain(header), agent.lower(), now)


def _directives(header: str, agent: str, now: datetime | None) -> Iterable[str]:
    """The directives for ``agent`` in one header line that opt out, among them an ``unavailable_after`` of the past."""
    holds = True
    tokens = [(match.group(), match.end()) for match in _TOKEN.finditer(header)]
    tokens.append((",", len(header)))
    at = 0
    while at < len(tokens) - 1:
        (word, _), (following, end) = tokens[at], tokens[at + 1]
        directive = re.sub("[-_.]", "", word)
        at += 1
        if word in ":,;=":
            holds = holds or word == ":"  # nobody's name
        elif directive in OPT_OUT_DIRECTIVES:
            if holds:
                yield directive
        elif "/" in word and following != ":":  # no name and its version
            if holds:
                yield from (part for part in re.sub("[-_.]", "", word).split("/") if part in OPT_OUT_DIRECTIVES)
        elif following in (":", "="):
            at += 1
            if directive in _PREVIEWS:
                at += 1  # a value: the none of max-image-preview is no directive
            elif directive == "unavailableafter":
                if holds and now is not None and _is_over(header[end : end + _LONGEST_DATE], now):
                    yield "unavailable_after"
            elif directive in _OTHERS:
                pass
            elif following == ":" and not word.isdigit() and not tokens[at][0][0].isdigit():  # no time of day
                holds = _names(word, agent)


def _names(word: str, agent: str) -> bool:
    """Whether the name before a colon is that of everybody, or the agent's, with a version or a wildcard or without."""
    name = word.partition("/")[0]
    return name in _EVERYBODY or name == agent or (name.endswith("*") and agent.startswith(name[:-1]))


def _is_over(text: str, now: datetime) -> bool:
    """Whether ``text`` begins with a time before ``now``, as RFC 822, RFC 850 or ISO 8601 write it, or a mere day."""
    day, *rest = text.split(",")
    for candidate in (day, ",".join([day, *rest[:1]])):
        if month_first := _MONTH_FIRST.match(candidate):
            candidate = "{1} {0} {2}".format(*month_first.groups())
        iso = _ZONE.sub("", candidate.strip(" \t\"'")).replace("/", "-")
        with contextlib.suppress(ValueError):
            return _aware(datetime.fromisoformat(iso.upper())) < now
        with contextlib.suppress(ValueError, IndexError, OverflowError, TypeError):
            return _aware(email.utils.parsedate_to_datetime(f"{candidate} 00:00:00")) < now
        with contextlib.suppress(ValueError, IndexError, OverflowError):
            return _aware(email.utils.parsedate_to_datetime(candidate)) < now
    return False


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _plain(header: str) -> str:
    """Lower case, with full-width letters, dashes and invisible characters as those that were meant."""
    if not header.isascii():
        with contextlib.suppress(UnicodeError):
            header = header.encode("latin-1").decode()
        characters = ((c, unicodedata.category(c)) for c in unicodedata.normalize("NFKC", header))
        header = "".join("-" if category == "Pd" else c for c, category in characters if category != "Cf")
    return header.lower()
