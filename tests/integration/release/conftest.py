"""One small release in every format, made once."""

import os
from collections.abc import Iterator

import polars as pl
import pytest

from laion_assets.release.formats.clip_retrieval import ClipRetrieval
from laion_assets.release.formats.croissant import Croissant
from laion_assets.release.formats.huggingface import HuggingFace
from laion_assets.release.formats.webdataset import Webdataset
from tests.integration.release.made_parts import Made, facts_of, made_parts, pictures_served, released


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No network, and caches that nobody else has; set before the libraries are imported."""
    cache = str(tmp_path_factory.mktemp("cache"))
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": cache, "HF_DATASETS_CACHE": cache, "CROISSANT_CACHE": cache,
                "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}  # fmt: skip
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A release of forty pairs; their pictures are served while tests run."""
    folder = tmp_path_factory.mktemp("release")
    with pictures_served() as address:
        parts, pictures = made_parts(tmp_path_factory.mktemp("parts"), address)
        rows = pl.concat(pl.read_parquet(part.rows) for part in parts)
        vectors = pl.concat(pl.read_parquet(part.embeddings) for part in parts if part.embeddings)
        formats = (HuggingFace(), Webdataset(samples_per_tar=10), ClipRetrieval(), Croissant())
        files = released(parts, formats, facts_of(rows), folder)
        yield Made(
            parts=parts, rows=rows, vectors=vectors, pictures=pictures, facts=facts_of(rows), folder=folder, files=files
        )
