"""A release on its way to its place: part by part, each file whole, and the manifest when all is there."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq

from laion_assets.common.digests import file_sha256, json_digest
from laion_assets.common.files import remove_unfinished
from laion_assets.delta.storage import Storage
from laion_assets.release.facts import ReleaseFacts
from laion_assets.release.feed import FEED
from laion_assets.release.ids import CODE_VERSION, IDS, ids_path, write_ids
from laion_assets.release.manifest import MANIFEST, Manifest, feed_version
from laion_assets.release.options import Release
from laion_assets.release.parts import Format, Part, ReleasedFile, ReleaseError
from laion_assets.release.place import open_place


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Files of a part that an earlier release wrote from the same."""

    release: str
    place: str
    """Where that release lies."""
    files: Sequence[ReleasedFile]


Known = Callable[[str], "Earlier | None"]
"""Finds, by the digest of what files are made from, those of an earlier release."""


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """A file of a part, as ``release_files`` has it."""

    file: ReleasedFile
    made_from: str
    taken_from: str | None


def ensure_free(place: Storage) -> None:
    """Make sure that a new release does not come among other files.

    Raises:
        ReleaseError: there are some.
    """
    found = next(iter(place.files()), None)
    if found is not None:
        raise ReleaseError(
            f"{place.uri} is not empty (it holds {found.name}), and a release lies in a folder of its own: name "
            "another one with --to"
        )


def write_part(
    con: duckdb.DuckDBPyConnection,
    part: Part,
    formats: Iterable[Format],
    place: Storage,
    work: Path,
    known: Known,
) -> list[WrittenFile]:
    """Write the files of a part to their place, or take them from an earlier release that has the same.

    Args:
        con: any engine.
        part: what to write.
        formats: in which.
        place: of the release.
        work: a folder for what is being written, on the file system of ``place`` if that is cheap.
        known: finds files of earlier releases.

    Raises:
        ReleaseError: a format cannot write the part, or two write different files of one name.
    """
    rows, vectors = file_sha256(part.rows), part.embeddings and file_sha256(part.embeddings)
    made_from = json_digest([IDS, CODE_VERSION, part.number, rows], sort_keys=False)
    written = list(_taken(IDS, made_from, part, known, place))
    if not written:
        write_ids(con, part.rows, work / IDS / ids_path(part.number))
        written = _published(IDS, made_from, part, work / IDS, place)
    for format_ in formats:
        inputs = [rows, vectors if format_.needs_embeddings else None]
        made_from = json_digest([format_.name, format_.code_version, part.number, *inputs], sort_keys=False)
        files = list(_taken(format_.name, made_from, part, known, place))
        if not files:
            folder = work / format_.name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            format_.write_part(part, folder)
            files = _published(format_.name, made_from, part, folder, place)
        written += files
    return _distinct(written)


def _taken(kind: str, made_from: str, part: Part, known: Known, place: Storage) -> Iterator[WrittenFile]:
    """Files of an earlier release that are made from the same, if they are all there as they were written."""
    earlier = known(made_from)
    if earlier is None or not earlier.files:
        return
    source = open_place(earlier.place)
    with source.mirror(file.path for file in earlier.files) as root:
        for file in earlier.files:
            local = root / file.path
            if not local.is_file() or local.stat().st_size != file.bytes or file_sha256(local) != file.sha256:
                return
        for file in earlier.files:
            place.publish(root / file.path, file.path)
    for file in earlier.files:
        yield WrittenFile(
            file=replace(file, kind=kind, crawl=part.crawl, bucket=part.bucket),
            made_from=made_from,
            taken_from=earlier.release,
        )


def _published(kind: str, made_from: str, part: Part, folder: Path, place: Storage) -> list[WrittenFile]:
    """Let what was written below a folder appear in its place."""
    found = []
    for file in _files(kind, folder):
        place.publish(folder / file.path, file.path)
        told = replace(file, crawl=part.crawl, bucket=part.bucket)
        found.append(WrittenFile(file=told, made_from=made_from, taken_from=None))
    return found


def _files(kind: str, folder: Path) -> Iterator[ReleasedFile]:
    """What lies below a folder, by path."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield ReleasedFile(
            path=path.relative_to(folder).as_posix(),
            bytes=path.stat().st_size,
            sha256=file_sha256(path),
            kind=kind,
            rows=pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None,
        )


def _distinct(written: Iterable[WrittenFile]) -> list[WrittenFile]:
    """Each file once.

    Raises:
        ReleaseError: two formats wrote different files of one name.
    """
    found: dict[str, WrittenFile] = {}
    for one in written:
        other = found.setdefault(one.file.path, one)
        if other.file.sha256 != one.file.sha256:
            raise ReleaseError(f"{other.file.kind} and {one.file.kind} both write {one.file.path}: choose one of them")
    return list(found.values())


def file_rows(written: Iterable[WrittenFile], part: int) -> pl.DataFrame:
    """Rows of ``release_files``."""
    schema = {
        "path": pl.String, "kind": pl.String, "bytes": pl.Int64, "sha256": pl.String, "rows": pl.Int64,
        "part": pl.Int32, "made_from": pl.String, "taken_from": pl.String,
    }  # fmt: skip
    rows = [
        {"path": one.file.path, "kind": one.file.kind, "bytes": one.file.bytes, "sha256": one.file.sha256,
         "rows": one.file.rows, "part": part, "made_from": one.made_from, "taken_from": one.taken_from}
        for one in written
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def released_files(rows: pl.DataFrame) -> list[ReleasedFile]:
    """Files as rows of ``release_files`` name them, by path."""
    names = ["path", "bytes", "sha256", "kind", "rows", "crawl", "bucket"]
    return [ReleasedFile(**row) for row in rows.select(names).sort("path").iter_rows(named=True)]


def is_there(files: Iterable[ReleasedFile], sizes: Mapping[str, int]) -> bool:
    """Whether files lie in their place with their size; ``sizes`` is of all that lie there."""
    return all(sizes.get(file.path) == file.bytes for file in files)


def sizes_at(place: Storage) -> dict[str, int]:
    """The size of every file at a place, by its path."""
    return {file.name: file.bytes for file in place.files()}


def finish_release(
    release: Release,
    files: Sequence[ReleasedFile],
    formats: Sequence[Format],
    facts: ReleaseFacts,
    feed: bytes,
    place: Storage,
    work: Path,
) -> Manifest:
    """Write what is about all parts, the removals feed, and last the manifest.

    A release that has a manifest keeps its feed, which may have grown since.

    Args:
        release: the release.
        files: of all parts, by path.
        formats: in which it is written.
        facts: what is told of it.
        feed: the removals until now.
        place: of the release.
        work: an empty folder for what is being written.
    """
    written = list(files)
    with ExitStack() as stack:
        for format_ in formats:
            folder = work / format_.name
            folder.mkdir(parents=True)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            format_.write_whole(facts, list(files), folder)
            known = {file.path: file for file in written}
            for file in _files(format_.name, folder):
                if known.get(file.path, file).sha256 != file.sha256:
                    raise ReleaseError(f"{format_.name} writes {file.path}, which {known[file.path].kind} wrote too")
                if file.path not in known:
                    place.publish(folder / file.path, file.path)
                    written.append(file)
    day = f"{release.created_at:%Y-%m-%d}"
    manifest = Manifest(
        release=release.name,
        files=sorted(written, key=lambda file: file.path),
        feed=[feed_version(feed, day)],
        versions=release.versions,
        told=_told(release),
    )
    before = _manifest_at(place, release)
    if before is not None:
        manifest = replace(manifest, feed=before.feed)
    else:
        place.replace(FEED, feed)
    if place.is_local:
        remove_unfinished(Path(place.uri))
    if before is None or before.to_bytes() != manifest.to_bytes():
        place.replace(MANIFEST, manifest.to_bytes())
    return manifest


def _manifest_at(place: Storage, release: Release) -> Manifest | None:
    try:
        found = Manifest.of_bytes(place.read(MANIFEST), place.address(MANIFEST))
    except FileNotFoundError:
        return None
    except ReleaseError:  # torn: what it said is known, but for the feed, and that lies beside it
        return None
    return found if found.release == release.name and place.exists(FEED) else None


def _told(release: Release) -> dict[str, Any]:
    terms = release.terms
    return {
        "description": terms.description,
        "created_at": release.created_at.isoformat(),
        "license": terms.license,
        "creator": terms.creator,
        "contact": terms.contact,
        "source": terms.source,
        "where": terms.selection,
        "formats": list(terms.formats),
        "has_pictures": terms.has_pictures,
        "pairs": release.pairs,
        "crawls": list(dict.fromkeys(crawl for crawl, _ in release.part_rows)),
    }
