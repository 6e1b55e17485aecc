"""A benchmark on disk, in the webdataset layout of CLIP_benchmark, so that what its tools prepared works as it is.

    classnames.txt                            a class a line; its number, from 0, is its label
    zeroshot_classification_templates.txt     a prompt a line, `{c}` stands for the class name
    dataset_type.txt                          `retrieval`; absent or `classification` otherwise
    in_distribution_benchmark.txt             ours, may be absent: the benchmark whose shifted version it is
    <split>/nshards.txt                       how many tars there are
    <split>/0.tar, 1.tar, …                   `<key>.jpg|png|webp` and `<key>.cls`, or `<key>.txt`: a caption a line

The rules are those of `clip_benchmark/datasets/builder.py` (`build_wds_dataset`) and webdataset's readers,
versions 1.6.2 and 1.0.2, but for one thing: what they would pass over or guess is an error here.

Models and scores do not belong here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from laion_assets.common.digests import file_sha256, json_digest
from laion_assets.common.files import appearing_folder
from laion_assets.webdataset.reader import TarError
from laion_assets.webdataset.samples import is_key, read_samples
from laion_assets.webdataset.writer import write_samples

Task = Literal["zeroshot_classification", "zeroshot_retrieval"]

CLASSNAMES_FILE: Final = "classnames.txt"
TEMPLATES_FILE: Final = "zeroshot_classification_templates.txt"
DATASET_TYPE_FILE: Final = "dataset_type.txt"
IN_DISTRIBUTION_FILE: Final = "in_distribution_benchmark.txt"
SHARD_COUNT_FILE: Final = "nshards.txt"
IMAGE_EXTENSIONS: Final = ("webp", "png", "jpg", "jpeg")
"""In the order CLIP_benchmark looks for them."""

_TASKS: Final[dict[str, Task]] = {"classification": "zeroshot_classification", "retrieval": "zeroshot_retrieval"}


class BenchmarkError(Exception):
    """A benchmark is not as it should be. The message says what was expected, what was found and what to do."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark whose layout has been checked. Made by `read_benchmark`."""

    name: str
    folder: Path
    task: Task
    split: str
    tars: tuple[Path, ...]
    """In the order they are read in."""
    classnames: tuple[str, ...]
    """By label; empty for retrieval."""
    templates: tuple[str, ...]
    """Prompts with `{c}` in them; empty for retrieval."""
    in_distribution: str | None = None
    """Name of the benchmark whose shifted version it is, for robustness; it changes no score of its own."""


@dataclass(frozen=True)
class BenchmarkSample:
    """One picture and what is true of it."""

    key: str
    """Its name in the tar, without extension."""
    image: bytes = field(repr=False)
    """The encoded file."""
    label: int | None = None
    """An index into the class names; None for retrieval."""
    captions: tuple[str, ...] = ()
    """At least one for retrieval, none otherwise."""
    tar: Path | None = field(default=None, compare=False)
    """Where it was read from."""


def read_benchmark(folder: Path, *, name: str | None = None, split: str = "test") -> Benchmark:
    """Read a benchmark's description and check its layout; pictures are not read.

    Args:
        folder: The folder that holds `classnames.txt` and the splits.
        name: What to call it; by default the folder's name.
        split: Which split.

    Raises:
        BenchmarkError: something is missing, does not fit, or is a multi-label benchmark, which has no top-1.
    """
    if not folder.is_dir():
        raise BenchmarkError(f"expected a folder with a benchmark in it, found no folder {folder}; correct the path")
    tars = _tars(folder, split)
    task = _task(folder)
    classnames: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    if task == "zeroshot_classification":
        classnames = _lines(folder / CLASSNAMES_FILE, "a class name a line")
        templates = _lines(folder / TEMPLATES_FILE, "a prompt a line, such as `a photo of a {c}.`")
        for number, template in enumerate(templates, start=1):
            _check_template(template, f"{folder / TEMPLATES_FILE}, line {number}")
    unshifted = folder / IN_DISTRIBUTION_FILE
    in_distribution = _text(unshifted).strip() or None if unshifted.is_file() else None
    return Benchmark(name or folder.resolve().name, folder, task, split, tars, classnames, templates, in_distribution)


def dataset_sha256(benchmark: Benchmark) -> str:
    """Digest of all that decides a score: task, class names, templates, and the tars in their order.

    Reads every tar. Neither the benchmark's name nor the place of its folder counts.

    Returns:
        sha256, 64 hexadecimal digits.

    Raises:
        BenchmarkError: a tar cannot be read.
    """
    described = {
        "task": benchmark.task,
        "classnames": benchmark.classnames,
        "templates": benchmark.templates,
        "tars": [_file_sha256(tar) for tar in benchmark.tars],
    }
    return json_digest(described, sort_keys=True)


def samples(benchmark: Benchmark) -> Iterator[BenchmarkSample]:
    """All samples of a benchmark, in order, one tar after the other; none is passed over.

    Members belong together as webdataset groups them: neighbours that share the name up to its first dot.

    Raises:
        BenchmarkError: a tar is damaged or ends too early, a sample lacks its picture, label or captions, a label
            names no class, or there are no samples at all. The message names tar and key.
    """
    found = False
    for tar in benchmark.tars:
        try:
            for key, members in read_samples(tar):
                found = True
                yield _sample(benchmark, tar, key, members)
        except TarError as error:
            raise BenchmarkError(
                f"{tar}: expected a whole tar of whole samples: {error}; fetch or convert it again"
            ) from error
    if not found:
        raise BenchmarkError(f"{benchmark.name}: expected samples in {benchmark.folder / benchmark.split}, found none")


def write_benchmark(
    folder: Path,
    written: Iterable[BenchmarkSample],
    *,
    task: Task,
    classnames: Sequence[str] = (),
    templates: Sequence[str] = (),
    in_distribution: str | None = None,
    split: str = "test",
    per_tar: int = 10_000,
    overwrite: bool = False,
) -> Benchmark:
    """Write a benchmark, which CLIP_benchmark reads too. The same arguments give the same bytes.

    Appears complete or not at all: it is written beside `folder` and renamed.

    Args:
        folder: The benchmark's folder, which must not exist yet.
        written: Its samples, in order; consumed as they are written.
        task: What it is for. Class names and templates are for classification only.
        classnames: By label.
        templates: Prompts with `{c}` in them.
        in_distribution: Name of the benchmark whose shifted version it is.
        split: Which split the samples are; others are not written.
        per_tar: Samples in a tar.
        overwrite: Replace a benchmark that lies there; anything else that lies there is still refused.

    Returns:
        The benchmark written, as `read_benchmark` reads it.

    Raises:
        BenchmarkError: `folder` exists, or something given could not be read again as it is.
    """
    if folder.exists() and not (overwrite and any(folder.glob(f"*/{SHARD_COUNT_FILE}"))):
        raise BenchmarkError(f"{folder} exists already; remove it, or write elsewhere")
    if per_tar < 1:
        raise BenchmarkError(f"per_tar: expected at least 1, found {per_tar}")
    with appearing_folder(folder) as staged:
        (staged / split).mkdir()
        _describe(staged, task, classnames, templates)
        if in_distribution is not None:
            (staged / IN_DISTRIBUTION_FILE).write_text(f"{in_distribution}\n", "utf-8")
        _write_tars(staged / split, written, task, len(classnames), per_tar)
        read_benchmark(staged, split=split)
    return read_benchmark(folder, split=split)


def _check_template(template: str, where: str) -> None:
    """Refuse a prompt that does not name the class.

    Raises:
        BenchmarkError: `{c}` is missing, or there are other braces.
    """
    mark = "\0"
    try:
        names_class = mark in template.format(c=mark)
    except (ValueError, LookupError, AttributeError):
        names_class = False
    if not names_class:
        raise BenchmarkError(f"{where}: expected a prompt with `{{c}}` for the class, found {template!r}; correct it")


def _tars(folder: Path, split: str) -> tuple[Path, ...]:
    counted = folder / split / SHARD_COUNT_FILE
    if not counted.is_file():
        splits = ", ".join(sorted(path.parent.name for path in folder.glob(f"*/{SHARD_COUNT_FILE}"))) or "none"
        raise BenchmarkError(f"{folder}: expected the split {split!r} with {counted}, found the splits: {splits}")
    text = _text(counted).strip()
    if not text.isdecimal() or int(text) < 1:
        raise BenchmarkError(f"{counted}: expected the number of tars, at least 1, found {text!r}")
    tars = tuple(counted.with_name(f"{number}.tar") for number in range(int(text)))
    missing = [tar.name for tar in tars if not tar.is_file()]
    if missing:
        raise BenchmarkError(
            f"{counted} says {len(tars)} tars, {len(missing)} of them are missing, first {missing[0]}; "
            "complete the download, or convert the benchmark again"
        )
    further = sorted(path.name for path in counted.parent.glob("*.tar") if path not in tars)
    if further:
        raise BenchmarkError(
            f"{counted} says {len(tars)} tars, found {len(further)} more, first {further[0]}; they would not be read: "
            f"correct {SHARD_COUNT_FILE}, or remove them"
        )
    return tars


def _task(folder: Path) -> Task:
    file = folder / DATASET_TYPE_FILE
    kind = _text(file).strip().lower() if file.is_file() else "classification"
    if kind == "multilabel":
        raise BenchmarkError(
            f"{file}: a multi-label benchmark has no top-1 accuracy and is not supported; leave it out"
        )
    if kind not in _TASKS:
        raise BenchmarkError(f"{file}: expected `classification` or `retrieval`, found {kind!r}")
    return _TASKS[kind]


def _lines(file: Path, expected: str) -> tuple[str, ...]:
    """A file's lines without the blanks around them; a number of a line is a label.

    CLIP_benchmark also ends lines at U+2028 and its kind, and so counts such a name twice: here only a line feed does.
    """
    if not file.is_file():
        raise BenchmarkError(
            f"expected {file} ({expected}), found no such file; write it, or say `retrieval` in {DATASET_TYPE_FILE} if "
            "the benchmark is one"
        )
    text = _text(file)
    if not text:
        raise BenchmarkError(f"{file}: expected {expected}, found an empty file")
    lines = tuple(line.strip() for line in text.removesuffix("\n").split("\n"))
    for number, line in enumerate(lines, start=1):
        if not line:
            raise BenchmarkError(f"{file}: expected {expected}, found nothing on line {number}; remove it")
        if "\r" in line:
            raise BenchmarkError(
                f"{file}: expected {expected}, found a carriage return in line {number}; end lines by \\n"
            )
    return lines


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{file}: expected text in UTF-8, and it cannot be read: {error}") from error


def _file_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error}") from error


def _sample(benchmark: Benchmark, tar: Path, key: str, members: dict[str, bytes]) -> BenchmarkSample:
    where, found = f"{tar}, sample {key}", ", ".join(f".{extension}" for extension in members) or "nothing"
    image = next((members[extension] for extension in IMAGE_EXTENSIONS if extension in members), None)
    if image is None:
        raise BenchmarkError(f"{where}: expected a picture (.{', .'.join(IMAGE_EXTENSIONS)}), found {found}")
    wanted = "txt" if benchmark.task == "zeroshot_retrieval" else "cls"
    if wanted not in members:
        raise BenchmarkError(f"{where}: expected a file .{wanted} beside the picture, found {found}")
    if wanted == "txt":
        return BenchmarkSample(key, image, captions=_captions(members["txt"], where), tar=tar)
    return BenchmarkSample(key, image, label=_label(members["cls"], len(benchmark.classnames), where), tar=tar)


def _captions(content: bytes, where: str) -> tuple[str, ...]:
    try:
        captions = tuple(content.decode("utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{where}: expected captions in UTF-8, found {content[:20]!r}") from error
    if not captions:
        raise BenchmarkError(f"{where}: expected at least one caption, found an empty file")
    return captions


def _label(content: bytes, classes: int, where: str) -> int:
    try:
        label = int(content)
    except ValueError as error:
        raise BenchmarkError(f"{where}: expected the number of a class, found {content[:20]!r}") from error
    if not 0 <= label < classes:
        raise BenchmarkError(f"{where}: expected a class from 0 to {classes - 1}, found {label}; see {CLASSNAMES_FILE}")
    return label


def _describe(folder: Path, task: Task, classnames: Sequence[str], templates: Sequence[str]) -> None:
    if task == "zeroshot_retrieval":
        if classnames or templates:
            raise BenchmarkError("a retrieval benchmark has neither class names nor templates; leave them out")
        (folder / DATASET_TYPE_FILE).write_text("retrieval\n", "utf-8")
        return
    for file, lines in ((CLASSNAMES_FILE, classnames), (TEMPLATES_FILE, templates)):
        if not lines:
            raise BenchmarkError(f"{file}: expected at least one line, found none")
        for line in lines:
            if line.splitlines() != [line] or line.strip() != line:
                raise BenchmarkError(f"{file}: expected one line without outer blanks, found {line!r}")
            if file == TEMPLATES_FILE:
                _check_template(line, file)
        (folder / file).write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _write_tars(folder: Path, written: Iterable[BenchmarkSample], task: Task, classes: int, per_tar: int) -> None:
    keys: set[str] = set()

    def members(sample: BenchmarkSample) -> tuple[str, dict[str, bytes]]:
        if sample.key in keys or not is_key(sample.key):
            raise BenchmarkError(f"key: expected a name without dots, given once, found {sample.key!r}")
        keys.add(sample.key)
        return sample.key, {_extension(sample): sample.image, **_truth(sample, task, classes)}

    rows, count = map(members, written), 0
    while part := list(itertools.islice(rows, 1)):
        write_samples(folder / f"{count}.tar", itertools.chain(part, itertools.islice(rows, per_tar - 1)))
        count += 1
    if not count:
        raise BenchmarkError("expected samples to write, found none")
    (folder / SHARD_COUNT_FILE).write_text(f"{count}\n", "utf-8")


def _truth(sample: BenchmarkSample, task: Task, classes: int) -> dict[str, bytes]:
    """What is true of a picture, as the file beside it says it, by extension."""
    where = f"sample {sample.key}"
    if task == "zeroshot_classification":
        if sample.label is None or sample.captions:
            raise BenchmarkError(f"{where}: expected a label and no captions, found {sample}")
        content = str(sample.label).encode()
        _label(content, classes, where)
        return {"cls": content}
    text = "\n".join(sample.captions)
    if not text or sample.label is not None or tuple(text.splitlines()) != sample.captions:
        raise BenchmarkError(f"{where}: expected captions of one line each and no label, found {sample}")
    return {"txt": text.encode()}


def _extension(sample: BenchmarkSample) -> str:
    head = sample.image[:12]
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "webp"
    raise BenchmarkError(f"sample {sample.key}: expected a JPEG, PNG or WebP file, found one that begins {head!r}")
