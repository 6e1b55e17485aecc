"""Automation put together: the sensors, the schedule, and which assets they may build."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from laion_assets.orchestration.automation.alerts import alerts
from laion_assets.orchestration.automation.condition import Decisions, Due, DueSensor, with_condition
from laion_assets.orchestration.automation.crawls import new_crawls
from laion_assets.orchestration.automation.freshness import with_freshness
from laion_assets.orchestration.automation.nightly import nightly_backfill
from laion_assets.orchestration.keys import Keys
from laion_assets.orchestration.planning.overview import Overview
from laion_assets.orchestration.planning.parts import CALIBRATIONS, PARTITION_STATES
from laion_assets.settings import Settings
from laion_assets.sql.project import Project
from laion_assets.tables.catalogue import PER_CRAWL


@dataclass(frozen=True)
class Automation:
    """What a code location gives to Dagster; what builds is stopped until somebody starts it."""

    assets: Sequence[Any]
    sensors: Sequence[dg.SensorDefinition]
    schedules: Sequence[dg.ScheduleDefinition]


def automated(assets: Iterable[Any], settings: Settings, project: Project) -> Automation:
    """The assets with what builds them by itself."""
    overview, keys = Overview(settings, project), Keys(settings, project)
    decisions = Decisions(overview, keys)
    built = (*filter(settings.offers, PER_CRAWL), CALIBRATIONS, *project.enabled, PARTITION_STATES)
    return Automation(
        assets=with_freshness(with_condition(assets, built, Due(decisions)), settings.automation),
        sensors=[new_crawls(settings), DueSensor(decisions, dg.AssetSelection.assets(*built)), *alerts(settings, keys)],
        schedules=[nightly_backfill(overview, keys)],
    )
