"""Lists as people have them, and what becomes of their rows."""

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import ExtractionOptions
from laion_assets.sources.lists.describe import ListFile, describe
from laion_assets.sources.lists.pieces import ImportedList
from laion_assets.sources.lists.streams import Files
from laion_assets.sources.sources import open_source


class Imported(NamedTuple):
    """What a list comes to."""

    about: ListFile
    pairs: pl.DataFrame
    drops: dict[str, int]


Import = Callable[..., Imported]


@pytest.fixture(scope="session")
def files() -> Files:
    return Files(open_source)


@pytest.fixture(scope="session")
def imported(files: Files) -> Import:
    """Reads a list from end to end, piece by piece, and makes sure that every row is accounted for."""

    def run(path: Path | str, said: Mapping[str, str] | None = None, **options: Any) -> Imported:
        about = describe(files, str(path), said or {})
        counts, frames = ExtractionCounts(), []
        pieces = ImportedList(files, about.uri, about.columns.taken, about.rows)
        with closing(pieces):
            for first, count in pieces.units():
                frames += pieces.pairs(first, count, ExtractionOptions(**options), counts)
        assert counts.links == about.rows
        assert counts.balanced
        pairs = pl.concat(frames) if frames else pl.DataFrame()
        assert counts.rows == pairs.height
        return Imported(about, pairs, counts.drops)

    return run
