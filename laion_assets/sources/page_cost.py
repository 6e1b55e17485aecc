"""What a page would cost the HTML parser, estimated from its tags before it is parsed.

Tree construction (HTML standard, section 13.2.6) looks through the stack of open elements at most tags, opens lost
formatting elements anew after each block, and lexbor looks through an element's attributes at each attribute: pages
made for it cost the square of their length, in time and in memory. The estimate follows the stack as far as it decides
the cost. Where it simplifies it errs towards a deeper stack; what it refuses is far from any page that people write.
"""

import re
from collections import Counter
from itertools import repeat

import numpy as np

MAX_COST = 250_000_000
"""Nanoseconds, roughly."""

_MAX_TAGS = 200_000
_SIMPLE_TAGS = 2_000  # so few cost little, whatever they are
_FORMATTED_TAGS = 5_000  # and so few do where little is formatted
_LITTLE_FORMATTING = 50
_MAX_NAMES = 20_000  # of elements that HTML does not have, and of attributes: lexbor's tables of them grow slow
_LONG_PAGE = 100_000
_SAMPLED_PAGE = 250_000
_SAMPLES = 64
_SAMPLE_LENGTH = 1_024
_MANY_NAMES = 600  # in the samples
_ATTRIBUTE_PAIR = 5
_ORDINARY_DEPTH = 250
_ORDINARY_FORMATTING_DEPTH = 10
_ORDINARY_PATHS = 5_000  # of one SVG; most are closed in their start tags
_NEARBY = 12  # how far up the stack the end of an unclosed element is looked for
_ADOPTION = 150
_FORMATTING_PUSH = 8
_REOPENING = 200
_SCAN = 10
_STEP = 40

_VALUE = r"=[\t\n\f\r ]*+(?:\"[^\"]*+\"|'[^']*+')?+"
_ATTRIBUTES = rf"[^>=]*+(?>{_VALUE}[^>=]*+)*+"
_NAME_END = r"(?=[\t\n\f\r />])"
_NAME = r"/?[a-zA-Z][^\t\n\f\r />]*+"
_RAW = r"(?i:script|style|textarea)"
_RAW_TEXT = rf"(?=[sStT]){_RAW}{_NAME_END}{_ATTRIBUTES}>(?>[^<]++|<(?!/{_RAW}))*+|"
_RAW_IN_FOREIGN = re.compile(rf"<(?i:svg|math)(?>[^<]++|<(?!(?i:/?svg|/?math)|{_RAW}))*+<{_RAW}")
_COMMENT = r"!--(?:-?>|(?s:.*?)(?:--!?>|\Z))"
_FORMATTING_NAME = rf"(?i:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u){_NAME_END}"
_FORMATTING_START = re.compile("<(?=[bcefinstuBCEFINSTU])" + _FORMATTING_NAME)
# with what scripts and styles hold passed over, and without: in SVG and MathML it is markup
_NAMES = [re.compile(rf"<(?:{raw}({_NAME}){_ATTRIBUTES}>?+|{_COMMENT})") for raw in (_RAW_TEXT, "")]
_TAGS = [
    re.compile(rf"<(?:{raw}({_FORMATTING_NAME}{_ATTRIBUTES}|{_NAME}){_ATTRIBUTES}>?+|{_COMMENT})")
    for raw in (_RAW_TEXT, "")
]
_LONG_TAG = re.compile(rf"<[a-zA-Z](?>[^>=]{{1,16}}+|{_VALUE}){{50}}{_ATTRIBUTES}")
_TAG = re.compile(rf"<{_NAME}({_ATTRIBUTES})")
_ATTRIBUTE = re.compile(rf"([^\t\n\f\r />=][^\t\n\f\r />=]*+)[\t\n\f\r ]*+(?:{_VALUE}[^\t\n\f\r >]*+)?+")
_FIRST_WORD = re.compile(r"[^\t\n\f\r />]*+")


def _words(text: str) -> list[str]:
    return text.split()


def _closers(names: str) -> frozenset[str]:
    return frozenset("/" + name for name in _words(names))


_VOID = frozenset(
    _words("area base basefont bgsound br col embed frame hr image img input keygen link meta param source track wbr")
)
_FORMATTING = _closers("a b big code em font i nobr s small strike strong tt u")
_TABLE_PARTS = _closers("caption colgroup tbody td tfoot th thead tr")
_MARKERS = _closers("applet caption marquee object td template th")
_WALLS = _MARKERS | _closers("html math svg table")
_BLOCKS = _closers(
    "address article aside blockquote center dd details dialog dir div dl dt fieldset figcaption figure footer form h1"
    " h2 h3 h4 h5 h6 header hgroup li listing main menu nav ol p pre search section summary table ul"
)
_PLAIN = frozenset(_words("span label g path button select iframe noscript head body html title"))
_P = _closers("p")
_CELLS = _closers("td th")
_ROWS = _closers("tr td th")
_ROW_GROUPS = _closers("tbody thead tfoot tr td th")
_OTHER_SPECIAL = _closers(
    "annotation-xml body button desc foreignobject frameset head iframe mi mn mo ms mtext noembed noframes noscript"
    " plaintext select title xmp"
)
_STOPS_AT_BLOCKS = (_WALLS | _BLOCKS | _OTHER_SPECIAL) - _closers("address div p")
_STOPS_AT_TABLES = _closers("html table template svg math")
_ENDS = {
    "li": (_closers("li"), _STOPS_AT_BLOCKS),
    "dt": (_closers("dt dd"), _STOPS_AT_BLOCKS),
    "dd": (_closers("dt dd"), _STOPS_AT_BLOCKS),
    "td": (_CELLS, _STOPS_AT_TABLES),
    "th": (_CELLS, _STOPS_AT_TABLES),
    "tr": (_ROWS, _STOPS_AT_TABLES),
    "tbody": (_ROW_GROUPS, _STOPS_AT_TABLES),
    "thead": (_ROW_GROUPS, _STOPS_AT_TABLES),
    "tfoot": (_ROW_GROUPS, _STOPS_AT_TABLES),
}
"""The elements a start tag ends where they are open nearby, and those behind which it does not look."""
_ROOTS = _closers("math svg table template")
_FOREIGN = _closers("math svg")
_OUT_OF_FOREIGN = frozenset(_words("br dd dt embed hr img li meta"))  # section 13.2.6.5
_NESTED_IN_FOREIGN = (_VOID | {closer[1:] for closer in _MARKERS | _TABLE_PARTS} | {"option"}) - _OUT_OF_FOREIGN


def too_costly(html: str) -> bool:
    """Whether parsing a page would take much longer than its length lets expect."""
    tags = html.count("<")
    if tags > _MAX_TAGS or (len(html) > _LONG_PAGE and _has_costly_attributes(html)):
        return True
    if tags <= _SIMPLE_TAGS:
        return False
    if tags <= _FORMATTED_TAGS and len(_FORMATTING_START.findall(html)) <= _LITTLE_FORMATTING:
        return False
    markup = _RAW_IN_FOREIGN.search(html) is not None
    return not _is_ordinary(_NAMES[markup].findall(html)) and _Stack().cost_of(_TAGS[markup].findall(html)) > MAX_COST


def _has_costly_attributes(html: str) -> bool:
    """Whether elements have very many, each of which is compared with all before it, or the page very many names."""
    cost = roots = 0
    for tag in _LONG_TAG.finditer(html):
        count = len(_ATTRIBUTE.findall(tag[0]))
        if tag[0][:5].lower() in ("<html", "<body"):  # all of them make one element
            count = roots = roots + count
        cost += count * count * _ATTRIBUTE_PAIR
        if cost > MAX_COST:
            return True
    if len(html) < _SAMPLED_PAGE:
        return False
    step = len(html) // _SAMPLES
    sample = "".join(html[start : start + _SAMPLE_LENGTH] for start in range(0, len(html), step))
    return len(_attribute_names(sample)) > _MANY_NAMES and len(_attribute_names(html)) > _MAX_NAMES


def _attribute_names(html: str) -> set[str]:
    return {name for attributes in _TAG.findall(html) for name in _ATTRIBUTE.findall(attributes)}


_NUMBERED = _words(
    "html head body title noscript div span section article header footer nav main aside ul ol dl table form label a"
    " select button h1 h2 h3 h4 h5 h6 picture figure figcaption video audio iframe svg g defs use symbol circle rect"
    " line polygon ellipse stop lineargradient clippath mask text tspan blockquote pre center details summary caption"
    " colgroup abbr sup sub time cite q kbd var samp address fieldset legend script style textarea ruby rt rp"
    " b big code em font i nobr s small strike strong tt u optgroup math"
)
_UNNUMBERED = 1
_FIRST_UNCOUNTED = 2 * len(_NUMBERED) + 2
_NESTED, _PATH, _LI, _DD = range(_FIRST_UNCOUNTED, _FIRST_UNCOUNTED + 4)
_CODES = (
    dict.fromkeys(["", *_VOID, *_closers("option p path"), *_closers(" ".join(_ENDS)), "p"], 0)
    | dict.fromkeys(_NESTED_IN_FOREIGN, _NESTED)
    | {"path": _PATH, "li": _LI, "dd": _DD, "dt": _DD}
    | {name: 2 * number + 2 for number, name in enumerate(_NUMBERED)}
    | {"/" + name: 2 * number + 3 for number, name in enumerate(_NUMBERED)}
)
_CODES |= {name.upper(): code for name, code in _CODES.items()}
_FORMATTING_CODES = [_CODES[closer] for closer in sorted(_FORMATTING - {"/a"})]


def _is_ordinary(names: list[str]) -> bool:
    """Whether tags are closed as they are on nearly every page: then there is no need to follow the stack.

    The open elements of each name, those of which none is left unclosed by its own kind aside, are summed.
    """
    codes = np.frombuffer(bytes(map(_CODES.get, names, repeat(_UNNUMBERED))), np.uint8)
    found = np.bincount(codes, minlength=256)
    if min(found[_LI], found[_DD]) > _ORDINARY_DEPTH or not _is_ordinary_foreign(codes):
        return False
    frequent = [code for code in range(2, 2 * len(_NUMBERED) + 2, 2) if found[code] > len(codes) // 64]
    rare = (codes > 1) & (codes < _FIRST_UNCOUNTED) & ~np.isin(codes | 1, [code + 1 for code in frequent])
    depth = _open(np.where(rare, 1 - 2 * (codes & 1).astype(np.int8), 0)) + int(found[_UNNUMBERED])
    for code in frequent:
        depth += _open((codes == code).astype(np.int8) - (codes == code + 1))
    formatting = sum(
        (_open((codes == code - 1).astype(np.int8) - (codes == code)) for code in _FORMATTING_CODES if found[code - 1]),
        np.zeros(1, np.int64),
    )
    return bool(depth.max(initial=0) <= _ORDINARY_DEPTH and formatting.max(initial=0) <= _ORDINARY_FORMATTING_DEPTH)


def _is_ordinary_foreign(codes: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> bool:
    """Whether few elements are in SVG and MathML that end by themselves only outside of them, and few the other way."""
    roots = [_CODES[name] for name in ("svg", "math")]
    inside = _open(np.isin(codes, roots).astype(np.int8) - np.isin(codes, [root + 1 for root in roots])) > 0
    paths = codes == _PATH
    if np.count_nonzero(inside & (codes == _NESTED)) > _ORDINARY_DEPTH:
        return False
    if np.count_nonzero(paths & ~inside) > _ORDINARY_DEPTH:
        return False
    of_each = np.bincount(np.cumsum(np.isin(codes, roots)), weights=paths)
    return bool(of_each.max(initial=0) <= _ORDINARY_PATHS)


def _open(steps: "np.ndarray[tuple[int], np.dtype[np.int8]]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """How many are open after each step; an end tag without a start tag counts for nothing."""
    level = np.cumsum(steps, dtype=np.int64)
    lowest: np.ndarray[tuple[int], np.dtype[np.int64]] = np.minimum(np.minimum.accumulate(level), 0)
    return level - lowest


class _Stack:
    """The stack of open elements, near enough: what is kept of an element is the end tag it waits for."""

    def __init__(self) -> None:
        self._waiting: list[str] = ["#"]  # nothing ends the document
        self._formatting: list[str] = []  # the tags of the open formatting elements
        self._lost: list[str] = []  # formatting elements that were ended by others, to be opened anew
        self._outer_lost: list[list[str]] = []  # the same, outside of each open marker
        self._roots: list[str] = []  # the open elements that decide whether what is in them is HTML's
        self._names: set[str] = set()
        self._cost = 0

    def cost_of(self, tags: list[str]) -> int:
        """About how many nanoseconds the parser needs for a page, up to a little above ``MAX_COST``."""
        waiting = self._waiting
        for tag in tags:
            self._cost += len(waiting)
            if tag == waiting[-1] and tag not in _WALLS and not self._lost:
                waiting.pop()
                if tag in _FORMATTING:
                    self._formatting.pop()
            elif tag in _PLAIN and not self._lost:
                waiting.append("/" + tag)
            elif tag and (tag not in _VOID or self._is_foreign()):
                tag = tag.lower()
                (self._end if tag[0] == "/" else self._start)(tag)
                if self._cost > MAX_COST:
                    break
            elif self._lost:
                self._reopen()
        return self._cost if len(self._names) <= _MAX_NAMES else MAX_COST + 1

    def _start(self, tag: str) -> None:
        name = tag if tag.isalnum() else _FIRST_WORD.match(tag)[0]  # type: ignore[index]
        closer = "/" + name
        if name in _NESTED_IN_FOREIGN and self._is_foreign():
            self._waiting.append("#")  # which SVG's or MathML's own end takes off
            return
        if name in _VOID:
            return
        if closer in _BLOCKS:
            self._cost += len(self._lost) * _REOPENING  # if there is text in it they are opened there
            self._end_nearby(_P, _WALLS)
        elif self._lost:
            self._reopen()
        if name in _ENDS:
            self._cost += len(self._waiting) * _SCAN
            if closer in _TABLE_PARTS and _STOPS_AT_TABLES.isdisjoint(self._waiting[1:]):
                return  # outside of a table there are none
            self._end_nearby(*_ENDS[name])
        elif name in ("option", "optgroup"):
            self._end_options(name)
        elif name in ("a", "nobr") and closer in self._waiting[-_NEARBY:]:
            if self._is_foreign():  # there they nest, unless HTML began again
                self._cost += len(self._waiting) * _ADOPTION
            else:
                self._adopt(closer)
        if closer in _FORMATTING:
            self._cost += len(self._formatting) * _FORMATTING_PUSH
        self._push(closer, tag)

    def _is_foreign(self) -> bool:
        return bool(self._roots) and self._roots[-1] in _FOREIGN

    def _end_options(self, name: str) -> None:
        """An option ends where it is current, a group of them if it is in a select as well (section 13.2.6.4.7)."""
        if self._waiting[-1] == "/option":
            self._waiting.pop()
        if name == "optgroup" and self._waiting[-2:] == ["/select", "/optgroup"]:
            self._waiting.pop()

    def _push(self, closer: str, tag: str) -> None:
        self._waiting.append(closer)
        if closer in _ROOTS:
            self._roots.append(closer)
        if closer in _FORMATTING:
            self._formatting.append(tag)
        elif closer in _MARKERS:
            self._outer_lost.append(self._lost)
            self._lost = []
        elif closer not in _BLOCKS:
            self._names.add(closer)

    def _end(self, tag: str) -> None:
        waiting = self._waiting
        if tag in _FORMATTING:
            self._cost += len(self._lost) * _REOPENING
            self._lost = [lost for lost in self._lost if _FIRST_WORD.match(lost)[0] != tag[1:]]  # type: ignore[index]
        elif self._lost:
            self._reopen()
        self._cost += len(waiting) * _SCAN
        if tag not in waiting:
            return
        at = len(waiting) - 1 - waiting[::-1].index(tag)
        above = waiting[at + 1 :]
        if tag not in _WALLS and tag not in _TABLE_PARTS and not _WALLS.isdisjoint(above):
            return
        if tag in _FORMATTING and not _BLOCKS.isdisjoint(above):
            self._adopt(tag)
        else:
            self._pop(at)

    def _adopt(self, tag: str) -> None:
        """Take a formatting element out from below others (*the adoption agency algorithm*)."""
        waiting = self._waiting
        at = len(waiting) - 1 - waiting[::-1].index(tag)
        self._cost += (len(waiting) - at) * _SCAN + (len(waiting) * _ADOPTION if at < len(waiting) - 1 else 0)
        del self._formatting[-1 - sum(closer in _FORMATTING for closer in waiting[at + 1 :])]
        del waiting[at]

    def _end_nearby(self, ended: frozenset[str], stops: frozenset[str]) -> None:
        waiting = self._waiting
        found, left = 0, _NEARBY
        at = len(waiting) - 1
        for at in range(len(waiting) - 1, 0, -1):
            if waiting[at] in ended:
                found = at
                if stops is not _STOPS_AT_TABLES:
                    break
            elif waiting[at] in stops or not left:
                break
            elif waiting[at] not in _FORMATTING:  # those are opened anew, many at once
                left -= 1
        self._cost += (len(waiting) - at) * _STEP
        if found:
            self._pop(found)

    def _pop(self, first: int) -> None:
        """Take off an element and all above it; of these the formatting elements are lost."""
        lost: list[str] = []
        for at in range(len(self._waiting) - 1, first - 1, -1):
            closer = self._waiting[at]
            if closer in _FORMATTING:
                tag = self._formatting.pop()
                if at > first:
                    lost.append(tag)
            if closer in _ROOTS:
                self._roots.pop()
            if closer in _MARKERS:
                lost, self._lost = [], self._outer_lost.pop()
        del self._waiting[first:]
        alike = Counter(self._lost) if lost else Counter()
        for tag in reversed(lost):
            alike[tag] += 1
            if alike[tag] <= 3:  # the standard's Noah's Ark clause
                self._lost.append(tag)

    def _reopen(self) -> None:
        self._cost += len(self._lost) * _REOPENING
        lost, self._lost = self._lost, []
        for tag in lost:
            self._push("/" + _FIRST_WORD.match(tag)[0], tag)  # type: ignore[index]
