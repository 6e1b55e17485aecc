"""In which encoding a page is written: the HTML standard's encoding sniffing algorithm (section 13.2.3.2)."""

import codecs
import re

import webencodings

_PRESCANNED_BYTES = 16 << 10
"""The standard leaves the end of the scan to the reader. Browsers look at 1,024 bytes first, and change the encoding
when the parser meets a ``<meta>`` later: looking on finds that one as well."""

BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16le"), (codecs.BOM_UTF16_BE, "utf-16be"))
_XML_MARKS = ((b"<\0?\0x\0", "utf-16le"), (b"\0<\0?\0x", "utf-16be"))
_XML = re.compile(rb"<\?xml(?:(?!encoding)[^>])*+encoding[\0-\x20]*=[\0-\x20]*([\"'])([^>\"'\0-\x20]*)\1")
_TOKEN = re.compile(rb"<(?:(!--)|(meta)[\t\n\f\r /]|(/?[a-zA-Z])|[!/?])", re.IGNORECASE)
_REST_OF_TAG = re.compile(
    rb"[^\t\n\f\r >]*+(?>[\t\n\f\r /]*+[^\t\n\f\r />][^\t\n\f\r />=]*+"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:\"[^\"]*+\"|'[^']*+'|(?![\"'])[^\t\n\f\r >]*+)|(?![\t\n\f\r ]*+=)))*+"
    rb"[\t\n\f\r /]*+>"
)
_ATTRIBUTE = re.compile(
    rb"[\t\n\f\r /]*+(?:>|(?P<name>[^>][^\t\n\f\r />=]*+)"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:(?P<quote>[\"'])|(?P<value>[^\t\n\f\r >]*+)))?+)"
)
_CHARSET = re.compile(
    r"charset[\t\n\f\r ]*=[\t\n\f\r ]*(?:\"([^\"]*)\"|'([^']*)'|([^\t\n\f\r ;\"'][^\t\n\f\r ;]*)|)", re.I
)


def sniff(content: bytes, http_charset: str | None) -> str | None:
    """The encoding a page is declared to be in.

    The first that says something of: byte order mark, ``http_charset``, ``<meta>``, ``<?xml encoding=…?>``. Labels the
    Encoding standard does not know say nothing.

    Args:
        content: The page's bytes.
        http_charset: The ``charset`` of the ``Content-Type`` header, null if it has none.

    Returns:
        The encoding's name in the Encoding standard, in lower case; null where nothing is declared.
    """
    for mark, name in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return name
    return (http_charset and label_name(http_charset)) or prescan(content[:_PRESCANNED_BYTES])


def label_name(label: str) -> str | None:
    """The name of the encoding a label stands for (Encoding standard, *get an encoding*); null if it is none."""
    try:
        encoding = webencodings.lookup(label)
    except UnicodeEncodeError:  # a lone surrogate
        return None
    return encoding.name if encoding else None


def prescan(content: bytes) -> str | None:
    """Prescan a byte stream to determine its encoding (HTML standard, section 13.2.3.2); null for a failure."""
    for mark, name in _XML_MARKS:
        if content.startswith(mark):
            return name
    last = max(content.rfind(word) for word in (b"charset", b"CHARSET", b"Charset"))
    last = max(last, content[:1024].lower().rfind(b"charset"))
    position = 0
    while position <= last and (token := _TOKEN.search(content, position)):
        comment, meta, tag = token.groups()
        if comment:
            end = content.find(b"-->", token.start() + 2)
            position = end + 3
        elif meta:
            attributes, end = _attributes(content, token.end() - 1)
            position = end
            if end >= 0 and (found := _declared(attributes)):
                return found
        elif tag:
            rest = _REST_OF_TAG.match(content, token.end())
            position = end = rest.end() if rest else -1
        else:
            end = content.find(b">", token.end())
            position = end + 1
        if end < 0:
            break
    return _xml_encoding(content)


def _attributes(content: bytes, position: int) -> tuple[dict[bytes, bytes], int]:
    """The standard's *get an attribute* until there are no more; the end is -1 where the bytes run out before that."""
    found: dict[bytes, bytes] = {}
    while match := _ATTRIBUTE.match(content, position):
        position = match.end()
        if match["name"] is None:
            return found, position
        value = match["value"] or b""
        if match["quote"]:
            end = content.find(match["quote"], position)
            if end < 0:
                break
            value = content[position:end]
            position = end + 1
        found.setdefault(match["name"].lower(), value.lower())
    return found, -1


def _declared(attributes: dict[bytes, bytes]) -> str | None:
    """What one ``<meta>`` declares."""
    if b"charset" in attributes:
        name = label_name(attributes[b"charset"].decode("latin-1"))
    elif attributes.get(b"http-equiv") == b"content-type":
        label = meta_charset(attributes.get(b"content", b"").decode("latin-1"))
        name = label_name(label) if label else None
    else:
        return None
    return _readable(name)


def meta_charset(content: str) -> str | None:
    """The standard's *extracting a character encoding from a meta element*, before the label is looked up."""
    match = _CHARSET.search(content)
    return next((label for label in match.groups() if label is not None), None) if match else None


def _readable(name: str | None) -> str | None:
    """What is meant by a declaration that was read as ASCII."""
    if name in ("utf-16le", "utf-16be"):
        return "utf-8"
    return "windows-1252" if name == "x-user-defined" else name


def _xml_encoding(content: bytes) -> str | None:
    """The standard's *get an XML encoding*."""
    match = _XML.match(content)
    return _readable(label_name(match[2].decode("latin-1"))) if match else None
