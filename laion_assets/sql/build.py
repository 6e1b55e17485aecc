"""Building models: what each reads, its rows, its tests, its verdict. Dagster's steps and commands both come here."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import duckdb

from laion_assets.common.digests import json_digest
from laion_assets.delta.build import PartitionBuild, lake_build
from laion_assets.delta.commits import Commit, Provenance
from laion_assets.delta.errors import CheckOutcome, ValidationFailed
from laion_assets.delta.flow import partitions_there
from laion_assets.delta.inputs import Inputs, Judged
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, literal, partition_name
from laion_assets.delta.staleness import judge
from laion_assets.delta.states import Expectation, PartitionState, State
from laion_assets.delta.table import Read, Table
from laion_assets.delta.validation import RowCheck, run_check
from laion_assets.sql.commits import COMMITS, commit_rows
from laion_assets.sql.macros import MACROS, create_macros
from laion_assets.sql.metrics import STEP_METRICS, metrics_in_logs
from laion_assets.sql.model import Model
from laion_assets.sql.project import RECORDS, Project, tables_of
from laion_assets.sql.verdicts import (
    content_judged,
    failed_tests,
    refused,
    speaks_of,
    stage_verdict,
    verdict,
    verdict_partition,
)
from laion_assets.tables.catalogue import PER_CRAWL
from laion_assets.tables.models import MODEL_TESTS

EXPECTATION = Expectation(settings_digest="")
"""No setting shapes a model's rows."""


def views_under(project: Project, name: str) -> list[str]:
    """The view models that a model is built from, directly or through others, upstream first."""
    found = project.reached([name], lambda part: [up for up in project.upstream(part) if project.models[up].is_view])
    return [name for name in project.models if name in found]


def stage_of(project: Project, name: str) -> Table:
    """What a model is built from: the tables it names, itself and through views.

    A model that is built crawl by crawl sees of every table its own crawl alone.
    """
    model = project.models[name]
    periods: Literal["same", "all"] = "same" if model.is_incremental else "all"
    tables: list[str] = []
    for part in (name, *views_under(project, name)):
        for source in project.sources(part):
            tables += PER_CRAWL if source in RECORDS else [source]
        tables += [n for n in project.upstream(part) if not project.models[n].is_view]
    return replace(
        MODEL_TESTS if model.is_view else model.table(),
        code_version=_rows_version(project, name),
        reads=tuple(Read(table=table, periods=periods) for table in dict.fromkeys(tables)),
        group=model.layer,
    )


def _rows_version(project: Project, name: str) -> str:
    """Digest of all SQL that decides which rows come out."""
    models = [project.models[n] for n in (*views_under(project, name), name)]
    columns = [[column.name, column.type] for column in project.models[name].columns]
    return _digest([*(model.template.body for model in models), columns, *sorted(MACROS.items())])


def tests_version(model: Model) -> str:
    """Digest of a model's tests; that a value is accepted too is no reason to run them again."""
    own = [[test.name, test.without_later.check("rows", model.key).failing] for test in model.tests]
    return _digest([*own, *([test.name, test.template.body] for test in model.singular_tests)])


def _digest(value: object) -> str:
    return json_digest(value, sort_keys=False, digits=12)


def partitions_of_model(lake: Lake, model: Model) -> list[Partition]:
    """The partitions a model has in this lake: one for each crawl, or one."""
    if not model.is_incremental:
        return [{}]
    scored = None if model.only_with is None else {*lake.ledger(model.only_with).periods}
    return [{"crawl": crawl} for crawl in lake.periods if scored is None or crawl in scored]


def model_state(
    project: Project, lake: Lake, name: str, partition: Partition, inputs: Inputs, stage: Table | None = None
) -> PartitionState:
    """Whether a model's partition is there, up to date and tested; ``inputs`` as for :func:`judge`."""
    model = project.models[name]
    place = verdict_partition(name, partition) if model.is_view else partition
    state = judge(lake, stage or stage_of(project, name), place, EXPECTATION, {}, inputs)
    tested = verdict(lake, name, partition)
    reasons = list(state.reasons)
    if state.state is not State.MISSING and model.test_names:
        version = None if tested is None else tested.externals.get("tests")
        reasons += [f"test {test} failed" for test in failed_tests(tested)]
        if version != tests_version(model):
            reasons.append("tests changed" if tested else "not tested")
        elif tested is not None and tested.partition in lake.ledger(MODEL_TESTS.name).damaged:
            reasons.append("what its tests found is damaged")
        published = None if model.is_view else lake.commit(name, partition)
        if tested is not None and published is not None and not speaks_of(tested, published.content_digest):
            reasons.append("tests judged other rows")
    inherited = list(state.inherited)
    for view in views_under(project, name):
        inherited += [f"{view}: test {test} failed" for test in failed_tests(verdict(lake, view, {}))]
    if state.state is State.DONE and (reasons or inherited):
        state = PartitionState(table=name, partition=partition, state=State.STALE)
    return PartitionState(
        table=name, partition=partition, state=state.state, reasons=tuple(reasons), inherited=tuple(inherited)
    )


def declared(lake: Lake, project: Project) -> Lake:
    """The lake, with the models' tables known to it."""
    lake.declare(tables_of(project.models.values()))
    return lake


def model_states(
    project: Project, lake: Lake, judged: Judged | None = None, stages: Mapping[str, Table] | None = None
) -> dict[tuple[str, str], PartitionState]:
    """The state of every partition of every enabled model, by (model, partition name).

    Args:
        project: the models.
        lake: the lake.
        judged: states of the tables below the models; those that are not there count as done.
        stages: what the models are built from, where that is known already.
    """
    states: dict[tuple[str, str], PartitionState] = {}
    still = lake.at_rest()
    inputs = Inputs(still, ChainMap(states, dict(judged or {})))
    for name, model in project.enabled.items():
        stage = stages[name] if stages else stage_of(project, name)
        for partition in partitions_of_model(still, model):
            state = model_state(project, still, name, partition, inputs, stage)
            states[name, partition_name(partition)] = state
    return states


def standing(states: Sequence[PartitionState]) -> str:
    """How the partitions of one model stand, in a word or two."""
    if not states:
        return "–"
    if any("failed" in reason for state in states for reason in state.reasons):
        return "test failed"
    found = {state.state for state in states}
    if found == {State.DONE}:
        return "done"
    done = sum(state.state is State.DONE for state in states)
    worst = "stale" if State.STALE in found else "missing"
    return worst if len(states) == 1 or not done else f"{done} of {len(states)} done"


def open_inputs(
    build: PartitionBuild, project: Project, name: str, partition: Partition, *, tables: bool = True
) -> None:
    """Everything a model names as a view in the build's connection, pinned to one version of each table.

    Args:
        build: whose connection it is.
        project: the models.
        name: the model.
        partition: of the model, which is being built.
        tables: make views of tables too; False where they are there already.

    Raises:
        LakeError: an input was never built, was written without validation, or its tests failed.
    """
    places = {read.table: partitions_there(build.lake, read, partition) for read in stage_of(project, name).reads}
    for table, partitions in places.items() if tables else ():
        build.view(table, table, partitions)
    create_macros(build.con)
    named = {source for part in (name, *views_under(project, name)) for source in project.sources(part)}
    if not named.isdisjoint(RECORDS):
        records = [commit for table in PER_CRAWL for commit in build.commits(table, places[table])]
        build.con.register(COMMITS.name, commit_rows(records))
    if STEP_METRICS.name in named:
        versions = {table: build.pinned(table).version for table in PER_CRAWL}
        measured = metrics_in_logs(build.lake, versions, up_to=versions, crawl=_crawl(partition))
        build.con.execute(f"CREATE TABLE {STEP_METRICS.name} AS {measured}")
    for view in views_under(project, name):
        build.refuse(view, {}, refused(view, verdict(build.lake, view, {})))
        build.con.execute(f"CREATE VIEW {view} AS {project.models[view].template.render(_crawl(partition))}")


def _crawl(partition: Partition) -> str | None:
    return str(partition["crawl"]) if "crawl" in partition else None


def stage_rows(build: PartitionBuild, model: Model) -> None:
    """Run a model's SQL into the build, and make its rows a view of the model's name."""
    file = build.folder.path / f"{model.name}.parquet"
    columns = ", ".join(f'"{c.name}"::{c.type} AS "{c.name}"' for c in model.columns)
    build.con.execute(
        f"COPY (SELECT {columns} FROM ({model.template.render(_crawl(build.partition))}\n)) "
        f"TO {literal(str(file))} (FORMAT parquet, COMPRESSION zstd)"
    )
    build.adopt([file])
    build.con.execute(f"CREATE VIEW {model.name} AS FROM read_parquet({literal(str(file))}, hive_partitioning = false)")


def run_tests(con: duckdb.DuckDBPyConnection, model: Model, partition: Partition) -> tuple[CheckOutcome, ...]:
    """Every test of a model, on the relation of its name in ``con``."""
    checks = [test.check(model.name, model.key) for test in model.tests]
    if model.is_incremental:
        strangers = f"SELECT crawl FROM {model.name} WHERE crawl IS DISTINCT FROM {literal(partition['crawl'])}"
        checks.insert(0, RowCheck("own_crawl", strangers, "rows of another crawl"))
    checks += [
        RowCheck(test.name, f"{test.template.render(_crawl(partition))}\n", f"rows that break: {test.description}")
        for test in model.singular_tests
    ]
    return tuple(run_check(con, check) for check in checks)


def record_verdict(
    lake: Lake, model: Model, partition: Partition, outcomes: Sequence[CheckOutcome], content_digest: str, run_id: str
) -> Commit:
    """Write down what the tests of a table found on rows of this digest; before they are published."""
    provenance = Provenance(
        run_id=run_id,
        code_version="",
        settings_digest="",
        externals={"tests": tests_version(model), **content_judged(content_digest)},
    )
    with lake_build(lake, MODEL_TESTS.name, verdict_partition(model.name, partition), provenance) as build:
        stage_verdict(build, outcomes)
        return build.publish()


def build_model(
    lake: Lake, project: Project, name: str, partition: Partition, run_id: str
) -> tuple[Commit, tuple[CheckOutcome, ...]]:
    """Build one partition of a model, test it, and publish it if every test holds.

    A view has no rows of its own: its tests run on what it shows now, and its commit is its verdict.

    Returns:
        The commit, and what each test found.

    Raises:
        ValidationFailed: a test failed. The verdict is recorded; the rows published before stand.
        LakeError: an input cannot be read.
    """
    model = project.models[name]
    if not model.is_view:
        return _build_table(lake, project, model, partition, run_id)
    provenance = _provenance(project, name, run_id, tests=tests_version(model))
    with lake_build(lake, MODEL_TESTS.name, verdict_partition(name, partition), provenance) as build:
        open_inputs(build, project, name, partition)
        build.con.execute(f"CREATE VIEW {name} AS {model.template.render()}")
        outcomes = run_tests(build.con, model, partition)
        stage_verdict(build, outcomes)
        commit = build.publish()
    _refuse(name, partition, outcomes)
    return commit, outcomes


def _build_table(
    lake: Lake, project: Project, model: Model, partition: Partition, run_id: str
) -> tuple[Commit, tuple[CheckOutcome, ...]]:
    provenance = _provenance(project, model.name, run_id)
    with lake_build(lake, model.name, partition, provenance) as build:
        open_inputs(build, project, model.name, partition)
        stage_rows(build, model)
        outcomes = run_tests(build.con, model, partition)
        if model.test_names:
            record_verdict(lake, model, partition, outcomes, build.staged_digest(), run_id)
        _refuse(model.name, partition, outcomes)
        return build.publish(), outcomes


def test_model(lake: Lake, project: Project, name: str, partition: Partition, run_id: str) -> tuple[CheckOutcome, ...]:
    """Run a model's tests on what is published of it, and record the verdict."""
    model = project.models[name]
    if model.is_view:
        try:
            return build_model(lake, project, name, partition, run_id)[1]
        except ValidationFailed as error:
            return error.checks
    provenance = _provenance(project, name, run_id)
    with lake_build(lake, name, partition, provenance) as build:
        open_inputs(build, project, name, partition)
        build.own_earlier_rows(model.name)
        outcomes = run_tests(build.con, model, partition)
    published = lake.commit(name, partition)
    if published is not None:
        record_verdict(lake, model, partition, outcomes, published.content_digest, run_id)
    return outcomes


def _provenance(project: Project, name: str, run_id: str, **externals: str) -> Provenance:
    return Provenance(
        run_id=run_id,
        code_version=_rows_version(project, name),
        settings_digest="",
        externals=externals,
    )


def _refuse(name: str, partition: Partition, outcomes: tuple[CheckOutcome, ...]) -> None:
    if not all(outcome.passed for outcome in outcomes):
        raise ValidationFailed(name, partition_name(partition), outcomes)
