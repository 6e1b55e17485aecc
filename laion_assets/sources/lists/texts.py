"""Lists that are texts, CSV and TSV and JSON lines: read from the beginning on, a block at a time."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.json as arrow_json

from laion_assets.sources.lists.batches import BAD, EXPECTED, numbered, one_line
from laion_assets.sources.lists.errors import ListError
from laion_assets.sources.lists.streams import Files

HEAD_BYTES = 1 << 18
"""So much of a list is looked at to find out how it is written."""
_BLOCK_BYTES = 1 << 23
_SAMPLED = 100
_URL = re.compile(r"\s*https?://", re.IGNORECASE)


@dataclass
class _Streamed:
    """A list that can only be read from the beginning on; it remembers how far it came."""

    files: Files
    uri: str
    compression: str
    _open: "tuple[tuple[str, ...], Iterator[pa.RecordBatch]] | None" = field(default=None, init=False)
    _left: list[pa.RecordBatch] = field(default_factory=list, init=False)
    _place: int = field(default=0, init=False)

    def read(self, columns: Sequence[str], first: int, count: int | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """See :class:`ListReader`."""
        end = None if count is None else first + count
        if self._open is None or self._open[0] != tuple(columns) or first < self._place:
            self._open, self._left, self._place = (tuple(columns), self.batches(columns)), [], 0
        while end is None or self._place < end:
            batch = self._left.pop() if self._left else next(self._open[1], None)
            if batch is None:
                return
            start = max(first - self._place, 0)
            stop = batch.num_rows if end is None else min(end - self._place, batch.num_rows)
            if stop < batch.num_rows:
                self._left = [batch.slice(stop)]
            self._place += stop
            for at in range(start, stop, batch_rows):
                yield batch.slice(at, min(batch_rows, stop - at))

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All rows, a block at a time."""
        raise NotImplementedError

    def close(self) -> None:
        """See :class:`ListReader`."""
        self._open = None


class TextList(_Streamed):
    """CSV or TSV, with a header or, where the first row holds a url, without."""

    def __init__(self, files: Files, uri: str, compression: str, head: bytes, format_: str | None) -> None:
        super().__init__(files, uri, compression)
        text = head.decode("utf-8-sig", "replace")
        lines = re.split(r"\r\n|\n|\r", text)
        if len(head) == HEAD_BYTES:
            lines = lines[:-1] or lines
        self._delimiter = "\t" if format_ == "tsv" else max(",\t;|", key=lines[0].count)
        self.format = format_ or ("tsv" if self._delimiter == "\t" else "csv")
        self._quoted = self._delimiter != "\t" or _is_quoted(lines)
        rows = list(_parsed(lines, self._delimiter, quoted=self._quoted))
        if not rows or (len(rows[0]) < 2 and format_ is None):
            raise ListError(f"{uri} is none of these: {EXPECTED}; its first line is {lines[0][:60]!r}")
        self._has_header = not any(_URL.match(cell) for cell in rows[0])
        names = [cell.strip() for cell in rows[0]] if self._has_header else [str(n) for n in range(len(rows[0]))]
        if len({*names}) < len(names):
            raise ListError(f"{uri} has several columns of one name: {', '.join(names)}")
        if not self._has_header:
            names = _guessed(names, rows[0])
        self._names = names
        self.columns: dict[str, pa.DataType] = dict.fromkeys(names, pa.string())
        body = [row for row in rows[self._has_header :][:_SAMPLED] if len(row) == len(names)]
        self.sample = {name: [row[n] or None for row in body] for n, name in enumerate(names)}
        self.row_groups: list[int] | None = None

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """See :class:`_Streamed`."""
        places = [str(self._names.index(name)) for name in columns]
        bad: list[int] = []
        first = 1 + self._has_header  # Arrow counts rows from 1, the header among them, and passes over blank lines

        def note(row: Any) -> str:
            bad.append(row.number - first)
            return "skip"

        with self.files.plain(self.uri, self.compression) as stream:
            try:
                reader = arrow_csv.open_csv(
                    stream,
                    read_options=arrow_csv.ReadOptions(
                        use_threads=False, block_size=_BLOCK_BYTES, skip_rows=int(self._has_header),
                        column_names=[str(n) for n in range(len(self._names))],
                    ),
                    parse_options=arrow_csv.ParseOptions(
                        delimiter=self._delimiter, quote_char='"' if self._quoted else False,
                        newlines_in_values=self._quoted, invalid_row_handler=note,
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types=dict.fromkeys(places, pa.binary()), include_columns=list(dict.fromkeys(places)),
                        strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=True,
                    ),
                )  # fmt: skip
                place = 0
                for batch in reader:
                    chosen = pa.RecordBatch.from_arrays([batch.column(p) for p in places], list(columns))
                    yield (read := _with_bad(chosen, place, bad))
                    place += read.num_rows
                if len(bad):  # behind the last good row
                    yield _with_bad(chosen.slice(0, 0), place, bad, to=max(bad) + 1)
            except pa.ArrowInvalid as error:
                raise ListError(f"{self.uri} cannot be read as {self.format}: {one_line(error)}") from error


class JsonList(_Streamed):
    """JSON lines: an object a line."""

    format = "jsonl"

    def __init__(self, files: Files, uri: str, compression: str, head: bytes) -> None:
        super().__init__(files, uri, compression)
        lines = head.removeprefix(b"\xef\xbb\xbf").splitlines()
        if len(head) == HEAD_BYTES:
            lines = lines[:-1] or lines
        rows = [row for line in lines[: 10 * _SAMPLED] if (row := _object(line)) is not None]
        if not rows:
            raise ListError(f"{uri} is none of these: {EXPECTED}; its first line is {lines[0][:60]!r}")
        self.columns: dict[str, pa.DataType] = {}
        for name in dict.fromkeys(name for row in rows for name in row):
            self.columns[name] = _json_type([row[name] for row in rows if row.get(name) is not None])
        self.sample = {name: [row.get(name) for row in rows[:_SAMPLED]] for name in self.columns}
        self.row_groups: list[int] | None = None

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """See :class:`_Streamed`."""
        types = {name: self.columns[name] for name in columns}
        binary = {name: pa.binary() if pa.types.is_string(type_) else type_ for name, type_ in types.items()}
        schema, place = pa.schema(list(binary.items())), 0
        with self.files.plain(self.uri, self.compression) as stream:
            for block in _blocks(stream):
                lines = [line for line in block.splitlines() if line.strip()]
                if lines:
                    yield numbered(_json_rows(lines, schema), np.arange(place, place + len(lines)))
                    place += len(lines)


def _with_bad(batch: pa.RecordBatch, place: int, bad: list[int], *, to: int | None = None) -> pa.RecordBatch:
    """A batch with the bad rows that stand among its rows, and the numbers of all. ``bad`` loses those."""
    end = place + batch.num_rows
    while to is None and (wider := place + batch.num_rows + sum(number < end for number in bad)) != end:
        end = wider
    end = end if to is None else to
    numbers = np.arange(place, end)
    here = [number for number in bad if number < end]
    bad[:] = [number for number in bad if number >= end]
    if not here:
        return numbered(batch, numbers)
    is_bad = np.isin(numbers, here)
    taken = batch.take(pa.array(np.cumsum(~is_bad) - 1, pa.int64(), mask=is_bad))
    return numbered(taken.append_column(BAD, pa.array(is_bad)), numbers)


def _is_quoted(lines: Sequence[str]) -> bool:
    """Whether cells of a file with tabs are quoted: every one that begins with a quote ends with one."""
    cells = [cell for line in lines for cell in line.split("\t") if cell.startswith('"')]
    return bool(cells) and all(len(cell) > 1 and cell.endswith('"') for cell in cells)


def _parsed(lines: Sequence[str], delimiter: str, *, quoted: bool) -> Iterator[list[str]]:
    text = io.StringIO("\n".join(lines) + "\n", newline="")
    how: dict[str, Any] = {"quotechar": '"'} if quoted else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    try:
        yield from (row for row in csv.reader(text, delimiter=delimiter, **how) if row)
    except csv.Error:
        return


def _guessed(names: list[str], row: Sequence[str]) -> list[str]:
    """Names for the columns of a list without a header: of two, one is the url and the other the text."""
    urls = [n for n, cell in enumerate(row) if _URL.match(cell)]
    if len(names) == 2 and len(urls) == 1:
        return ["url", "text"] if urls == [0] else ["text", "url"]
    return names


def _blocks(stream: pa.NativeFile) -> Iterator[bytes]:
    """Whole lines, a few megabytes at a time."""
    left = b""
    while chunk := stream.read(_BLOCK_BYTES):
        whole, newline, rest = (left + chunk).rpartition(b"\n")
        left = rest
        if newline:
            yield whole
    if left:
        yield left


def _json_rows(lines: Sequence[bytes], schema: pa.Schema) -> pa.RecordBatch:
    options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        block = b"\n".join(lines)
        read = arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        table = arrow_json.read_json(pa.BufferReader(block), read, options).select(schema.names)
        if table.num_rows == len(lines):
            return table.combine_chunks().to_batches()[0]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    return _json_rows_one_by_one(lines, schema)


def _json_rows_one_by_one(lines: Sequence[bytes], schema: pa.Schema) -> pa.RecordBatch:
    """The rows of a block in which a line is no object, or a value not of its column's type."""
    rows = [_object(line) for line in lines]
    arrays = [pa.array([_fitting((row or {}).get(f.name), f.type) for row in rows], f.type) for f in schema]
    bad = pa.array([row is None for row in rows])
    return pa.RecordBatch.from_arrays([*arrays, bad], [*schema.names, BAD])


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line.decode("utf-8", "surrogateescape"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _fitting(value: Any, type_: pa.DataType) -> Any:
    if value is None or isinstance(value, list | dict):
        return None
    if pa.types.is_binary(type_):
        text = value if isinstance(value, str) else json.dumps(value)
        return text.encode("utf-8", "surrogateescape" if not _has_lone_surrogates(text) else "replace")
    try:
        return int(value) if pa.types.is_integer(type_) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _has_lone_surrogates(text: str) -> bool:
    """Whether a text has surrogates that stand for no byte: an escape of half a character."""
    return any("\ud800" <= c <= "\udfff" and not "\udc80" <= c <= "\udcff" for c in text)


def _json_type(values: Sequence[Any]) -> pa.DataType:
    kinds = {type(value) for value in values}
    if kinds and kinds <= {int} and all(-(2**63) <= value < 2**63 for value in values):
        return pa.int64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    if kinds & {list, dict}:
        return pa.struct([])
    return pa.bool_() if kinds == {bool} else pa.string()
