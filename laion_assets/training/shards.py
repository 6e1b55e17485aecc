"""From arranged pairs to shards: webdataset tars as open_clip_train reads them, or lists of what lies in other tars.

A shard appears by rename, with a record of what it holds beside it; ``sizes.json`` comes last. What was finished before
the process died is taken over by the next run, if it answers the same samples and is undamaged.
"""

# Names of views and files, numbers and quoted literals, never other values, are put into SQL here.

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Final, TypedDict

import duckdb
import msgspec
import polars as pl
import polars.selectors as cs

from laion_assets.common.digests import file_sha256
from laion_assets.common.duck import quoted, temporary_tables
from laion_assets.common.files import UNFINISHED, BrokenFile, fresh_path, put_into_place, write_file
from laion_assets.common.locks import locked
from laion_assets.training.arrangement import PLACE_COLUMNS, SPLITS, Arrangement
from laion_assets.training.errors import TrainingError
from laion_assets.training.virtual import SUFFIX, Place, write_virtual
from laion_assets.webdataset.reader import TarError, TarReader
from laion_assets.webdataset.samples import pictures_of
from laion_assets.webdataset.writer import member, member_size, tar_size, write_at

_FORMAT_VERSION: Final = 1
_NOT_IN_JSON: Final = ("text", "shard_path", "sample_key", *PLACE_COLUMNS)
_HASHING_THREADS: Final = min(8, os.cpu_count() or 1)


class ShardError(TrainingError, BrokenFile):
    """Shards, or the tars that they are made of, are not as they should be. The message names one and what to do."""


class ShardRow(TypedDict):
    """One finished shard."""

    split: str
    """``train`` or ``validation``."""
    shard_path: str
    """The tar, or the list of a virtual shard, relative to the folder that was named."""
    samples: int
    unique_images: int
    """Distinct sha256 among the samples."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Of the file, in hex."""


def write_shards(
    connection: duckdb.DuckDBPyConnection,
    arrangement: Arrangement,
    *,
    root: Path,
    output: Path,
    relative_to: Path,
    virtual: bool = False,
    provenance: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[ShardRow]:
    """Write every shard of an arrangement: ``<output>/<split>/00000.tar`` and on, with ``sizes.json`` beside them.

    Virtual shards are lists, ``00000.parquet`` and on, for :func:`laion_assets.training.virtual.read_virtual`: no other
    reader knows them, and there is no ``sizes.json``.

    A sample has three members: ``<pair_id>.<jpg|png|webp>``, the bytes of the stored picture; ``<pair_id>.txt``, the
    text; ``<pair_id>.json``, every other column of the pair and the provenance, keys sorted, NaN and infinities as
    null, times in UTC as ISO 8601. Equal inputs give equal bytes. Nothing is written before the first ``next``, and
    ``sizes.json`` only when the iterator is exhausted.

    Source tars are scanned once, headers only; for each shard its pictures are read in the order in which they lie,
    one tar open at a time. Memory: the rows of two shards, without their pictures.

    Args:
        connection: A DuckDB connection; temporary tables named ``_shards_…`` are made and dropped.
        arrangement: What ``arrange`` gave; its files must still be there.
        root: Folder that the pairs' ``shard_path`` is relative to.
        output: Folder for the splits; made if absent. Shards of other arrangements there are replaced or removed.
        relative_to: Folder that the ``shard_path`` of the rows is relative to.
        virtual: Write no pictures, but where they lie.
        provenance: Fields for the JSON of all samples, such as the recipe's name.
        progress: Called with the number of samples done since the last call.

    Yields:
        One row for each shard, by split and number, once it is in place.

    Raises:
        ShardError: A source tar is absent or damaged or lacks a picture, or another process writes to ``output``.
        ValueError: The provenance has the name of a column.
        OSError: A shard cannot be written, such as for lack of space.
    """
    job = _Job(
        connection=connection,
        arrangement=arrangement,
        root=root,
        output=output.absolute(),
        relative_to=relative_to.absolute(),
        virtual=virtual,
        provenance=dict(provenance or {}),
        progress=progress or (lambda _: None),
    )
    job.check_names()
    return job.run()


def verify_shards(rows: Iterable[ShardRow], relative_to: Path) -> None:
    """Make sure that every shard is there and has the bytes that its row says; reads all of them, in threads.

    Raises:
        ShardError: Some are missing, have another size, or are corrupt. The message names them all.
    """

    def check(row: ShardRow) -> str | None:
        return _fault(relative_to / row["shard_path"], row["bytes"], row["sha256"])

    with ThreadPoolExecutor(_HASHING_THREADS, "verify") as pool:
        faults = list(filter(None, pool.map(check, rows)))
    if faults:
        raise ShardError(f"{len(faults)} shards are not as written; write them again: {'; '.join(faults)}")


class _Record(TypedDict):
    """What lies beside a shard."""

    samples: int
    unique_images: int
    bytes: int
    sha256: str
    request: str
    """Of the samples that the shard holds: ``_Samples.request``."""


@dataclass(frozen=True, slots=True)
class _Shard:
    split: str
    number: int
    file: Path

    @property
    def record(self) -> Path:
        return self.file.with_suffix(".json")


@dataclass(frozen=True, slots=True)
class _Samples:
    """The samples of one shard, in order."""

    keys: list[int]
    texts: list[bytes]
    jsons: list[bytes]
    unique_images: int
    request: str
    """Digest of all that decides the bytes of the shard."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    connection: duckdb.DuckDBPyConnection
    arrangement: Arrangement
    root: Path
    output: Path
    relative_to: Path
    virtual: bool
    provenance: dict[str, str]
    progress: Callable[[int], None]

    def check_names(self) -> None:
        columns = pl.read_parquet_schema(self.arrangement.file(SPLITS[0]))
        if taken := sorted(self.provenance.keys() & columns.keys()):
            raise ValueError(f"provenance has names of columns of the pairs; rename {taken}")

    def run(self) -> Iterator[ShardRow]:
        self.output.mkdir(parents=True, exist_ok=True)
        with _only_writer(self.output):
            for split in SPLITS:
                try:
                    for row in self._write_split(split):
                        self.progress(row["samples"])
                        yield row
                except TarError as error:
                    raise ShardError(f"{error}; download its partition again") from error

    def _write_split(self, split: str) -> Iterator[ShardRow]:
        folder = self.output / split
        shards = [
            _Shard(split, number, folder / f"{number:05d}{SUFFIX if self.virtual else '.tar'}")
            for number in range(self.arrangement.shards(split))
        ]
        if not shards and not folder.exists():
            return
        folder.mkdir(exist_ok=True)
        _clear(folder, shards)
        finished = {shard.number: row for shard in shards if (row := self._taken_over(shard))}
        unfinished = [shard for shard in shards if shard.number not in finished]
        with temporary_tables(self.connection, "_shards_pictures", "_shards_places"):
            self._find_pictures(split, [shard.number for shard in unfinished])
            written = self._write(unfinished)
            for shard in shards:
                yield finished.get(shard.number) or next(written)
        if not self.virtual:
            sizes = {shard.file.name: self.arrangement.samples_per_shard for shard in shards}
            write_file(folder / "sizes.json", msgspec.json.encode(sizes), durable=True)

    def _taken_over(self, shard: _Shard) -> ShardRow | None:
        """The row of a shard that an earlier run finished with the same samples, if it is undamaged."""
        try:
            record = msgspec.json.decode(shard.record.read_bytes(), type=_Record)
        except (OSError, msgspec.DecodeError):
            return None
        if record["request"] != self._samples(shard).request or _fault(shard.file, record["bytes"], record["sha256"]):
            return None
        return self._row(shard, record)

    def _row(self, shard: _Shard, record: _Record) -> ShardRow:
        return ShardRow(
            split=shard.split,
            shard_path=shard.file.relative_to(self.relative_to).as_posix(),
            samples=record["samples"],
            unique_images=record["unique_images"],
            bytes=record["bytes"],
            sha256=record["sha256"],
        )

    def _find_pictures(self, split: str, shards: list[int]) -> None:
        """Find the picture of every sample of these shards: ``_shards_places``, one row a sample."""
        if not shards:
            return
        samples = f"(FROM {self._table(split)} WHERE _shard IN (SELECT unnest($shards)))"
        connection, wanted = self.connection, {"shards": shards}
        sources = connection.execute(f"SELECT DISTINCT shard_path FROM {samples} ORDER BY 1", wanted).fetchall()
        self._scan([str(source) for (source,) in sources])
        connection.execute(
            f"""
            CREATE TEMP TABLE _shards_places AS
            SELECT _shard, _number, shard_path, sample_key, start, size, extension
            FROM {samples} LEFT JOIN _shards_pictures USING (shard_path, sample_key) ORDER BY _number""",
            wanted,
        )
        missing = connection.execute("""
            SELECT shard_path, min(sample_key), count(DISTINCT sample_key)
            FROM _shards_places WHERE start IS NULL GROUP BY shard_path ORDER BY shard_path LIMIT 1""").fetchone()
        if missing:
            raise ShardError(
                f"{self.root / missing[0]} lacks the pictures of {missing[2]} sample keys, {missing[1]} among them; "
                "download its partition again"
            )

    def _scan(self, sources: list[str]) -> None:
        """Put every picture of the source tars into ``_shards_pictures``."""
        self.connection.execute("""
            CREATE TEMP TABLE _shards_pictures
            (shard_path VARCHAR, sample_key VARCHAR, start BIGINT, size BIGINT, extension VARCHAR)""")
        schema = {"sample_key": pl.String, "start": pl.Int64, "size": pl.Int64, "extension": pl.String}
        for source in sources:
            pictures = pictures_of(self.root / source)
            found = pl.DataFrame([(key, *place) for key, place in pictures.items()], schema=schema, orient="row")
            self.connection.register("_shards_scanned", found)
            self.connection.execute("INSERT INTO _shards_pictures SELECT ?, * FROM _shards_scanned", [source])
            self.connection.unregister("_shards_scanned")

    def _write(self, shards: list[_Shard]) -> Iterator[ShardRow]:
        """Write shards; one is hashed and put into place while the next is written."""
        with ThreadPoolExecutor(1, "finish") as behind:
            before: Future[ShardRow] | None = None
            for shard in shards:
                samples = self._samples(shard)
                fresh = self._fill(shard, samples)
                if before is not None:
                    yield before.result()
                before = behind.submit(self._finish, shard, fresh, samples)
            if before is not None:
                yield before.result()

    def _samples(self, shard: _Shard) -> _Samples:
        query = f"SELECT * FROM {self._table(shard.split)} WHERE _shard = {shard.number} ORDER BY _number"
        rows = self.connection.execute(query).pl().with_columns(cs.datetime(time_zone="*").dt.convert_time_zone("UTC"))
        fields = rows.select(pl.exclude(_NOT_IN_JSON)).iter_rows(named=True)
        jsons = [msgspec.json.encode(row | self.provenance, order="sorted") for row in fields]
        request = hashlib.sha256(b"%d\n" % _FORMAT_VERSION)
        places = rows.select("pair_id", "shard_path", "sample_key", "text").iter_rows()
        for place, fields_of_it in zip(places, jsons, strict=True):
            request.update(b"%b %b\n" % (msgspec.json.encode(place), fields_of_it))
        return _Samples(
            keys=rows["pair_id"].to_list(),
            texts=[text.encode() for text in rows["text"]],
            jsons=jsons,
            unique_images=rows["sha256"].n_unique(),
            request=request.hexdigest(),
        )

    def _fill(self, shard: _Shard, samples: _Samples) -> Path:
        """Write the samples to a file beside the shard, in the order in which their pictures lie."""
        found = self.connection.execute(f"""
            SELECT shard_path, start, size, extension FROM _shards_places WHERE _shard = {shard.number}
            ORDER BY _number""").fetchall()
        places = [Place(*place) for place in found]
        fresh = fresh_path(shard.file)
        if self.virtual:
            write_virtual(fresh, self.root, samples.keys, places, samples.texts)
        else:
            self._copy(fresh, samples, places)
        return fresh

    def _copy(self, fresh: Path, samples: _Samples, places: list[Place]) -> None:
        lengths = (
            member_size(place.size) + member_size(len(text)) + member_size(len(fields))
            for place, text, fields in zip(places, samples.texts, samples.jsons, strict=True)
        )
        *starts, end = accumulate(lengths, initial=0)
        with fresh.open("wb") as file:
            order = sorted(range(len(places)), key=lambda number: places[number][:2])
            for source, numbers in groupby(order, key=lambda number: places[number][0]):
                with TarReader(self.root / source) as tar:
                    for number in numbers:
                        _, start, size, extension = places[number]
                        key = samples.keys[number]
                        picture = member(f"{key}.{extension}", tar.read(start, size))
                        text = member(f"{key}.txt", samples.texts[number])
                        fields = member(f"{key}.json", samples.jsons[number])
                        write_at(file.fileno(), picture + text + fields, starts[number])
            file.truncate(tar_size(end))

    def _finish(self, shard: _Shard, fresh: Path, samples: _Samples) -> ShardRow:
        """Put a written shard into place, and its record after it."""
        record = _Record(
            samples=len(samples.keys),
            unique_images=samples.unique_images,
            bytes=fresh.stat().st_size,
            sha256=file_sha256(fresh),
            request=samples.request,
        )
        put_into_place(fresh, shard.file, durable=True)
        write_file(shard.record, msgspec.json.encode(record), durable=True)
        return self._row(shard, record)

    def _table(self, split: str) -> str:
        return f"read_parquet({quoted(self.arrangement.file(split))})"


def _clear(folder: Path, shards: list[_Shard]) -> None:
    """Remove what does not belong to these shards or was not finished, and the sizes, which are written last."""
    wanted = {path.name for shard in shards for path in (shard.file, shard.record)}
    for path in folder.iterdir():
        numbered = path.stem.isdecimal() and path.suffix in (".tar", ".json", SUFFIX) and path.name not in wanted
        if numbered or path.name.endswith(UNFINISHED) or path.name == "sizes.json":
            path.unlink()


def _fault(tar: Path, size: int, sha256: str) -> str | None:
    """What is the matter with a tar that should have this size and digest, if anything is."""
    try:
        found = tar.stat().st_size
        if found != size:
            return f"{tar} has {found} bytes instead of {size}"
        if file_sha256(tar) != sha256:
            return f"{tar} is corrupt: its sha256 differs"
    except FileNotFoundError:
        return f"{tar} is missing"
    except OSError as error:
        return f"{tar} cannot be read: {error.strerror}"
    return None


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    with locked(folder) as lock:
        if lock is None:
            raise ShardError(f"another process writes shards to {folder}; wait for it or end it")
        yield
