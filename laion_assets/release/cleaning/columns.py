"""Which columns of somebody's table say what a row is about: the names that the field uses, whatever their case."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from laion_assets.release.cleaning.faults import CannotClean

_NAMES: Final = {
    "urls": ("url", "final_url", "image_url", "img_url", "imageurl", "image_link", "img_link"),
    "texts": ("text", "caption", "alt", "alt_text", "txt"),
    "pair_ids": ("pair_id", "hash"),
    "sha256": ("sha256", "image_sha256", "original_sha256"),
    "contents": ("jpg", "jpeg", "png", "webp", "image", "bytes"),
    "keys": ("key", "__key__"),
    "statuses": ("status",),
    "errors": ("error_message",),
}


_FIELD: Final = "\x1f"


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they mean; a field of structs as their column, a unit separator, and its name."""

    urls: tuple[str, ...] = ()
    """Addresses of pictures; pages that show them are not meant by a removal."""
    texts: tuple[str, ...] = ()
    pair_ids: tuple[str, ...] = ()
    """Whole numbers, or their digits: a ``hash`` of another type is no pair id."""
    sha256: tuple[str, ...] = ()
    """Digests of pictures, in hex or as 32 bytes."""
    contents: tuple[str, ...] = ()
    """Pictures themselves."""
    keys: tuple[str, ...] = ()
    """What a sample is called in the tar beside the table."""
    statuses: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def top_level(self) -> list[str]:
        """The columns of the table that hold them."""
        named = (*self.urls, *self.texts, *self.pair_ids, *self.sha256, *self.contents, *self.keys)
        return list(dict.fromkeys(name.partition(_FIELD)[0] for name in (*named, *self.statuses, *self.errors)))

    @property
    def looked_up(self) -> frozenset[str]:
        """The kinds of removals that rows can be found by."""
        kinds = {
            "url": self.urls,
            "domain": self.urls,
            "pair_id": self.pair_ids or (self.urls and self.texts),
            "sha256": self.sha256 or self.contents,
        }
        return frozenset(kind for kind, columns in kinds.items() if columns)


def columns_of(schema: pa.Schema) -> Columns:
    """What the columns of a table mean, by their names and types.

    Raises:
        CannotClean: two have one name.
    """
    if len(set(schema.names)) != len(schema.names):
        raise CannotClean("it has two columns of one name")
    found: dict[str, list[str]] = {meaning: [] for meaning in _NAMES}
    for path, type_ in _fields(schema):
        name = path.rpartition(_FIELD)[2].rpartition(".")[2].lower()  # `json.url` is what `datasets` flattens to
        for meaning, names in _NAMES.items():
            if name in names and _holds(meaning, name, _dense(type_)):
                found[meaning].append(path)
    return Columns(**{meaning: tuple(names) for meaning, names in found.items()})


def column(table: pa.Table, path: str) -> pa.ChunkedArray:
    """The values of a column, or of a field of a column of structs, none of them in a dictionary."""
    top, _, field = path.partition(_FIELD)
    values = table.column(top)
    if field:
        chunks = [chunk.flatten()[chunk.type.get_field_index(field)] for chunk in values.chunks]
        values = pa.chunked_array(chunks, values.type.field(field).type)
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _fields(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    for field in schema:
        yield field.name, field.type
        if pa.types.is_struct(field.type):
            for place in range(field.type.num_fields):
                child = field.type.field(place)
                yield f"{field.name}{_FIELD}{child.name}", child.type


def _dense(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _holds(meaning: str, name: str, type_: Any) -> bool:
    is_text = any(is_kind(type_) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
    is_bytes = any(
        is_kind(type_) for is_kind in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    )
    is_whole = bool(pa.types.is_integer(type_))
    if meaning == "pair_ids":
        return is_whole or (is_text and name == "pair_id")  # a `hash` in letters is MD5
    if meaning == "sha256":
        return is_text or is_bytes or bool(pa.types.is_fixed_size_binary(type_))
    if meaning == "contents":
        return is_bytes
    return is_text or (meaning == "keys" and is_whole)
