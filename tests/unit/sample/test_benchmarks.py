from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from laion_assets.evaluation.benchmark import BenchmarkSample, read_benchmark, samples
from laion_assets.sample import shifts
from laion_assets.sample.benchmarks import CLASSNAMES, SHIFTS, TEMPLATES, labels, write_sample_benchmarks
from laion_assets.sample.captions import draw_mentions, write_captions
from laion_assets.sample.world import TEXTURE, VALUES, Scenes, draw_scenes, held_out, random_stream, render

SIZE = 60
SHIFTED = tuple(f"sample-{name}" for name in SHIFTS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    written = write_sample_benchmarks(tmp_path_factory.mktemp("benchmarks"), size=SIZE)
    return {folder.name: folder for folder in written}


@pytest.fixture(scope="module")
def read(folders: dict[str, Path]) -> dict[str, list[BenchmarkSample]]:
    return {name: list(samples(read_benchmark(folder))) for name, folder in folders.items()}


def pixels(sample: BenchmarkSample) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(sample.image)).convert("RGB"))


def scenes(n: int = 40) -> Scenes:
    return draw_scenes(n, purpose="evaluation", seed=3)


def test_every_benchmark_is_there_whole(read: dict[str, list[BenchmarkSample]]):
    assert tuple(read) == ("sample-seen", "sample-unseen", *SHIFTED, "sample-retrieval")
    assert [len(rows) for rows in read.values()] == [SIZE] * 7 + [SIZE // 2]
    assert {pixels(sample).shape for rows in read.values() for sample in rows} == {(80, 80, 3)}


def test_all_classify_among_the_same_192_classes(folders: dict[str, Path]):
    for name in ("sample-seen", "sample-unseen", *SHIFTED):
        benchmark = read_benchmark(folders[name])
        assert (benchmark.classnames, benchmark.templates) == (CLASSNAMES, TEMPLATES)
    assert len(set(CLASSNAMES)) == 192
    assert 3 <= len(TEMPLATES) <= 6


def test_class_names_are_what_captions_say():
    drawn = scenes(200)
    mentions = np.zeros(drawn.attributes.shape, dtype=bool)
    mentions[:, : TEXTURE + 1] = True
    said = write_captions(drawn.attributes, mentions, ["en"] * 200, np.random.default_rng(0))
    prompts = [{template.format(c=CLASSNAMES[row]).lower() for template in TEMPLATES} for row in labels(drawn)]
    assert all(caption.lower() in known for caption, known in zip(said, prompts, strict=True))


def parts(sample: BenchmarkSample) -> tuple[int, ...]:
    texture, colour, shape = CLASSNAMES[sample.label or 0].split()
    return VALUES["shape"].index(shape), VALUES["colour"].index(colour), VALUES["texture"].index(texture)


def test_held_out_combinations_are_in_unseen_and_nowhere_else(read: dict[str, list[BenchmarkSample]]):
    for name in ("sample-seen", "sample-unseen"):
        assert {bool(held_out(*parts(sample))) for sample in read[name]} == {name == "sample-unseen"}


@pytest.mark.parametrize("name", SHIFTED)
def test_a_shift_shows_the_same_scenes_otherwise(read: dict[str, list[BenchmarkSample]], name: str):
    for plain, shifted in zip(read["sample-seen"], read[name], strict=True):
        assert (plain.key, plain.label) == (shifted.key, shifted.label)
        assert np.abs(pixels(plain).astype(int) - pixels(shifted)).mean() > 0.5


def test_the_same_arguments_give_the_same_bytes_and_replace_what_was_there(folders: dict[str, Path], tmp_path: Path):
    write_sample_benchmarks(tmp_path, size=4, seed=1)
    for folder in write_sample_benchmarks(tmp_path, size=SIZE):
        first = folders[folder.name]
        paths = sorted(path.relative_to(first) for path in first.rglob("*"))
        assert paths == sorted(path.relative_to(folder) for path in folder.rglob("*"))
        for path in paths:
            assert (first / path).is_dir() or (first / path).read_bytes() == (folder / path).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(folders)


def test_another_seed_gives_other_pictures(read: dict[str, list[BenchmarkSample]], tmp_path: Path):
    for folder in write_sample_benchmarks(tmp_path, size=10, seed=1):
        others = {sample.image for sample in samples(read_benchmark(folder))}
        assert not others & {sample.image for sample in read[folder.name]}


def test_a_caption_is_of_one_picture_only(read: dict[str, list[BenchmarkSample]]):
    rows = read["sample-retrieval"]
    captions = [caption for sample in rows for caption in sample.captions]
    assert {len(sample.captions) for sample in rows} == {2, 3}
    assert len(set(captions)) == len(captions)
    assert sum(not caption.isascii() for caption in captions) > len(captions) / 5


@pytest.mark.parametrize("size", [0, 1, 8_001])
def test_sizes_that_cannot_be_are_refused(tmp_path: Path, size: int):
    with pytest.raises(ValueError, match="size: expected 2 to 8000"):
        write_sample_benchmarks(tmp_path, size=size)


def test_a_sketch_is_lines_on_white_paper():
    drawn = shifts.sketch(scenes(), np.random.default_rng(0))
    assert (drawn.min(axis=3) > 235).mean() > 0.75
    assert (drawn.min(axis=(1, 2, 3)) < 160).all()


def test_noise_roughens_and_blur_smooths():
    def roughness(pictures: np.ndarray) -> np.ndarray:
        return np.abs(np.diff(pictures.astype(float), axis=1)).mean(axis=(1, 2, 3))

    drawn, rng = scenes(), np.random.default_rng(0)
    plain = roughness(render(drawn, shifts.PIXELS))
    assert (roughness(shifts.noise(drawn, rng)) > 2 * plain).all()
    assert (roughness(shifts.blur(drawn, rng)) < 0.6 * plain).all()


def test_a_palette_changes_objects_and_a_background_all_but_objects():
    drawn, rng = scenes(), np.random.default_rng(0)
    plain = render(drawn, shifts.PIXELS).astype(int)
    by_palette = np.abs(shifts.palette(drawn, rng) - plain).max(axis=3) > 12
    by_background = np.abs(shifts.background(drawn, rng) - plain).max(axis=3) > 12
    assert 0.02 < by_palette.mean() < 0.4
    assert by_background.mean() > 0.5
    assert (by_palette & by_background).mean() < 0.05


def test_the_parts_of_the_stream_do_not_depend_on_each_other():
    drawn = [draw_mentions(random_stream("evaluation", 0, part), 50).tobytes() for part in range(12)]
    assert len(set(drawn)) == 12
