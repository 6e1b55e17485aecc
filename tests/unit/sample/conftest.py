"""A small sample, published once for all tests of this package."""

import socket

import pytest

from laion_assets.sample.options import SampleOptions
from laion_assets.sample.publish import SampleCrawl, publish


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="package")
def small_options() -> SampleOptions:
    return SampleOptions(pairs=400, wat_files=2, port=free_port())


@pytest.fixture(scope="package")
def small_sample(tmp_path_factory: pytest.TempPathFactory, small_options: SampleOptions) -> SampleCrawl:
    return publish(tmp_path_factory.mktemp("sample") / "web", small_options)
