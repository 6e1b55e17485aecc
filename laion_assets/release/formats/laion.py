"""The list: Parquet with LAION's columns, by language group, and our columns after them."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from laion_assets.release.facts import ReleaseFacts
from laion_assets.release.formats.files import ParquetFile, part_name, pieces
from laion_assets.release.parts import Part, ReleasedFile

FOLDER: Final = "data"
NO_SUBSET: Final = "unknown"
"""The folder of rows that no language group is known of."""

_LAION: Final = (
    ("URL", pa.string(), "url"),
    ("TEXT", pa.string(), "text"),
    ("WIDTH", pa.int32(), "width"),
    ("HEIGHT", pa.int32(), "height"),
    ("similarity", pa.float64(), "similarity"),
    ("LANGUAGE", pa.string(), "language"),
    ("hash", pa.int64(), "pair_id"),
    ("punsafe", pa.float32(), "punsafe"),
    ("pwatermark", pa.float32(), "pwatermark"),
    ("AESTHETIC_SCORE", pa.float32(), "aesthetic_score"),
)
_OURS: Final = (
    ("pair_id", pa.int64(), "pair_id"),
    ("sha256", pa.string(), "sha256"),
    ("subset", pa.string(), "subset"),
    ("license", pa.string(), "license"),
    ("page_url", pa.string(), "page_url"),
    ("crawl", pa.string(), "crawl"),
    ("policy", pa.string(), "policy"),
    ("threshold", pa.float32(), "threshold"),
    ("encoder", pa.string(), "encoder"),
    ("encoder_sha256", pa.string(), "encoder_sha256"),
)

SCHEMA: Final = pa.schema([(name, kind) for name, kind, _ in (*_LAION, *_OURS)])
"""LAION's columns as its lists of two billion pairs have them (``LANGUAGE`` and ``AESTHETIC_SCORE`` of those that say
them), then ours. Sizes are those of the picture as downloaded."""

_SOURCES: Final = [source for _, _, source in (*_LAION, *_OURS)]


@dataclass(frozen=True)
class LaionParquet:
    """``data/SUBSET/part-NNNNNN.parquet``, a file for each language group of each part."""

    name: str = "laion"
    code_version: str = "1"
    needs_embeddings: bool = False
    needs_pictures: bool = False

    def write_part(self, part: Part, folder: Path) -> None:
        """Write the files of a part; none for a language group without rows."""
        files: dict[str, ParquetFile] = {}
        with ExitStack() as open_files:
            for table in pieces(part.rows):
                subsets = pc.fill_null(table["subset"], NO_SUBSET)
                listed = _as_laion(table)
                for subset in sorted(pc.unique(subsets).to_pylist()):
                    if subset not in files:
                        path = folder / FOLDER / subset / f"part-{part_name(part.number)}.parquet"
                        files[subset] = open_files.enter_context(ParquetFile(path, SCHEMA))
                    files[subset].write(listed.filter(pc.equal(subsets, subset)))

    def write_whole(self, facts: ReleaseFacts, files: Sequence[ReleasedFile], folder: Path) -> None:
        """Nothing: the list stands for itself."""


def _as_laion(rows: pa.Table) -> pa.Table:
    """The columns under LAION's names; sizes as downloaded, where they are known beside those of a stored picture."""
    for name in ("width", "height"):
        downloaded = pc.coalesce(rows[f"original_{name}"], rows[name])
        rows = rows.set_column(rows.schema.get_field_index(name), name, downloaded)
    return pa.table([rows[source] for source in _SOURCES], names=SCHEMA.names).cast(SCHEMA)
