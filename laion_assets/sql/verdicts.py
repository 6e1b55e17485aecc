"""What the tests of SQL models found last: recorded in the lake, read by whatever is built on them.

A verdict is one partition of ``model_tests``. It is written before the rows it speaks of are published, so that a
process that dies in between leaves rows whose verdict speaks of others, which nothing is built on, and never rows that
nobody tested.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from laion_assets.delta.build import PartitionBuild
from laion_assets.delta.commits import Commit
from laion_assets.delta.errors import CheckOutcome
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import WHOLE, Partition
from laion_assets.delta.table import LastCommit, Refusal
from laion_assets.tables.models import MODEL_TESTS

_FAILED = "failed "


def verdict_partition(model: str, partition: Partition) -> dict[str, str]:
    """The partition of ``model_tests`` that speaks of one partition of a model."""
    return {"model": model, "scope": str(partition.get("crawl", WHOLE))}


def verdict(lake: Lake, model: str, partition: Partition) -> Commit | None:
    """The record of the last tests of one partition of a model; None where it was never tested."""
    return lake.commit(MODEL_TESTS.name, verdict_partition(model, partition))


def failed_tests(commit: Commit | None) -> Mapping[str, int]:
    """The tests that failed, each with how many rows broke it."""
    counts = commit.counts if commit is not None else {}
    return {name.removeprefix(_FAILED): rows for name, rows in counts.items() if name.startswith(_FAILED)}


def content_judged(content_digest: str) -> dict[str, str]:
    """What the record of a verdict says of the rows it judged."""
    return {"content": content_digest}


def speaks_of(judged: Commit, content_digest: str) -> bool:
    """Whether a verdict judged rows of this digest."""
    return judged.externals.get("content") == content_digest


def refusal_of(model: str) -> Refusal:
    """What the tests of a model say against building on it; see :data:`Refusal`."""

    def refusal(last_commit: LastCommit, partition: Partition, content_digest: str) -> str | None:
        judged = last_commit(MODEL_TESTS.name, verdict_partition(model, partition))
        if judged is not None and not failed_tests(judged) and not speaks_of(judged, content_digest):
            return (
                "and its tests were last run on other rows than those that are published: run "
                f"`laion models run --select {model}+`"
            )
        return refused(model, judged)

    return refusal


def refused(model: str, judged: Commit | None) -> str | None:
    """What a verdict says against building on a model, as the end of a sentence; None where its tests held."""
    failed = failed_tests(judged)
    if not failed:
        return None
    found = ", ".join(f"{test} ({rows:,} rows)" for test, rows in failed.items())
    return (
        f"whose tests failed: {found}. `laion models show {model}` says on which rows; mend it and run "
        f"`laion models run --select {model}+`"
    )


def last_results(lake: Lake | None, model: str) -> list[dict[str, Any]]:
    """The rows of ``model_tests`` that speak of a model, by test and crawl; none where there is no lake."""
    if lake is None or not lake.exists(MODEL_TESTS.name):
        return []
    found = lake.scan(MODEL_TESTS.name).filter(pl.col("model") == model)
    return found.sort("test", "scope").collect().to_dicts()


def found_last(results: Sequence[Mapping[str, Any]]) -> str:
    """What the last results of one test come to; a line for each crawl in which it failed."""
    failed = [f"{row['failing_rows']:,} rows in {row['scope']}" for row in results if not row["passed"]]
    passed = f"passed{f' in {len(results)} crawls' if len(results) > 1 else ''}" if results else "not run"
    return "\n".join(failed) or passed


def stage_verdict(build: PartitionBuild, outcomes: Sequence[CheckOutcome]) -> None:
    """Stage what tests found as a partition of ``model_tests``."""
    now = datetime.now(UTC)
    rows = [
        {
            "test": outcome.name,
            "passed": outcome.passed,
            "failing_rows": outcome.failing,
            "sample": json.dumps(outcome.sample, ensure_ascii=False, default=str),
            "tested_at": now,
        }
        for outcome in outcomes
    ]
    if rows:
        build.add(pl.DataFrame(rows, schema_overrides={"failing_rows": pl.Int64}))
    build.rows_in = len(rows)
    build.counts.update({f"{_FAILED}{o.name}": max(o.failing, 1) for o in outcomes if not o.passed})
