"""The card of a release: front matter for the hub, figures, limits, and how each number was made."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

import pyarrow as pa
import yaml

from laion_assets.common.quantities import byte_size
from laion_assets.release.facts import ReleaseFacts
from laion_assets.release.formats import clip_retrieval, laion, webdataset, words
from laion_assets.release.formats.columns import MEANINGS
from laion_assets.release.parts import ReleasedFile

ALL: Final = "all"
"""The configuration of all language groups."""

_SIZES: Final = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"), (100_000_000_000, "10B<n<100B"), (1_000_000_000_000, "100B<n<1T"),
)  # fmt: skip
_DTYPES: Final = {pa.string(): "string", pa.int32(): "int32", pa.int64(): "int64", pa.float32(): "float32",
                  pa.float64(): "float64"}  # fmt: skip
_MOST_LINES: Final = 20


def card(facts: ReleaseFacts, files: Sequence[ReleasedFile]) -> str:
    """The whole text of the card.

    Args:
        facts: of the release.
        files: all that the parts wrote.
    """
    import jinja2

    paths = [PurePosixPath(file.path) for file in files]
    sizes: dict[str, list[int]] = {}
    for file in files:
        sizes.setdefault(file.path.partition("/")[0], []).append(file.bytes)
    matter = yaml.safe_dump(front_matter(facts, files), sort_keys=False, allow_unicode=True, width=1000)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("laion_assets.release.formats", "."),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown
    )
    return environment.get_template("card.md.jinja").render(
        facts=facts,
        front_matter=matter,
        words=words,
        table=_table,
        subsets=_rows_by_subset(files),
        tars=webdataset.FOLDER in sizes,
        encoders=sorted({path.parts[1] for path in paths if path.parts[0] == clip_retrieval.FOLDER}),
        languages=_most(facts.languages),
        folders=[(f"`{name}/`", len(of), byte_size(sum(of))) for name, of in sorted(sizes.items())],
        drops=[(table, reason, rows) for table, reasons in facts.drops.items() for reason, rows in reasons.items()],
        columns=[(f"`{field.name}`", _DTYPES[field.type], MEANINGS[field.name]) for field in laion.SCHEMA],
        **_made(facts),
    )


def _made(facts: ReleaseFacts) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the tables of how the numbers were made, and of what."""
    return {
        "encoder_rows": [(f"`{e.name}`", f"`{e.sha256}`", e.precision, e.preprocess) for e in facts.encoders],
        "thresholds": [
            (entry.subset, f"`{entry.encoder}`", f"{entry.threshold:.4f}", entry.method or "as LAION published it")
            for entry in facts.thresholds
        ],
        "tables": [
            (f"`{table}`", facts.versions.get(table, ""), facts.code_versions.get(table, ""))
            for table in sorted({*facts.versions, *facts.code_versions})
        ],
        "crawls": [
            (f"`{crawl.name}`", crawl.rows, crawl.source, _date(crawl.first_capture), _date(crawl.last_capture))
            for crawl in facts.crawls
        ],
    }


def front_matter(facts: ReleaseFacts, files: Sequence[ReleasedFile]) -> dict[str, Any]:
    """What the hub reads of a card."""
    subsets = _rows_by_subset(files)
    known = facts.license.lower() in words.LICENSES
    licence = {"license": facts.license.lower()} if known else {
        "license": "other",
        "license_name": "-".join(facts.license.lower().split()),
        "license_link": facts.license_link or "README.md#licence",
    }  # fmt: skip
    names = [ALL, *subsets] if subsets else []
    return {
        **licence,
        "pretty_name": facts.name,
        "language": sorted(code for code in facts.languages if code != "nolang"),
        "size_categories": [next((name for limit, name in _SIZES if facts.rows < limit), "n>1T")],
        "task_categories": ["zero-shot-image-classification", "text-to-image", "image-to-text"],
        "tags": ["image-text-pairs", "clip", "web", "laion", "croissant"],
        "source_datasets": ["original"],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["found"],
        "configs": [_config(name) for name in names],
        "dataset_info": [_info(name, files) for name in names],
    }


def _config(name: str) -> dict[str, Any]:
    default = {"default": True} if name == ALL else {}
    files = [{"split": "train", "path": _pattern(name)}]
    return {"config_name": name, **default, "data_files": files}


def _pattern(name: str) -> str:
    return f"{laion.FOLDER}/{'*' if name == ALL else name}/*.parquet"


def _info(name: str, files: Sequence[ReleasedFile]) -> dict[str, Any]:
    chosen = [file for file in files if PurePosixPath(file.path).match(_pattern(name))]
    size = sum(file.bytes for file in chosen)
    return {
        "config_name": name,
        "features": [{"name": field.name, "dtype": _DTYPES[field.type]} for field in laion.SCHEMA],
        "splits": [{"name": "train", "num_bytes": size, "num_examples": sum(file.rows or 0 for file in chosen)}],
        "download_size": size,
        "dataset_size": size,
    }


def _rows_by_subset(files: Sequence[ReleasedFile]) -> dict[str, int]:
    found: dict[str, int] = {}
    for file in files:
        path = PurePosixPath(file.path)
        if path.match(_pattern(ALL)):
            found[path.parts[1]] = found.get(path.parts[1], 0) + (file.rows or 0)
    return dict(sorted(found.items()))


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The largest, and all others as one."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(rows for _, rows in ordered[_MOST_LINES:])
    return ordered[:_MOST_LINES] + ([(f"{len(ordered) - _MOST_LINES} others", rest)] if rest else [])


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown, or that there is nothing to say."""
    lines = [" | ".join(_cell(value) for value in row) for row in rows]
    if not lines:
        return f"(By {header[0]}: nothing is known.)"
    return "\n".join(f"| {line} |" for line in (" | ".join(header), " | ".join("---" for _ in header), *lines))


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _date(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d}"
