"""Whether a lake still holds the bytes that were written: logs, rows, and the files that rows name.

Read is what is there, and compared with what was recorded when it was written: the entry of the log and the SHA-256 of
each file with the commit's seal, the rows with the commit's content digest and count. What was never recorded, in lakes
that older versions wrote, is checked for what can be: an archive for its structure and members.
Nothing is changed where nobody asks for it; what then is done about faults stands in ``repair``.
"""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import duckdb

from laion_assets.delta.beside import Beside
from laion_assets.delta.checked import Checked
from laion_assets.delta.commits import Commit, Ledger
from laion_assets.delta.engine import open_engine
from laion_assets.delta.faults import Fault, damaged, marked
from laion_assets.delta.lake import Lake, data_files
from laion_assets.delta.logs import LogDamaged, log_faults, table_folders
from laion_assets.delta.repair import Repaired, repair_log, repair_rows, seal_archives, seal_now
from laion_assets.delta.scope import ArchiveCheck, Scope, Seen, Unwatched, Watch
from laion_assets.delta.seals import LOG, Seal, bytes_of, sound_seal
from laion_assets.delta.storage import Storage
from laion_assets.delta.table import Column, Table
from laion_assets.delta.validation import content_digest, count_rows


@dataclass
class Verification:
    """One verification of one lake.

    Args:
        lake: the lake, with the tables of its SQL models declared as far as they are known.
        scope: what to look at.
        checked: what was found sound before.
        spill: a folder of this machine for what does not fit in memory.
        archive: looks into files that rows name members of.
        watch: shows how it goes.
    """

    lake: Lake
    scope: Scope
    checked: Checked
    spill: Path
    archive: ArchiveCheck
    watch: Watch = field(default_factory=Unwatched)
    seen: Seen = field(default_factory=Seen)
    unsealed: list[Commit] = field(default_factory=list)
    """Commits whose rows are right and that have no seal."""
    unsealed_archives: dict[str, list[str]] = field(default_factory=dict)
    """By table, archives that are sound as far as can be told, and of whose bytes nothing was recorded."""

    def log_faults(self) -> Iterator[Fault]:
        """What is wrong with the logs. To be mended first: what cannot be read cannot be verified."""
        for table in table_folders(self.lake.storage, self.lake.catalogue):
            if self.scope.has_table(table):
                yield from log_faults(self.lake.storage, table)

    def faults(self, unreadable: Collection[str] = ()) -> Iterator[Fault]:
        """What is wrong with rows and files.

        Args:
            unreadable: tables whose log cannot be read.
        """
        with open_engine(self.spill, self.lake.storage) as con:
            for table in table_folders(self.lake.storage, self.lake.catalogue):
                if not self.scope.has_table(table) or table in unreadable:
                    continue
                try:
                    snapshot = Snapshot.of(self.lake, table)
                except LogDamaged as error:
                    yield Fault(table, "", f"{table}/_delta_log", str(error), heal="see above", curable=False)
                    continue
                yield from self._table(con, snapshot)
        self.seen.taken_over = self.checked.taken_over

    def _table(self, con: duckdb.DuckDBPyConnection, snapshot: "Snapshot") -> Iterator[Fault]:
        names = [name for name in snapshot.files if self.scope.has_period(self.lake.catalogue.period_of(name))]
        self.watch.more(len(names))
        unreadable = set()
        for name in names:
            if self.scope.takes(f"{snapshot.table} {name}"):
                found = list(self._partition(con, snapshot, name))
                if found:
                    unreadable.add(name)
                yield from found
            self.watch.done()
        readable = {name: snapshot.files[name] for name in names if name not in unreadable}
        for column in _columns(self.lake, snapshot.table):
            beside = Beside(self.lake, self.scope, self.checked, self.archive, self.watch, self.seen)
            yield from beside.faults(con, snapshot.table, column, readable)
            self.unsealed_archives.setdefault(snapshot.table, []).extend(beside.unsealed)

    def _partition(self, con: duckdb.DuckDBPyConnection, snapshot: "Snapshot", name: str) -> Iterator[Fault]:
        table, commit = snapshot.table, snapshot.ledger.commits.get(name)
        unit, basis = f"{table} {name}", (commit.version if commit else -1, sorted(snapshot.files[name]))
        self.seen.partitions += 1
        if snapshot.ledger.damaged.get(name) == []:
            yield marked(self.lake.catalogue, table, name)
            return
        if self.checked.knows(unit, basis):
            return
        found = list(partition_faults(con, self.lake, snapshot, name, self.seen))
        if found and commit is not None and self.lake.ledger(table).commits.get(name) != commit:
            found = []  # it was built again meanwhile, and what was there before may be gone
        elif not found:
            if commit is not None and sound_seal(self.lake.storage, table, commit.version) is None:
                self.seen.unsealed += 1
                self.unsealed.append(commit)
            else:
                self.checked.sound(unit, basis)
        yield from found


@dataclass(frozen=True)
class Snapshot:
    """One table at one version."""

    table: str
    ledger: Ledger
    files: Mapping[str, dict[str, int]]
    """By partition, names of its data files in the lake and their sizes as the log has them."""

    @classmethod
    def of(cls, lake: Lake, table: str) -> "Snapshot":
        """The table as it is now.

        Raises:
            LogDamaged: its log cannot be read.
        """
        delta = lake.opened(table)
        ledger = lake.ledger_at(table, delta.version())
        files: dict[str, dict[str, int]] = {name: {} for name in ledger.commits}
        columns = tuple(delta.metadata().partition_columns)
        for partition, name, size in data_files(table, delta, columns):
            files.setdefault(partition, {})[name] = size
        return cls(table, ledger, files)


def _columns(lake: Lake, table: str) -> Sequence[Column]:
    return lake.tables[table].columns if table in lake.tables else ()


def partition_faults(
    con: duckdb.DuckDBPyConnection, lake: Lake, snapshot: Snapshot, name: str, seen: Seen
) -> Iterator[Fault]:
    """What is wrong with the data files of one partition, and with the rows in them.

    Args:
        con: an engine.
        lake: the lake.
        snapshot: of the table.
        name: of the partition.
        seen: is added to.
    """
    storage, table, commit = lake.storage, snapshot.table, snapshot.ledger.commits.get(name)
    if commit is not None and not snapshot.ledger.is_validated(commit):
        commit = None  # it does not speak of the rows that are there
    seal = None if commit is None else sound_seal(storage, table, commit.version)
    copies = seal.copies if seal is not None else {}
    put_back = f"`laion verify {table} --repair` puts it back from its seal"
    found = False
    local: list[Path] = []
    with ExitStack() as held:
        for file, size in sorted(snapshot.files[name].items()):
            what = _bytes_fault(storage, file, size, seal)
            seen.files, seen.bytes = seen.files + 1, seen.bytes + size
            if what is not None:
                found = True
                fault = damaged(lake.catalogue, table, name, file, what)
                yield replace(fault, heal=put_back) if file in copies else fault
            elif not found:
                local.append(held.enter_context(storage.local(file)))
        if not found:
            what = _rows_fault(con, lake, table, local, commit)
            if what is not None:
                yield damaged(lake.catalogue, table, name, next(iter(snapshot.files[name]), table), what)


def _bytes_fault(storage: Storage, file: str, size: int, seal: Seal | None) -> str | None:
    try:
        bytes_ = bytes_of(storage, file)
    except FileNotFoundError:
        return "the file is gone"
    except OSError as error:
        return f"the file cannot be read: {error.strerror or error}"
    if bytes_.size != size:
        return f"the file has {bytes_.size:,} bytes of {size:,}"
    written = seal.files.get(file) if seal is not None else None
    return None if written in (None, bytes_) else "the file is not as it was written (SHA-256)"


def _rows_fault(
    con: duckdb.DuckDBPyConnection, lake: Lake, table: str, files: list[Path], commit: Commit | None
) -> str | None:
    """What is wrong with the rows in these files; without a record only whether they can be read."""
    declared = lake.tables.get(table)
    try:
        if declared is None or commit is None or not _fits(con, declared, files):
            rows = _count(con, files)
        else:
            rows = count_rows(con, declared, files)
            if content_digest(con, declared, files) != commit.content_digest:
                return "the rows are not those that were committed (content digest)"
    except duckdb.Error as error:
        return f"the rows cannot be read: {' '.join(str(error).split())[:200]}"
    if commit is not None and rows != commit.rows:
        return f"there are {rows:,} rows of {commit.rows:,}"
    return None


def _fits(con: duckdb.DuckDBPyConnection, declared: Table, files: list[Path]) -> bool:
    """Whether files have the columns that are declared now: others were written by another version, or model."""
    for file in files:
        found = {row[0] for row in con.execute("DESCRIBE FROM read_parquet(?)", [str(file)]).fetchall()}
        if not {c.name for c in declared.columns if not c.added} - {*declared.partition_by} <= found:
            return False
    return True


def _count(con: duckdb.DuckDBPyConnection, files: list[Path]) -> int:
    """Rows of files, every page of them read."""
    total = 0
    for file in files:
        reader = con.execute("FROM read_parquet(?)", [str(file)]).to_arrow_reader(20_000)
        total += sum(batch.num_rows for batch in reader)
    return total


@dataclass(frozen=True)
class Report:
    """What a verification found, and what was done about it."""

    seen: Seen
    faults: Sequence[Fault]
    repaired: Sequence[Repaired]
    """What was done about each of the faults; empty where nothing was to be done."""
    sealed: int = 0
    """Commits and archives of which nothing was recorded before, and is now."""

    def to_json(self) -> dict[str, object]:
        """All of it as JSON values."""
        done = {id(repaired.fault): repaired for repaired in self.repaired}
        return {
            **asdict(self.seen),
            "sealed": self.sealed,
            "faults": [
                {
                    "table": fault.table,
                    "partition": fault.partition or None,
                    "file": fault.file,
                    "what": fault.what,
                    "cure": fault.cure if id(fault) not in done else done[id(fault)].done,
                    "healed": id(fault) in done and done[id(fault)].healed,
                }
                for fault in self.faults
            ],
        }


def verify_lake(
    lake: Lake,
    scope: Scope,
    *,
    archive: ArchiveCheck,
    repair: bool = False,
    watch: Watch | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> Report:
    """Verify a lake, and with ``repair`` act on what is found.

    Interrupted, the same call goes on from what was found sound. With ``repair`` also from one that came to its end.

    Args:
        lake: the lake, with the tables of its SQL models declared as far as they are known.
        scope: what to look at.
        archive: looks into files that rows name members of.
        repair: mend logs, mark damaged partitions so that the next build makes them again, record what was not.
        watch: shows how it goes.
        told: gets a line for each fault, as soon as it is known what becomes of it.

    Raises:
        LakeError: another process verifies the same.
    """
    with (
        Checked(
            lake.staging / "verify", f"{lake.uri} {scope.told(lake.catalogue.period)}", trust_finished=repair
        ) as checked,
        tempfile.TemporaryDirectory(prefix="laion-verify-") as spill,
    ):
        verification = Verification(lake, scope, checked, Path(spill), archive, watch or Unwatched())
        faults, repaired = list(verification.log_faults()), []
        for fault in faults:
            repaired += [repair_log(lake, fault)] if repair else []
            told(repaired[-1].line if repair else fault.line)
        torn = faults if not repair else [done.fault for done in repaired if not done.healed]
        unreadable = {fault.table for fault in torn if f"/{LOG}" in fault.file}
        found = []
        for fault in verification.faults(unreadable):
            found.append(fault)
            if not repair:
                told(fault.line)
        sealed = 0
        if repair:
            for done in repair_rows(lake, found):
                repaired.append(done)
                told(done.line)
            sealed = seal_now(lake, verification.unsealed)
            sealed += sum(seal_archives(lake, table, names) for table, names in verification.unsealed_archives.items())
        checked.finish()
    return Report(verification.seen, [*faults, *found], repaired, sealed)
