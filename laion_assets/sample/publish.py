"""Publishes the sample: two crawls, the pictures they link to, and the truth about every pair.

What is in it is decided by `plan`, `dirt` and `layout`; here it is rendered and written.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from laion_assets.common.digests import json_digest
from laion_assets.common.files import appearing_folder
from laion_assets.sample.archive import write_crawl
from laion_assets.sample.dirt import add_dirt
from laion_assets.sample.layout import lay_out
from laion_assets.sample.options import CRAWLS, SampleOptions
from laion_assets.sample.plan import Pair, PlannedPicture, SamplePlan, plan_ordinary
from laion_assets.sample.web import WebWriter, encode
from laion_assets.sample.world import render

TRUTH_SCHEMA: Final[dict[str, Any]] = {
    "url": pl.String,
    "text": pl.String,
    "language": pl.String,
    "matched": pl.Boolean,
    "mentioned": pl.List(pl.String),
    "contradicted": pl.List(pl.String),
    "kind": pl.String,
    "outcome": pl.String,
    "sightings": pl.List(pl.String),
}
"""Columns of truth.parquet: one row per distinct (url, text); see `plan.Pair` for their meaning."""

_MARKER: Final = "sample.json"
_SIDES: Final = (80, 96)
_BATCH: Final = 240


class SampleError(Exception):
    """The sample cannot be published or served; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SampleCrawl:
    """A published sample."""

    root: Path
    options: SampleOptions
    crawls: tuple[str, ...]
    digest: str
    """Changes with the options and with the code that made the sample."""
    counts: dict[str, int]
    """Pictures, links (alt texts met) and distinct pairs by kind."""

    @property
    def truth(self) -> pl.DataFrame:
        """The rows of truth.parquet."""
        return pl.read_parquet(self.root / "truth.parquet")


def publish(
    root: Path, options: SampleOptions | None = None, progress: Callable[[int], None] | None = None
) -> SampleCrawl:
    """Make the sample at `root`, or find it there: the same options give the same bytes.

    Everything is written to a folder beside `root` and renamed at the end, so that `root` is never half a sample.

    Args:
        root: The sample's folder; a source of crawls as it stands. Replaced if it holds a sample made otherwise.
        options: Size, seed and port.
        progress: Called with the number of pictures written since the last call.

    Raises:
        SampleError: `root` holds something that is no sample.
    """
    options = options or SampleOptions()
    digest = _digest(options)
    found = find_sample(root)
    if found is not None and found.digest == digest:
        return found
    if found is None and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise SampleError(f"{root} holds files that are no sample: name an empty or a new folder")
    with appearing_folder(root) as staged:
        _write(staged, options, digest, progress)
    published = find_sample(root)
    if published is None:
        raise SampleError(f"{root} vanished while the sample was written: publish it again")
    return published


def find_sample(root: Path) -> SampleCrawl | None:
    """The sample published at `root`, None where there is none."""
    marker = root / _MARKER
    if not marker.is_file():
        return None
    known = json.loads(marker.read_text("utf-8"))
    return SampleCrawl(root, SampleOptions(**known["options"]), CRAWLS, known["digest"], known["counts"])


def make_plan(options: SampleOptions) -> SamplePlan:
    """All that `publish` writes, before anything is rendered."""
    plan = plan_ordinary(options)
    add_dirt(plan, options)
    return plan


def _write(root: Path, options: SampleOptions, digest: str, progress: Callable[[int], None] | None) -> None:
    plan = make_plan(options)
    for crawl, pages in lay_out(plan, options).items():
        write_crawl(root, crawl, pages, options.wat_files)
    with WebWriter(root) as web:
        _write_pictures(plan, web, progress)
        for path, body, reply in plan.files:
            web.add(path, body, reply)
    truth_frame(plan.pairs).write_parquet(root / "truth.parquet")
    counts = {"pictures": len(plan.pictures), "links": sum(len(pair.sightings) for pair in plan.pairs)}
    counts |= dict(sorted(Counter(f"kind {pair.kind}" for pair in plan.pairs).items()))
    marker = {"digest": digest, "options": asdict(options), "counts": counts}
    (root / _MARKER).write_text(json.dumps(marker, indent=1), "utf-8")


def _write_pictures(plan: SamplePlan, web: WebWriter, progress: Callable[[int], None] | None) -> None:
    """Render and encode the ordinary pictures, in two sizes."""
    for turn, side in enumerate(_SIDES):
        pictures = plan.pictures[turn :: len(_SIDES)]
        for start in range(0, len(pictures), _BATCH):
            batch: list[PlannedPicture] = pictures[start : start + _BATCH]
            rendered = render(plan.scenes.take(np.array([picture.scene for picture in batch])), side)
            for picture, pixels in zip(batch, rendered, strict=True):
                web.add(picture.path, encode(pixels, picture.extension))
            if progress is not None:
                progress(len(batch))


def truth_frame(pairs: list[Pair]) -> pl.DataFrame:
    """The truth as a table, ordered by (url, text)."""
    columns = {name: [getattr(pair, name) for pair in pairs] for name in TRUTH_SCHEMA}
    return pl.DataFrame(columns, schema=TRUTH_SCHEMA).sort("url", "text")


@cache
def _code_digest() -> str:
    """Digest of the code that makes samples, so that a sample of older code is not taken for a current one."""
    state = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        state.update(path.read_bytes())
    return state.hexdigest()


def _digest(options: SampleOptions) -> str:
    return json_digest([asdict(options), _code_digest()], sort_keys=False)
