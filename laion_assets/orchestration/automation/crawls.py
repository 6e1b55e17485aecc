"""The sensor that finds new crawls in the source's list and makes them partitions."""

import dagster as dg

from laion_assets.delta.errors import LakeError
from laion_assets.delta.partition import ordered
from laion_assets.orchestration.partitions import CRAWLS
from laion_assets.orchestration.registration import registered
from laion_assets.orchestration.resources import SourceResource
from laion_assets.settings import Settings
from laion_assets.sources.address import shown
from laion_assets.sources.index import is_common_crawl, list_crawls
from laion_assets.sources.sources import RetryPolicy, SourceError
from laion_assets.tables.crawl import CRAWL_SNAPSHOTS

NAME = "new_crawls"
_ATTEMPTS = 2
"""Requests for the list: the next tick asks again."""


def new_crawls(settings: Settings) -> dg.SensorDefinition:
    """The sensor ``new_crawls`` of a code location with these settings."""
    options = settings.automation

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=options.crawl_interval_seconds,
        description="Registers crawls that the source lists, from LAION_AUTOMATION__FIRST_CRAWL on.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if options.first_crawl is None and is_common_crawl(settings.source):
            return dg.SkipReason(
                f"{shown(settings.source)} lists hundreds of terabytes: set LAION_AUTOMATION__FIRST_CRAWL to the first "
                "crawl to take on"
            )
        try:
            source = SourceResource(uri=settings.source).open(RetryPolicy(attempts=_ATTEMPTS))
            listed = sorted(crawl.crawl for crawl in list_crawls(source))
        except (SourceError, ValueError, OSError) as error:
            return dg.SkipReason(f"the list of crawls cannot be read, and is asked for again later: {error}")
        wanted = [crawl for crawl in listed if crawl >= (options.first_crawl or "")]
        new = [crawl for crawl in wanted if crawl not in {*registered(context.instance, "crawl")}]
        usable, refused = _usable(new)
        for reason in refused:
            context.log.warning(reason)
        if not usable:
            return dg.SkipReason("; ".join([f"all {len(wanted) - len(new)} crawls are registered", *refused]))
        return dg.SensorResult(dynamic_partitions_requests=[CRAWLS.build_add_request(usable)])

    return sensor


def _usable(crawls: list[str]) -> tuple[list[str], list[str]]:
    """Those that can name a partition, and of the others why they cannot."""
    usable, refused = [], []
    for crawl in dict.fromkeys(crawls):
        try:
            ordered(CRAWL_SNAPSHOTS, {"crawl": crawl})
        except LakeError as error:
            refused.append(str(error))
        else:
            usable.append(crawl)
    return usable, refused
