"""What a lake may forget: files of versions that nobody can ask for any more, files beside tables that no row names.

:func:`plan_retention` decides and touches nothing; ``sweep`` does what was decided. Everything is judged from one
moment: that of the plan, or the one at which the oldest step that still runs began, since it may read whatever could be
read then. Readable are

- the newest version of every table, every version that was the newest at some time in the ``days`` before that moment,
  and every pinned version (see ``pins``): their files stay;
- files that are younger than that, whatever they are: a writer may be about to commit them.

A file beside the tables stays while any row names it that is left. The log stays whole: lineage is kept there.
delta-rs' own vacuum is not used. It judges a replaced file by its tombstone, which checkpoints of the log drop after a
week, and by the file's age after that: a version replaced yesterday would lose files that were written long before.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

import polars as pl
import pyarrow as pa
from deltalake.exceptions import DeltaError

from laion_assets.delta.damage import damage_in
from laion_assets.delta.errors import LakeError
from laion_assets.delta.history import LakeHistory, TableHistory
from laion_assets.delta.lake import Lake, data_files
from laion_assets.delta.leftovers import left_over, oldest_live_step
from laion_assets.delta.pins import Pin, pins_of
from laion_assets.delta.published import FILES, Published
from laion_assets.delta.storage import StoredFile

UNFINISHED = "unfinished work"
"""The area of what steps that died left behind on this machine."""

LONGEST_WRITE = timedelta(days=1)
"""Between the first byte of a data file and its commit; also covers clocks that disagree."""

_FILES: dict[str, pl.DataType | type[pl.DataType]] = {
    "name": pl.String,
    "bytes": pl.Int64,
    "modified_at": pl.Datetime("us", "UTC"),
}

_LISTED_AT_ONCE = 20_000
_SCANNED_AT_ONCE = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionOptions:
    """What is kept that nothing needs any more, and when the rest is removed."""

    days: float = 30.0
    """Days for which a replaced version stays readable and a file that no row names stays, at least 1. A month is time
    to notice a mistake, and to go on with a training that was interrupted."""
    cron: str = "0 4 * * 0"
    """When the schedule `maintenance` runs, in UTC: as delivered on Sundays at four."""
    minutes: float = 120.0
    """Minutes after which a maintenance run stops; the next one goes on."""

    def __post_init__(self) -> None:
        if self.days < 1:
            raise ValueError(f"days: expected at least 1, since a write may take that long, found {self.days:g}")


@dataclass(frozen=True)
class Area:
    """One table, one folder of files beside the tables, or what lies in staging."""

    name: str
    kept: int = 0
    """Bytes that stay for the newest version, or because they are recent."""
    pinned: int = 0
    """Bytes that stay for pinned versions alone."""
    freed: int = 0
    """Bytes to be removed."""
    freed_files: int = 0
    note: str = ""
    """Why nothing was judged, if so."""


@dataclass(frozen=True, kw_only=True)
class RetentionPlan:
    """What is to be removed, and why the rest stays. Nothing was touched yet."""

    made_at: datetime
    since: datetime
    """Whatever could be read at this time or later stays."""
    running_since: datetime | None
    """When the oldest running step began; None: none runs."""
    pins: tuple[Pin, ...]
    areas: tuple[Area, ...]
    doomed: pl.DataFrame = field(repr=False)
    """Columns area, name, bytes and work, the work folder of a file beside the tables."""
    held: pl.DataFrame = field(repr=False)
    """Columns area and name: data files that stay for pinned versions alone."""
    replaced: pl.DataFrame = field(repr=False)
    """Columns area and name: data files that stay for versions alone that were replaced since."""
    names: "NamedFiles" = field(repr=False)

    @property
    def freed_bytes(self) -> int:
        """Bytes to be removed."""
        return sum(area.freed for area in self.areas)

    @property
    def freed_files(self) -> int:
        """Files to be removed."""
        return sum(area.freed_files for area in self.areas)


def plan_retention(
    lake: Lake,
    *,
    days: float = RetentionOptions().days,
    running_since: datetime | None = None,
    more_pins: Iterable[Pin] = (),
    let_go: Collection[str] = (),
    now: datetime | None = None,
) -> RetentionPlan:
    """Decide what may go.

    Args:
        lake: the lake, with the tables of its SQL models declared.
        days: how long replaced versions stay readable, and unnamed files.
        running_since: when the oldest step began that runs somewhere; this machine's own are found here.
        more_pins: versions that somebody else wants to stay.
        let_go: names of partitions whose sources need not stay.
        now: the present.

    Raises:
        LakeError: a data file that must stay cannot be read, and what it names is not known.
    """
    storage = lake.storage
    made_at = now or datetime.now(UTC)
    began = [t for t in (running_since, oldest_live_step(storage.scratch)) if t is not None]
    oldest = min(began, default=None)
    since = min([made_at, *began]) - timedelta(days=days)
    known = _readable(lake)
    asked = (p for p in more_pins if p.table in known.tables and 0 <= p.version <= known.of(p.table).version)
    pins = (*pins_of(known, since, let_go), *asked)
    names = NamedFiles(lake)
    judged = [_judge_table(known, names, table, since, pins) for table in known.tables]
    beside = _judge_files(lake, names, since)
    staged = left_over(storage.scratch, before=since - LONGEST_WRITE, fresh_before=made_at - LONGEST_WRITE)
    unfinished = Area(UNFINISHED, freed=sum(left.bytes for left in staged), freed_files=len(staged))
    everything = pl.concat([*(frame for _, frame in judged), beside], how="diagonal")
    return RetentionPlan(
        made_at=made_at,
        since=since,
        running_since=oldest,
        pins=tuple(dict.fromkeys(pins)),
        areas=(*(area for area, _ in judged), *_areas(beside), unfinished),
        doomed=everything.filter(pl.col("why") == "free").select("area", "name", "bytes", "work"),
        held=everything.filter((pl.col("why") == "pinned") & pl.col("work").is_null()).select("area", "name"),
        replaced=everything.filter("replaced").select("area", "name"),
        names=names,
    )


def _readable(lake: Lake) -> LakeHistory:
    known = LakeHistory(lake)
    for table in known.tables:
        try:
            known.of(table)
        except DeltaError as error:
            raise LakeError(f"the log of {table} cannot be read, so nothing is removed: {error}") from error
    return known


class NamedFiles:
    """The files beside the tables that rows name: every row of every data file that stays."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.published = Published(lake.catalogue)
        self._read: dict[str, tuple[int, frozenset[str]]] = {}
        self._units: dict[str, set[str]] = {"kept": set(), "pinned": set()}

    def take(self, table: str, version: int, files: pl.DataFrame) -> None:
        """Note what the files of a table name; columns name, why and certain: whether a version lists the file.

        Raises:
            LakeError: a file of a version cannot be read.
        """
        columns = self._columns(table)
        if not columns:
            return
        staying = files.filter(pl.col("why") != "free")
        for why, certain in (("pinned", True), ("kept", True), ("kept", False)):
            chosen = staying.filter((pl.col("why") == why) & (pl.col("certain") == certain))["name"].to_list()
            for column in columns:
                self._units[why] |= self._named(chosen, column, certain=certain)
        self._read[table] = (version, frozenset(staying["name"]))

    def refresh(self) -> None:
        """Note what was committed since."""
        for table, (version, known) in list(self._read.items()):
            newest = self._lake.opened(table)
            if newest.version() != version:
                fresh = sorted({*_live(self._lake, table, newest.version())} - known)
                for column in self._columns(table):
                    self._units["kept"] |= self._named(fresh, column, certain=True)
                self._read[table] = (newest.version(), known | {*fresh})

    def why(self, files: pl.DataFrame) -> pl.Series:
        """``kept`` or ``pinned`` where a row names the file's unit, else null. Needs the columns name and work."""
        units = files.select(pl.coalesce(pl.col("name").str.extract(self.published.archive), "work")).to_series()
        kept, pinned = self._units["kept"], self._units["pinned"]  # sets: polars would build a table for each batch
        found = ["kept" if unit in kept else "pinned" if unit in pinned else None for unit in units]
        return pl.Series("why", found, dtype=pl.String)

    def _columns(self, table: str) -> tuple[str, ...]:
        """The columns that name files; of tables that are not in the catalogue, those called like one of its."""
        declared = self._lake.catalogue.tables.get(table)
        if declared is not None:
            return tuple(column.name for column in declared.columns if column.file is not None)
        found = pa.schema(self._lake.opened(table).schema().to_arrow())
        texts = (pa.string(), pa.string_view())
        return tuple(f.name for f in found if f.name in self.published.columns and f.type in texts)

    def _named(self, files: list[str], column: str, *, certain: bool) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(files), _SCANNED_AT_ONCE):
            some = files[start : start + _SCANNED_AT_ONCE]
            try:
                found |= self._scan(some, column)
            except (pl.exceptions.PolarsError, OSError) as error:
                if certain:
                    told = damage_in(self._lake, error) or error
                    raise LakeError(
                        f"a data file cannot be read, and what it names is not known, so nothing is removed: {told}"
                    ) from error
                if len(some) > 1:  # one of them is not finished, or never will be
                    for name in some:
                        found |= self._named([name], column, certain=False)
        return found

    def _scan(self, files: list[str], column: str) -> set[str]:
        name = pl.col(column)
        named = (
            pl.scan_parquet(
                [self._lake.storage.address(file) for file in files],
                schema={column: pl.String},
                missing_columns="insert",
                extra_columns="ignore",
                hive_partitioning=False,
                storage_options=self._lake.storage.polars_options or None,
            )
            .unique()  # before anything is matched: thousands of rows name the same archive
            .collect(engine="streaming")
            .filter(name.str.starts_with(f"{FILES}/"))
        )
        work = name.str.extract(self.published.work)
        units = named.select(unit=pl.coalesce(name.str.extract(self.published.archive), work), work=work)
        return {*units["unit"].drop_nulls(), *units["work"].drop_nulls()}


def _judge_table(
    known: LakeHistory, names: NamedFiles, table: str, since: datetime, pins: Iterable[Pin]
) -> tuple[Area, pl.DataFrame]:
    history, own = known.of(table), [pin for pin in pins if pin.table == table]
    files = _listed(f for f in known.lake.storage.files(table) if _is_data(f.name.removeprefix(f"{table}/")))
    newest = _live(known.lake, table, history.version)
    current = [*newest]
    pinned: list[str] = []
    note = "" if table in known.lake.tables or history.commits or history.resets else "not written by laion: left alone"
    try:
        current += _live(known.lake, table, _newest_at(history, since))
        for version, partition in {(pin.version, pin.partition) for pin in own}:
            pinned += _live(known.lake, table, version, partition)
    except LakeError as error:
        note = f"left alone: {error}"
    is_young = pl.col("modified_at") >= since - LONGEST_WRITE
    judged = files.with_columns(
        area=pl.lit(table),
        work=pl.lit(None, pl.String),
        certain=pl.col("name").is_in([*current, *pinned]),
        why=pl.when(pl.col("name").is_in(current) | is_young | pl.lit(bool(note))).then(pl.lit("kept"))
        .when(pl.col("name").is_in(pinned)).then(pl.lit("pinned")).otherwise(pl.lit("free")),
    )  # fmt: skip
    names.take(table, history.version, judged)
    [area] = _areas(judged) or [Area(table)]
    judged = judged.with_columns(replaced=(pl.col("why") == "kept") & ~pl.col("name").is_in(newest))
    judged = judged.filter((pl.col("why") != "kept") | pl.col("replaced"))
    return (
        Area(table, area.kept, area.pinned, area.freed, area.freed_files, note),
        judged.select("area", "name", "bytes", "work", "why", "replaced"),
    )


def _newest_at(history: TableHistory, moment: datetime) -> int:
    """The version that was the newest at a moment, or the oldest there is.

    The files of all versions since are in it, in the newest one, or younger than that.
    """
    limit = moment.timestamp() * 1000
    first = next((entry.version for entry in history.entries if entry.timestamp_ms > limit), history.version + 1)
    return max(first - 1, history.entries[0].version if history.entries else 0)


def _live(lake: Lake, table: str, version: int, partition: str | None = None) -> list[str]:
    """The names of the data files of one version, of one of its partitions or all.

    Raises:
        LakeError: the log does not say any more.
    """
    try:
        delta = lake.opened(table, version)
        columns = () if partition is None else delta.metadata().partition_columns
        return [name for place, name, _ in data_files(table, delta, columns) if partition in (None, place)]
    except DeltaError as error:
        raise LakeError(f"version {version} of {table} cannot be read: {error}") from error


def _is_data(path: str) -> bool:
    # As Delta has it: what begins with an underscore or a dot is not the table's data.
    return path.endswith(".parquet") and not any(part.startswith(("_", ".")) for part in path.split("/"))


def _judge_files(lake: Lake, names: NamedFiles, since: datetime) -> pl.DataFrame:
    """The files beside the tables. Those outside of work folders were put there by people."""
    files = _listed(lake.storage.files(FILES)).with_columns(work=pl.col("name").str.extract(names.published.work))
    parts = pl.col("name").str.split("/").list.head(2).list.join("/")
    newest = pl.col("modified_at").max().over("work")  # work goes on where anything is young
    return files.select(
        "name", "bytes", "work",
        area=parts,
        why=pl.when(pl.col("work").is_null() | (newest >= since - LONGEST_WRITE)).then(pl.lit("kept"))
        .otherwise(names.why(files).fill_null("free")),
    ).select("area", "name", "bytes", "work", "why")  # fmt: skip


def _areas(files: pl.DataFrame) -> list[Area]:
    def size(why: str) -> pl.Expr:
        return pl.col("bytes").filter(pl.col("why") == why).sum()

    grouped = files.group_by("area", maintain_order=True).agg(
        size("kept").alias("kept"),
        size("pinned").alias("pinned"),
        size("free").alias("freed"),
        (pl.col("why") == "free").sum().alias("freed_files"),
    )
    return [Area(*row) for row in grouped.sort("area").iter_rows()]


def _listed(files: Iterable[StoredFile]) -> pl.DataFrame:
    rest, parts = iter(files), [pl.DataFrame(schema=_FILES)]
    while some := [(f.name, f.bytes, f.modified_at) for f in islice(rest, _LISTED_AT_ONCE)]:
        parts.append(pl.DataFrame(some, schema=_FILES, orient="row"))
    return pl.concat(parts)
