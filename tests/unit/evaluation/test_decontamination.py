"""Decontamination: planted copies are found, look-alikes are not, and no hash is too common to be joined."""

import hashlib
import time
from functools import cache

import duckdb
import numpy as np
import polars as pl
import pytest

from laion_assets.evaluation.decontamination import (
    BenchmarkFingerprintMismatch,
    DecontaminationOptions,
    find_contaminated,
)
from laion_assets.images.fingerprint import fingerprint
from laion_assets.sample.world import COLOUR, POSITION, Scenes, draw_scenes, render
from tests.unit.images.files import photograph

cv2 = pytest.importorskip("cv2")

SCENES = 120
PIXELS = 200
# What was measured on each of three sets of pictures, less a margin for another version of OpenCV.
FLOORS = {
    "resized 0.5": 0.95, "resized 0.75": 0.96, "resized 1.5": 0.96, "jpeg 30": 0.95, "jpeg 50": 0.95,
    "jpeg 70": 0.96, "jpeg 90": 0.97, "webp": 0.95, "trimmed 0.02": 0.70, "trimmed 0.03": 0.60,
    "trimmed 0.05": 0.25, "cropped 0.02": 0.25, "cropped 0.05": 0.0,
}  # fmt: skip


def encoded(picture, kind=".jpg", quality=95):
    flags = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}
    parameters = [flags[kind], quality] if kind in flags else []
    return cv2.imencode(kind, picture[..., ::-1], parameters)[1].tobytes()


def resized(picture, factor):
    height, width = picture.shape[:2]
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, (round(width * factor), round(height * factor)), interpolation=method)


def trimmed(picture, part):
    """Without so much of its width and height, half of it at each side."""
    height, width = picture.shape[:2]
    y, x = round(height * part / 2), round(width * part / 2)
    return picture[y : height - y, x : width - x]


def cropped(picture, part):
    """Without so much of its width and height, all of it off the left and the top."""
    height, width = picture.shape[:2]
    return picture[round(height * part) :, round(width * part) :]


COPIES = {
    **{f"resized {f}": lambda p, f=f: encoded(resized(p, f)) for f in (0.5, 0.75, 1.5)},
    **{f"jpeg {q}": lambda p, q=q: encoded(p, quality=q) for q in (30, 50, 70, 90)},
    "webp": lambda p: encoded(p, ".webp", 80),
    **{f"trimmed {f}": lambda p, f=f: encoded(trimmed(p, f)) for f in (0.02, 0.03, 0.05)},
    **{f"cropped {f}": lambda p, f=f: encoded(cropped(p, f)) for f in (0.02, 0.05)},
}


@cache
def scenes():
    return draw_scenes(SCENES, purpose="evaluation", seed=1)


def altered(**changes):
    """The same scenes but for what is named, as JPEG."""
    drawn, other, rng = scenes(), draw_scenes(SCENES, purpose="crawl", seed=5), np.random.default_rng(6)
    attributes, variation = drawn.attributes.copy(), drawn.variation.copy()
    if "background" in changes:
        variation[:, :14] = other.variation[:, :14]
    if "position" in changes:
        attributes[:, POSITION] = (attributes[:, POSITION] + rng.integers(1, 5, SCENES)) % 5
    if "colour" in changes:
        attributes[:, COLOUR] = (attributes[:, COLOUR] + rng.integers(1, 8, SCENES)) % 8
    return [encoded(picture) for picture in render(Scenes(attributes.astype(np.int8), variation), PIXELS)]


def turned_hue(picture):
    """The same lightness in other colours."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    lab[..., 1:] = lab[..., [2, 1]] * (1, -1)
    return np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB) * 255, 0, 255).astype(np.uint8)


class Lake:
    """Pictures, as the relations and the reader that find_contaminated is given."""

    def __init__(self, tmp_path):
        self.con, self.output = duckdb.connect(), tmp_path / "contaminated.parquet"
        self.bytes, self.asked = {}, []

    def train(self, pictures):
        """Takes pictures, or (bytes, hash), by name; a hash given is not looked at again."""
        rows = []
        for number, (name, picture) in enumerate(pictures.items()):
            made = fingerprint(picture)
            place = (f"shard{number % 3}.tar", name)
            self.bytes[place] = picture
            rows.append((hashlib.sha256(picture).hexdigest(), made and made.perceptual_hash, *place))
        schema = {"sha256": pl.String, "perceptual_hash": pl.Int64, "shard_path": pl.String, "sample_key": pl.String}
        frame = pl.DataFrame(rows, schema=schema, orient="row").unique("sha256", maintain_order=True)
        self.con.register("images", frame.to_arrow())
        return self

    def test(self, pictures, benchmark="made"):
        made = {name: fingerprint(picture) for name, picture in pictures.items()}
        frame = pl.DataFrame(
            [(benchmark, name, p.sha256, p.perceptual_hash, p.colour_layout) for name, p in made.items()],
            schema={
                "benchmark": pl.String, "sample_key": pl.String, "sha256": pl.String,
                "perceptual_hash": pl.Int64, "colour_layout": pl.Binary,
            },
            orient="row",
        )  # fmt: skip
        self.con.register("benchmarks", frame.to_arrow())
        return self

    def pictures(self, places):
        assert len({shard for shard, _ in places}) == 1
        self.asked.append(places[0][0])
        yield from ((place, self.bytes[place]) for place in places if place in self.bytes)

    def find(self, **options):
        counts = find_contaminated(
            self.con, images="images", benchmarks="benchmarks", options=DecontaminationOptions(**options),
            pictures=self.pictures, output=self.output,
        )  # fmt: skip
        assert counts.candidates == counts.confirmed + counts.refuted + counts.unreadable
        found = pl.read_parquet(self.output)
        assert found.height == counts.contaminated == found["sha256"].n_unique()
        assert found["sha256"].is_sorted()
        assert not self.con.sql("SELECT 1 FROM duckdb_tables() WHERE table_name LIKE '_decontamination%'").fetchall()
        return counts, found


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def recall_by_kind(lake, originals):
    """Plant one copy of every kind of every picture; returns the share found by kind, each with its own original."""
    lake.test({str(i): encoded(p, ".png") for i, p in enumerate(originals)})
    planted = {f"{kind}/{i}": make(p) for kind, make in COPIES.items() for i, p in enumerate(originals)}
    names = {hashlib.sha256(picture).hexdigest(): name for name, picture in planted.items()}
    _, found = lake.train(planted).find()
    right = [names[sha].split("/")[0] for sha, key in found.select("sha256", "benchmark_sample_key").iter_rows()
             if names[sha].endswith(f"/{key}")]  # fmt: skip
    assert len(right) == found.height
    return {kind: right.count(kind) / len(originals) for kind in COPIES}


def assert_floors(recall):
    print({kind: round(share, 3) for kind, share in recall.items()})  # noqa: T201
    for kind, floor in FLOORS.items():
        assert recall[kind] >= floor, kind


def excluded(lake, originals, others):
    lake.test({str(i): encoded(p, ".png") for i, p in enumerate(originals)})
    counts, _ = lake.train({str(i): p for i, p in enumerate(others)}).find()
    print(f"candidates {counts.candidates}, wrongly excluded {counts.confirmed} of {len(others)}")  # noqa: T201
    return counts.contaminated


def test_copies_of_scenes_are_found(lake):
    assert_floors(recall_by_kind(lake, render(scenes(), PIXELS)))


def test_copies_of_made_photographs_are_found(lake):
    rng = np.random.default_rng(0)
    assert_floors(recall_by_kind(lake, [photograph(rng) for _ in range(60)]))


def test_copies_of_real_photographs_are_found(lake, shared_data):
    files = sorted((shared_data / "images" / "coco_mini").rglob("*.jpg"))
    if not files:
        pytest.skip("coco_mini is absent")
    assert_floors(recall_by_kind(lake, [resized(cv2.imread(str(file))[..., ::-1], 0.5) for file in files]))


@pytest.mark.parametrize("change", ["background", "position", "colour"])
def test_scenes_that_only_look_alike_stay(lake, change):
    assert excluded(lake, render(scenes(), PIXELS), altered(**{change: True})) <= SCENES * 0.02


def test_unrelated_scenes_and_photographs_in_other_colours_stay(lake):
    unrelated = [encoded(p) for p in render(draw_scenes(250, purpose="crawl", seed=9), PIXELS)]
    assert excluded(lake, render(scenes(), PIXELS), unrelated) <= 1
    rng = np.random.default_rng(2)
    photographs = [photograph(rng) for _ in range(60)]
    assert excluded(lake, photographs, [encoded(turned_hue(p)) for p in photographs]) == 0


def test_the_file_itself_is_exact_and_named_once_and_not_read(lake):
    picture = encoded(render(scenes().take(slice(0, 1)), 160)[0])
    counts, found = lake.test({"b": picture, "a": picture}).train({"x": picture}).find()
    assert (counts.exact, counts.candidates, lake.asked) == (1, 0, [])
    assert found.row(0)[1:] == ("made", "a", "exact", 0, 0.0)
    assert found.schema["hamming"] == pl.Int32


def test_the_nearest_of_several_originals_is_named_and_equal_ones_by_name(lake):
    picture = photograph(np.random.default_rng(3))
    near, same = encoded(np.clip(picture * 0.97, 0, 255).astype(np.uint8), ".png"), encoded(picture, ".png")
    _, found = lake.test({"0": near, "2": same, "1": same}).train({"x": encoded(picture)}).find()
    assert found.row(0, named=True) | {"sha256": ""} == {
        "sha256": "", "benchmark": "made", "benchmark_sample_key": "1", "method": "perceptual",
        "hamming": 0, "colour_distance": pytest.approx(0, abs=0.5),
    }  # fmt: skip


def test_pictures_that_cannot_be_read_are_counted_and_stay_unless_exact(lake):
    picture = photograph(np.random.default_rng(4))
    original = encoded(picture)
    lake.test({"0": original}).train(
        {"exact": original, "lost": encoded(picture, quality=80), "broken": encoded(picture, quality=70)}
    )
    for place in list(lake.bytes):
        if place[1] == "broken":
            lake.bytes[place] = b"\xff\xd8\xff no picture"
        elif place[1] in ("lost", "exact"):
            del lake.bytes[place]
    counts, found = lake.find()
    assert (counts.exact, counts.candidates, counts.unreadable) == (1, 2, 2)
    assert found["method"].to_list() == ["exact"]


def test_shards_are_read_in_order_once_and_the_file_is_the_same_again(lake):
    pictures = render(scenes().take(slice(0, 12)), 160)
    lake.test({str(i): encoded(p, ".png") for i, p in enumerate(pictures)})
    lake.train({str(i): encoded(p) for i, p in enumerate(pictures)})
    lake.find()
    first = lake.output.read_bytes()
    assert lake.asked == ["shard0.tar", "shard1.tar", "shard2.tar"]
    lake.find()
    assert lake.output.read_bytes() == first


def test_no_benchmark_and_no_picture_give_an_empty_file(lake):
    counts, found = lake.test({}).train({}).find()
    assert counts.contaminated == 0
    assert found.columns == ["sha256", "benchmark", "benchmark_sample_key", "method", "hamming", "colour_distance"]


def test_fifty_thousand_flat_pictures_of_one_hash_against_two_thousand(lake):
    flat = encoded(np.full((8, 8, 3), 200, np.uint8), ".png")
    made = fingerprint(flat)
    lake.con.execute("""
        CREATE TABLE images AS SELECT 'x' || i AS sha256, ?::BIGINT AS perceptual_hash,
               'shard' || i // 10000 AS shard_path, i::VARCHAR AS sample_key FROM range(50000) AS t(i)""",
        [made.perceptual_hash],
    )  # fmt: skip
    rng = np.random.default_rng(5)
    layouts = [rng.integers(0, 256, 192, dtype=np.uint8).tobytes() for _ in range(1999)] + [made.colour_layout]
    rows = [("flat", f"{i:04d}", f"y{i}", made.perceptual_hash, layout) for i, layout in enumerate(layouts)]
    schema = ["benchmark", "sample_key", "sha256", "perceptual_hash", "colour_layout"]
    lake.con.register("benchmarks", pl.DataFrame(rows, schema=schema, orient="row").to_arrow())
    lake.pictures = lambda places: ((place, flat) for place in places)
    started = time.process_time()
    counts, found = lake.find()
    print(f"{time.process_time() - started:.1f} s")  # noqa: T201
    assert counts.confirmed == 50_000
    assert found["benchmark_sample_key"].unique().to_list() == ["1999"]
    assert time.process_time() - started < 60


@cache
def test_what_does_not_fit_is_refused(lake):
    with pytest.raises(ValueError, match="hamming must be 0 to 16 bits, not 17"):
        DecontaminationOptions(hamming=17)
    with pytest.raises(ValueError, match="colour_distance must be 0 to 100, not -1"):
        DecontaminationOptions(colour_distance=-1)
    lake.train({})
    lake.con.execute("""CREATE TABLE benchmarks AS SELECT 'b' AS benchmark, 'k' AS sample_key, 's' AS sha256,
                        1::BIGINT AS perceptual_hash, 'abc'::BLOB AS colour_layout""")
    with pytest.raises(BenchmarkFingerprintMismatch, match="picture k of benchmark b has 3: compute"):
        lake.find()
