"""One undisturbed lake a worker."""

from collections.abc import Iterator

import pytest

from tests.faults.ground import Ground, undisturbed_ground


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The undisturbed lake; points copy it."""
    with undisturbed_ground(tmp_path_factory.mktemp("faults")) as made:
        yield made
