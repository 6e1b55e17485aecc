"""The Dagster resources: adapters between Dagster's configuration and the libraries, no algorithm.

There is no IO manager. One is called after a step has returned, once for all its partitions: it could neither commit
partition by partition nor report a failed check for one of them, and reads would not be pinned across a step. Steps
write through ``assets.step`` instead, the one way into a table.
"""

from dagster import ConfigurableResource
from pydantic import PrivateAttr

from laion_assets.crawl.sources import RetryPolicy, Source, open_source
from laion_assets.lake.lake import Lake


class LakeResource(ConfigurableResource[Lake]):
    """The lake the assets live in."""

    uri: str
    shards: int
    buckets: int
    _lake: Lake | None = PrivateAttr(default=None)

    def open(self) -> Lake:
        """The lake; made first where there is none."""
        if self._lake is None:
            self._lake = Lake.open(self.uri, shards=self.shards, buckets=self.buckets)
        return self._lake


class SourceResource(ConfigurableResource[Source]):
    """Where crawls are read from; S3 goes through dagster-aws' client, with
    the region, endpoint and credentials of the environment (AWS_…).
    """

    uri: str

    def open(self, retry: RetryPolicy | None = None) -> Source:
        """The source.

        Args:
            retry: how failing requests are met; None: patiently, as steps should.

        Raises:
            SourceError: there is nothing at ``uri``.
            ValueError: ``uri`` is no address of a source.
        """
        client = None
        if self.uri.startswith("s3://"):
            from dagster_aws.s3 import S3Resource  # costs as much to import as Dagster itself

            client = S3Resource().get_client()
        return open_source(self.uri, s3_client=client, retry=retry)
