"""The Dagster resources: adapters between Dagster's configuration and the libraries, no algorithm.

There is no IO manager. One is called after a step has returned, once for all its partitions: it could neither commit
partition by partition nor report a failed check for one of them, and reads would not be pinned across a step. Steps
write through ``assets.step`` instead, the one way into a table.
"""

from typing import Any, Final

from dagster import ConfigurableResource
from pydantic import PrivateAttr

from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.sources.address import Address, parse_address
from laion_assets.sources.sources import RetryPolicy, Source, open_source

_GIVEN: Final[dict[str, str]] = {}
"""The addresses of sources as they were given, credentials included, by what Dagster is told of them: it keeps the
configuration of a resource, shows it, and makes the resource anew from it for every step."""


class LakeResource(ConfigurableResource[Lake]):
    """The lake the assets live in."""

    uri: str
    shards: int
    buckets: int
    _lake: Lake | None = PrivateAttr(default=None)

    def open(self) -> Lake:
        """The lake; made first where there is none."""
        if self._lake is None:
            self._lake = open_lake(self.uri, shards=self.shards, buckets=self.buckets)
        return self._lake


class SourceResource(ConfigurableResource[Source]):
    """Where crawls are read from; S3 goes through dagster-aws' client, with
    the region, endpoint and credentials of the environment (AWS_…).

    ``uri`` has no credentials, whatever the resource was made with.
    """

    uri: str

    def __init__(self, uri: str) -> None:
        """Take an address, with or without credentials."""
        told = parse_address(uri).uri
        if told != uri:
            _GIVEN[told] = uri
        super().__init__(uri=told)  # type: ignore[call-arg]

    def open(self, retry: RetryPolicy | None = None) -> Source:
        """The source.

        Args:
            retry: how failing requests are met; None: patiently, as steps should.

        Raises:
            SourceError: there is nothing at ``uri``.
            ValueError: ``uri`` is no address of a source.
        """
        return open_at(_GIVEN.get(self.uri, self.uri), retry)


def open_at(uri: str, retry: RetryPolicy | None = None) -> Source:
    """Open what an address names; see ``open_source``."""
    address = parse_address(uri)
    return open_source(uri, s3_client=_s3_client(address) if address.scheme == "s3" else None, retry=retry)


def s3_client() -> Any:
    """A client with the region, endpoint and credentials of the environment (AWS_…)."""
    return _s3_client(parse_address("s3://"))


def _s3_client(address: Address) -> Any:
    from dagster_aws.s3 import S3Resource  # costs as much to import as Dagster itself

    if not address.user:
        return S3Resource().get_client()
    return S3Resource(aws_access_key_id=address.user, aws_secret_access_key=address.password).get_client()
