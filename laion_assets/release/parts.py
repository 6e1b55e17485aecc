"""What a release is made of: parts, the files written of each, and what a format has to do.

A part is what one bucket of one crawl gives to a release. It is the unit of work: a release is written part by part, a
part that is written stays so, and a part whose rows are those of an earlier release is taken from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa

from laion_assets.common.files import BrokenFile

if TYPE_CHECKING:
    from laion_assets.release.facts import ReleaseFacts

RELEASED_COLUMNS: Final = pa.schema(
    [
        pa.field("pair_id", pa.int64(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("subset", pa.string()),
        pa.field("similarity", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("original_width", pa.int32()),
        pa.field("original_height", pa.int32()),
        pa.field("license", pa.string()),
        pa.field("punsafe", pa.float32()),
        pa.field("pwatermark", pa.float32()),
        pa.field("aesthetic_score", pa.float32()),
        pa.field("sha256", pa.string()),
        pa.field("encoder", pa.string()),
        pa.field("encoder_sha256", pa.string()),
        pa.field("policy", pa.string()),
        pa.field("threshold", pa.float32()),
        pa.field("crawl", pa.string(), nullable=False),
        pa.field("bucket", pa.int32(), nullable=False),
        pa.field("page_url", pa.string()),
        pa.field("exif", pa.string()),
        pa.field("sample_key", pa.string()),
        pa.field("shard_path", pa.string()),
    ]
)
"""The columns of a part's rows. The last two say where the picture lies in the lake: null where only links are
released, and never shown in what is released."""

EMBEDDING_COLUMNS: Final = pa.schema(
    [
        pa.field("pair_id", pa.int64(), nullable=False),
        pa.field("encoder", pa.string(), nullable=False),
        pa.field("encoder_sha256", pa.string(), nullable=False),
        pa.field("image_embedding", pa.list_(pa.float32()), nullable=False),
        pa.field("text_embedding", pa.list_(pa.float32()), nullable=False),
    ]
)
"""The columns of a part's vectors."""


class ReleaseError(BrokenFile):
    """A release cannot be made of what is there, or is not what it should be; the message says what and where."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The rows that one bucket of one crawl gives to a release, as files of this machine."""

    number: int
    """Its position in the release, which stays: the crawl's place among those of the lake times the number of
    buckets, plus the bucket."""
    parts: int
    """How many there are, the empty ones included: what names of files are padded for."""
    crawl: str
    bucket: int
    rows: Path
    """Parquet file of the released rows, sorted by pair_id, each once, with RELEASED_COLUMNS."""
    embeddings: Path | None
    """Parquet file of their vectors, sorted by pair_id and encoder, with EMBEDDING_COLUMNS; None where no format asks
    for them. A pair without a picture has none, a pair may have those of several encoders."""
    tars: Mapping[str, Path]
    """By ``shard_path``, a readable file of this machine for each tar that ``rows`` names; empty where only links are
    released."""


@dataclass(frozen=True, kw_only=True)
class ReleasedFile:
    """A file of a release."""

    path: str
    """Below the release's folder, with ``/``."""
    bytes: int
    sha256: str
    """Of its bytes, hex."""
    kind: str
    """The format that wrote it, or `ids`."""
    rows: int | None = None
    """Pairs in it; None where it holds none, or where they are counted in another file."""
    crawl: str | None = None
    """Of the part that it belongs to; None where it belongs to all."""
    bucket: int | None = None


class Format(Protocol):
    """Writes a release in one format.

    The bytes of every file are a pure function of the arguments and ``code_version``: no clock, no order of threads,
    fixed settings of whatever writes it. Two formats write no file of the same name, except one that they would write
    the same bytes to.
    """

    @property
    def name(self) -> str:
        """How people ask for it."""

    @property
    def code_version(self) -> str:
        """Another one wherever the same part would give other bytes."""

    @property
    def needs_embeddings(self) -> bool:
        """Whether it reads a part's ``embeddings``."""

    @property
    def needs_pictures(self) -> bool:
        """Whether it reads a part's ``tars``, and so cannot be a release of links only."""

    def write_part(self, part: Part, folder: Path) -> None:
        """Write the files of a part below ``folder``, with the names that they have in the release.

        Raises:
            ReleaseError: the part does not hold what the format needs.
        """

    def write_whole(self, facts: "ReleaseFacts", files: Sequence[ReleasedFile], folder: Path) -> None:
        """Write the files that are about all parts below ``folder``: a card, a description.

        Args:
            facts: of the release.
            files: all that the parts wrote, by path.
            folder: empty, or with what other formats wrote there.
        """
