"""``laion scores``: scores of pictures that somebody else computed."""

import json
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from laion_assets.cli.common import LakeOption, UsageError, out, settings_of
from laion_assets.kept_settings import add_lake_settings, kept_values
from laion_assets.setting_values import files_of

scores = typer.Typer(no_args_is_help=True, help="Scores of pictures: bring in what somebody else computed.")

_FOLDER: Final = "files/heads"
_SETTING: Final = "LAION_SCORES__HEADS"


@scores.callback()
def _group() -> None:
    """A group, although it has one command."""


@scores.command(name="import")
def import_scores(
    file: Annotated[Path, typer.Argument(help="Parquet: `value`, and the `sha256` of a picture or a `pair_id`.")],
    name: Annotated[str, typer.Option(help="What rows call the scorer: lower-case letters, digits, . _ and -.")],
    measures: Annotated[str, typer.Option(help="`unsafe` or `watermark`, for probabilities; or `aesthetic`.")],
    lake: LakeOption = None,
) -> None:
    """Take in scores from a file. `laion build` then puts them into image_scores, and into released pairs.

    The file is checked and copied into the lake. From then on it counts as a head, the last one of those that the lake
    names: of several that measure the same, released pairs carry what the first one says. Another file under the same
    name takes its place.
    """
    import duckdb
    import yaml

    from laion_assets.clip.options import content_sha256
    from laion_assets.scoring.head import KINDS, is_name
    from laion_assets.scoring.imports import check_scores
    from laion_assets.scoring.tensors import HeadError

    opened = settings_of(lake).open_lake(create=False)
    kind = next((kind for kind in KINDS if kind == measures), None)
    if kind is None:
        raise UsageError(f"--measures: expected one of {', '.join(KINDS)}, found {measures!r}")
    if not is_name(name):
        raise UsageError(f"--name: expected lower-case letters, digits, . _ and -, found {name!r}")
    if not file.is_file():
        raise UsageError(f"expected a Parquet file of scores, found none at {file}")
    try:
        by, count = check_scores(duckdb.connect(), file, kind)
    except HeadError as error:
        raise UsageError(str(error)) from error
    digest = content_sha256(file)
    described = {"name": name, "measures": kind, "table": f"{digest}.parquet", "sha256": digest}
    if not opened.storage.exists(f"{_FOLDER}/{digest}.parquet"):
        opened.storage.publish(file, f"{_FOLDER}/{digest}.parquet")
    head = f"{_FOLDER}/{name}.yaml"
    opened.storage.replace(head, yaml.safe_dump(described).encode())
    out.print(f"{count:,} scores by {by} lie in the lake as {name}", highlight=False)
    _name_in_settings(opened.storage.uri, head, opened.storage.address(head))


def _name_in_settings(lake: str, head: str, address: str) -> None:
    """Let the lake's own settings name a head, unless the environment has another word."""
    if any(variable.upper() == _SETTING for variable in os.environ):
        out.print(f"{_SETTING} is set in the environment: name {address} there too", highlight=False, soft_wrap=True)
        return
    named = [str(file) for file in files_of(kept_values(lake).get(_SETTING, "")) or ()]  # type: ignore[attr-defined]
    if head not in named:
        add_lake_settings(lake, {_SETTING: json.dumps([*named, head])})
    out.print("Next: `laion status` shows what is stale, and `laion build CRAWL` puts them in", highlight=False)
