"""When what runs by itself is overdue, as Dagster's own evaluation has it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from laion_assets.orchestration.automation.freshness import kept_by
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.settings import AutomationOptions, Settings, SettingsError, load_settings
from laion_assets.tables.catalogue import ALWAYS


def policies(tmp_path: Path, **options: Any) -> dict[str, dg.FreshnessPolicy]:
    (tmp_path / "models" / "models").mkdir(parents=True, exist_ok=True)
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None,
        lake=str(tmp_path / "lake"),
        models=str(tmp_path / "models"),
        automation=AutomationOptions(**options),
    )
    specs = build_definitions(settings).resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec.freshness_policy for spec in specs if spec.freshness_policy is not None}


def windows(policy: Any) -> tuple[timedelta, timedelta]:
    return policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta()


@pytest.mark.parametrize(
    ("cron", "longest"), [("0 4 * * 0", 7), ("0 4 * * *", 1), ("0 4 * * 1,3", 5), ("0 4 1 * *", 31)]
)
def test_what_a_schedule_builds_is_overdue_when_its_runs_are_left_out(cron: str, longest: float) -> None:
    warn, late = windows(kept_by(cron))
    assert timedelta(days=longest) < warn < timedelta(days=1.5 * longest)
    assert timedelta(days=2 * longest) < late < timedelta(days=2.5 * longest)


def test_maintenance_alone_is_expected_of_a_lake_that_is_finished(tmp_path: Path) -> None:
    assert set(policies(tmp_path)) == {"maintenance"}


def test_tables_are_overdue_where_somebody_says_how_often_a_crawl_is_expected(tmp_path: Path) -> None:
    found = policies(tmp_path, fresh_days=40)
    assert set(found) == {"maintenance", *ALWAYS}
    assert windows(found["filtered_pairs"]) == (timedelta(days=30), timedelta(days=40))


def test_days_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("LAION_AUTOMATION__FRESH_DAYS", "0")
    with pytest.raises(SettingsError, match=r"fresh_days: expected 0\.01 to 36500"):
        load_settings()
