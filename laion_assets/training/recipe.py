"""A recipe: what is trained on what, for how long, with which seed. Typed, in files, refused with a clear error.

A file of recipes holds what its recipes share at the top, and under ``recipes:`` each recipe's own, which goes before::

    model: ViT-B-32
    global_batch_size: 32768
    recipes:
      vit-b-32-short: {samples_seen: 2_013_265_920}
      vit-b-32-long: {samples_seen: 12_884_901_888}
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from laion_assets.common.digests import file_sha256
from laion_assets.common.shipped import shipped, where_installed
from laion_assets.evaluation.decontamination import DecontaminationOptions

RECIPES = shipped("recipes")
"""The recipes that are shipped."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Precision = Literal["fp32", "amp", "amp_bf16", "amp_bfloat16", "bf16", "fp16", "pure_bf16", "pure_fp16"]


_OF_RECIPE = ": recipe "
"""Before the name of the recipe that a fault is of."""
_DEEPEST = 5
"""Keys that lead to a key of which the line is looked for: YAML's may go round in a circle."""
_Lines: TypeAlias = Mapping[tuple[str, ...], int]


class RecipeError(Exception):
    """A recipe is wrong or unknown. The message names file, recipe and key, and says what was expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Selection(_Strict):
    """Which pairs are learned from: rows of a table or SQL model of the lake."""

    source: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = "scored_pairs"
    """A table or SQL model with at least `pair_id`; the rest is taken from `scored_pairs` by pair."""
    where: Annotated[str, Field(min_length=1)] = "true"
    """An SQL predicate over it, such as `released` or `subset = 'en' AND similarity > 0.3`."""
    versions: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Delta versions to read tables at, by table; those not named are read as they are when the set is made."""


class Augmentation(_Strict):
    """How a picture is varied each time it is seen; open_clip's own names and defaults."""

    scale: tuple[float, float] = (0.9, 1.0)
    """Part of the area that a random crop keeps, least and most."""
    ratio: tuple[float, float] | None = None
    """Aspect ratio of the crop, least and most; None: open_clip's 3/4 to 4/3."""
    color_jitter: tuple[float, float, float, float] | None = None
    """Brightness, contrast, saturation, hue."""
    color_jitter_prob: Annotated[float, Field(ge=0, le=1)] | None = None
    gray_scale_prob: Annotated[float, Field(ge=0, le=1)] | None = None

    def arguments(self) -> list[str]:
        """The values of open_clip_train's ``--aug-cfg``."""
        given = self.model_dump(exclude_none=True)
        return [f"{name}={tuple(value) if isinstance(value, list | tuple) else value}" for name, value in given.items()]


class Recipe(_Strict):
    """One training run, whole. Model and training are open_clip's, defaults those of Radford et al. (2021)."""

    name: str
    description: str = ""
    selection: Selection = Selection()
    seed: int = Field(0, ge=0, lt=2**31)
    """Of the order of samples, the initial weights and the augmentation."""
    decontamination: DecontaminationOptions | None = DecontaminationOptions()
    """How copies of evaluation pictures are found and left out; null: they are not."""
    samples_per_shard: int = Field(10_240, ge=1)
    """Every webdataset shard holds exactly so many."""
    shards: Literal["copied", "virtual"] = "copied"
    """Tars with a copy of each picture, or lists of where the pictures lie in the tars of ``images``, for lakes in a
    folder."""
    validation_fraction: float = Field(0.0, ge=0, lt=1)
    """Part of the pictures, with all their captions, that is set aside in shards of their own."""

    model: str = Field(min_length=1)
    """open_clip's name of the architecture."""
    model_configs: str | None = None
    """Folder of further open_clip model configurations; relative to the recipe's file."""
    samples_seen: int = Field(ge=1)
    """Samples served over the whole training, repeats counted."""
    epochs: int = Field(1, ge=1)
    """Equal parts of the training, each of which ends with a checkpoint. A pass over the data is something else."""
    global_batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    """Its peak."""
    warmup_steps: int = Field(0, ge=0)
    schedule: Literal["cosine", "const"] = "cosine"
    weight_decay: float = Field(0.2, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.98, gt=0, lt=1)
    epsilon: float = Field(1e-6, gt=0)
    gradient_clip_norm: float | None = Field(None, gt=0)
    gradient_checkpointing: bool = False
    precision: Precision = "amp_bf16"
    augmentation: Augmentation = Augmentation()
    arm: str = "all"
    """What the recipe is compared by: recipes of one arm are points of one scaling law."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(f"name: letters, digits and . _ - can name a recipe, up to 100 of them, not {self.name!r}")
        part = self.samples_per_shard * self.epochs
        if self.samples_seen % part:
            below = self.samples_seen // part * part
            near = " or ".join(f"{n:,}" for n in (below, below + part) if n)
            raise ValueError(
                f"samples_seen: expected a multiple of samples_per_shard x epochs = {part:,}, since each epoch is made "
                f"of whole shards; found {self.samples_seen:,}, near to it are {near}"
            )
        if self.samples_seen // self.epochs % self.global_batch_size:
            raise ValueError(
                f"global_batch_size: expected a part of the {self.samples_seen // self.epochs:,} samples of an epoch, "
                f"found {self.global_batch_size:,}; make samples_per_shard a multiple of it"
            )
        if self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup_steps: expected at most the {self.steps:,} steps there are, found {self.warmup_steps:,}"
            )
        return self

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.samples_seen // self.global_batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        return self.steps // self.epochs

    @property
    def config_digest(self) -> str | None:
        """Digest of the model's own configuration; None where open_clip ships it."""
        file = Path(self.model_configs or "") / f"{self.model}.json"
        return file_sha256(file) if self.model_configs and file.is_file() else None

    def of_training_set(self) -> dict[str, Any]:
        """What of the recipe shapes its training set."""
        names = {"selection", "seed", "decontamination", "samples_per_shard", "validation_fraction"}
        # What is copied is not named: recipes had no other way once, and their digests stay what they were.
        return self.model_dump(mode="json", include=names | ({"shards"} if self.shards != "copied" else set()))

    def of_training(self) -> dict[str, Any]:
        """What of the recipe shapes its weights, beside the training set."""
        return self.model_dump(
            mode="json", exclude={"name", "description", "selection", "decontamination", "validation_fraction", "arm",
                                  "model_configs", "shards"}
        )  # fmt: skip


_KNOWN = [name for model in (Recipe, Selection, Augmentation) for name in model.model_fields]


def load_recipes(folder: Path = RECIPES) -> dict[str, Recipe]:
    """Every recipe of the `.yaml` files in a folder, by name.

    Raises:
        RecipeError: there is no such folder, a file is no YAML, a value is wrong, or two recipes share a name.
    """
    found, faults = open_recipes(folder)
    if faults:
        raise RecipeError("; ".join(faults))
    return found


def open_recipes(folder: Path) -> tuple[dict[str, Recipe], tuple[str, ...]]:
    """The recipes of a folder that are sound, by name, and what is wrong with the others: a line for each."""
    if not folder.is_dir():
        return {}, (f"LAION_RECIPES: expected a folder of recipes, found none at {folder}",)
    found: dict[str, Recipe] = {}
    faults: list[str] = []
    twice: set[str] = set()
    for file in sorted(folder.glob("*.yaml")):
        try:
            shared, recipes, lines = _read(file)
        except RecipeError as error:
            faults.append(str(error))
            continue
        for name, values in recipes.items():
            try:
                recipe = _recipe(file, str(name), shared, values, lines)
            except RecipeError as error:
                faults.append(str(error))
                continue
            if recipe.name in found:  # nobody can say which of them is meant
                twice.add(recipe.name)
                at = lines.get(("recipes", str(name)), 1)
                faults.append(f"{file}:{at}: there are two recipes named {name}; give one another name")
            found[recipe.name] = recipe
    return {name: recipe for name, recipe in found.items() if name not in twice}, tuple(faults)


def recipe_named(recipes: Mapping[str, Recipe], name: str, faults: Iterable[str] = ()) -> Recipe:
    """The recipe called ``name``.

    Args:
        recipes: those that are sound, by name.
        name: of it.
        faults: what is wrong with the others, as :func:`open_recipes` says it.

    Raises:
        RecipeError: there is none, or it is wrong, or a file cannot be read that it may be in.
    """
    if name not in recipes:
        its = [fault for fault in faults if _OF_RECIPE not in fault or f"{_OF_RECIPE}{name}: " in fault]
        raise RecipeError("; ".join(its) or f"there is no recipe {name!r}; `laion recipes` lists them")
    return recipes[name]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Any], _Lines]:
    """What the recipes of a file share, each recipe's own by its name, and the line of each key."""
    try:
        text = file.read_text(encoding="utf-8")
        content, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{file}:{line}: expected UTF-8 text: save it in that encoding") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "nothing more is known"
        raise RecipeError(f"{file}:{mark.line + 1 if mark else 1}: expected YAML: {problem}") from error
    except OSError as error:
        raise RecipeError(f"{file}:1: cannot be read: {error.strerror}") from error
    own = content.pop("recipes", None) if isinstance(content, dict) else None
    if not isinstance(own, dict) or not own:
        raise RecipeError(f"{file}:1: expected a key `recipes` with a mapping of names to recipes")
    return content, own, dict(_lines(node, ()))


def _lines(node: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """The line of each key, by the keys that lead to it."""
    for key, value in node.value:
        path = (*above, str(key.value))
        yield path, key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode) and len(path) < _DEEPEST:
            yield from _lines(value, path)


def _recipe(file: Path, name: str, shared: Mapping[str, Any], own: object, lines: _Lines) -> Recipe:
    if not isinstance(own, dict | None):
        at = lines.get(("recipes", name), 1)
        raise RecipeError(f"{file}:{at}{_OF_RECIPE}{name}: expected a mapping, found {own!r}")
    values: dict[str, Any] = {**shared, **(own or {}), "name": name}
    if isinstance(values.get("model_configs"), str):
        values["model_configs"] = str(where_installed((file.parent / values["model_configs"]).resolve()))
    try:
        return Recipe(**values)
    except ValidationError as error:
        # A key that is written wrong is missing too: what it was meant to be is said with it first.
        faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
        at = _line_of(name, [str(part) for part in faults[0]["loc"]], lines)
        said = "; ".join(map(_told, faults))
        raise RecipeError(f"{file}:{at}{_OF_RECIPE}{name}: {said}") from error


def _line_of(name: str, keys: list[str], lines: _Lines) -> int:
    """Where a recipe says something, else where what it shares does, else where it begins."""
    for end in range(len(keys), 0, -1):
        for path in (("recipes", name, *keys[:end]), (*keys[:end],)):
            if path in lines:
                return lines[path]
    return lines.get(("recipes", name), 1)


def _told(fault: Any) -> str:
    """One fault in our words."""
    keys = ".".join(str(part) for part in fault["loc"]) or "recipe"
    said = fault["msg"].removeprefix("Value error, ")
    match fault["type"]:
        case "extra_forbidden":
            close = get_close_matches(str(fault["loc"][-1]), _KNOWN, n=1)
            return f"unknown key {keys}{f', perhaps you mean {close[0]}' if close else ''}"
        case "missing":
            return f"{keys}: is missing"
        case "value_error":
            return f"{keys}: {said}"
    wanted = re.sub(r"^\w+ should (?=have |match )|^\w+ should be ", "", said.partition(", unable")[0])
    return f"{keys}: expected {wanted.removeprefix('have ')}, found {fault['input']!r}"
