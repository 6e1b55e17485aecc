"""``laion settings``: every setting, its value, where it came from, and which tables it makes stale."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from pydantic_settings import EnvSettingsSource
from rich.text import Text

from laion_assets.cli.common import LakeOption, UsageError, listing, out, settings_of
from laion_assets.delta.location import open_storage
from laion_assets.kept_settings import LAKE_SETTINGS_FILE, LakeSettingsSource
from laion_assets.lake.opening import recorded_shape
from laion_assets.setting_names import EACH, PREFIX, Setting, settings_in
from laion_assets.settings import Settings
from laion_assets.sources.address import shown
from laion_assets.tables.catalogue import TABLES


@dataclass(frozen=True)
class Given:
    """A setting as this process has it."""

    setting: Setting
    value: Any
    origin: str
    """``environment``, ``settings.env`` or ``lake.json`` of the lake, or ``default``."""

    def as_json(self) -> dict[str, Any]:
        """What ``--json`` says of it."""
        told = self.setting
        return {
            "name": told.name,
            "value": self.value,
            "from": self.origin,
            "default": told.default,
            "type": told.kind,
            "unit": told.unit,
            "meaning": told.meaning,
            "stale": makes_stale(told),
        }


def settings(
    name: Annotated[
        str | None,
        typer.Argument(help="The setting, or how its name begins: `LAION_DOWNLOAD__`, `download`.", show_default=False),
    ] = None,
    lake: LakeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """Show every setting: its value, where it came from, and which tables it makes stale.

    Settings come from variables (`LAION_…`, nested with `__`), then from the lake's `settings.env`, then from defaults.
    Secrets are hidden. Of one setting alone its meaning is shown too.
    """
    found = _asked(given_settings(settings_of(lake)), name)
    if as_json:
        typer.echo(json.dumps({"settings": [given.as_json() for given in found]}, ensure_ascii=False, default=str))
    elif len(found) == 1:
        _explain(found[0])
    else:
        _list(found)


def given_settings(settings: Settings) -> list[Given]:
    """Every setting with its value and where it came from; what is secret in a value is hidden."""
    environment = EnvSettingsSource(Settings)()
    with open_storage(settings.lake).local(LAKE_SETTINGS_FILE) as kept:
        in_lake = LakeSettingsSource(Settings, env_file=kept)()
    recorded = recorded_shape(settings.lake) is not None
    found = []
    for setting in settings_in(Settings).values():
        if _is_given(environment, setting.path):
            origin = "environment"
        elif recorded and setting.path in (("shards",), ("buckets",)):
            origin = "lake.json"
        else:
            origin = LAKE_SETTINGS_FILE if _is_given(in_lake, setting.path) else "default"
        value = _value(settings, setting.path)
        found.append(Given(setting, shown(value) if setting.name == "LAION_SOURCE" else _hidden(value), origin))
    return found


def makes_stale(setting: Setting) -> list[str]:
    """The tables of which built partitions become stale when a setting changes, as data flows."""
    return [name for name, table in TABLES.items() if table.is_made_stale_by(setting.name)]


def written(value: Any) -> str:
    """A value as a variable would have it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False, default=dict)


def _asked(found: list[Given], name: str | None) -> list[Given]:
    if name is None:
        return found
    begins = PREFIX + name.upper().removeprefix(PREFIX)
    exact = [given for given in found if given.setting.name == begins]
    asked = exact or [given for given in found if given.setting.name.startswith(begins)]
    if not asked:
        raise UsageError(f"there is no setting whose name begins with {begins}; `laion settings` lists them")
    return asked


def _is_given(values: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """Whether nested values hold something at a path."""
    if not path:
        return True
    if path[0] == EACH:
        return any(isinstance(below, Mapping) and _is_given(below, path[1:]) for below in values.values())
    below = values.get(path[0], values.get(path[0].upper()))
    if len(path) == 1:
        return below is not None
    return isinstance(below, Mapping) and _is_given(below, path[1:])


def _value(holder: Any, path: tuple[str, ...]) -> Any:
    """What lies at a path; None where there is nothing, by table where it stands for each."""
    for place, name in enumerate(path):
        if name == EACH:
            below = {table: _value(sizes, path[place + 1 :]) for table, sizes in holder.items()}
            return {table: value for table, value in below.items() if value is not None} or None
        holder = getattr(holder, name, None)
    return holder


def _hidden(value: Any) -> Any:
    return str(value) if isinstance(value, SecretStr) else value


def _explain(given: Given) -> None:
    setting = given.setting
    stale = makes_stale(setting)
    unit = f", in {setting.unit}" if setting.unit else ""
    lines = [
        f"{setting.name}={written(given.value)}",
        f"from     {given.origin}",
        f"takes    {setting.kind}{unit}; default {written(setting.default) or 'none'}",
        f"means    {setting.meaning}",
        f"stale    {', '.join(stale) or 'nothing'}",
    ]
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def _list(found: list[Given]) -> None:
    table = listing("setting", "value", "from", "makes stale", folded=("value", "makes stale"))
    for given in found:
        cells = (given.setting.name, written(given.value), given.origin, ", ".join(makes_stale(given.setting)))
        table.add_row(*(Text(cell) for cell in cells), style="" if given.origin == "default" else "bold")
    out.print(table)
