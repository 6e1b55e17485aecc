"""A folder as the Hugging Face hub has them: the list as Parquet, and a card that says what it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laion_assets.common.files import write_file
from laion_assets.release.facts import ReleaseFacts
from laion_assets.release.formats.card import card
from laion_assets.release.formats.laion import LaionParquet
from laion_assets.release.parts import Part, ReleasedFile

CARD: Final = "README.md"


@dataclass(frozen=True)
class HuggingFace:
    """The files of ``LaionParquet``, and ``README.md``.

    The hub reads all configurations of a folder with one builder, so only the Parquet is one; the card says how
    ``datasets`` is given the tars.
    """

    name: str = "huggingface"
    code_version: str = LaionParquet.code_version
    needs_embeddings: bool = False
    needs_pictures: bool = False

    def write_part(self, part: Part, folder: Path) -> None:
        """Write the list of a part, the same files as ``LaionParquet``."""
        LaionParquet().write_part(part, folder)

    def write_whole(self, facts: ReleaseFacts, files: Sequence[ReleasedFile], folder: Path) -> None:
        """Write the card."""
        write_file(folder / CARD, card(facts, files))
