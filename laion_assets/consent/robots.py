"""robots.txt and ai.txt: what a host says of its paths, and of their use.

Sources: RFC 9309, Robots Exclusion Protocol; draft-ietf-aipref-attach (Content-Usage as a rule of a group, the longest
path holds); Cloudflare's Content Signals Policy (Content-Signal, of a group); Spawning's ai.txt (robots.txt's syntax
with patterns of file names). Which paths may be fetched is judged by Protego.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from protego import Protego

from laion_assets.consent.patterns import length, matches, path_of
from laion_assets.consent.preferences import said_in
from laion_assets.consent.signals import LONGEST_RAW, Said

MAX_BYTES: Final = 512 * 1024
"""Bytes of a robots.txt that are read; RFC 9309 asks for 500 kibibytes at least."""

_TOKEN: Final = re.compile(r"\*|[a-z0-9_.-]+", re.IGNORECASE)  # RFC 9309 has no digits, GPTBot-2 and others do
_RULES: Final = frozenset({"allow", "disallow", "content-usage", "content-signal"})
_MEANT: Final = {
    **dict.fromkeys(("useragent", "user agent"), "user-agent"),
    **dict.fromkeys(("dissallow", "dissalow", "disalow", "diasllow", "disallaw", "dis-allow"), "disallow"),
}
"""Names that are commonly written wrong, and taken by crawlers at large for what they were meant to be."""


@dataclass(frozen=True, slots=True)
class Robots:
    """What one robots.txt says to one agent.

    Attributes:
        agent: Product token that groups are chosen by.
        reachable: False where the host did not answer, which forbids everything.
    """

    agent: str
    reachable: bool = True
    _rules: tuple[tuple[str, str], ...] = ()
    _judge: Protego | None = field(default=None, compare=False, repr=False)

    @classmethod
    def read(cls, body: bytes, agent: str) -> Self:
        """What a file says; a byte order mark is no part of its first line, and what is no UTF-8 is passed over."""
        text = _text(body)
        rules = tuple(_rules_for(text, agent))
        paths = (f"{name}: {value}" for name, value in rules if name in ("allow", "disallow"))
        return cls(agent, True, rules, Protego.parse("\n".join(("User-agent: *", *paths))))

    @classmethod
    def of_answer(cls, status: int | None, body: bytes, agent: str) -> Self:
        """What a host's answer means (RFC 9309, section 2.3.1).

        Args:
            status: HTTP status after at most five redirects; None where nothing answered in time.
            body: of the answer.
            agent: Product token.

        Returns:
            The file's rules for 2xx; nothing forbidden for 4xx and for redirects that lead nowhere; everything
            forbidden for 5xx, for 429 (which is no answer to what was asked) and for none.
        """
        if status is None or status >= 500 or status == 429 or status < 200:
            return cls(agent, reachable=False)
        return cls.read(body, agent) if status < 300 else cls(agent)

    def said(self, url: str) -> list[Said]:
        """What holds for an address of the host: nothing where it may be fetched and nothing is said of its use."""
        if not self.reachable:
            return [Said("robots_txt", "unreachable", False, ("fetch",))]
        if self._judge is None:
            return []
        told: list[Said] = []
        path = path_of(url)
        if path != "/robots.txt" and not self._judge.can_fetch(f"http://host{path}", self.agent):
            told.append(Said("robots_txt", self._forbidding(path), False, ("fetch",)))
        usage = [
            (length(pattern), expression) for pattern, expression in self._of("content-usage") if matches(pattern, path)
        ]
        longest = max((size for size, _ in usage), default=0)
        told += said_in("content_usage_robots", [expression for size, expression in usage if size == longest])
        told += said_in("content_signal", [expression for _, expression in self._of("content-signal")])
        return told

    def _of(self, name: str) -> Iterator[tuple[str, str]]:
        return (_with_path(value) for rule, value in self._rules if rule == name)

    def _forbidding(self, path: str) -> str:
        """The longest Disallow that matches, as evidence."""
        lines = [value for rule, value in self._rules if rule == "disallow" and value and matches(value, path)]
        return f"Disallow: {max(lines, key=length, default='?')}"[:LONGEST_RAW]


def _text(body: bytes) -> str:
    """A file's text without its last, half line where it is too long; every blank is a space or a line's end."""
    cut = body[:MAX_BYTES]
    if len(body) > MAX_BYTES:
        cut = cut[: max(cut.rfind(b"\n"), cut.rfind(b"\r")) + 1]
    wide = cut[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = cut.decode("utf-16" if wide else "utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\0", "").replace("\xa0", " ").replace("\u3000", " ")


def _with_path(value: str) -> tuple[str, str]:
    """The path and the expression of a rule; all paths where it names none."""
    head, *tail = value.split(None, 1) or [""]
    return (head, tail[0]) if head[:1] in ("/", "*") and tail else ("/", value)


def _rules_for(text: str, agent: str) -> Iterator[tuple[str, str]]:
    """Rules of the groups for an agent, by name in lower case; of those for all where none names it.

    Groups of one agent count together. Lines that are neither names nor rules, and empty ones, end no group.
    """
    groups: list[tuple[set[str], list[tuple[str, str]]]] = [({"*"}, [])]  # rules before any name hold for all
    naming = False
    for line in text.split("\n"):
        said, _, _ = line.partition("#")
        name, colon, value = (part.strip() for part in said.partition(":"))
        if not colon:  # RFC 9309 wants one; without it the first word counts, as it does for other crawlers
            name, value = [*said.split(None, 1), "", ""][:2]
        name = _MEANT.get(name.lower(), name.lower())
        if name == "user-agent":
            token = _TOKEN.match(value)
            if not naming:
                groups.append((set(), []))
            if token is not None:
                groups[-1][0].add(token[0].lower())
            naming = True
        elif name in _RULES:
            groups[-1][1].append((name, value))
            naming = False
    for wanted in (agent.lower(), "*"):
        if any(wanted in names for names, _ in groups[1:]) or wanted == "*":
            return (rule for names, rules in groups if wanted in names for rule in rules)
    raise AssertionError("the star is always among them")


@dataclass(frozen=True, slots=True)
class AiTxt:
    """What one ai.txt says to everybody: which files may be learned from."""

    rules: tuple[tuple[str, str], ...] = ()
    """Name and pattern of each that allows or disallows something."""

    @classmethod
    def read(cls, body: bytes, agent: str = "*") -> Self:
        """What a file says to an agent. A page of HTML, which many hosts answer anything with, says nothing."""
        text = _text(body)
        told = () if text.lstrip().startswith("<") else _rules_for(text, agent)
        return cls(tuple((name, value) for name, value in told if name in ("allow", "disallow") and value))

    def said(self, url: str) -> list[Said]:
        """What holds for an address of the host.

        Patterns such as ``*.jpg`` name the end of a path, without its query and in any case; the longest pattern
        holds, and a yes of two equals, as in robots.txt.
        """
        whole = path_of(url)
        file = whole.partition("?")[0].lower()
        found: list[tuple[int, bool, str]] = []
        for name, value in self.rules:
            ending = value.startswith("*.")
            if matches(f"{value.lower().rstrip('$')}$", file) if ending else matches(value, whole):
                found.append((length(value), name == "allow", f"{name.title()}: {value}"))
        if not found:
            return []
        _, allows, raw = max(found)
        return [Said("ai_txt", raw[:LONGEST_RAW], allows, () if allows else ("train",))]
