"""Which column of a list is taken for what: one table of the names that are in use, told apart by type and values.

Names are those of LAION-400M and LAION-5B, Re-LAION, DataComp, COYO, PD12M, CC12M and of img2dataset's output.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from laion_assets.sources.lists.errors import ListError


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a column can be taken for."""

    names: tuple[str, ...]
    """What it is called in lists, in small letters."""
    is_text: bool = True
    """Whether its values are texts; numbers otherwise."""
    is_ranked: bool = False
    """Whether, of several columns, the one whose name comes first is meant. Otherwise somebody has to say."""


MEANINGS: Mapping[str, Meaning] = {
    "url": Meaning(names=("url", "image_url", "imageurl", "img_url", "image_link")),
    "text": Meaning(names=("text", "caption", "alt", "alt_text", "alttext")),
    "page_url": Meaning(names=("page_url", "pageurl", "source_page")),
    "source_hash": Meaning(names=("source_hash", "hash", "pair_id", "uid", "id"), is_ranked=True),
    "source_similarity": Meaning(
        names=(
            "source_similarity", "similarity", "clip_similarity_vitb32", "clip_b32_similarity_score",
            "clip_similarity_vitl14", "clip_l14_similarity_score",
        ),
        is_text=False, is_ranked=True,
    ),
    "source_punsafe": Meaning(
        names=("source_punsafe", "punsafe", "nsfw_score_opennsfw2", "nsfw_score_gantman"), is_text=False, is_ranked=True
    ),
    "source_pwatermark": Meaning(
        names=("source_pwatermark", "pwatermark", "watermark_score"), is_text=False, is_ranked=True
    ),
    "license": Meaning(names=("license", "licence")),
    "expected_md5": Meaning(names=("expected_md5", "md5")),
    "expected_sha256": Meaning(names=("expected_sha256", "sha256")),
}  # fmt: skip
"""By column of ours, what it is called elsewhere. Sizes are not among them: they are measured on what is fetched; nor
are words such as ``NSFW``, which no number can be made of, and keys that are a place in somebody's tars."""

NEEDED = ("url", "text")
_HEX = {"expected_md5": re.compile(r"[0-9a-fA-F]{32}"), "expected_sha256": re.compile(r"[0-9a-fA-F]{64}")}


@dataclass(frozen=True)
class Columns:
    """What the columns of one list are taken for."""

    taken: Mapping[str, str]
    """By meaning, the column."""
    left_out: tuple[str, ...] = field(default=())
    """The columns that are taken for nothing."""


def map_columns(
    uri: str, found: Mapping[str, pa.DataType], samples: Mapping[str, Sequence[object]], said: Mapping[str, str]
) -> Columns:
    """What the columns of a list mean.

    Args:
        uri: what to call the file in messages.
        found: its columns, with their types.
        samples: some values of each.
        said: by meaning, the column that somebody said it is.

    Raises:
        ListError: there is no url or no text, a column has a type that cannot be meant, two columns mean one thing, or
            a column that somebody named is not there.
    """
    taken = {meaning: _named(uri, meaning, column, found) for meaning, column in said.items()}
    free = [name for name in found if name not in taken.values()]
    candidates: dict[str, list[str]] = {}
    for name in free:
        meaning = _meaning(name, found[name], samples.get(name, ()))
        if meaning is not None and meaning not in taken and (meaning in NEEDED or _fits(meaning, found[name])):
            candidates.setdefault(meaning, []).append(name)
    for meaning, names in candidates.items():
        taken[meaning] = _one(uri, meaning, names)
    lacking = [meaning for meaning in NEEDED if meaning not in taken]
    if lacking:
        raise ListError(
            f"{uri} has no column for {' and '.join(lacking)} among {_listed(found)}: say which it is with "
            f"--map {lacking[0]}=COLUMN"
        )
    for meaning, name in taken.items():
        _ensure_type(uri, meaning, name, found[name])
    ordered = {meaning: taken[meaning] for meaning in MEANINGS if meaning in taken}
    return Columns(ordered, tuple(name for name in found if name not in taken.values()))


def _meaning(name: str, type_: pa.DataType, sample: Sequence[object]) -> str | None:
    """What a column of this name is taken for, if anything. A ``hash`` of texts may be one of the picture's bytes."""
    plain = name.strip().lower()
    if plain == "hash" and is_text(type_):
        values = [str(value) for value in sample if value is not None]
        for meaning, pattern in _HEX.items():
            if values and all(pattern.fullmatch(value) for value in values):
                return meaning
    return next((meaning for meaning, known in MEANINGS.items() if plain in known.names), None)


def _one(uri: str, meaning: str, names: Sequence[str]) -> str:
    known = MEANINGS[meaning].names
    ranked = sorted(names, key=lambda name: known.index(name.strip().lower()) if name.strip().lower() in known else 0)
    same = {name.strip().lower() for name in names}
    if len(names) > 1 and (not MEANINGS[meaning].is_ranked or len(same) < len(names)):
        raise ListError(
            f"{uri} has {len(names)} columns that mean {meaning}: {', '.join(names)}; say which it is with "
            f"--map {meaning}={names[0]}"
        )
    return ranked[0]


def _named(uri: str, meaning: str, column: str, found: Mapping[str, pa.DataType]) -> str:
    alike = [name for name in found if name == column] or [name for name in found if name.lower() == column.lower()]
    if not alike and column.isdigit() and int(column) < len(found):  # the first, the second …
        alike = [list(found)[int(column)]]
    if len(alike) != 1:
        raise ListError(f"{uri} has no column {column}, which --map names for {meaning}; it has {_listed(found)}")
    return alike[0]


def _fits(meaning: str, type_: pa.DataType) -> bool:
    """Whether values of a type can be meant. Texts can be read as numbers; what a row is called may be a number."""
    numbers = pa.types.is_integer(type_) or pa.types.is_floating(type_)
    as_numbers = not MEANINGS[meaning].is_text or meaning == "source_hash"
    return is_text(type_) or pa.types.is_null(type_) or (numbers and as_numbers)


def _ensure_type(uri: str, meaning: str, name: str, type_: pa.DataType) -> None:
    if not _fits(meaning, type_):
        expected = "texts" if MEANINGS[meaning].is_text else "numbers"
        raise ListError(f"{uri}: the column {name} would be the {meaning}, which are {expected}, but it holds {type_}")


def is_text(type_: pa.DataType) -> bool:
    """Whether values of an Arrow type can be read as texts."""
    if pa.types.is_dictionary(type_):
        return is_text(type_.value_type)
    known = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary)
    return any(is_(type_) for is_ in (*known, pa.types.is_large_binary))


def _listed(found: Mapping[str, pa.DataType]) -> str:
    names = list(found)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (", ".join(names[:20]) or "none") + more
