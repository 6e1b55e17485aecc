import json
import math
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from laion_assets.training import shards as shards_module
from laion_assets.training.arrangement import Arrangement, ShardOptions, arrange
from laion_assets.training.shards import ShardError, ShardRow, verify_shards, write_shards
from laion_assets.webdataset.samples import pictures_of
from tests.unit.training.source_tars import connect, made_pairs, picture, write_source_tar

OPTIONS = ShardOptions(samples_per_shard=8, seed=1, validation_fraction=0.3)
ODD_TEXTS = [
    "",
    "a\0b",
    "line\nbreak \r\t",
    "Ünïcödé 画像 🐘🏽",
    "\u202eright to left",
    "e\u0301",
    "\U0010ffff",
    '{"a":"\\"}',
]


class Made:
    """Pairs with their pictures, arranged; and the shards written of them."""

    def __init__(self, folder: Path, encode: Callable[[int], bytes] = picture) -> None:
        self.folder, self.root = folder, folder / "lake"
        captions = [[f"{ODD_TEXTS[n % 8]}{n}/{at}" for at in range(1 + n % 3)] for n in range(30)]
        self.pairs = made_pairs(self.root, captions, encode=encode).with_columns(
            similarity=pl.when(pl.col("url_id") == 3).then(math.nan).otherwise("similarity").cast(pl.Float32),
            language=pl.when(pl.col("url_id") % 2 == 0).then(pl.lit("en")),
        )
        self.connection = connect(self.pairs)
        self.arrangement = self.arrange()

    def arrange(self, options: ShardOptions = OPTIONS) -> Arrangement:
        return arrange(self.connection, pairs="pairs", options=options, output=self.folder / f"arranged {options.seed}")

    def write(self, output: str = "shards", arrangement: Arrangement | None = None, **replaced) -> list[ShardRow]:
        return list(
            write_shards(
                self.connection,
                arrangement or self.arrangement,
                root=self.root,
                output=self.folder / output,
                **{"relative_to": self.folder, "provenance": {"recipe": "small"}} | replaced,
            )
        )


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*.tar")}


def test_samples_hold_picture_text_and_every_column(made):
    rows = made.write()
    by_id = {row["pair_id"]: row for row in made.pairs.iter_rows(named=True)}
    for row in rows:
        expected = pl.read_parquet(made.arrangement.file(row["split"]))
        number = int(Path(row["shard_path"]).stem)
        keys = expected.filter(pl.col("_shard") == number)["pair_id"].to_list()
        with tarfile.open(made.folder / row["shard_path"]) as archive:
            members = archive.getmembers()
            assert [m.name.partition(".")[0] for m in members] == [str(key) for key in keys for _ in range(3)]
            assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
            files = {m.name: archive.extractfile(m).read() for m in members}
        for key in keys:
            pair = by_id[key]
            form = ("jpg", "png", "webp")[pair["url_id"] % 3]
            assert files[f"{key}.{form}"] == picture(pair["url_id"])
            assert files[f"{key}.txt"].decode() == pair["text"]
            fields = json.loads(files[f"{key}.json"])
            assert list(fields) == sorted(fields)
            assert fields == {
                "pair_id": key,
                "url_id": pair["url_id"],
                "sha256": pair["sha256"],
                "url": pair["url"],
                "crawl": pair["crawl"],
                "similarity": None if math.isnan(pair["similarity"]) else pair["similarity"],
                "language": pair["language"],
                "fetched_at": pair["fetched_at"].isoformat().replace("+00:00", "Z"),
                "recipe": "small",
            }
        assert row["samples"] == len(keys) == OPTIONS.samples_per_shard
        assert row["unique_images"] == len({by_id[key]["sha256"] for key in keys})
    assert {row["split"] for row in rows} == {"train", "validation"}
    for split in ("train", "validation"):
        tars = sorted(path.name for path in (made.folder / "shards" / split).glob("*.tar"))
        assert json.loads((made.folder / "shards" / split / "sizes.json").read_bytes()) == dict.fromkeys(tars, 8)
        assert [Path(row["shard_path"]).name for row in rows if row["split"] == split] == tars


def test_equal_inputs_give_equal_bytes(made, tmp_path):
    made.write()
    made.connection = connect(made.pairs.sample(fraction=1, shuffle=True, seed=1))
    made.connection.execute("SET TimeZone = 'Asia/Kolkata'")
    made.write("again", made.arrange())
    assert contents(made.folder / "again") == contents(made.folder / "shards")


def test_progress_counts_every_sample_written_or_taken_over(made):
    for _ in range(2):
        counts: list[int] = []
        rows = made.write(progress=counts.append)
        assert sum(counts) == sum(row["samples"] for row in rows) == sum(made.arrangement.samples.values())


def test_finished_shards_are_taken_over(made):
    rows = made.write()
    before, bytes_before = stamps(made.folder / "shards"), contents(made.folder / "shards")
    for tar in (made.root / "images").iterdir():
        tar.unlink()  # not read again
    assert made.write() == rows
    assert stamps(made.folder / "shards") == before
    assert contents(made.folder / "shards") == bytes_before


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("owner", "name", "stride"),
    [(os, "fsync", 6), (Path, "replace", 3), (os, "pwrite", 14)],
    ids=lambda value: str(value),
)
def test_what_a_killed_run_left_is_taken_over_and_mended(made, owner, name, stride, monkeypatch):
    original, calls = getattr(owner, name), 0

    def run(output: str, deadly: float) -> bool:
        """Whether the run ended before the deadly call."""

        def dies(*arguments):
            nonlocal calls
            calls += 1
            if calls >= deadly:
                raise Killed
            return original(*arguments)

        nonlocal calls
        calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dies)
            try:
                made.write(output)
            except Killed:
                return False
            return True

    assert run("whole", math.inf)
    whole, calls_of_all = contents(made.folder / "whole"), calls
    for deadly in range(1, calls_of_all + 1, stride):
        output = f"killed {deadly}"
        assert not run(output, deadly)
        before = stamps(made.folder / output)
        finished = {tar: stamp for tar, stamp in before.items() if Path(tar).with_suffix(".json").exists()}
        made.write(output)
        assert contents(made.folder / output) == whole
        assert finished.items() <= stamps(made.folder / output).items()
        if deadly > 0.8 * calls_of_all:
            assert finished


def test_the_sizes_are_written_last(made):
    running = write_shards(
        made.connection, made.arrangement, root=made.root, output=made.folder / "shards", relative_to=made.folder
    )
    sizes = made.folder / "shards" / "train" / "sizes.json"
    for _ in range(made.arrangement.shards("train")):
        next(running)
        assert not sizes.exists()
    next(running)
    assert sizes.exists()
    running.close()


def damage_shorten(tar: Path) -> None:
    os.truncate(tar, tar.stat().st_size - 1)


def damage_flip(tar: Path) -> None:
    content = bytearray(tar.read_bytes())
    content[700] ^= 1
    tar.write_bytes(content)


def damage_record(tar: Path) -> None:
    tar.with_suffix(".json").write_text('{"samples": 8')


@pytest.mark.parametrize("damage", [damage_shorten, damage_flip, damage_record, Path.unlink])
def test_damaged_shards_are_written_again_and_no_others(made, damage):
    made.write()
    whole, before = contents(made.folder / "shards"), stamps(made.folder / "shards")
    tar = made.folder / "shards" / "train" / "00001.tar"
    damage(tar)
    made.write()
    assert contents(made.folder / "shards") == whole
    assert {path for path, stamp in stamps(made.folder / "shards").items() if stamp != before[path]} == {str(tar)}


def test_shards_of_another_arrangement_or_provenance_are_replaced(made):
    made.write(arrangement=made.arrange(ShardOptions(samples_per_shard=3, seed=2, validation_fraction=0.5)))
    made.write(provenance={"recipe": "other"})
    rows = made.write()
    made.write("fresh")
    assert contents(made.folder / "shards") == contents(made.folder / "fresh")
    assert not list((made.folder / "shards").rglob("*.unfinished"))
    verify_shards(rows, made.folder)


def test_a_picture_that_the_source_lacks_is_named(made):
    tar = made.root / "images" / "00001.tar"
    write_source_tar(tar, [(f"{n:09d}", "jpg", picture(n)) for n in range(7, 14) if n != 9])
    with pytest.raises(ShardError, match=r"images/00001.tar lacks the pictures of 1 sample keys, 000000009 among them"):
        made.write()
    write_source_tar(tar, [])
    with pytest.raises(
        ShardError, match=r"images/00001.tar lacks the pictures of \d sample keys, 0000000\d\d among them"
    ):
        made.write()


@pytest.mark.parametrize("kept", [300, 1100, 1536, 4000, 4096])
def test_a_source_that_is_cut_off_is_named(made, kept):
    tar = made.root / "images" / "00001.tar"
    os.truncate(tar, kept)
    with pytest.raises(
        ShardError, match=r"images/00001.tar (is cut off: |is damaged: no header|lacks .* 0000000\d\d among).* again"
    ):
        made.write()


def test_a_source_that_is_absent_or_no_tar_is_named(made):
    tar = made.root / "images" / "00001.tar"
    tar.write_bytes(b"<html>" * 1000)
    with pytest.raises(ShardError, match=r"images/00001.tar is damaged: no header of a member at byte 0"):
        made.write()
    tar.unlink()
    with pytest.raises(ShardError, match=r"images/00001.tar cannot be opened: No such file"):
        made.write()


def test_a_source_that_shrinks_while_it_is_read_is_named(made, monkeypatch):
    def shrinks(tar: Path):
        found = pictures_of(tar)
        os.truncate(tar, 600)
        return found

    monkeypatch.setattr(shards_module, "pictures_of", shrinks)
    with pytest.raises(ShardError, match="was cut off while it was read"):
        made.write()


def test_two_writers_do_not_share_a_folder(made):
    running = write_shards(
        made.connection, made.arrangement, root=made.root, output=made.folder / "shards", relative_to=made.folder
    )
    next(running)
    with pytest.raises(ShardError, match="another process writes shards to"):
        made.write()
    running.close()
    made.write()


def test_provenance_may_not_hide_a_column(made):
    with pytest.raises(ValueError, match=r"rename .'crawl'"):
        made.write(provenance={"crawl": "mine"})


def test_no_pairs_give_no_shards(tmp_path):
    pairs = made_pairs(tmp_path, [["one"]]).clear()
    connection = connect(pairs)
    arrangement = arrange(connection, pairs="pairs", options=OPTIONS, output=tmp_path / "arranged")
    assert list(write_shards(connection, arrangement, root=tmp_path, output=tmp_path / "s", relative_to=tmp_path)) == []


def test_verification_names_every_fault(made):
    rows = made.write()
    verify_shards(rows, made.folder)
    tars = [made.folder / row["shard_path"] for row in rows[:3]]
    tars[0].unlink()
    damage_shorten(tars[1])
    damage_flip(tars[2])
    with pytest.raises(ShardError) as caught:
        verify_shards(rows, made.folder)
    message = str(caught.value)
    assert message.startswith("3 shards")
    assert f"{tars[0]} is missing" in message
    assert f"{tars[1]} has" in message
    assert f"{tars[2]} is corrupt" in message
    assert str(made.folder / rows[3]["shard_path"]) not in message


def test_webdataset_reads_every_sample(made):
    import webdataset

    rows = [row for row in made.write() if row["split"] == "train"]
    read = webdataset.WebDataset([str(made.folder / row["shard_path"]) for row in rows], shardshuffle=False).decode(
        "pil"
    )
    samples = [
        (s["__key__"], s["txt"], s["json"]["sha256"], next(s[k] for k in s if k in ("jpg", "png", "webp")))
        for s in read
    ]
    expected = pl.read_parquet(made.arrangement.file("train")).select("pair_id", "text", "sha256").rows()
    assert [(int(key), text, digest) for key, text, digest, _ in samples] == expected
    assert {image.size for *_, image in samples} == {(8, 8)}


def test_open_clip_train_reads_every_sample(made):
    from open_clip_train.data import get_wds_dataset

    made.write()
    names: dict[str, list[str]] = {}
    for split in ("train", "validation"):
        folder = made.folder / "shards" / split
        names[split] = [str(folder / name) for name in json.loads((folder / "sizes.json").read_bytes())]
    arguments = SimpleNamespace(
        train_data=f"{made.folder}/shards/train/{{00000..{len(names['train']) - 1:05d}}}.tar",
        val_data=names["validation"],
        train_num_samples=None,
        val_num_samples=None,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        batch_size=4,
        workers=1,
        world_size=1,
        seed=0,
    )
    for split, training in (("train", True), ("validation", False)):
        data = get_wds_dataset(arguments, lambda image: image.size[0], training, tokenizer=lambda text: [text])
        texts = [text for _, batch in data.dataloader.pipeline[0].dataset for text in batch]
        expected = pl.read_parquet(made.arrangement.file(split))["text"].to_list()
        assert sorted(texts) == sorted(expected)
        if training:
            assert data.dataloader.num_samples == len(expected)


def test_the_connection_is_left_as_it_was(made):
    made.write()
    assert made.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == []
    assert made.connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall() == [("pairs",)]
