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
    def work(self) -> str:
        """A pattern that finds the folder of a file's work: all that was published under one digest."""
        return rf"^({FILES}/(?:{_any(self._files)})/.+?/{_WORK})/"

    @cached_property
    def archive(self) -> str:
        """A pattern that finds an archive without its ending: its members go together, and what lies beside it."""
        archives = (file for file in self._files if file.member is not None)
        return rf"^({FILES}/(?:{_any(archives)})/.+?/{_WORK}/[0-9]+)\.(?:tar|parquet)$"

    @cached_property
    def columns(self) -> frozenset[str]:
        """What columns are called that name files."""
        tables = self.catalogue.tables.values()
        return frozenset(column.name for table in tables for column in table.columns if column.file is not None)

    def place(self, name: str) -> tuple[str, str] | None:
        """The table whose rows name a file, and the partition under which it was published; None where it is none."""
        if not re.match(self.work, name):
            return None
        _, folder, *parts = name.split("/")
        table = self._tables[folder]
        # Parts are values, or name their column as well.
        values = zip(self.catalogue.tables[table].partition_by, parts, strict=False)
        return table, "/".join(f"{column}={part.rpartition('=')[2]}" for column, part in values)

    @cached_property
    def _tables(self) -> dict[str, str]:
        return {
            column.file.folder: table.name
            for table in self.catalogue.tables.values()
            for column in table.columns
            if column.file is not None
        }

    @cached_property
    def _files(self) -> tuple[NamedFile, ...]:
        columns = (column for table in self.catalogue.tables.values() for column in table.columns)
        return tuple(column.file for column in columns if column.file is not None)


def _any(files: Iterable[NamedFile]) -> str:
    return "|".join(re.escape(file.folder) for file in files) or "(?!)"
