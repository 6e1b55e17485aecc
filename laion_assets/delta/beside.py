"""Whether the files that rows name, beside the tables, are there and hold what the rows say.

Some have their SHA-256 in the row. Archives have theirs in the seal of the commit that published them, and every row
names a member of one; how these are looked into, above all where they are from before seals, is not decided here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import duckdb

from laion_assets.common.duck import fetched
from laion_assets.delta.checked import Checked
from laion_assets.delta.commits import parse
from laion_assets.delta.errors import LakeError
from laion_assets.delta.faults import Fault, damaged
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import partition_name
from laion_assets.delta.published import FILES
from laion_assets.delta.relations import hive_relation
from laion_assets.delta.scope import ArchiveCheck, Scope, Seen, Watch
from laion_assets.delta.seals import Bytes, bytes_of, sound_seal
from laion_assets.delta.storage import plain_name
from laion_assets.delta.table import Column, NamedFile

_FETCHED = 10_000


@dataclass
class Beside:
    """Looks at the files that one column of one table names."""

    lake: Lake
    scope: Scope
    checked: Checked
    archive: ArchiveCheck
    watch: Watch
    seen: Seen
    unsealed: list[str] = field(default_factory=list)
    """Archives that are sound as far as can be told, and of whose bytes nothing was recorded."""
    _published: dict[str, Mapping[tuple[str, ...], list[int]]] = field(default_factory=dict)
    """By table and share of the rows, the versions that its commits made."""
    _there: dict[str, dict[str, tuple[int, str]]] = field(default_factory=dict)
    """Size and time of each file, by folder: what was looked at so far of a share of the rows."""

    def faults(
        self,
        con: duckdb.DuckDBPyConnection,
        table: str,
        column: Column,
        files: Mapping[str, Mapping[str, int]],
    ) -> Iterator[Fault]:
        """What is wrong with the files that the column names.

        Args:
            con: an engine that reads the lake's files.
            table: the table.
            column: may name files.
            files: by partition, its data files.
        """
        if column.file is None:
            return
        groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in files:
            groups[self.lake.catalogue.numbers_of(name)].append(name)
        for names in groups.values():  # what several periods share is in the same share of the rows
            addresses = [self.lake.storage.address(file) for name in names for file in files[name]]
            yield from self._group(con, table, column.name, column.file, addresses, names)

    def _group(
        self,
        con: duckdb.DuckDBPyConnection,
        table: str,
        column: str,
        file: NamedFile,
        addresses: list[str],
        names: list[str],
    ) -> Iterator[Fault]:
        self._there.clear()
        declared = self.lake.tables[table]
        digests = self._sealed(table, names) if file.sha256 is None else {}
        sha256 = file.sha256 or file.member_sha256 or "NULL"
        selected = ", ".join([f'"{column}"', file.member or "NULL", sha256, *declared.partition_by])
        result = con.cursor().execute(
            f"SELECT {selected} FROM {hive_relation(declared, addresses)} "
            f'WHERE "{column}" IS NOT NULL ORDER BY "{column}"'
        )
        named: set[str] = set()
        for name, rows in groupby(fetched(result, _FETCHED), key=lambda row: str(row[0])):
            wanted: dict[str, str] = {}
            partitions: dict[str, None] = {}
            for _, member, digest, *values in rows:
                wanted[str(member)] = str(digest)
                partitions[partition_name(dict(zip(declared.partition_by, values, strict=True)))] = None
            named.add(name)
            if not self.scope.takes(name):
                continue
            self.watch.more(1)
            try:
                plain_name(name)
            except LakeError as error:
                what: str | None = str(error)
            else:
                what = self._fault(name, wanted, digests.get(name), has_own_digest=file.sha256 is not None)
            self.watch.done()
            if what is not None:
                yield from (damaged(self.lake.catalogue, table, place, name, what) for place in partitions)
        if not self.scope.periods:
            self.seen.unnamed += self._unnamed(file.folder, names, named)

    def _fault(self, name: str, wanted: Mapping[str, str], sealed: Bytes | None, *, has_own_digest: bool) -> str | None:
        unit = f"file {name}"
        try:
            basis = (self._stat(name), sealed, sorted(wanted.items()))
            if self.checked.knows(unit, basis):
                return None
            self.seen.files, self.seen.bytes = self.seen.files + 1, self.seen.bytes + basis[0][0]
            found = bytes_of(self.lake.storage, name) if sealed or has_own_digest else None
            what = self._compared(name, wanted, found, sealed, has_own_digest=has_own_digest)
        except FileNotFoundError:
            return "the file is gone"
        except OSError as error:
            return f"the file cannot be read: {error.strerror or error}"
        if what is None and found is None:
            self.unsealed.append(name)
        elif what is None:
            self.checked.sound(unit, basis)
        return what

    def _stat(self, name: str) -> tuple[int, str]:
        folder = name.rpartition("/")[0]
        if folder not in self._there:
            files = self.lake.storage.files(folder)
            self._there[folder] = {file.name: (file.bytes, file.modified_at.isoformat()) for file in files}
        if name not in self._there[folder]:
            raise FileNotFoundError(name)
        return self._there[folder][name]

    def _compared(
        self, name: str, wanted: Mapping[str, str], found: Bytes | None, sealed: Bytes | None, *, has_own_digest: bool
    ) -> str | None:
        if found is not None and has_own_digest:
            expected = {*wanted.values()}
            return None if expected == {found.sha256} else "the file is not as it was written (SHA-256)"
        if found is not None and found != sealed:
            if sealed is not None and found.size != sealed.size:
                return f"the tar has {found.size:,} bytes of {sealed.size:,}"
            return "the tar is not as it was written (SHA-256)"
        with self.lake.storage.local(name) as tar:
            return self.archive(tar, wanted, sealed is not None)

    def _sealed(self, table: str, names: Iterable[str]) -> dict[str, Bytes]:
        """What is known of the files that commits of these partitions, of any version, published."""
        if table not in self._published:
            delta, versions = self.lake.opened(table), defaultdict(list)
            for entry in self.lake.entries(table, delta, delta.version() + 1):
                with self.lake.reading(table):
                    commit = parse(entry)
                if commit is not None:
                    versions[self.lake.catalogue.numbers_of(commit.partition)].append(commit.version)
            self._published[table] = versions
        found: dict[str, Bytes] = {}
        for share in {self.lake.catalogue.numbers_of(name) for name in names}:
            for version in self._published[table].get(share, ()):
                seal = sound_seal(self.lake.storage, table, version)
                found.update(seal.beside if seal is not None else {})
        return found

    def _unnamed(self, folder: str, names: Iterable[str], named: set[str]) -> int:
        folders = {f"{FILES}/{folder}/{name}" for name in names}
        there = (file.name for found in folders for file in self.lake.storage.files(found))
        return sum(1 for name in there if name not in named)
