"""``laion train``, ``benchmarks`` and ``evaluate``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, complain, out, settings_of
from laion_assets.cli.recipes import Recipes
from laion_assets.delta.commits import Commit
from laion_assets.delta.lake import Lake
from laion_assets.settings import Settings


def train(
    recipes: Recipes,
    lake: LakeOption = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Select anew from the tables as they are now, and train on that.")
    ] = False,
) -> None:
    """Make the training set of a recipe and train it, as Dagster runs.

    What is done is left alone. A killed training goes on from its last whole epoch. A training set stays what it was
    when it was first made, whatever the lake does; `--refresh` selects again.
    """
    from laion_assets.cli.building import ask_owners, build, end_if_failed, record_states, tell
    from laion_assets.evaluation.registry import benchmark_names
    from laion_assets.orchestration.planning.recipes import TrainingRequest
    from laion_assets.orchestration.runs.home import dagster_instance

    settings = settings_of(lake)
    if not benchmark_names(settings.benchmark_folder):
        complain("warning", f"no evaluation sets are there to leave out of training: {settings.benchmark_folder}")
    ask_owners(settings, settings.consent.ask_days)
    before = _checkpoints(settings, recipes)
    outcome = build(settings, TrainingRequest(recipes=recipes, refresh=refresh))
    record_states(settings, dagster_instance(), out)
    tell(outcome, nothing=f"{', '.join(recipes)} {'is' if len(recipes) == 1 else 'are'} trained")
    end_if_failed(outcome)
    fresh = [name for name, commit in _checkpoints(settings, recipes).items() if commit != before[name]]
    # Nothing is heard of a training in another process while it runs.
    _print_trained(settings, recipes, unheard=[] if settings.executor == "in-process" else fresh)
    out.print("`laion evaluate` measures them")


def _checkpoints(settings: Settings, recipes: Sequence[str]) -> Mapping[str, Commit | None]:
    """The last commit of each recipe's checkpoints."""
    opened = settings.open_lake(create=False)
    return {name: opened.commit("clip_checkpoints", {"recipe": name}) for name in recipes}


def _print_trained(settings: Settings, recipes: Sequence[str], *, unheard: Sequence[str]) -> None:
    """Print what came of each training; of those ``unheard`` of also from which epoch they went on."""
    opened = settings.open_lake(create=False)
    for name in recipes:
        columns = ["epoch", "loss", "path", "samples_seen", "resumed_from"]
        rows = opened.rows("clip_checkpoints", {"recipe": name}, columns)
        if rows.is_empty():
            continue
        last = rows.sort("epoch").row(-1, named=True)
        went_on = name in unheard and last["resumed_from"] is not None
        resumed = f", gone on from epoch {last['resumed_from']}" if went_on else ""
        out.print(
            f"{name}: {last['samples_seen']:,} samples seen, loss {last['loss']:.4f}, "
            f"weights {opened.storage.address(last['path'])}{resumed}",
            highlight=False,
            soft_wrap=True,
        )


def benchmarks(lake: LakeOption = None) -> None:
    """List the evaluation sets, and which of them are registered in this lake.

    They are folders in CLIP_benchmark's webdataset layout, in `files/benchmarks` of the lake or in `LAION_BENCHMARKS`.
    Registered pictures, and copies of them, are left out of every training set made afterwards.
    """
    from laion_assets.evaluation.registry import HOW_TO_GET, benchmark_names, registered

    settings = settings_of(lake)
    folder = settings.benchmark_folder
    opened = settings.lake_if_any()
    table = Table("benchmark", "task", title=Text(str(folder)))
    table.add_column("classes", justify="right")
    table.add_column("shifted from")
    table.add_column("registered")
    for name in benchmark_names(folder):
        benchmark = registered(folder, name)
        known = opened.commit("benchmark_images", {"benchmark": name}) if opened else None
        table.add_row(
            Text(name),
            benchmark.task.removeprefix("zeroshot_"),
            f"{len(benchmark.classnames):,}" if benchmark.classnames else "",
            Text(benchmark.in_distribution or ""),
            f"{known.rows:,} pictures" if known else "no",
        )
    out.print(table)
    if not table.row_count:
        out.print(f"it holds none: {HOW_TO_GET}", highlight=False, soft_wrap=True)


def evaluate(
    checkpoints: Annotated[
        list[str],
        typer.Argument(help="Names of recipes, or weights they published.", metavar="RECIPE|CHECKPOINT..."),
    ],
    lake: LakeOption = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option("--benchmark", help="An evaluation set; may be given several times. All if none."),
    ] = None,
) -> None:
    """Measure trained recipes: zero-shot accuracy, retrieval, robustness under shift, scaling.

    Measures each recipe's final checkpoint, or every epoch with `LAION_EVALUATION__ALL_EPOCHS=true` or where a file
    of an earlier epoch is named.
    """
    from dataclasses import replace

    from laion_assets.cli.building import build, end_if_failed, tell
    from laion_assets.orchestration.planning.recipes import EvaluationRequest
    from laion_assets.orchestration.planning.states import contaminated

    settings = settings_of(lake)
    opened = settings.open_lake(create=False)
    found = [_recipe_of(opened, settings, name) for name in checkpoints]
    names = list(dict.fromkeys(name for name, _ in found))
    if not all(final for _, final in found):
        settings = settings.model_copy(update={"evaluation": replace(settings.evaluation, all_epochs=True)})
    outcome = build(settings, EvaluationRequest(recipes=names, benchmarks=benchmark or ()))
    tell(outcome, nothing=f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} measured")
    end_if_failed(outcome)
    print_scores(opened, names, benchmark or ())
    for name in contaminated(opened, settings, names):
        complain(
            "warning",
            f"{name} was trained before all these evaluation sets were registered, and may have seen copies of their "
            f"pictures: `laion train {name}` looks, and trains again where that is so",
        )


def _recipe_of(lake: Lake, settings: Settings, name: str) -> tuple[str, bool]:
    """The recipe that a name or a file of weights stands for, and whether it is its final checkpoint."""
    if name in settings.known_recipes:
        return name, True
    given = name if "://" in name else str(Path(name).resolve())
    for recipe in settings.known_recipes:
        rows = lake.rows("clip_checkpoints", {"recipe": recipe}, ["path", "final"])
        for row in rows.iter_rows(named=True):
            if lake.storage.address(row["path"]) == given:
                return recipe, bool(row["final"])
    faults = "".join(f"; {fault}" for fault in settings.recipe_faults)
    raise UsageError(
        f"{name!r} is no recipe, and no file of weights that a recipe of this lake published: see `laion recipes`"
        f"{faults}"
    )


_SCORES = """
    FROM (SELECT recipe, epoch, benchmark, 'top-1' AS measure, 0 AS place, top1 AS value, standard_error AS error,
           chance
    FROM zero_shot_scores
    UNION ALL
    SELECT recipe, epoch, benchmark, 'image R@' || k, k, recall, NULL, k / images
    FROM (SELECT *, unnest([1, 5, 10]) AS k,
                 unnest([image_recall_at_1, image_recall_at_5, image_recall_at_10]) AS recall FROM retrieval_scores)
    UNION ALL
    SELECT recipe, epoch, benchmark, 'text R@' || k, 100 + k, recall, NULL, NULL
    FROM (SELECT *, unnest([1, 5, 10]) AS k,
                 unnest([text_recall_at_1, text_recall_at_5, text_recall_at_10]) AS recall FROM retrieval_scores))
    ORDER BY place > 0, benchmark, place, recipe, epoch
"""


def print_scores(
    lake: Lake, recipes: Sequence[str], benchmarks: Sequence[str] = (), *, title: str = "scores, in per cent"
) -> None:
    """Print what the last measured checkpoints of recipes scored: a row a benchmark and measure, a column a recipe."""
    from laion_assets.sql.session import connect

    rows = connect(lake).sql(_SCORES).pl()
    rows = rows.filter(rows["recipe"].is_in(list(recipes)))
    if benchmarks:
        rows = rows.filter(rows["benchmark"].is_in(list(benchmarks)))
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("benchmark", no_wrap=True)
    table.add_column("measure", no_wrap=True)
    for recipe in recipes:
        table.add_column(Text(recipe), justify="right")
    table.add_column("chance", justify="right")
    for benchmark, measure in dict.fromkeys(rows.select("benchmark", "measure").iter_rows()):
        cells, chance = [], ""
        for recipe in recipes:
            found = rows.filter(recipe=recipe, benchmark=benchmark, measure=measure).tail(1).to_dicts()
            cells.append(_cell(found[0]) if found else "")
            if found and found[0]["chance"] is not None:
                chance = f"{found[0]['chance'] * 100:.1f}"
        table.add_row(Text(benchmark), measure, *cells, chance)
    out.print(table)


def _cell(score: dict[str, Any]) -> str:
    spread = "" if score["error"] is None else f" ± {score['error'] * 100:.1f}"
    return f"{score['value'] * 100:.1f}{spread}"
