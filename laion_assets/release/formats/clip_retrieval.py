"""The vectors: clip-retrieval's folders of float16 arrays with metadata, one set for each encoder."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_assets.release.facts import ReleaseFacts
from laion_assets.release.formats.files import ParquetFile, part_name, pieces
from laion_assets.release.parts import Part, ReleasedFile, ReleaseError

FOLDER: Final = "clip-retrieval"

_PIECE: Final = 4_096  # vectors held at a time
_KINDS: Final = (("img_emb", "image_embedding"), ("text_emb", "text_embedding"))

SCHEMA: Final = pa.schema(
    [
        ("image_path", pa.string()),
        ("caption", pa.string()),
        ("url", pa.string()),
        ("pair_id", pa.int64()),
        ("sha256", pa.string()),
        ("language", pa.string()),
        ("subset", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("similarity", pa.float64()),
        ("license", pa.string()),
        ("punsafe", pa.float32()),
        ("pwatermark", pa.float32()),
        ("aesthetic_score", pa.float32()),
        ("crawl", pa.string()),
    ]
)
"""Columns of the metadata: clip-retrieval's two, then those of the pair. ``image_path`` is the ``pair_id`` as a text;
``similarity`` is null where another encoder than the folder's judged the pair."""


@dataclass(frozen=True)
class ClipRetrieval:
    """``clip-retrieval/ENCODER/{img_emb,text_emb,metadata}/…_NNNNNN.{npy,parquet}``.

    Vectors of one encoder mean nothing beside those of another, so each encoder has a folder of its own, named by it
    and the first digits of its weights' digest. A part without vectors of an encoder has no file in its folder: readers
    that pass over empty arrays would pair the arrays after it with the wrong metadata.
    """

    name: str = "clip-retrieval"
    code_version: str = "1"
    needs_embeddings: bool = True
    needs_pictures: bool = False

    def write_part(self, part: Part, folder: Path) -> None:
        """Write the vectors of a part, in order of ``pair_id``, and their metadata.

        Raises:
            ReleaseError: there are no vectors, those of an encoder have several lengths, or a pair has two of one.
        """
        if part.embeddings is None:
            raise ReleaseError(f"bucket {part.bucket} of {part.crawl} came without the vectors that {self.name} needs")
        released = pq.read_table(part.rows, columns=["pair_id"])["pair_id"]
        for (name, sha256), ids in _pairs_by_encoder(part.embeddings, released).items():
            if len(pc.unique(ids)) != len(ids):
                raise ReleaseError(f"bucket {part.bucket} of {part.crawl} has two vectors of {name} for one pair")
            base, number = folder / FOLDER / encoder_folder(name, sha256), part_name(part.number)
            _write_vectors(part, (name, sha256), released, ids, base, number)
            with ParquetFile(base / "metadata" / f"metadata_{number}.parquet", SCHEMA) as metadata:
                for rows in pieces(part.rows):
                    metadata.write(_described(rows.filter(pc.is_in(rows["pair_id"], value_set=ids)), sha256))

    def write_whole(self, facts: ReleaseFacts, files: Sequence[ReleasedFile], folder: Path) -> None:
        """Nothing: the folders stand for themselves."""


def encoder_folder(name: str, sha256: str) -> str:
    """The folder of an encoder's vectors."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}-{sha256[:8]}"


def _pairs_by_encoder(embeddings: Path, released: pa.ChunkedArray) -> dict[tuple[str, str], pa.ChunkedArray]:
    """The released pairs that each encoder has vectors of, in order."""
    columns = ["pair_id", "encoder", "encoder_sha256"]
    rows = pq.read_table(embeddings, columns=columns, use_threads=False)
    rows = rows.filter(pc.is_in(rows["pair_id"], value_set=released))
    encoders = rows.select(columns[1:]).group_by(columns[1:]).aggregate([]).to_pylist()
    return {
        (name, sha256): rows.filter(pc.equal(rows["encoder_sha256"], sha256))["pair_id"]
        for name, sha256 in sorted((row["encoder"], row["encoder_sha256"]) for row in encoders)
    }


def _write_vectors(
    part: Part,
    encoder: tuple[str, str],
    released: pa.ChunkedArray,
    ids: pa.ChunkedArray,
    base: Path,
    number: str,
) -> None:
    """Write both arrays of an encoder, piece by piece."""
    assert part.embeddings is not None
    dimensions: int | None = None
    with ExitStack() as open_files:
        files: list[Any] = []
        for images, texts in _vectors(part.embeddings, encoder[1], released):
            if dimensions is None:
                dimensions = images.shape[1]
                for kind, _ in _KINDS:
                    path = base / kind / f"{kind}_{number}.npy"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    files.append(open_files.enter_context(path.open("wb")))
                    header = {"descr": "<f2", "fortran_order": False, "shape": (len(ids), dimensions)}
                    np.lib.format.write_array_header_1_0(files[-1], header)
            for file, vectors in zip(files, (images, texts), strict=True):
                if vectors.shape[1] != dimensions:
                    raise ReleaseError(
                        f"bucket {part.bucket} of {part.crawl}: vectors of {encoder[0]} have {dimensions} and "
                        f"{vectors.shape[1]} numbers; expected one length"
                    )
                file.write(vectors.tobytes())


def _vectors(embeddings: Path, sha256: str, released: pa.ChunkedArray) -> Iterator[tuple[Any, Any]]:
    """The vectors of an encoder in order, a piece at a time: of images, of texts."""
    for table in pieces(embeddings, rows=_PIECE):
        wanted = pc.and_(pc.equal(table["encoder_sha256"], sha256), pc.is_in(table["pair_id"], value_set=released))
        rows = table.filter(wanted)
        if rows.num_rows:
            yield _array(rows["image_embedding"]), _array(rows["text_embedding"])


def _array(vectors: pa.ChunkedArray) -> Any:
    """Lists of numbers as float16; the lake's vectors are of length 1 and rounded so far already."""
    lists = vectors.combine_chunks()
    lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
    if len(lengths) != 1:
        raise ReleaseError(f"vectors of one encoder have {sorted(lengths)} numbers; expected one length")
    return lists.flatten().to_numpy(zero_copy_only=False).astype("<f2").reshape(-1, lengths[0])


def _described(rows: pa.Table, sha256: str) -> pa.Table:
    """The metadata of pairs beside the vectors of an encoder."""
    same = pc.fill_null(pc.equal(rows["encoder_sha256"], sha256), False)
    columns = {name: rows[name] for name in SCHEMA.names if name in rows.column_names}
    columns |= {
        "image_path": rows["pair_id"].cast(pa.string()),
        "caption": rows["text"],
        "similarity": pc.if_else(same, rows["similarity"], pa.scalar(None, pa.float64())),
        "width": pc.coalesce(rows["original_width"], rows["width"]),
        "height": pc.coalesce(rows["original_height"], rows["height"]),
    }
    return pa.table(columns)
