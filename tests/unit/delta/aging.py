"""Makes a lake look as if it had been written in the past, and looks at what is left of it."""

import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from laion_assets.delta.lake import Lake
from laion_assets.delta.retention import RetentionPlan, plan_retention
from laion_assets.delta.sweep import Swept, sweep

DAY = 86_400


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def backdate(lake: Lake, table: str, version: int, days: float) -> None:
    """Let a commit, and the data files it added, be so many days old."""
    log = lake.root / table / "_delta_log" / f"{version:020}.json"
    moment = time.time() - days * DAY
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] = int(moment * 1000)
        if "remove" in action:
            action["remove"]["deletionTimestamp"] = int(moment * 1000)
        if "add" in action:
            os.utime(lake.root / table / unquote(action["add"]["path"]), (moment, moment))
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))


def backdate_all(lake: Lake, days: float) -> None:
    """Let every commit of every table and every file be so many days old."""
    for log in lake.root.glob("*/_delta_log/*.json"):
        backdate(lake, log.parents[1].name, int(log.stem), days)
    for path in (*lake.root.glob("*/**/*.parquet"), *(lake.root / "files").rglob("*"), *lake.staging.rglob("*")):
        if path.exists():
            os.utime(path, (time.time() - days * DAY,) * 2)


def put(lake: Lake, name: str, days: float = 0, content: bytes = b"bytes") -> str:
    """A file of the lake, so many days old; gives its name."""
    path = lake.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - days * DAY,) * 2)
    return name


def collect(lake: Lake, **options: Any) -> tuple[RetentionPlan, Swept]:
    """Plan and sweep."""
    plan = plan_retention(lake, **options)
    return plan, sweep(lake, plan)


def readable(lake: Lake, table: str, version: int) -> bool:
    """Whether every file of a version is there."""
    return all(Path(path).exists() for path in lake.table(table, version).file_uris())


def rows_at(lake: Lake, table: str, version: int) -> pl.DataFrame:
    return pl.scan_delta(lake.path(table), version=version).collect()


def freed(plan: RetentionPlan) -> Mapping[str, int]:
    """Files to be removed, by area, where there are any."""
    return {area.name: area.freed_files for area in plan.areas if area.freed_files}
