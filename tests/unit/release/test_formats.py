"""The files of a part: always the same bytes and names, bounded, and an error where a part lacks what is needed."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_assets.release.formats import files, webdataset
from laion_assets.release.formats.card import front_matter
from laion_assets.release.formats.clip_retrieval import ClipRetrieval
from laion_assets.release.formats.croissant import describe
from laion_assets.release.formats.huggingface import HuggingFace
from laion_assets.release.formats.laion import LaionParquet
from laion_assets.release.formats.webdataset import Webdataset
from laion_assets.release.parts import EMBEDDING_COLUMNS, RELEASED_COLUMNS, Part, ReleaseError
from laion_assets.webdataset.reader import TarReader
from tests.integration.release.made_parts import facts_of, made_parts

FORMATS = (HuggingFace(), Webdataset(samples_per_tar=10), ClipRetrieval())


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Part, ...]:
    return made_parts(tmp_path_factory.mktemp("parts"), "http://127.0.0.1:1")[0]


def written(part: Part, folder: Path, *formats) -> dict[str, bytes]:
    for form in formats or FORMATS:
        form.write_part(part, folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(part: Part, folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame], **others) -> Part:
    """A part whose rows were changed."""
    path = folder / "changed.parquet"
    pq.write_table(change(pl.read_parquet(part.rows)).to_arrow().cast(RELEASED_COLUMNS), path, row_group_size=3)
    return replace(part, rows=path, **others)


def test_a_part_gives_the_same_bytes_and_names_in_a_larger_release_however_its_rows_were_stored(parts, tmp_path):
    first = written(parts[1], tmp_path / "first")
    again = changed(parts[1], tmp_path, lambda rows: rows, parts=4_000)
    assert written(again, tmp_path / "again") == first
    assert set(first) & set(written(parts[0], tmp_path / "other")) == set()
    assert {name.partition("/")[0] for name in first} == {"data", "webdataset", "clip-retrieval"}


def test_row_groups_are_cut_by_number_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP", 4)
    table = pa.table({"n": pa.array(range(10), pa.int64())})
    for name, cuts in (("one", [10]), ("many", [1, 2, 3, 4])):
        start = 0
        with files.ParquetFile(tmp_path / name, table.schema) as file:
            for cut in cuts:
                file.write(table.slice(start, cut))
                start += cut
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()
    metadata = pq.read_metadata(tmp_path / "one")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4, 4, 2]
    assert pq.read_table(tmp_path / "many")["n"].to_pylist() == list(range(10))


def test_laion_and_the_hub_s_folder_have_the_same_list(parts, tmp_path):
    assert written(parts[0], tmp_path / "a", LaionParquet()) == written(parts[0], tmp_path / "b", HuggingFace())


def test_tars_are_bounded_in_samples_and_in_bytes(parts, tmp_path):
    largest = max(len(row) for row in _pictures(parts[0]))
    bounded = {
        7: Webdataset(samples_per_tar=7),
        3: Webdataset(bytes_per_tar=3 * largest),
        1: Webdataset(bytes_per_tar=1),
    }
    for most, form in bounded.items():
        folder = tmp_path / str(most)
        written(parts[0], folder, form)
        heights = [pq.read_metadata(path).num_rows for path in sorted(folder.rglob("*.parquet"))]
        assert sum(heights) == 24
        assert max(heights) in (most, most + 1)
        assert len(heights) == len(list(folder.rglob("*.tar")))


def _pictures(part: Part) -> list[bytes]:
    found = []
    for tar in part.tars.values():
        with TarReader(tar) as reader:
            found += [reader.read(m.offset, m.size) for m in reader.members() if m.name.endswith(".jpg")]
    return found


def test_a_part_without_rows_gives_no_file(parts, tmp_path):
    empty = changed(parts[0], tmp_path, lambda rows: rows.clear())
    assert written(empty, tmp_path / "out") == {}


def test_rows_of_no_known_language_group_have_a_folder_too(parts, tmp_path):
    part = changed(parts[0], tmp_path, lambda rows: rows.with_columns(subset=pl.lit(None, pl.String)))
    assert list(written(part, tmp_path / "out", LaionParquet())) == ["data/unknown/part-000001.parquet"]


def test_a_picture_that_is_in_no_tar_is_an_error_that_names_its_pair(parts, tmp_path):
    lost = pl.read_parquet(parts[0].rows)["pair_id"][5]
    sample = pl.when(pl.col("pair_id") == lost).then(pl.lit("nowhere")).otherwise("sample_key")
    part = changed(parts[0], tmp_path, lambda rows: rows.with_columns(sample_key=sample))
    with pytest.raises(ReleaseError, match=rf"1 pairs of bucket 1 of CC-MAIN-2024-10 have no picture.*pair {lost}"):
        written(part, tmp_path / "out", Webdataset())
    links = changed(parts[0], tmp_path, lambda rows: rows.with_columns(shard_path=pl.lit(None, pl.String)), tars={})
    with pytest.raises(ReleaseError, match="24 pairs of bucket 1"):
        written(links, tmp_path / "out", Webdataset())


def test_more_tars_than_there_are_names_is_an_error(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(webdataset, "_MOST_TARS", 2)
    with pytest.raises(ReleaseError, match="bucket 1 of CC-MAIN-2024-10 gives more than 2 tars"):
        written(parts[0], tmp_path, Webdataset(samples_per_tar=5))


def test_vectors_that_cannot_be_paired_are_errors(parts, tmp_path):
    vectors = pl.read_parquet(parts[0].embeddings)
    twice, cut = tmp_path / "twice.parquet", tmp_path / "cut.parquet"
    fifth, image = pl.int_range(pl.len()) == 4, pl.col("image_embedding")
    shorter = vectors.with_columns(pl.when(fifth).then(image.list.head(3)).otherwise(image).alias("image_embedding"))
    for frame, path in ((pl.concat([vectors, vectors.head(1)]).sort("pair_id", "encoder"), twice), (shorter, cut)):
        pq.write_table(frame.to_arrow().cast(EMBEDDING_COLUMNS), path)
    for part, complaint in (
        (replace(parts[0], embeddings=None), "came without the vectors"),
        (replace(parts[0], embeddings=twice), "has two vectors of "),
        (replace(parts[0], embeddings=cut), r"have \[3, (8|16)\] numbers; expected one length"),
    ):
        with pytest.raises(ReleaseError, match=complaint):
            written(part, tmp_path / "out", ClipRetrieval())


def test_vectors_of_pairs_that_are_not_released_are_left_out(parts, tmp_path):
    fewer = changed(parts[0], tmp_path, lambda rows: rows.head(5))
    released = set(pl.read_parquet(fewer.rows)["pair_id"])
    written(fewer, tmp_path / "out", ClipRetrieval())
    for metadata in (tmp_path / "out").rglob("*.parquet"):
        ids = set(pl.read_parquet(metadata)["pair_id"])
        assert ids <= released
        array = metadata.parents[1] / "img_emb" / f"img_emb_{metadata.stem.rpartition('_')[2]}.npy"
        assert re.search(rb"'shape': \((\d+),", array.read_bytes())[1] == b"%d" % len(ids)  # type: ignore[index]


def test_what_is_not_known_of_a_release_is_not_made_up(parts):
    rows = pl.read_parquet(parts[0].rows)
    bare = replace(facts_of(rows), crawls=(), encoders=(), thresholds=(), policies=(), drops={}, url="", pictures=0)
    said = describe(replace(bare, license="Our own terms"), [])
    assert (said["license"], describe(bare, [])["license"]) == (
        "Our own terms",
        "https://spdx.org/licenses/CC-BY-4.0.html",
    )
    matter = front_matter(replace(bare, license="Our own terms"), [])
    assert (matter["license"], matter["license_name"], matter["license_link"]) == (
        "other",
        "our-own-terms",
        "README.md#licence",
    )
    assert "rai:dataCollectionTimeframe" not in said
    assert (said["prov:wasDerivedFrom"], said["recordSet"]) == ([], [])
    assert said["url"] == "urn:release:tiny-pairs"


def test_pieces_of_a_large_file_are_let_go_of(tmp_path):
    """What pyarrow reads ahead by itself it would keep: the whole file in the end."""
    size = 2_000_000
    numbers = np.random.default_rng(0).integers(0, 2**62, size)  # 16 MB that no compression makes smaller
    pq.write_table(pa.table({"n": numbers}), tmp_path / "large.parquet", row_group_size=50_000)
    before, held, rows = pa.total_allocated_bytes(), [], 0
    for piece in files.pieces(tmp_path / "large.parquet", rows=10_000):
        rows += piece.num_rows
        held.append(pa.total_allocated_bytes() - before)
    assert rows == size
    assert max(held) < 6_000_000
