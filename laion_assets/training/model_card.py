"""What stands beside published weights: how to load them, what they were made from, and under which terms."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from laion_assets.common.files import write_file
from laion_assets.training.driver import EpochRecord
from laion_assets.training.recipe import Recipe

CARD = "README.md"
CONFIG = "open_clip_config.json"
SCORES = "scores.json"
"""Beside the card: what the checkpoints scored, by benchmark, once they were measured."""

_MARK = "> **Tainted.**"
_SCORES_HEADING = "## Scores\n"
_FRONT = re.compile(r"---\n(?P<matter>.*?)---\n\s*# (?P<title>[^\n]+)\n", re.DOTALL)
_SHOWN = ("top1", "standard_error", "top5", "image_recall_at_1", "image_recall_at_5", "text_recall_at_1",
          "text_recall_at_5")  # fmt: skip


def write_model_card(
    folder: Path,
    recipe: Recipe,
    records: Sequence[EpochRecord],
    versions: Mapping[str, int],
    samples: int,
    config: str,
    preprocess: Mapping[str, Any] | None = None,
) -> None:
    """Write `README.md` and what open_clip needs to know of the model beside the weights.

    `open_clip_config.json` is what open_clip's ``local-dir:`` and ``hf-hub:`` read. Where open_clip does not ship the
    model, its configuration lies there under its name too, for whoever loads the weights of an earlier epoch.

    Args:
        folder: of the weights.
        recipe: what they were trained by.
        records: its epochs.
        versions: version of every table the training set was made from.
        samples: samples of the training set.
        config: open_clip's configuration of the model, JSON.
        preprocess: how pictures are made ready for it, in open_clip's words; None: as open_clip does by itself.
    """
    described = {"model_cfg": json.loads(config), "preprocess_cfg": dict(preprocess or {})}
    write_file(folder / CONFIG, json.dumps(described, indent=2, sort_keys=True) + "\n")
    if recipe.model_configs is not None:
        write_file(folder / f"{recipe.model}.json", config + "\n")
    write_file(folder / CARD, _card(recipe, records, versions, samples))


def add_scores(folder: Path, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note scores in the model card and in `scores.json` beside it; those measured before stay.

    Args:
        folder: of the weights and their card.
        table: what kind of scores they are.
        rows: with `epoch` and `benchmark`; of the other values numbers are noted.
    """
    path = folder / SCORES
    known = json.loads(path.read_text()) if path.is_file() else {}
    for row in rows:
        known[f"{table} / epoch {row['epoch']} / {row['benchmark']}"] = {
            name: value for name, value in row.items() if isinstance(value, float | int) and name != "epoch"
        }
    write_file(path, json.dumps(known, indent=2, sort_keys=True) + "\n")
    card = folder / CARD
    if card.is_file():
        before, heading, after = card.read_text().partition(_SCORES_HEADING)
        rest = after[after.find("\n## ") :] if "\n## " in after else ""
        write_file(card, f"{_with_results(before, known)}{heading}\n{_scores(known)}{rest}")


def with_mark(card: str, epochs: Sequence[int], anew: str) -> str:
    """A model card that says which of its weights learned from pairs that were to be removed since.

    Args:
        card: the card as it is.
        epochs: after which these weights were written; none: the card says nothing of it, also where it did before.
        anew: the command that trains the model without them.
    """
    lines = [line for line in card.split("\n") if not line.startswith(_MARK)]
    if not epochs:
        return "\n".join(lines)
    numbers = ", ".join(map(str, epochs))
    learned = f"The weights of epoch {numbers} learned from pairs whose removal was asked for since"
    mark = f"{_MARK} {learned}; `{anew}` trains anew without them."
    place = next((place for place, line in enumerate(lines) if line.startswith("# ")), -1) + 1
    return "\n".join([*lines[:place], mark, *lines[place:]])


def _with_results(before: str, known: Mapping[str, Mapping[str, float]]) -> str:
    """The beginning of a card, whose front matter gives the hub the scores of the last epoch that was measured."""
    found = _FRONT.match(before)
    if found is None:  # somebody wrote the card anew
        return before
    latest: dict[tuple[str, str], tuple[int, Mapping[str, float]]] = {}
    for name, values in known.items():
        table, epoch, benchmark = name.split(" / ", 2)
        number = int(epoch.removeprefix("epoch "))
        if number >= latest.get((table, benchmark), (0, values))[0]:
            latest[table, benchmark] = number, values
    results = [
        {
            "task": {"type": "zero-shot-image-classification" if "top1" in values else "image-text-retrieval"},
            "dataset": {"name": benchmark, "type": benchmark},
            "metrics": [{"type": metric, "value": values[metric]} for metric in _SHOWN if metric in values],
        }
        for (_, benchmark), (_, values) in sorted(latest.items())
    ]
    said = yaml.safe_load(found["matter"])
    said["model-index"] = [{"name": found["title"], "results": results}]
    matter = yaml.safe_dump(said, sort_keys=False, allow_unicode=True)
    return f"---\n{matter}{before[found.end('matter') :]}"


def _scores(known: Mapping[str, Mapping[str, float]]) -> str:
    lines = ["| what | score |", "|---|---|"]
    for name, values in sorted(known.items()):
        found = ", ".join(f"{key} {values[key]:.4f}" for key in _SHOWN if key in values)
        lines.append(f"| {name} | {found} |")
    return "\n".join(lines) + "\n"


def _card(recipe: Recipe, records: Sequence[EpochRecord], versions: Mapping[str, int], samples: int) -> str:
    last = records[-1]
    add = f'open_clip.add_model_config("{recipe.model}.json")  # beside this file\n' if recipe.model_configs else ""
    sources = "\n".join(f"| `{table}` | {number} |" for table, number in sorted(versions.items()))
    epochs = "\n".join(
        f"| {r.epoch} | `{r.weights}` | {r.samples_seen:,} | {r.loss:.4f} | `{r.weights_sha256[:16]}…` |"
        for r in records
    )
    copies = (
        "copies of evaluation pictures were not looked for"
        if recipe.decontamination is None
        else "copies of registered evaluation pictures were left out"
    )
    return f"""---
{_metadata(recipe)}
---

# {recipe.name}

{recipe.description or "A CLIP model."}

A {recipe.model} trained by open_clip on {samples:,} image-text pairs of a LAION lakehouse,
{last.samples_seen:,} samples seen in {last.steps:,} steps of {recipe.global_batch_size:,}.

```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:.")  # the folder of this file
tokenizer = open_clip.get_tokenizer("local-dir:.")
```

That gives the weights of the last epoch; a file is named for any other:

```python
{add}model, _, preprocess = open_clip.create_model_and_transforms("{recipe.model}", pretrained="{last.weights}")
```

| epoch | weights | samples seen | loss | sha256 |
|---:|---|---:|---:|---|
{epochs}

{_SCORES_HEADING}
Not measured yet: `laion evaluate {recipe.name}`.

## Data

Selected from `{recipe.selection.source}` where `{recipe.selection.where}`; {copies}.
`laion lineage clip_checkpoints --partition recipe={recipe.name}` follows every version back.

| table | version |
|---|---:|
{sources}

## Licence

The weights were learned from pictures and texts of others, whose licences are their own. Whoever publishes the weights
decides on their terms, and should know where the pairs came from: the versions above say so. Made for research; it was
not tested for any deployment, and repeats the biases of the web it was learned from.

## Recipe

```yaml
{_recipe(recipe)}
```
"""


def _metadata(recipe: Recipe) -> str:
    """What the Hugging Face hub reads of a card. The licence is the publisher's to choose."""
    said = {
        "license": "other",
        "license_name": "not-chosen-yet",
        "license_link": "README.md#licence",
        "library_name": "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["clip", "open_clip", "zero-shot-image-classification"],
        "datasets": [recipe.selection.source],
    }
    return str(yaml.safe_dump(said, sort_keys=False, allow_unicode=True)).strip()


def _recipe(recipe: Recipe) -> str:
    """The recipe as YAML, but for where the model's configuration lies here: it is beside the card."""
    said = recipe.model_dump(mode="json", exclude={"model_configs"})
    return str(yaml.safe_dump(said, sort_keys=False, allow_unicode=True)).strip()
