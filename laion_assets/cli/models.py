"""``laion models``: the SQL models and their tests."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, complain, ensure_page, err, out, settings_of
from laion_assets.common.quantities import measured_bytes
from laion_assets.delta.errors import CheckOutcome, LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import partition_name
from laion_assets.delta.states import State
from laion_assets.settings import Settings
from laion_assets.sql.build import declared, model_states, partitions_of_model, standing, test_model
from laion_assets.sql.model import Model
from laion_assets.sql.project import Project, open_project
from laion_assets.sql.verdicts import found_last, last_results
from laion_assets.tables.catalogue import CATALOGUE

models = typer.Typer(
    no_args_is_help=True,
    help="""The SQL models of `dbt_like_sql`: each file is one table or view, with columns, tests and lineage.

A selection names models (`funnel`), layers (`marts`), what a model is built from (`+funnel`) or what is built on it
(`funnel+`); several with commas between them. Without one, all models are meant.

A model whose file is wrong is broken: it is said with file and line, what is built on it waits, and all others run.""",
)

Select = Annotated[list[str] | None, typer.Option("--select", "-s", help="Which models.", metavar="[+]MODEL[+]")]
ModelName = Annotated[str, typer.Argument(help="Name of the model; `laion models list` shows all.", metavar="MODEL")]


def _project(settings: Settings) -> Project:
    return open_project(settings.models)


def _selected(project: Project, select: Sequence[str] | None) -> list[str]:
    try:
        return project.select(select or ())
    except ValueError as error:
        raise UsageError(str(error)) from error


def _model(project: Project, name: str) -> Model:
    if name not in project.models:
        _selected(project, [name])  # says what is meant
    return project.models[name]


def _end_with(project: Project, names: Sequence[str] | None) -> None:
    """Say which of the models that were asked for cannot run, and why; exit code 1 where a file is wrong."""
    faults = project.faults_of(names or ())
    for name in project.held(names or ()):
        if project.models[name].held == "waits":
            complain(name, project.models[name].why_held)
    for fault in faults:
        complain("broken", str(fault))
    if faults:
        raise typer.Exit(1)


def _lake(settings: Settings, project: Project) -> Lake | None:
    """The lake, with the models' tables known to it; None where there is none yet."""
    opened = settings.lake_if_any()
    return None if opened is None else declared(opened, project)


_KINDS = {"view": "view", "table": "table", "incremental_by_crawl": "by crawl"}


@models.command("list")
def list_models(select: Select = None, lake: LakeOption = None) -> None:
    """List the models: what each is, and how it stands in this lake. Exit code 1 if one is broken."""
    from laion_assets.report.blocks import first_sentence

    settings = settings_of(lake)
    project = _project(settings)
    names = _selected(project, select)
    opened = _lake(settings, project)
    states = {} if opened is None else model_states(project, opened)
    table = Table("model", "layer", "kind", "state", expand=out.is_bounded)
    table.add_column("what it answers", no_wrap=True, ratio=1)
    held = project.held(select or ())
    for name in [*names, *held]:
        model = project.models[name]
        shown = model.held or standing([s for (n, _), s in states.items() if n == name])
        kind = "–" if model.held == "broken" else _KINDS[model.materialized]
        table.add_row(name, model.layer, kind, shown, Text(first_sentence(model.description or model.disabled or "")))
    out.print(table)
    _end_with(project, select)


@models.command()
def show(name: ModelName, lake: LakeOption = None) -> None:
    """Show one model: columns, where each comes from, tests with what they found last, neighbours."""
    settings = settings_of(lake)
    project = _project(settings)
    model = _model(project, name)
    kind = "–" if model.held == "broken" else model.materialized
    out.print(Text(f"{model.name} ({kind}, {model.layer})", style="bold"))
    if model.description:
        out.print(Text(model.description))
    out.print(Text(f"file: {model.template.file}"), soft_wrap=True)
    if model.held == "broken":
        for fault in model.faults:
            complain("broken", fault.short)
        raise typer.Exit(1)
    if model.held == "waits":
        _end_with(project, [name])
    if model.held is not None:
        out.print(Text(model.why_held, style="yellow"))
        return
    below = [other for other in project.enabled if name in project.upstream(other)]
    out.print(Text(f"built from: {', '.join([*project.sources(name), *project.upstream(name)]) or 'nothing'}"))
    out.print(Text(f"built on it: {', '.join(below) or 'nothing'}"))
    _show_columns(project, model)
    opened = _lake(settings, project)
    _show_tests(model, opened)
    if opened is not None:
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
    rows = last_results(lake, model.name)
    for test, meaning in model.test_names.items():
        table.add_row(test, Text(found_last([row for row in rows if row["test"] == test])), Text(meaning))
    if model.test_names:
        out.print(table)
    for row in rows:
        if not row["passed"]:
            err.print(Text(f"{row['test']} ({row['scope']}): for instance {row['sample']}"), soft_wrap=True)


@models.command("compile")
def compile_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models as --select names them; all without.", metavar="[[+]MODEL[+]]...", show_default=False
        ),
    ] = None,
    select: Select = None,
    crawl: Annotated[str | None, typer.Option(help="Fill in this crawl where a model asks for one.")] = None,
    lake: LakeOption = None,
) -> None:
    """Print the SQL of models with names filled in, as it is run; of all models where none is named.

    Each ends with `;`, and several have their names in comments above. Exit code 1 if one is broken; the others are
    printed all the same.
    """
    project = _project(settings_of(lake))
    patterns = [*(names or ()), *(select or ())]
    alone = project.models.get(patterns[0]) if len(patterns) == 1 else None
    if alone is not None and alone.held == "disabled":
        chosen = [alone]  # whoever names it may look at it
    else:
        chosen = [project.models[name] for name in _selected(project, patterns)]
    shown = "\n".join(_statement(model, crawl, named=len(chosen) > 1) for model in chosen)
    if out.is_terminal:
        out.print(Syntax(shown, "sql", background_color="default"))
    else:
        out.file.write(shown)
    if alone is None or alone.held != "disabled":
        _end_with(project, patterns)


def _statement(model: Model, crawl: str | None, *, named: bool) -> str:
    sql = model.template.render(crawl).strip()
    heading = f"-- {model.name}\n" if named else ""
    end = "\n;" if "--" in sql.rpartition("\n")[2] else ";"  # a comment would swallow it
    return f"{heading}{sql}{end}\n"


@models.command()
def docs(
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("models.html"),
    select: Select = None,
    lake: LakeOption = None,
) -> None:
    """Write one HTML file about the models: a graph, and of each columns with their origins, tests, SQL.

    It holds everything it shows, asks nothing of the network and runs no script. With a lake it says how the models
    stand there and what tests found last.
    """
    from laion_assets.report.models_page import write_models_page

    settings = settings_of(lake)
    project = _project(settings)
    names = _selected(project, select) if select else None
    ensure_page(output)
    deny = asdict(settings.deny)
    written = write_models_page(project, output, _lake(settings, project), names=names, deny=deny)
    out.print(f"{output}: {measured_bytes(written)}", highlight=False, soft_wrap=True)
    _end_with(project, select)


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
    from laion_assets.cli.building import build, end_if_failed, record_states, tell
    from laion_assets.orchestration.planning.models import ModelRequest
    from laion_assets.orchestration.runs.home import dagster_instance

    outcome = build(settings, ModelRequest(models=names, force=force))
    record_states(settings, dagster_instance(), out, errors=[error for *_, error in outcome.failures])
    nothing = "what can be built is up to date" if outcome.waiting else "all of them are up to date"
    then = f"; {outcome.waiting} partitions wait for crawls that are not built to their end" if outcome.waiting else ""
    held = Counter(str(project.models[name].held) for name in project.held(select or ()))
    if stopped := [f"{held[how]} {word}" for how, word in (("broken", "broken"), ("waits", "wait")) if held[how]]:
        nothing = "what can run is up to date" if names else "none of them can run"
        then += f"; {', '.join(stopped)}"
    tell(outcome, nothing=nothing, then=then)
    _end_with(project, select)
    end_if_failed(outcome)


@models.command("test")
def run_tests(select: Select = None, lake: LakeOption = None) -> None:
    """Test what is published of the models, without building; the verdict is recorded. Exit code 1 if a test fails."""
    settings = settings_of(lake)
    project = _project(settings)
    names = _selected(project, select)
    opened = _lake(settings, project)
    opened = opened or settings.open_lake(create=False)  # says that there is none
    passed = failed = 0
    for name in names:
        model = project.models[name]
        for partition in partitions_of_model(opened, model) if model.test_names else ():
            place = partition_name(partition)
            if not model.is_view and place not in opened.ledger(name).commits:
                out.print(Text(f"not built: {name} {place}", style="yellow"))
                continue
            try:
                outcomes = test_model(opened, project, name, CATALOGUE.partition(place), run_id="")
            except LakeError as error:  # the others can be tested all the same
                failed += 1
                complain("failed", str(error))
                continue
            passed += sum(outcome.passed for outcome in outcomes)
            for outcome in outcomes:
                failed += not outcome.passed
                _tell(name, place, outcome)
    out.print(f"{passed} tests passed, {failed} failed")
    _end_with(project, select)
    if failed:
        raise typer.Exit(1)


def _tell(name: str, place: str, outcome: CheckOutcome) -> None:
    if not outcome.passed:
        rows = ", ".join(str(dict(row)) for row in outcome.sample)
        complain("failed", f"{name} {place}: {outcome.name}: {outcome.description}; for instance {rows}")
