"""Fixtures every test may use. What belongs to one package only stands beside that package's tests."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real third-party data beside the checkout; the test is skipped where it is absent."""
    folder = Path(os.environ.get("LAION_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data is absent: {folder} is no folder (set LAION_TEST_DATA)")
    return folder
