"""Where files beside the tables lie: ``files/<folder>/<values of the partition>/<digest of the work>/<name>``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from laion_assets.delta.catalogue import Catalogue
from laion_assets.delta.table import NamedFile

FILES = "files"
_WORK = "[0-9a-f]{16,32}"


@dataclass(frozen=True)
class Published:
    """The files that rows of a catalogue's tables name, by their names in the lake."""

    catalogue: Catalogue

    @cached_property
    def columns(self) -> frozenset[str]:
        """What columns are called that name files."""
        return frozenset(column for _, column, _ in self._named)

    @cached_property
    def work(self) -> str:
        """A pattern that finds the folder of a file's work: all that was published under one digest."""
        return rf"^({FILES}/(?:{_any(file for _, _, file in self._named)})/.+?/{_WORK})/"

    @cached_property
    def archive(self) -> str:
        """A pattern that finds an archive without its ending: its members go together, and what lies beside it."""
        archives = (file for _, _, file in self._named if file.member is not None)
        return rf"^({FILES}/(?:{_any(archives)})/.+?/{_WORK}/[0-9]+)\.(?:tar|parquet)$"

    def place(self, name: str) -> tuple[str, str] | None:
        """The table whose rows name a file, and the partition under which it was published; None where it is none."""
        if not re.match(self.work, name):
            return None
        _, folder, *parts = name.split("/")
        table = next(table for table, _, file in self._named if file.folder == folder)
        # Parts are values, or name their column as well.
        values = zip(self.catalogue.tables[table].partition_by, parts, strict=False)
        return table, "/".join(f"{column}={part.rpartition('=')[2]}" for column, part in values)

    @cached_property
    def _named(self) -> tuple[tuple[str, str, NamedFile], ...]:
        """(table, column, file)."""
        return tuple(
            (table.name, column.name, column.file)
            for table in self.catalogue.tables.values()
            for column in table.columns
            if column.file is not None
        )


def _any(files: Iterable[NamedFile]) -> str:
    return "|".join(re.escape(file.folder) for file in files) or "(?!)"
