"""The settings that a lake keeps of itself, in its ``settings.env``: which of them are paths, and where these lead.

A lake can be moved. What lies in it is named relative to it; what lies elsewhere by its whole path, which may lead
nowhere on another machine, as long as nobody needs it. Lakes from before this was so name what lies in them by where
they lay then: such a path is taken for what lies in the lake now.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dotenv import dotenv_values
from pydantic_settings import DotEnvSettingsSource

from laion_assets.common.shipped import where_installed
from laion_assets.delta.folder import FolderStorage
from laion_assets.delta.location import open_storage
from laion_assets.delta.storage import Storage
from laion_assets.setting_values import files_of

LAKE_SETTINGS_FILE: Final = "settings.env"

_ENCODER: Final = ("pretrained", "model_configs")
_PATHS: Final = frozenset(
    {
        *((name,) for name in ("source", "models", "recipes", "benchmarks")),
        *((encoder, name) for encoder in ("encoder", "multilingual_encoder") for name in _ENCODER),
        ("calibration", "pairs"),
        *(("deny", name) for name in ("url_lists", "domain_lists", "hash_lists")),
        ("scores", "heads"),
    }
)
"""The settings that name files or folders."""

_LISTS: Final = ("deny", "scores")
"""The groups of those among them that name several each."""

_FILES: Final = "files"
"""The folder of a lake for what is no table."""


def write_lake_settings(lake: str, values: Mapping[str, str]) -> None:
    """Keep ``values`` (names with their ``LAION_`` prefix) as the own settings of the lake at ``lake``.

    Paths of what lies in the lake are kept relative to it.
    """
    storage = open_storage(lake)
    lines = []
    for name, value in sorted(values.items()):
        path = tuple(name.removeprefix("LAION_").lower().split("__"))
        lines.append(f"{name}={_kept(_relative(storage, value) if path in _PATHS else value)}\n")
    storage.replace(LAKE_SETTINGS_FILE, "".join(lines).encode())


def add_lake_settings(lake: str, values: Mapping[str, str]) -> None:
    """Keep further settings as those of the lake itself; see :func:`write_lake_settings`. Others stay as they are."""
    write_lake_settings(lake, {**kept_values(lake), **values})


def kept_values(lake: str) -> dict[str, str]:
    """The settings that a lake keeps of itself, by name, as they are written there."""
    storage = open_storage(lake)
    if not storage.exists(LAKE_SETTINGS_FILE):
        return {}
    with storage.local(LAKE_SETTINGS_FILE) as kept:
        return {name: value for name, value in dotenv_values(kept).items() if value is not None}


def _relative(storage: Storage, value: str) -> str:
    if not Path(value).is_absolute() or not storage.holds(Path(value)):
        return value
    return Path(value).resolve().relative_to(storage.uri).as_posix()


def _kept(value: str) -> str:
    # A ${ would be taken for a variable: a nameless one, of which there is none, stands for its dollar.
    return json.dumps(value, ensure_ascii=False).replace("${", "${:-$}{")


class LakeSettingsSource(DotEnvSettingsSource):
    """The settings of a lake's own file, with its paths as they lead from here."""

    def __call__(self) -> dict[str, Any]:
        """The values by field, nested."""
        values = super().__call__()
        if not self.env_file:
            return values
        storage = open_storage(os.environ.get("LAION_LAKE", self.settings_cls.model_fields["lake"].default))
        return placed(values, lambda value: _placed(storage, value))


def placed(values: Mapping[str, Any], place: Callable[[str], str], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Nested settings with every path replaced by what ``place`` makes of it; those of a list one by one."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = (*above, name)
        if isinstance(value, Mapping):
            found[name] = placed(value, place, path)
        elif path in _PATHS and path[0] in _LISTS:
            found[name] = _each(value, place)
        else:
            found[name] = place(value) if path in _PATHS and isinstance(value, str) and value else value
    return found


def _each(value: Any, place: Callable[[str], str]) -> Any:
    try:
        paths = files_of(value)
    except ValueError:  # whoever reads it as a setting says what is wrong with it
        return value
    if isinstance(paths, list | tuple):
        return [place(path) if isinstance(path, str) and path else path for path in paths]
    return value


def _placed(storage: Storage, value: str) -> str:
    """Where a path that a lake keeps leads on this machine."""
    if "://" in value:
        return value
    path = Path(value).expanduser()
    name = _name_in(storage, path)
    if name is not None:
        return str(_here(storage, name))
    return str(where_installed(path)) if path.is_absolute() else value


def _name_in(storage: Storage, path: Path) -> str | None:
    """The name of a file or folder of the lake that a path means; None where it means something else."""
    if not path.is_absolute():
        name = path.as_posix()
        return name if path.parts[0] == _FILES or _is_there(storage, name) else None
    # The whole path first: what lies deepest in the lake under all of those names is what was meant.
    ends = ["/".join(path.parts[place:]) for place in range(1, len(path.parts))]
    own = next((end for end in ends if end.startswith(f"{_FILES}/") and _is_there(storage, end)), None)
    if own is not None or path.exists():
        return own
    return next((end for end in ends if _is_there(storage, end)), None)


def _is_there(storage: Storage, name: str) -> bool:
    if ".." in PurePosixPath(name).parts:
        return False
    if isinstance(storage, FolderStorage):
        return (storage.root / name).exists()
    # Of a bucket, which is slow to ask, only what can lie there is asked for.
    return name.startswith(f"{_FILES}/") and (storage.exists(name) or any(True for _ in storage.files(name)))


def _here(storage: Storage, name: str) -> Path:
    """What lies in the lake, on this machine: fetched, where the lake is in a bucket and it changed."""
    folder, _, file = name.rpartition("/")
    return storage.copy_of(folder) / file if storage.exists(name) and folder else storage.copy_of(name)
