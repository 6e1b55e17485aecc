"""What is recorded of a tar when it is imported: its samples, and the names under which they tell what."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.lists.columns import MEANINGS
from laion_assets.sources.tars.folder import ForeignTars
from laion_assets.sources.tars.pairs import fitting
from laion_assets.sources.tars.samples import look_through

TEXT_MEMBER: Final = ".txt"
"""Stands in a mapping for the text that a sample has as a file of its own."""
_COMPARED: Final = 100
"""Pictures of a tar that are held against what their samples promise, to see whether they were encoded anew."""


@dataclass(frozen=True, kw_only=True)
class TarFile:
    """What is known of a tar once it was looked through."""

    samples: int
    pictures: int
    """Samples that hold a picture."""
    with_url: int
    """Of those, the ones that tell its url: the others can be no pair."""
    mapping: Mapping[str, str]
    """By meaning, the name under which samples tell it; ``TEXT_MEMBER`` where that is a file."""
    left_out: tuple[str, ...]
    """Other names under which they tell something."""
    damage: str | None
    """What is wrong with it, in one line; the samples before that are whole."""

    @property
    def layout(self) -> str:
        """``img2dataset`` where samples tell their urls; ``webdataset`` where they do not."""
        return "img2dataset" if self.with_url else "webdataset"


def describe_tar(tars: ForeignTars, uri: str, said: Mapping[str, str] = MappingProxyType({})) -> TarFile:
    """Look a tar through once: headers, texts and json, and a few pictures.

    An md5 or sha256 that samples tell is of the picture as it was downloaded. img2dataset mostly encodes pictures anew:
    then they tell nothing of what is in the tar. Where all of the first 100 pictures have the digests that their
    samples promise, these are ``expected_md5`` and ``expected_sha256``, and every picture has to have them; else the
    sha256 is kept as ``original_sha256``, and the md5 is left out.

    Args:
        tars: knows the tar.
        uri: the tar.
        said: by meaning, the name that somebody said it has.

    Raises:
        SourceError: it is not there, or cannot be had.
        TarError: it cannot be opened.
    """
    samples = pictures = with_text = promised = kept = 0
    counts = ExtractionCounts()
    names: Counter[str] = Counter()
    faults: list[str] = []
    for sample, record in look_through(tars, uri, counts, digested=_COMPARED, damaged=faults.append):
        samples += 1
        if not sample.pictures:
            continue
        pictures += 1
        with_text += bool(sample.told.get("txt"))
        found = {str(name): value for name, value in (record or {}).items() if value is not None}
        names.update(found.keys())
        promises = {m: found[n] for m, n in _meanings(found, said).items() if m in sample.digests}
        promised += len(promises)
        kept += sum(fitting(meaning, value) == sample.digests[meaning] for meaning, value in promises.items())
    mapping = _meanings(names, said)
    if pictures and with_text == pictures and "text" not in said:
        mapping["text"] = TEXT_MEMBER
    if kept < promised or not promised:
        mapping.pop("expected_md5", None)
        if "expected_sha256" in mapping:
            mapping["original_sha256"] = mapping.pop("expected_sha256")
    return TarFile(
        samples=samples,
        pictures=pictures,
        with_url=names[mapping.get("url", "")],
        mapping=mapping,
        damage=next(iter(faults), None),
        left_out=tuple(sorted(name for name in names if name not in mapping.values())),
    )


def _meanings(names: Iterable[str], said: Mapping[str, str]) -> dict[str, str]:
    """By meaning, the name of it among those that a tar has; of several the one that is known best."""
    plain = {name.strip().lower(): name for name in names}
    found = {}
    for meaning, known in MEANINGS.items():
        wanted = (said[meaning].lower(),) if meaning in said else known.names
        name = next((plain[name] for name in wanted if name in plain), None)
        if name is not None:
            found[meaning] = name
    return found
