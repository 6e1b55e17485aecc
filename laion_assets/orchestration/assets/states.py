"""How every partition stands, as a table: what is out of date shows without asking for it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from laion_assets.delta.states import PartitionState, State
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.orchestration.dagster_internals import failed_keys
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.planning.overview import Overview
from laion_assets.orchestration.registration import registered
from laion_assets.sql.project import open_project

STATES = ("done", "stale", "missing", "failed")
_MOST_REASONS = 5
_MOST_ROWS = 20


def partition_states(step: Step) -> Metadata:
    """Every partition of the crawls' stages and of the SQL models, with what is not up to date about it."""
    settings = step.settings
    judged = Overview(settings, open_project(settings.models)).look(registered(step.instance, "crawl"))
    stages = [state for group in judged.groups.values() for state in group.states.values()]
    states = [*stages, *judged.models.values()]
    failed = _failed(step.instance, states, Partitions(shards=settings.shards, buckets=settings.buckets))
    shown = [(state, "failed" if (state.table, state.name) in failed else str(state.state)) for state in states]
    step.build.add(_rows(shown))
    step.build.rows_in = len(shown)
    # Automation sees by it whether anything stands otherwise since.
    step.build.provenance = replace(step.build.provenance, externals={"standing": judged.standing})
    return {
        "states": dg.MetadataValue.md(_summary(shown)),
        "out of date": dg.MetadataValue.md(_out_of_date(shown)),
        **{name: sum(how == name for _, how in shown) for name in STATES},
    }


def _failed(
    instance: dg.DagsterInstance, states: Iterable[PartitionState], partitions: Partitions
) -> set[tuple[str, str]]:
    """(table, partition name) of everything that is not done and whose last run failed, as Dagster remembers."""
    found = set()
    keys: dict[str, dict[str, str]] = {}
    for state in states:
        if state.state is not State.DONE and state.partition:
            keys.setdefault(state.table, {})[str(partitions.key(state.partition))] = state.name
    for table, names in keys.items():
        columns = tuple(next(s.partition for s in states if s.table == table))
        definition = partitions.of_columns(columns)
        if definition is not None:
            found |= {(table, names[key]) for key in failed_keys(instance, table, names, definition)}
    return found


def _rows(shown: Iterable[tuple[PartitionState, str]]) -> pl.DataFrame:
    now = datetime.now(UTC)
    rows = [
        {
            "table_name": state.table,
            "partition": state.name,
            "crawl": state.partition.get("crawl"),
            "state": how,
            "reasons": _reasons(state),
        }
        for state, how in shown
    ]
    columns = dict.fromkeys(("table_name", "partition", "crawl", "state", "reasons"), pl.String)
    return pl.DataFrame(rows, schema=columns).with_columns(judged_at=pl.lit(now))


def _reasons(state: PartitionState) -> str | None:
    found = (*state.reasons, *state.inherited)
    more = [f"and {len(found) - _MOST_REASONS} more"] if len(found) > _MOST_REASONS else []
    return "; ".join([*found[:_MOST_REASONS], *more]) or None


def _summary(shown: Iterable[tuple[PartitionState, str]]) -> str:
    """A line for each table: how many of its partitions stand how."""
    counts: dict[str, Counter[str]] = {}
    for state, how in shown:
        counts.setdefault(state.table, Counter())[how] += 1
    lines = [f"| table | {' | '.join(STATES)} | |", f"|---|{'---:|' * len(STATES)}---|"]
    return "\n".join([*lines, *(_line(table, found) for table, found in counts.items())])


def _line(table: str, counts: Mapping[str, int]) -> str:
    done = round(10 * counts["done"] / sum(counts.values()))
    numbers = " | ".join(f"{counts[name]:,}" if counts[name] else "" for name in STATES)
    return f"| {table} | {numbers} | {'█' * done}{'░' * (10 - done)} |"


def _out_of_date(shown: Iterable[tuple[PartitionState, str]]) -> str:
    """The first partitions that are not done, with why."""
    found = [(state, how) for state, how in shown if how != "done"]
    if not found:
        return "nothing"
    lines = ["| table | partition | state | why |", "|---|---|---|---|"]
    lines += [f"| {s.table} | {s.name} | {how} | {_reasons(s) or ''} |" for s, how in found[:_MOST_ROWS]]
    more = [f"\nand {len(found) - _MOST_ROWS:,} more"] if len(found) > _MOST_ROWS else []
    return "\n".join([*lines, *more])
