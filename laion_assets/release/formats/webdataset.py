"""The pictures: webdataset tars in img2dataset's layout, each with its Parquet and its statistics beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
import pyarrow as pa

from laion_assets.common.files import write_file
from laion_assets.release.facts import ReleaseFacts
from laion_assets.release.formats.files import ParquetFile, part_name, pieces
from laion_assets.release.parts import Part, ReleasedFile, ReleaseError
from laion_assets.webdataset.reader import TarReader
from laion_assets.webdataset.samples import pictures_of
from laion_assets.webdataset.writer import write_samples

FOLDER: Final = "webdataset"
SIZES: Final = "sizes.json"
"""How many samples each tar has: open_clip and others read it to know how long an epoch is."""

_MOST_TARS: Final = 1_000  # of a part: three digits of a tar's name

_IMG2DATASET: Final = (
    ("url", pa.string()),
    ("caption", pa.string()),
    ("key", pa.string()),
    ("status", pa.string()),
    ("error_message", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("original_width", pa.int32()),
    ("original_height", pa.int32()),
    ("exif", pa.string()),
    ("sha256", pa.string()),
)
_ALWAYS: Final = frozenset(name for name, _ in _IMG2DATASET)
_OURS: Final = (
    ("pair_id", pa.int64()),
    ("language", pa.string()),
    ("subset", pa.string()),
    ("similarity", pa.float64()),
    ("license", pa.string()),
    ("punsafe", pa.float32()),
    ("pwatermark", pa.float32()),
    ("aesthetic_score", pa.float32()),
    ("page_url", pa.string()),
    ("crawl", pa.string()),
    ("policy", pa.string()),
    ("threshold", pa.float32()),
    ("encoder", pa.string()),
    ("encoder_sha256", pa.string()),
)

SCHEMA: Final = pa.schema([*_IMG2DATASET, *_OURS])
"""Columns of the Parquet beside a tar: img2dataset's, then ours."""


@dataclass(frozen=True)
class Webdataset:
    """``webdataset/NNNNNNNNN.tar``, ``….parquet`` and ``…_stats.json``.

    A tar's name is its part's number and its own among those of the part, a sample's key the tar's name and the
    sample's number in it: unique over the release, and the same in a later release with more crawls. Pictures are the
    bytes that the lake stored. A tar holds pictures of one type: ``datasets`` takes the types of the first five samples
    for those of all. For the same reason a sample's JSON leaves out what is not known of it, rather than call it null.
    """

    name: str = "webdataset"
    code_version: str = "1"
    needs_embeddings: bool = False
    needs_pictures: bool = True
    samples_per_tar: int = 10_000
    """Most samples of a tar."""
    bytes_per_tar: int = 2**30
    """Most bytes of a tar's pictures, where more than one is in it."""

    def write_part(self, part: Part, folder: Path) -> None:
        """Write the tars of a part; none where it has no rows.

        Raises:
            ReleaseError: a picture is missing, or the part has more tars than names.
            TarError: a source tar is absent or damaged.
        """
        places = _places(part)
        number = 0
        for extension in places["extension"].unique().sort():
            rows = _rows(part, places.filter(extension=extension))
            for samples in _cut(rows, self.samples_per_tar, self.bytes_per_tar):
                if number == _MOST_TARS:
                    raise ReleaseError(
                        f"bucket {part.bucket} of {part.crawl} gives more than {_MOST_TARS:,} tars; "
                        "expected fewer: release fewer rows of it, or from a lake with more buckets"
                    )
                tar = folder / FOLDER / f"{part_name(part.number)}{number:03d}.tar"
                tar.parent.mkdir(parents=True, exist_ok=True)
                _write_tar(tar, samples, part.tars)
                number += 1

    def write_whole(self, facts: ReleaseFacts, files: Sequence[ReleasedFile], folder: Path) -> None:  # noqa: ARG002
        """Write how many samples each tar has."""
        tables = [Path(file.path) for file in files]
        sizes = {
            path.with_suffix(".tar").name: file.rows
            for path, file in zip(tables, files, strict=True)
            if path.parts[0] == FOLDER and path.suffix == ".parquet"
        }
        if sizes:
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            write_file(folder / FOLDER / SIZES, msgspec.json.format(msgspec.json.encode(sizes, order="sorted")) + b"\n")


def _places(part: Part) -> pl.DataFrame:
    """Where every picture of the part's tars lies; headers alone are read."""
    schema = {"sample_key": pl.String, "offset": pl.Int64, "size": pl.Int64, "extension": pl.String}
    frames = [pl.DataFrame(schema={"shard_path": pl.String, **schema})]
    for shard_path, tar in sorted(part.tars.items()):
        found = pl.DataFrame([(key, *place) for key, place in pictures_of(tar).items()], schema=schema, orient="row")
        frames.append(found.select(pl.lit(shard_path).alias("shard_path"), pl.all()))
    places = pl.concat(frames)
    wanted = pl.scan_parquet(part.rows).select("pair_id", "shard_path", "sample_key")
    lost = wanted.join(places.lazy(), on=["shard_path", "sample_key"], how="anti").select(
        pl.len(), pl.min("pair_id")
    ).collect().row(0)  # fmt: skip
    if lost[0]:
        raise ReleaseError(
            f"{lost[0]:,} pairs of bucket {part.bucket} of {part.crawl} have no picture in the tars that they name, "
            f"pair {lost[1]} among them; download the bucket again, or release links only"
        )
    used = places.lazy().join(wanted, on=["shard_path", "sample_key"], how="semi")
    return used.collect()


def _rows(part: Part, places: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows whose pictures lie at these places, in order, with their places."""
    for table in pieces(part.rows, rows=16_384):
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        yield frame.join(places, on=["shard_path", "sample_key"], how="inner", maintain_order="left")


def _cut(frames: Iterator[pl.DataFrame], most: int, most_bytes: int) -> Iterator[pl.DataFrame]:
    """The same rows, those of one tar at a time."""
    waiting: pl.DataFrame | None = None
    for frame in frames:
        waiting = frame if waiting is None else waiting.vstack(frame)
        while (taken := _fitting(waiting, most, most_bytes)) < waiting.height:
            yield waiting.head(taken)
            waiting = waiting.tail(-taken)
    if waiting is not None and waiting.height:
        yield waiting


def _fitting(frame: pl.DataFrame, most: int, most_bytes: int) -> int:
    """How many of the first rows go into one tar."""
    fitting = int((frame["size"].cum_sum() <= most_bytes).sum())
    return min(max(fitting, 1), most)


def _write_tar(tar: Path, rows: pl.DataFrame, sources: Mapping[str, Path]) -> None:
    """Write a tar and what lies beside it."""
    width = pl.coalesce("original_width", "width")
    height = pl.coalesce("original_height", "height")
    described = rows.with_columns(
        pl.col("text").alias("caption"),
        pl.format("{}{}", pl.lit(tar.stem), pl.int_range(pl.len()).cast(pl.String).str.zfill(4)).alias("key"),
        pl.lit("success").alias("status"),
        pl.lit(None, dtype=pl.String).alias("error_message"),
        pl.col("exif").fill_null("{}"),  # what img2dataset says of a picture without tags
        original_width=width,
        original_height=height,
    )
    with ParquetFile(tar.with_suffix(".parquet"), SCHEMA) as beside:
        beside.write(described.select(SCHEMA.names).to_arrow())
    told = described.select(SCHEMA.names)
    where = described.select("shard_path", "offset", "size", "extension")
    write_samples(tar, _samples(told, where, sources))
    statistics = {
        "count": rows.height,
        "successes": rows.height,
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "duration": 0.0,  # no clock: the same rows give the same bytes
        "start_time": 0.0,
        "end_time": 0.0,
        "status_dict": {"success": rows.height},
        "encode_format": rows["extension"][0],
    }
    write_file(tar.with_name(f"{tar.stem}_stats.json"), msgspec.json.format(msgspec.json.encode(statistics), indent=4))


def _samples(
    told: pl.DataFrame, where: pl.DataFrame, sources: Mapping[str, Path]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    for fields, (shard_path, offset, size, extension) in zip(
        told.iter_rows(named=True), where.iter_rows(), strict=True
    ):
        with TarReader(sources[shard_path]) as source:
            picture = source.read(offset, size)
        yield fields["key"], {extension: picture, "json": _json(fields), "txt": fields["caption"].encode()}


def _json(fields: dict[str, Any]) -> bytes:
    known = {name: value for name, value in fields.items() if value is not None or name in _ALWAYS}
    return msgspec.json.format(msgspec.json.encode(known), indent=4)
