"""Files of a copy that say how much of what is in it: they are made true again after rows are gone.

Each is a function of what is there and of the records of what was changed, so that doing it twice does nothing more: a
number or a digest is replaced only where it is what it was before.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow.parquet as pq
import yaml

from laion_assets.release.cleaning.staging import Change, Record
from laion_assets.release.cleaning.units import CROISSANT, MANIFEST
from laion_assets.release.feed import FEED, Feed, FeedError, ensure_successor
from laion_assets.release.manifest import Manifest, feed_version
from laion_assets.release.parts import ReleaseError

CARD: Final = "README.md"
SIZES: Final = "sizes.json"


def changes_about(copy: Path, records: Sequence[Record], feed: Feed) -> list[Change]:
    """The changes to files that speak of others, and to the copy's own feed and manifest.

    Args:
        copy: its folder.
        records: of all files that were changed.
        feed: that the copy was cleaned by.
    """
    contents = {**_sizes(copy, records), **_card(copy, records), **_croissant(copy, records)}
    if goes_on(copy, feed):
        contents[FEED] = feed.content
    changes = {name: content for name, content in contents.items() if (copy / name).read_bytes() != content}
    manifest = _manifest(copy, records, changes, feed)
    if manifest is not None:
        changes[MANIFEST] = manifest
    return [Change(name, partial(_write, content)) for name, content in changes.items()]


def goes_on(copy: Path, feed: Feed) -> bool:
    """Whether the copy has a feed of its own which the feed goes on from; it is replaced then."""
    try:
        ensure_successor((copy / FEED).read_bytes(), feed.content)
    except (FeedError, OSError):
        return False
    return True


def _write(content: bytes, fresh: Path) -> None:
    fresh.write_bytes(content)


def _sizes(copy: Path, records: Sequence[Record]) -> dict[str, bytes]:
    """How many samples each tar of a folder has, as open_clip reads it."""
    changed: dict[str, bytes] = {}
    for folder in sorted({str(Path(record.path).parent) for record in records if record.path.endswith(".tar")}):
        name = (Path(folder) / SIZES).as_posix()
        try:
            sizes = msgspec.json.decode((copy / name).read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError):
            continue
        for record in records:
            tar = Path(record.path)
            if str(tar.parent) == folder and record.rows is not None and sizes.get(tar.name) == record.rows:
                sizes[tar.name] = record.rows - record.removed
        if sizes != msgspec.json.decode((copy / name).read_bytes()):
            changed[name] = msgspec.json.encode(sizes)
    return changed


def _card(copy: Path, records: Sequence[Record]) -> dict[str, bytes]:
    """The card, with the numbers that ``datasets`` compares with what it reads: rows and bytes of each split."""
    try:
        text = (copy / CARD).read_text(encoding="utf-8")
        _, matter, rest = text.split("---\n", 2)
        said = yaml.safe_load(matter)
        infos = said["dataset_info"]
        configs = {config["config_name"]: config["data_files"] for config in said["configs"]}
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return {}
    for info in infos if isinstance(infos, list) else [infos]:
        _count_again(copy, records, info, configs.get(info.get("config_name"), []))
    if said == yaml.safe_load(matter):
        return {}
    written = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=1000)
    return {CARD: f"---\n{written}---\n{rest}".encode()}


def _count_again(copy: Path, records: Sequence[Record], info: dict[str, Any], data_files: list[Any]) -> None:
    patterns = {entry["split"]: entry["path"] for entry in data_files if isinstance(entry.get("path"), str)}
    by_path = {record.path: record for record in records}
    for split in info.get("splits", []):
        files = sorted(copy.glob(patterns[split["name"]])) if split.get("name") in patterns else []
        changed = [by_path[name] for path in files if (name := path.relative_to(copy).as_posix()) in by_path]
        if not changed:
            continue
        rows = sum(pq.read_metadata(path).num_rows for path in files if path.suffix == ".parquet")
        size = sum(path.stat().st_size for path in files)
        rows_before = rows + sum(record.removed for record in changed)
        size_before = size + sum(record.bytes_before - record.bytes_after for record in changed)
        if split.get("num_examples") == rows_before:
            split["num_examples"] = rows
        for place, name in ((split, "num_bytes"), (info, "download_size"), (info, "dataset_size")):
            if place.get(name) == size_before:
                place[name] = size


def _croissant(copy: Path, records: Sequence[Record]) -> dict[str, bytes]:
    """The Croissant file, with the digests of files as they are now."""
    try:
        content = (copy / CROISSANT).read_bytes()
    except OSError:
        return {}
    for record in records:
        content = content.replace(record.before.encode(), record.after.encode())
    return {CROISSANT: content}


def _manifest(copy: Path, records: Sequence[Record], changes: Mapping[str, bytes], feed: Feed) -> bytes | None:
    """The manifest of a release, true of what is there now; None where there is none, or nothing changed."""
    try:
        before = (copy / MANIFEST).read_bytes()
        manifest = Manifest.of_bytes(before, MANIFEST)
    except (OSError, ReleaseError):
        return None
    now = {record.path: record for record in records}
    files = []
    for file in manifest.files:
        record, content = now.get(file.path), changes.get(file.path)
        if content is not None:
            file = replace(file, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        elif record is not None and record.before == file.sha256:
            rows = None if file.rows is None else file.rows - record.removed
            file = replace(file, bytes=record.bytes_after, sha256=record.after, rows=rows)
        files.append(file)
    versions = [*manifest.feed]
    if goes_on(copy, feed) and (not versions or versions[-1].bytes < len(feed.content)):
        at = feed.rows[-1].date.isoformat() if feed.rows else ""
        versions.append(feed_version(feed.content, at))
    after = replace(manifest, files=files, feed=versions).to_bytes()
    return None if after == before else after
