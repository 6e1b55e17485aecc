import shutil
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from laion_assets.evaluation.benchmark import (
    Benchmark,
    BenchmarkError,
    BenchmarkSample,
    dataset_sha256,
    read_benchmark,
    samples,
    write_benchmark,
)
from tests.unit.evaluation.conftest import captioned, labelled, picture

NAMES, TEMPLATES = ("cat", "dog", "hen"), ("a {c}", "a photo of a {c}.")


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    return write(tmp_path / "pets")


def write(folder: Path, **replaced: object) -> Benchmark:
    arguments = {"task": "zeroshot_classification", "classnames": NAMES, "templates": TEMPLATES, "per_tar": 3}
    return write_benchmark(folder, labelled(7), **{**arguments, **replaced})  # type: ignore[arg-type]


def add(tar: Path, **members: bytes) -> None:
    """Append members to a tar; a name's `__` stands for its dot."""
    with tarfile.open(tar, "a") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(content)
            archive.addfile(member, BytesIO(content))


def test_what_was_written_is_read_again(benchmark: Benchmark):
    assert (benchmark.name, benchmark.task, benchmark.split) == ("pets", "zeroshot_classification", "test")
    assert (benchmark.classnames, benchmark.templates) == (NAMES, TEMPLATES)
    assert [tar.name for tar in benchmark.tars] == ["0.tar", "1.tar", "2.tar"]
    read = list(samples(benchmark))
    assert read == list(labelled(7))
    assert [sample.tar for sample in read] == [benchmark.tars[row // 3] for row in range(7)]


def test_a_retrieval_benchmark_is_read_again(tmp_path: Path):
    write_benchmark(tmp_path / "r", captioned(5), task="zeroshot_retrieval", split="val")
    benchmark = read_benchmark(tmp_path / "r", name="mine", split="val")
    assert (benchmark.name, benchmark.task, benchmark.classnames) == ("mine", "zeroshot_retrieval", ())
    assert list(samples(benchmark)) == list(captioned(5))


def test_benchmarks_of_clip_benchmarks_own_tool_are_read(tmp_path: Path):
    import webdataset
    from clip_benchmark.webdataset_builder import convert_dataset

    class Pets(list[tuple[bytes, int]]):
        classes, templates = list(NAMES), list(TEMPLATES)

    pets = Pets((picture(row, "WEBP"), row % 3) for row in range(8))
    assert webdataset.ShardWriter  # what the tool writes with
    convert_dataset(pets, "test", str(tmp_path), image_format="webp", max_count=5, verbose=False)
    read = list(samples(read_benchmark(tmp_path)))
    assert [(sample.image, sample.label) for sample in read] == list(pets)


def test_members_are_grouped_as_webdataset_groups_them(benchmark: Benchmark):
    import webdataset

    add(benchmark.tars[2], __x__=b"meta", README=b"no extension", **{"deep/er/a__JPG": picture(1, "JPEG")})
    add(benchmark.tars[2], **{"deep/er/a__cls": b" 2\n", "deep/er/a__json": b"{}", "b__png": b"p", "b__webp": b"w"})
    add(benchmark.tars[2], b__cls=b"0", b__seg__png=b"s")
    expected = list(webdataset.WebDataset([str(tar) for tar in benchmark.tars], shardshuffle=False))
    read = list(samples(benchmark))
    assert [sample.key for sample in read] == [sample["__key__"] for sample in expected]
    assert (read[-2].key, read[-2].label, read[-2].image) == ("deep/er/a", 2, picture(1, "JPEG"))
    assert read[-1].image == b"w"


LAYOUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "found no folder"),
    "no split": (lambda f: shutil.rmtree(f / "test"), "expected the split 'test'.*found the splits: none"),
    "no shard count": (lambda f: (f / "test/nshards.txt").unlink(), "nshards.txt, found"),
    "no number": (lambda f: (f / "test/nshards.txt").write_text("three"), "expected the number of tars.*'three'"),
    "none": (lambda f: (f / "test/nshards.txt").write_text("0\n"), "at least 1, found '0'"),
    "a tar too few": (lambda f: (f / "test/1.tar").unlink(), "3 tars, 1 of them are missing, first 1.tar"),
    "a tar too many": (lambda f: (f / "test/nshards.txt").write_text("2"), "2 tars, found 1 more, first 2.tar"),
    "no class names": (lambda f: (f / "classnames.txt").unlink(), "classnames.txt .*found no such file"),
    "empty class names": (lambda f: (f / "classnames.txt").write_text(""), "classnames.txt.*found an empty file"),
    "a blank name": (lambda f: (f / "classnames.txt").write_text("cat\n \nhen\n"), "found nothing on line 2"),
    "a blank end": (lambda f: (f / "classnames.txt").write_text("cat\ndog\nhen\n\n"), "found nothing on line 4"),
    "line feeds alone": (lambda f: (f / "classnames.txt").write_text("\n\n"), "found nothing on line 1"),
    "a byte order mark alone": (lambda f: (f / "classnames.txt").write_text("\ufeff"), "found an empty file"),
    "carriage returns": (lambda f: (f / "classnames.txt").write_bytes(b"cat\rdog\rhen"), "carriage return in line 1"),
    "a blank prompt": (lambda f: templates(f).write_text("a {c}\n\nthe {c}\n"), "templates.txt.*nothing on line 2"),
    "not UTF-8": (lambda f: (f / "classnames.txt").write_bytes(b"caf\xe9\n"), "expected text in UTF-8"),
    "no templates": (lambda f: templates(f).unlink(), "templates.txt .*found no such file"),
    "no {c}": (lambda f: templates(f).write_text("a {c}\na photo\n"), "line 2: expected a prompt with `{c}`"),
    "other braces": (lambda f: templates(f).write_text("a {c} {d}\n"), "line 1: expected a prompt with `{c}`"),
    "escaped braces": (lambda f: templates(f).write_text("a {{c}}\n"), "line 1: expected a prompt with `{c}`"),
    "multi-label": (lambda f: (f / "dataset_type.txt").write_text("multilabel\n"), "multi-label .* not supported"),
    "unknown type": (lambda f: (f / "dataset_type.txt").write_text("video"), "expected `classification` or .*'video'"),
}


def templates(folder: Path) -> Path:
    return folder / "zeroshot_classification_templates.txt"


@pytest.mark.parametrize("wrong", LAYOUT)
def test_a_layout_that_is_wrong_says_why(benchmark: Benchmark, wrong: str):
    spoil, said = LAYOUT[wrong]
    spoil(benchmark.folder)
    with pytest.raises(BenchmarkError, match=said):
        read_benchmark(benchmark.folder)


@pytest.mark.parametrize(
    "mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\xa0"], ids=ascii
)
def test_a_label_is_the_number_of_a_line_whatever_a_name_holds(benchmark: Benchmark, mark: str):
    """Unicode's other line boundaries (str.splitlines) end no line here: each name would shift the labels after it."""
    (benchmark.folder / "classnames.txt").write_text(f"cat{mark}fish\ndog{mark}\n{mark}hen\n")
    templates(benchmark.folder).write_text(f"a{mark}{{c}}\nthe {{c}}")
    read = read_benchmark(benchmark.folder)
    assert read.classnames == (f"cat{mark}fish", "dog", "hen")
    assert read.templates == (f"a{mark}{{c}}", "the {c}")


@pytest.mark.parametrize("content", [b"cat\ndog\nhen", b"cat\r\ndog\r\nhen\r\n", b"\xef\xbb\xbfcat\n dog\t\nhen\n"])
def test_class_names_are_read_from_files_of_any_editor(benchmark: Benchmark, content: bytes):
    (benchmark.folder / "classnames.txt").write_bytes(content)
    assert read_benchmark(benchmark.folder).classnames == ("cat", "dog", "hen")


SAMPLES: dict[str, tuple[dict[str, bytes], str]] = {
    "no label": ({"x__png": picture(0)}, "expected a file .cls beside the picture, found .png"),
    "no picture": ({"x__cls": b"0"}, "expected a picture .*found .cls"),
    "an unknown format": ({"x__gif": b"", "x__cls": b"0"}, "expected a picture .*found .gif, .cls"),
    "no number": ({"x__png": picture(0), "x__cls": b"cat"}, "expected the number of a class, found b'cat'"),
    "no class": ({"x__png": picture(0), "x__cls": b"3"}, "expected a class from 0 to 2, found 3"),
    "below": ({"x__png": picture(0), "x__cls": b"-1"}, "expected a class from 0 to 2, found -1"),
    "twice": ({"x__png": b"", "x__PNG": b""}, "expected one file .png, found two"),
}


@pytest.mark.parametrize("wrong", SAMPLES)
def test_a_sample_that_is_wrong_is_named_with_its_tar(benchmark: Benchmark, wrong: str):
    members, said = SAMPLES[wrong]
    add(benchmark.tars[1], **members)
    with pytest.raises(BenchmarkError, match=f"1.tar, sample x: {said}"):
        list(samples(benchmark))


@pytest.mark.parametrize(
    ("content", "said"), [(None, "a file .txt"), (b"", "at least one caption"), (b"\xff", "captions in UTF-8")]
)
def test_a_sample_without_captions_is_named(tmp_path: Path, content: bytes | None, said: str):
    benchmark = write_benchmark(tmp_path / "r", captioned(2), task="zeroshot_retrieval")
    add(benchmark.tars[0], x__png=picture(0), **({} if content is None else {"x__txt": content}))
    with pytest.raises(BenchmarkError, match=f"0.tar, sample x: expected {said}"):
        list(samples(benchmark))


def members_end(tar: Path) -> int:
    with tarfile.open(tar) as archive:
        last = archive.getmembers()[-1]
    return last.offset_data + -(-last.size // 512) * 512


DAMAGE: dict[str, Callable[[Path, bytes], bytes]] = {
    "empty": lambda tar, whole: b"",
    "no tar": lambda tar, whole: b"<html>not found</html>" * 100,
    "cut within a member": lambda tar, whole: whole[: members_end(tar) - 700],
    "cut after a member": lambda tar, whole: whole[: members_end(tar)],
    "damaged header": lambda tar, whole: whole[: (at := whole.index(b"s0004.png"))] + b"\xff" * 512 + whole[at + 512 :],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_tar_is_never_a_shorter_one(benchmark: Benchmark, damage: str):
    tar = benchmark.tars[1]
    tar.write_bytes(DAMAGE[damage](tar, tar.read_bytes()))
    with pytest.raises(BenchmarkError, match=r"1\.tar: expected a whole tar"):
        list(samples(benchmark))


def test_no_samples_at_all_is_an_error(benchmark: Benchmark):
    for tar in benchmark.tars:
        tarfile.open(tar, "w").close()
    with pytest.raises(BenchmarkError, match=r"expected samples in .*found none"):
        list(samples(benchmark))


def test_the_digest_follows_content_not_place(benchmark: Benchmark, tmp_path: Path):
    moved = shutil.copytree(benchmark.folder, tmp_path / "elsewhere")
    assert dataset_sha256(read_benchmark(moved, name="other")) == dataset_sha256(benchmark)
    assert len(dataset_sha256(benchmark)) == 64


CHANGES: dict[str, Callable[[Path], object]] = {
    "a picture": lambda f: add(f / "test/2.tar", x__png=picture(9), x__cls=b"0"),
    "order of tars": lambda f: [
        (f / "test" / a).rename(f / "test" / b) for a, b in (("0.tar", "x"), ("1.tar", "0.tar"), ("x", "1.tar"))
    ],
    "a tar": lambda f: ((f / "test/2.tar").unlink(), (f / "test/nshards.txt").write_text("2")),
    "a class name": lambda f: (f / "classnames.txt").write_text("cat\ndog\ncock\n"),
    "order of names": lambda f: (f / "classnames.txt").write_text("dog\ncat\nhen\n"),
    "a template": lambda f: templates(f).write_text("a {c}\n"),
    "the task": lambda f: (f / "dataset_type.txt").write_text("retrieval"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_changes_with_each_ingredient(benchmark: Benchmark, change: str):
    before = dataset_sha256(benchmark)
    CHANGES[change](benchmark.folder)
    assert dataset_sha256(read_benchmark(benchmark.folder)) != before


def test_the_same_arguments_give_the_same_bytes(benchmark: Benchmark, tmp_path: Path):
    again = write(tmp_path / "again")
    for path in sorted(benchmark.folder.rglob("*.*")):
        assert path.read_bytes() == (again.folder / path.relative_to(benchmark.folder)).read_bytes()


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (BenchmarkSample("a.b", picture(0), label=0), "a name without dots"),
        (BenchmarkSample("s0000", picture(0), label=0), "given once"),
        (BenchmarkSample("a", picture(0), label=3), "expected a class from 0 to 2"),
        (BenchmarkSample("a", picture(0), captions=("x",)), "expected a label"),
        (BenchmarkSample("a", b"GIF89a", label=0), "expected a JPEG, PNG or WebP file"),
    ],
)
def test_a_benchmark_that_cannot_be_written_leaves_nothing(tmp_path: Path, sample: BenchmarkSample, said: str):
    with pytest.raises(BenchmarkError, match=said):
        write_benchmark(
            tmp_path / "b",
            [*labelled(5), sample],
            task="zeroshot_classification",
            classnames=NAMES,
            templates=TEMPLATES,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"classnames": ("cat", "dog\nhen", "x")}, "expected one line"),
        ({"classnames": ()}, "expected at least one line"),
        ({"templates": ("no class",)}, "expected a prompt"),
        ({"per_tar": 0}, "per_tar"),
    ],
)
def test_a_description_that_cannot_be_read_again_is_not_written(tmp_path: Path, replaced: dict, said: str):
    with pytest.raises(BenchmarkError, match=said):
        write(tmp_path / "b", **replaced)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("captions", [(), ("",), ("two\nlines",), ("two\u2028lines",)])
def test_captions_that_would_be_read_otherwise_are_not_written(tmp_path: Path, captions: tuple[str, ...]):
    with pytest.raises(BenchmarkError, match="captions of one line each"):
        write_benchmark(
            tmp_path / "r", [BenchmarkSample("a", picture(0), captions=captions)], task="zeroshot_retrieval"
        )


def test_nothing_is_written_over_unless_it_is_a_benchmark_and_one_asks(benchmark: Benchmark, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    for folder, overwrite in ((benchmark.folder, False), (tmp_path / "mine", True)):
        with pytest.raises(BenchmarkError, match="exists already"):
            write(folder, overwrite=overwrite)
    replaced = write(benchmark.folder, classnames=("a", "b", "c"), overwrite=True)
    assert replaced.classnames == ("a", "b", "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "pets"]
