"""What was found out about model files, kept by the digest of their text, so that a code server starts quickly.

Losing the cache costs time and nothing else: whatever cannot be read or written is passed over.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from laion_assets.common.digests import json_digest, text_digest
from laion_assets.common.files import write_file
from laion_assets.common.folders import user_cache
from laion_assets.sql.macros import MACROS

_FORMAT = "1"


class ModelCache:
    """Facts about files by digest, of one project folder."""

    def __init__(self, folder: Path, *, sources: Mapping[str, Any]) -> None:
        """Open the cache of the project in ``folder``, whose models see ``sources`` (tables with their columns)."""
        self._file = user_cache() / f"models-{text_digest(str(folder), digits=16)}.json"
        self._surroundings = [_FORMAT, duckdb.__version__, version("sqlglot"), dict(sources), MACROS]
        self._known = self._read()
        self._used: dict[str, Any] = {}

    def key(self, *parts: Any) -> str:
        """The digest of what a fact depends on."""
        return json_digest([self._surroundings, *parts], sort_keys=False, digits=32)

    def get(self, key: str) -> Any:
        """The fact, or None where it is not known."""
        found = self._known.get(key)
        if found is not None:
            self._used[key] = found
        return found

    def put(self, key: str, fact: Any) -> None:
        """Remember a fact, of values that JSON can hold."""
        self._used[key] = fact

    def save(self) -> None:
        """Keep what was used, and nothing else, for the next process."""
        if self._used == self._known:
            return
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_file(self._file, json.dumps(self._used))

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
