"""What a picture file says of its own use: IPTC's Data Mining property in XMP, and the assertions of C2PA and CAWG.

It has to be read from the bytes as they were fetched, since whatever decodes and encodes a picture again drops it.

Sources: IPTC Photo Metadata Standard 2023.1, Data Mining, with the vocabulary of PLUS; C2PA Technical Specification
1.4, Training and Data Mining (``c2pa.training-mining``); CAWG Training and Data Mining Assertion 1.1
(``cawg.training-mining``). Whether a manifest's signature can be trusted does not matter: who says no is believed.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any, Final

from laion_assets.consent.signals import LONGEST_RAW, Said, Use

DATA_MINING: Final[Mapping[str, tuple[Use, ...]]] = {
    "DMI-ALLOWED": (),
    "DMI-PROHIBITED-AIMLTRAINING": ("train",),
    "DMI-PROHIBITED-GENAIMLTRAINING": ("train",),  # who trains on a data set is not known when it is made
    "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING": ("train",),
}
"""What PLUS's terms forbid; any other that begins with DMI-PROHIBITED forbids training and finding."""

FORBIDDEN: Final[Mapping[str, Use]] = {
    "data_mining": "train",
    "ai_training": "train",
    "ai_generative_training": "train",
    "ai_inference": "index",
}
"""Entries of a training and data mining assertion, without their ``c2pa.`` or ``cawg.``: what a no forbids."""

_TERM: Final = re.compile(rb"DMI-(?:ALLOWED|PROHIBITED[A-Z-]*)")
_TERMS: Final = (b"DMI-PROHIBITED", b"DMI-ALLOWED")
_WIDE_TERMS: Final = tuple(term.decode().encode("utf-16-be")[1:-1] for term in _TERMS)
"""Of UTF-16, in either order of bytes, all but the zero before or after."""
_LABEL: Final = re.compile(rb"(?:c2pa|cawg)\.training-mining")
_NO: Final = re.compile(rb"notAllowed|constrained")
_NEAR: Final = 4096
"""Bytes after an assertion's label that belong to it, where nothing that knows the format can be asked."""


def said_within(body: bytes, media_type: str = "image/jpeg") -> list[Said]:
    """What a picture's bytes say of its use.

    Args:
        body: The file as it was fetched.
        media_type: its type, such as ``image/png``; only C2PA's reader needs it.
    """
    return [*_data_mining(body), *_training_mining(body, media_type)]


def _data_mining(body: bytes) -> Iterator[Said]:
    """The strictest of the terms of Data Mining that stand in the file, be it in UTF-8 or UTF-16."""
    found = {match[0].decode() for text in _texts(body) for match in _TERM.finditer(text)}
    if found:
        told = {term: DATA_MINING.get(term, ("train", "index")) for term in sorted(found)}
        term = max(told, key=lambda name: len(told[name]))
        yield Said("iptc_data_mining", term[:LONGEST_RAW], not told[term], told[term])


def _texts(body: bytes) -> Iterator[bytes]:
    """Where terms stand, as UTF-8. Long needles are found ten times as fast as a pattern."""
    if any(term in body for term in _TERMS):
        yield body
    for wide in _WIDE_TERMS:
        at = body.find(wide)
        if at >= 0:
            yield body[at : at + _NEAR : 2]


def _training_mining(body: bytes, media_type: str) -> Iterator[Said]:
    label = _LABEL.search(body) if b".training-mining" in body else None
    if label is None:
        return
    try:
        entries = list(_entries(body, media_type))
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # a no that cannot be read is a no
        entries = [("unreadable", type(error).__name__)] if _NO.search(body, label.start(), label.end() + _NEAR) else []
    forbids = {FORBIDDEN.get(name, "train") for name, use in entries if use.lower() != "allowed"}
    if entries:
        raw = ", ".join(f"{name}={use}" for name, use in sorted(set(entries)))
        yield Said("c2pa", raw[:LONGEST_RAW], not forbids, tuple(sorted(forbids, reverse=True)))


def _entries(body: bytes, media_type: str) -> Iterator[tuple[str, str]]:
    """Names and uses of all training and data mining assertions, also of what the picture was made from."""
    library = _c2pa()
    if library is None:
        raise LookupError("no reader of C2PA is installed")
    try:
        with io.BytesIO(body) as stream, library.Reader(media_type, stream, context=_offline()) as reader:
            store: dict[str, Any] = json.loads(reader.json())
    except library.C2paError as error:
        raise ValueError("a manifest that cannot be read") from error
    for manifest in store.get("manifests", {}).values():
        for assertion in manifest.get("assertions", ()):
            if ".training-mining" in assertion.get("label", ""):
                for name, entry in assertion["data"].get("entries", {}).items():
                    yield str(name).partition(".")[2], str(entry.get("use", ""))


@cache
def _offline() -> Any:
    """How manifests are read: nobody is asked anything, whatever address stands in a picture."""
    library = _c2pa()
    assert library is not None, "asked for by who has it"
    quiet = {
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
        "verify_trust": False,
        "verify_timestamp_trust": False,
    }
    return library.Context(library.Settings.from_dict({"verify": quiet}))


@cache
def _c2pa() -> ModuleType | None:
    """C2PA's reader, which takes a third of a second to load: only for a file that has something for it."""
    try:
        import c2pa  # type: ignore[import-untyped]
    except ImportError:
        return None
    module: ModuleType = c2pa
    return module
