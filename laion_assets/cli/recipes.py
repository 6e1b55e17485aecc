"""``laion recipes``: the templates that there are, and which of them are partitions."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, complain, listing, out, settings_of
from laion_assets.settings import Settings
from laion_assets.training.recipe import Recipe

Recipes = Annotated[list[str], typer.Argument(help="Names of recipes; `laion recipes` lists them.", show_default=False)]

recipes = typer.Typer(
    invoke_without_command=True,
    help="""List the training recipes, which of them are partitions of this lake, and which were trained.

A recipe is a selection of pairs, a model and a schedule, in a YAML file of `recipes/`; `LAION_RECIPES` names another
folder. It is a template until somebody asks for it: `laion train` does that, or `laion recipes add`, after which it can
be launched from Dagster's pages. Exit code 1 if one is wrong; the others can be trained.""",
)


@recipes.callback()
def recipes_or_list(context: typer.Context, lake: LakeOption = None) -> None:
    """List them where nothing else is asked for."""
    if context.invoked_subcommand is None:
        _list(settings_of(lake))
    elif lake is not None:
        settings_of(lake)


@recipes.command("list")
def list_recipes(lake: LakeOption = None) -> None:
    """List the recipes: what each is, whether it is a partition, and how its training stands."""
    _list(settings_of(lake))


@recipes.command()
def add(names: Recipes, lake: LakeOption = None) -> None:
    """Make partitions of recipes, so that they can be launched from Dagster's pages. Nothing is trained by it."""
    from laion_assets.orchestration.registration import register
    from laion_assets.orchestration.runs.home import dagster_instance

    settings = settings_of(lake)
    for name in names:
        settings.recipe(name)
    new = register(dagster_instance(), "recipe", names)
    for name in dict.fromkeys(names):
        _say(f"{name} is a partition" + ("; `laion train` builds it" if name in new else " already"))


@recipes.command()
def remove(names: Recipes, lake: LakeOption = None) -> None:
    """Make templates of recipes again that were added and never built. What was built stays, and stays a partition."""
    from laion_assets.orchestration.registration import registered, unregister
    from laion_assets.orchestration.runs.home import existing_instance

    settings = settings_of(lake)
    instance = existing_instance()
    unknown = sorted({*names} - ({*registered(instance, "recipe")} if instance else set()))
    if instance is None or unknown:
        raise UsageError(f"no partition: {', '.join(unknown)}; `laion recipes` shows which are")
    kept = sorted({*names} & _built(settings))
    if kept:
        raise UsageError(f"{', '.join(kept)}: built in this lake, and so a partition of it for as long as its rows are")
    for name in dict.fromkeys(names):
        unregister(instance, "recipe", name)
        _say(f"{name} is a template again")


def _say(text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _built(settings: Settings) -> set[str]:
    """The recipes that the lake holds rows of."""
    from laion_assets.orchestration.registration import built_names

    opened = settings.lake_if_any()
    return set() if opened is None else built_names(opened)["recipe"]


def _list(settings: Settings) -> None:
    from laion_assets.orchestration.planning.states import checkpoint_state
    from laion_assets.orchestration.registration import registered
    from laion_assets.orchestration.runs.home import existing_instance

    opened, instance = settings.lake_if_any(), existing_instance()
    partitions = _built(settings) | ({*registered(instance, "recipe")} if instance else set())
    headings, numbers = ("recipe", "model", "samples", "batch", "selects", "partition", "trained"), ("samples", "batch")
    table = listing(*headings, numbers=numbers, folded=("selects",), title=settings.recipes)
    for recipe in settings.known_recipes.values():
        state = str(checkpoint_state(opened, settings, recipe.name).state) if opened else "missing"
        trained = "no" if state == "missing" else state
        table.add_row(*_cells(recipe), "yes" if recipe.name in partitions else "", trained)
    out.print(table)
    _name_the_lost(sorted(partitions - {*settings.known_recipes}))
    for fault in settings.recipe_faults:
        complain("broken", fault)
    if settings.recipe_faults:
        raise typer.Exit(1)


def _cells(recipe: Recipe) -> Sequence[Text]:
    selection = recipe.selection
    where = "" if selection.where == "true" else f": {selection.where}"
    numbers = (_short(recipe.samples_seen), f"{recipe.global_batch_size:,}")
    return [Text(cell) for cell in (recipe.name, recipe.model, *numbers, f"{selection.source}{where}")]


def _name_the_lost(names: Sequence[str]) -> None:
    if names:
        _say(f"partitions without a file that says what they are: {', '.join(names)}")


def _short(count: int) -> str:
    """A count in three digits and a unit."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
