"""``laion models``: the SQL models and their tests."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, complain, err, out, settings_of
from laion_assets.lake.errors import CheckOutcome
from laion_assets.lake.lake import Lake
from laion_assets.lake.partition import parse_partition, partition_name
from laion_assets.lake.staleness import PartitionState, State
from laion_assets.settings import Settings
from laion_assets.sql.model import Model
from laion_assets.sql.project import Project, load_project

models = typer.Typer(
    no_args_is_help=True,
    help="""The SQL models of `dbt_like_sql`: each file is one table or view, with columns, tests and lineage.

A selection names models (`funnel`), layers (`marts`), what a model is built from (`+funnel`) or what is built on it
(`funnel+`); several with commas between them. Without one, all models are meant.""",
)

Select = Annotated[list[str] | None, typer.Option("--select", "-s", help="Which models.", metavar="[+]MODEL[+]")]
ModelName = Annotated[str, typer.Argument(help="Name of the model; `laion models list` shows all.", metavar="MODEL")]


def _project(settings: Settings) -> Project:
    return load_project(settings.models)


def _selected(project: Project, select: Sequence[str] | None) -> list[str]:
    try:
        return project.select(select or ())
    except ValueError as error:
        raise UsageError(str(error)) from error


def _model(project: Project, name: str) -> Model:
    if name not in project.models:
        _selected(project, [name])  # says what is meant
    return project.models[name]


def _lake(settings: Settings, project: Project) -> Lake | None:
    """The lake, with the models' tables known to it; None where there is none yet."""
    if Lake.recorded_shape(settings.lake) is None:
        return None
    from laion_assets.cli.model_build import declared

    return declared(settings.open_lake(create=False), project)


_KINDS = {"view": "view", "table": "table", "incremental_by_crawl": "by crawl"}


@models.command("list")
def list_models(select: Select = None, lake: LakeOption = None) -> None:
    """List the models: what each is, and how it stands in this lake."""
    settings = settings_of(lake)
    project = _project(settings)
    names = _selected(project, select)
    opened = _lake(settings, project)
    states: dict[tuple[str, str], PartitionState] = {}
    if opened is not None:
        from laion_assets.cli.model_build import model_states

        states = model_states(project, opened)
    table = Table("model", "layer", "kind", "state", expand=True)
    table.add_column("what it answers", no_wrap=True, ratio=1)
    for name in [*names, *(n for n, m in project.models.items() if m.disabled and not select)]:
        model = project.models[name]
        shown = "disabled" if model.disabled else _standing([s for (n, _), s in states.items() if n == name])
        table.add_row(name, model.layer, _KINDS[model.materialized], shown, Text(model.description))
    out.print(table)


def _standing(states: Sequence[PartitionState]) -> str:
    """How the partitions of a model stand, in a word or two."""
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


@models.command()
def show(name: ModelName, lake: LakeOption = None) -> None:
    """Show one model: columns, where each comes from, tests with what they found last, neighbours."""
    settings = settings_of(lake)
    project = _project(settings)
    model = _model(project, name)
    out.print(Text(f"{model.name} ({model.materialized}, {model.layer})", style="bold"))
    out.print(Text(model.description))
    out.print(Text(f"file: {model.template.file}"), soft_wrap=True)
    if model.disabled is not None:
        out.print(Text(f"disabled: {model.disabled}", style="yellow"))
        return
    below = [other for other in project.enabled if name in project.upstream(other)]
    out.print(Text(f"built from: {', '.join([*project.sources(name), *project.upstream(name)]) or 'nothing'}"))
    out.print(Text(f"built on it: {', '.join(below) or 'nothing'}"))
    _show_columns(project, model)
    opened = _lake(settings, project)
    _show_tests(model, opened)
    if opened is not None:
        from laion_assets.cli.model_build import model_states

        for (other, place), state in model_states(project, opened).items():
            if other == name and state.state is not State.DONE:
                reasons = "; ".join((*state.reasons, *state.inherited))
                out.print(Text(f"{place}: {state.state}{': ' if reasons else ''}{reasons}"), soft_wrap=True)


def _show_columns(project: Project, model: Model) -> None:
    from laion_assets.sql.column_lineage import column_lineage

    origins = column_lineage(project, model.name)
    table = Table("column", "type", "from", "meaning")
    for column in model.columns:
        came = ", ".join(f"{t}.{c}" for t, c in origins.get(column.name, ()))
        table.add_row(column.name, column.type, Text(came), Text(column.description))
    out.print(table)


def _show_tests(model: Model, lake: Lake | None) -> None:
    table = Table("test", "found last", "asserts")
    rows = _verdicts(lake, model.name)
    for test, meaning in model.test_names.items():
        of_test = [row for row in rows if row["test"] == test]
        failed = [f"{row['failing_rows']:,} rows in {row['scope']}" for row in of_test if not row["passed"]]
        passed = f"passed{f' in {len(of_test)}' if len(of_test) > 1 else ''}" if of_test else "not run"
        table.add_row(test, Text("\n".join(failed) or passed), Text(meaning))
    if model.test_names:
        out.print(table)
    for row in rows:
        if not row["passed"]:
            err.print(Text(f"{row['test']} ({row['scope']}): for instance {row['sample']}"), soft_wrap=True)


def _verdicts(lake: Lake | None, model: str) -> list[dict[str, object]]:
    import polars as pl

    if lake is None or not lake.exists("model_tests"):
        return []
    found = pl.scan_delta(lake.path("model_tests")).filter(pl.col("model") == model).sort("test", "scope").collect()
    return found.to_dicts()


@models.command("compile")
def compile_model(
    name: ModelName,
    crawl: Annotated[str | None, typer.Option(help="Fill in this crawl where the model asks for one.")] = None,
    lake: LakeOption = None,
) -> None:
    """Print a model's SQL with names filled in, as it is run."""
    model = _model(_project(settings_of(lake)), name)
    sql = model.template.render(crawl).strip()
    if out.is_terminal:
        out.print(Syntax(sql, "sql", background_color="default"))
    else:
        out.file.write(f"{sql};\n")


@models.command()
def run(
    select: Select = None,
    force: Annotated[bool, typer.Option("--force", help="Build what is up to date as well.")] = False,
    lake: LakeOption = None,
) -> None:
    """Build what is missing or stale of the models, as Dagster runs, upstream first.

    Each model is tested before its rows are published: if a test fails the rows published before stand, and nothing is
    built on it until it passes. Exit code 1 if anything could not be built.
    """
    settings = settings_of(lake)
    project = _project(settings)
    names = _selected(project, select)
    settings.open_lake(create=False)
    from laion_assets.cli.display import build_display
    from laion_assets.cli.home import dagster_instance
    from laion_assets.cli.model_build import ModelBuilder

    with build_display(out) as reporter:
        outcome = ModelBuilder(settings, project, dagster_instance(), reporter).build(names, force=force)
    for name, place, error in outcome.failures:
        complain("failed", f"{name} {place}: {error}")
    left_out = f", {len(outcome.left_out)} left out that are built on them" if outcome.left_out else ""
    out.print(f"{outcome.built} partitions built, {len(outcome.failures)} failed{left_out}")
    if outcome.failures:
        raise typer.Exit(1)


@models.command("test")
def run_tests(select: Select = None, lake: LakeOption = None) -> None:
    """Test what is published of the models, without building; the verdict is recorded. Exit code 1 if a test fails."""
    settings = settings_of(lake)
    project = _project(settings)
    names = _selected(project, select)
    opened = _lake(settings, project)
    from laion_assets.sql.build import partitions_of_model, test_model

    opened = opened or settings.open_lake(create=False)  # says that there is none
    passed = failed = 0
    for name in names:
        model = project.models[name]
        for partition in partitions_of_model(opened, model) if model.test_names else ():
            place = partition_name(partition)
            if not model.is_view and place not in opened.ledger(name).commits:
                out.print(Text(f"not built: {name} {place}", style="yellow"))
                continue
            outcomes = test_model(opened, project, name, parse_partition(place), run_id="")
            passed += sum(outcome.passed for outcome in outcomes)
            for outcome in outcomes:
                failed += not outcome.passed
                _tell(name, place, outcome)
    out.print(f"{passed} tests passed, {failed} failed")
    if failed:
        raise typer.Exit(1)


def _tell(name: str, place: str, outcome: CheckOutcome) -> None:
    if not outcome.passed:
        rows = ", ".join(str(dict(row)) for row in outcome.sample)
        complain("failed", f"{name} {place}: {outcome.name}: {outcome.description}; for instance {rows}")
