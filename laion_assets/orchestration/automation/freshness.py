"""How old what runs by itself may become before Dagster's pages call it overdue, and somebody is told."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import islice, pairwise
from typing import Any

import dagster as dg

from laion_assets.orchestration.dagster_internals import ticks_of
from laion_assets.settings import AutomationOptions
from laion_assets.tables.catalogue import ALWAYS

_TICKS = 60
_A_DAY_IN_2026 = 1_767_225_600.0
"""Where ticks are counted from: some day, always the same, so that a policy is the same whenever it is loaded."""


def kept_by(cron: str) -> dg.FreshnessPolicy:
    """The policy of what a schedule builds: a warning once a run was left out, a failure after the second.

    Args:
        cron: when the schedule runs, in UTC. Where its runs lie unevenly the longest time between two counts.
    """
    ticks = islice(ticks_of(cron, _A_DAY_IN_2026), _TICKS)
    longest = timedelta(seconds=max(later - earlier for earlier, later in pairwise(ticks)))
    return dg.FreshnessPolicy.time_window(fail_window=2.25 * longest, warn_window=1.25 * longest)


def with_freshness(assets: Iterable[Any], options: AutomationOptions) -> list[Any]:
    """The assets; those of each crawl with a policy, where it is said how often a crawl is expected.

    Crawls come when they come: as delivered no table is overdue, and a lake that is finished stays so.
    """
    if options.fresh_days is None:
        return list(assets)
    window = timedelta(days=options.fresh_days)
    policy = dg.FreshnessPolicy.time_window(fail_window=window, warn_window=0.75 * window)
    expected = {dg.AssetKey(name) for name in ALWAYS}
    return list(
        dg.map_asset_specs(
            lambda spec: spec.replace_attributes(freshness_policy=policy) if spec.key in expected else spec, assets
        )
    )
