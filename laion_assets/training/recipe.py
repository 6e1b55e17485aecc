"""A recipe: what is trained on what, for how long, with which seed. Typed, in files, refused with a clear error.

A file of recipes holds what its recipes share at the top, and under ``recipes:`` each recipe's own, which goes before::

    model: ViT-B-32
    global_batch_size: 32768
    recipes:
      vit-b-32-short: {samples_seen: 2_013_265_920}
      vit-b-32-long: {samples_seen: 12_884_901_888}
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from laion_assets.common.digests import file_sha256
from laion_assets.common.shipped import shipped, where_installed
from laion_assets.evaluation.decontamination import DecontaminationOptions

RECIPES = shipped("recipes")
"""The recipes that are shipped."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Precision = Literal["fp32", "amp", "amp_bf16", "amp_bfloat16", "bf16", "fp16", "pure_bf16", "pure_fp16"]


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
        return self.model_dump(mode="json", include=names)

    def of_training(self) -> dict[str, Any]:
        """What of the recipe shapes its weights, beside the training set."""
        return self.model_dump(
            mode="json", exclude={"name", "description", "selection", "decontamination", "validation_fraction", "arm",
                                  "model_configs"}
        )  # fmt: skip


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
            shared, recipes = _read(file)
        except RecipeError as error:
            faults.append(str(error))
            continue
        for name, values in recipes.items():
            try:
                recipe = _recipe(file, str(name), shared, values)
            except RecipeError as error:
                faults.append(str(error))
                continue
            if recipe.name in found:  # nobody can say which of them is meant
                twice.add(recipe.name)
                faults.append(f"{file}: there are two recipes named {name}; give one another name")
            found[recipe.name] = recipe
    return {name: recipe for name, recipe in found.items() if name not in twice}, tuple(faults)


def recipe_named(recipes: Mapping[str, Recipe], name: str) -> Recipe:
    """The recipe called ``name``.

    Raises:
        RecipeError: there is none.
    """
    if name not in recipes:
        raise RecipeError(f"there is no recipe {name!r}; `laion recipes` lists them")
    return recipes[name]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the recipes of a file share, and each recipe's own by its name."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: expected YAML, found {' '.join(str(error).split())}") from error
    except OSError as error:
        raise RecipeError(f"{file}: cannot be read: {error.strerror}") from error
    own = content.pop("recipes", None) if isinstance(content, dict) else None
    if not isinstance(own, dict) or not own:
        raise RecipeError(f"{file}: expected a key `recipes` with a mapping of names to recipes")
    return content, own


def _recipe(file: Path, name: str, shared: Mapping[str, Any], own: object) -> Recipe:
    if not isinstance(own, dict | None):
        raise RecipeError(f"{file}: recipe {name}: expected a mapping, found {own!r}")
    values: dict[str, Any] = {**shared, **(own or {}), "name": name}
    if isinstance(values.get("model_configs"), str):
        values["model_configs"] = str(where_installed((file.parent / values["model_configs"]).resolve()))
    try:
        return Recipe(**values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'recipe'}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False)
        )
        raise RecipeError(f"{file}: recipe {name}: {faults}") from error
