"""What is wrong with a whole crawl shows as a check that fails, and not as a smaller table."""

import re
from collections.abc import Callable
from dataclasses import replace

import dagster as dg
from dagster import AssetCheckSeverity

from laion_assets.lake.precedents import CHECK
from laion_assets.orchestration.partitions import Partitions
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import ALWAYS
from tests.pipeline.conftest import Built, evaluations, materialise

OLD, NEW = sorted(CRAWLS)


def test_two_crawls_that_are_alike_pass_in_every_table(undisturbed: Built) -> None:
    for table in ALWAYS:
        seen = evaluations(undisturbed.instance, table, CHECK)
        assert len(seen) == len(undisturbed.lake.ledger(table).commits)
        assert all(passed for _, passed in seen), table


def test_downloads_that_nobody_answers_are_a_warning_on_the_new_crawl(
    lake_copy: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    settings = lake_copy(without=["images"])
    assert materialise(settings, instance, "images", {"crawl": OLD, "bucket": 0})
    nobody = settings.model_copy(update={"download": replace(settings.download, allowed_networks=())})
    assert materialise(nobody, instance, "images", {"crawl": NEW, "bucket": 0}), "it stops nothing"
    key = dg.AssetCheckKey(dg.AssetKey("images"), CHECK)
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    events = [record.event.dagster_event for record in records if record.event is not None]
    warned, passed = [event.asset_check_evaluation_data for event in events if event is not None]
    keys = Partitions(shards=settings.shards, buckets=settings.buckets)
    for evaluation, crawl in ((warned, NEW), (passed, OLD)):
        assert evaluation.partition == keys.key({"crawl": crawl, "bucket": 0})
        assert evaluation.passed == (crawl == OLD)
    assert warned.severity is AssetCheckSeverity.WARN
    told = r"success rate: \d\d?\.\d%, against 9\d\.\d%, .*; most downloads failed as blocked_address \(\d+\)"
    assert re.fullmatch(told, str(warned.description))
    assert settings.open_lake().commit("images", {"crawl": NEW, "bucket": 0}) is not None
