"""From bytes to text as the Encoding standard (https://encoding.spec.whatwg.org/) has it, on Python's codecs.

``webencodings`` knows the standard's labels, and names for most of its encodings a Python codec that decodes alike.
Here is what it leaves: Python's codecs refuse bytes the standard maps, map some of them elsewhere, and know nothing
like the standard's ISO-2022-JP. Two cells of Big5 stay Python's (A241 and A242: a full-width slash where the standard
has a division slash), as do the few hundred rare characters by which the standard's Big5 exceeds HKSCS-2004.
"""

import codecs
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache

import webencodings

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_MAX_EXPLAINED_FAULTS = 100_000  # beyond that Python's codec alone decides, at the speed of C

# Index gb18030 where it follows GB 18030-2022 and Python the edition of 2000.
_GB18030_CELLS = dict(
    zip(
        "\ue7c7\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796"
        "\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
        "\u1e3f\ufe10\ufe12\ufe11\ufe13\ufe14\ufe15\ufe16\ufe17\ufe18\ufe19"
        "\u9fb4\u9fb5\u9fb6\u9fb7\u9fb8\u9fb9\u9fba\u9fbb",
        strict=True,
    )
)
# Index jis0208 is Windows's. (JIS X 0212's tilde is not ASCII's either, but cannot be told from it once decoded.)
_EUC_JP_CELLS = dict(zip("\u301c\u2016\u2212\u00a2\u00a3\u00ac", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2", strict=True))
_BIG5_CELLS = dict(
    zip(
        "\u2022\uff64\u203e\u223c\u2641\u2609\u00a5\u00a2\u00a3",
        "\u2027\ufe51\u00af\uff5e\u2295\u2299\uffe5\uffe0\uffe1",
        strict=True,
    )
)
_SHIFT_JIS_CELLS = dict.fromkeys("\uf8f0\uf8f1\uf8f2\uf8f3", _UNKNOWN)

_ISO_2022_JP_ESCAPE = re.compile(rb"\x1b(\([BJI]|\$[@B])")


def decode(content: bytes, name: str) -> str:
    """Decode bytes.

    Args:
        content: The bytes, without a byte order mark.
        name: The encoding's name in the Encoding standard, in lower case.

    Returns:
        The text; what means nothing in the encoding becomes U+FFFD.
    """
    if name in _DECODERS:
        return _DECODERS[name](content)
    if name == "replacement":
        return _UNKNOWN if content else ""
    codec = webencodings.lookup(name).codec_info
    if (table := _single_byte_table(name)) is not None:
        return codecs.charmap_decode(content, "replace", table)[0]
    text: str = codec.decode(content, "replace")[0]
    return text


@cache
def _single_byte_table(name: str) -> str | None:
    """The 256 characters of an encoding; null if it has more.

    Windows's code pages leave bytes from 80 to 9F undefined which the standard maps to the C1 controls of that number.
    """
    if not name.startswith(("windows-", "iso-8859-", "koi8-", "macintosh", "x-mac", "ibm866")):
        return None
    codec = webencodings.lookup(name).codec_info
    table = [codec.decode(bytes([byte]), "replace")[0] for byte in range(256)]
    if name.startswith("windows-"):
        table[0x80:0xA0] = [chr(0x80 + i) if c == _UNKNOWN else c for i, c in enumerate(table[0x80:0xA0])]
    if name == "windows-1255":
        table[0xCA] = "\u05ba"
    if name == "koi8-u":
        table[0xAE], table[0xBE] = "\u045e", "\u040e"
    return "".join(table)


def _double_byte(
    codec: str, cells: Mapping[str, str], explain: Callable[[bytes], str | None]
) -> Callable[[bytes], str]:
    """A decoder on a multi-byte codec of Python's.

    Args:
        codec: Python's name.
        cells: What it decodes differently from the standard, and what the standard has.
        explain: What the standard has for one or two bytes that the codec refuses; null where that is nothing.
    """
    wrong = re.compile("[" + "".join(cells) + "]") if cells else None
    table = str.maketrans(dict(cells))

    def handler(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        error.__dict__["faults"] = error.__dict__.get("faults", 0) + 1  # Python keeps the object for all of a decoding
        if error.__dict__["faults"] > _MAX_EXPLAINED_FAULTS:
            raise error
        at = error.start
        pair = error.object[at : at + 2]
        if (text := explain(pair[:1])) is not None:
            return text, at + 1
        if len(pair) == 2 and (text := explain(pair)) is not None:
            return text, at + 2
        # an ASCII byte after a lead is read again: it may be markup
        lead_only = len(pair) < 2 or pair[1] < 0x80 or not 0x81 <= pair[0] <= 0xFE
        return _UNKNOWN, at + 1 if lead_only else at + 2

    codecs.register_error(f"laion_assets.{codec}", handler)

    def decoded(content: bytes) -> str:
        text = content.decode(codec, "replace")
        if _UNKNOWN in text:
            with suppress(UnicodeDecodeError):
                text = content.decode(codec, f"laion_assets.{codec}")
        return text.translate(table) if wrong is not None and wrong.search(text) else text

    return decoded


def _euc_jp_cell(pair: bytes) -> str | None:
    """Rows of index jis0208 that JIS X 0208 lacks (NEC's and IBM's), read through their places in Shift_JIS."""
    if len(pair) < 2 or pair[0] < 0xA1 or pair[1] < 0xA1:
        return None
    row, cell = pair[0] - 0xA1, pair[1] - 0xA1
    lead = (row >> 1) + (0x81 if row < 62 else 0xC1)
    trail = cell + 0x9F if row % 2 else cell + 0x40 + (cell >= 0x3F)
    text = bytes([lead, trail]).decode("cp932", "ignore")
    return text if len(text) == 1 and not "\ue000" <= text <= "\uf8ff" else None


def _iso_2022_jp(content: bytes) -> str:
    """Stretches between escapes (ASCII, Roman, half-width katakana, index jis0208), put together as EUC-JP."""
    if content.count(b"\x1b") > _MAX_EXPLAINED_FAULTS:
        return content.decode("iso2022_jp_ext", "replace")
    pieces = _ISO_2022_JP_ESCAPE.split(content)
    stretches = [pieces[0].translate(_AS_ASCII)]
    for mode, stretch in zip(pieces[1::2], pieces[2::2], strict=True):
        if mode == b"(I":
            stretches.append(_KATAKANA.sub(b"\x8e\\g<0>", stretch.translate(_AS_KATAKANA)))
        elif mode == b"(J":
            stretches.append(_YEN_OR_OVERLINE.sub(b"\x1b\\g<0>", stretch.translate(_AS_ASCII)))
        else:
            stretches.append(stretch.translate(_AS_ASCII if mode == b"(B" else _AS_JIS0208))
    return _DECODERS["euc-jp"](b"".join(stretches)).replace("\x1b\\", "\u00a5").replace("\x1b~", "\u203e")


# 80 means nothing in EUC-JP: it stands for what means nothing in a stretch
_AS_ASCII = bytes(byte if byte < 0x80 and byte != 0x1B else 0x80 for byte in range(256))
_AS_KATAKANA = bytes(byte + 0x80 if 0x21 <= byte <= 0x5F else 0x80 if byte > 0x5F else byte for byte in range(256))
_AS_JIS0208 = bytes(byte + 0x80 if 0x21 <= byte <= 0x7E else 0x80 if byte > 0x7E else byte for byte in range(256))
_KATAKANA = re.compile(rb"[\xa1-\xdf]")
_YEN_OR_OVERLINE = re.compile(rb"[\\~]")

_gb18030 = _double_byte("gb18030", _GB18030_CELLS, lambda cell: "\u20ac" if cell == b"\x80" else None)
_DECODERS: dict[str, Callable[[bytes], str]] = {
    "gbk": _gb18030,
    "gb18030": _gb18030,
    "big5": _double_byte("big5hkscs", _BIG5_CELLS, lambda cell: "\u20ac" if cell == b"\xa3\xe1" else None),
    "euc-jp": _double_byte("euc_jp", _EUC_JP_CELLS, _euc_jp_cell),
    "euc-kr": _double_byte("cp949", {}, lambda _: None),
    "shift_jis": _double_byte("cp932", _SHIFT_JIS_CELLS, lambda _: None),
    "iso-2022-jp": _iso_2022_jp,
}
