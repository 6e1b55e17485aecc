"""Releases: what is published of the lake, part by part, and the manifest when all parts are written."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pyarrow as pa

from laion_assets.consent.removals import Removals
from laion_assets.delta.errors import LakeError, as_lake_error
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.orchestration.assets.metadata import counts_table
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.orchestration.removals import current_removals
from laion_assets.orchestration.run_tags import RELEASE_TAG
from laion_assets.release.begun import EarlierFiles, begun_release, files_of, known_release, parts_due
from laion_assets.release.build import ensure_free, file_rows, finish_release, released_files, write_part
from laion_assets.release.feed import feed_lines, requests_of
from laion_assets.release.figures import release_facts
from laion_assets.release.options import Release, ReleaseOptions, Terms, usual_terms
from laion_assets.release.parts import Part, ReleasedFile, ReleaseError
from laion_assets.release.place import open_place
from laion_assets.release.selection import begin_release, refusal, stage_part
from laion_assets.release.verify import removed_rows
from laion_assets.release.writers import formats_of
from laion_assets.settings import Settings
from laion_assets.sql.project import open_project


def releases(step: Step) -> Metadata:
    """What a release is made of: the pairs that were selected, at versions that stay readable."""
    name = str(step.partition["release"])
    begun = begun_release(step.lake, name)
    with as_lake_error(ReleaseError):
        terms = _terms(step, name, begun)
        formats_of(terms.formats, pictures=terms.has_pictures)
        if begun is None:
            ensure_free(open_place(terms.destination))
        release = begin_release(
            step.build,
            open_project(step.settings.models),
            name,
            terms,
            removals=_removals(step),
            consent=step.settings.consent,
            created_at=datetime.now(UTC).replace(microsecond=0) if begun is None else begun.created_at,
            versions={} if begun is None else begun.versions,
        )
    step.build.rows_in = 1
    step.build.add(pl.DataFrame(pa.Table.from_pylist([release.to_row()], schema=step.build.schema)))
    return {
        "pairs": release.pairs,
        "pictures": release.pictures,
        "parts": len(release.part_rows),
        "destination": dg.MetadataValue.path(terms.destination),
        "pairs left out": counts_table(dict(release.left_out), "reason"),
    }


def _removals(step: Step) -> Removals:
    """Takedowns and deny lists as they are now; the commit records which they were."""
    step.read("takedowns")
    found = current_removals(step.lake, step.settings)
    step.build.provenance = replace(step.build.provenance, externals={"removals": found.digest})
    return found


def _terms(step: Step, name: str, begun: Release | None) -> Terms:
    asked = step.run_tags.get(RELEASE_TAG)
    if asked is None and begun is None:
        raise LakeError(f"nothing says what release {name} is: `laion release {name} --from …` begins it")
    options = ReleaseOptions() if asked is None else ReleaseOptions.of_text(asked)
    return options.terms(name, usual_terms(name, options), None if begun is None else begun.terms)


def release_files(step: Step) -> Metadata:
    """The files of a release that belong to one crawl and bucket, in every format that it is written in."""
    crawl, bucket = str(step.partition["crawl"]), int(step.partition["bucket"])
    with as_lake_error(ReleaseError):
        release = Release.of_row(step.frame("releases").row(0, named=True))
        formats = formats_of(release.terms.formats, pictures=release.terms.has_pictures)
        work = step.build.resumable("part").path
        _clear(work)
        rows, vectors = stage_part(
            step.build,
            open_project(step.settings.models),
            release,
            removals=_removals(step),
            folder=work,
            vectors=any(format_.needs_embeddings for format_ in formats.values()),
        )
        number = release.number(crawl, bucket, len(step.lake.numbers("bucket")))
        tars = pl.read_parquet(rows, columns=["shard_path"])["shard_path"].drop_nulls().unique().sort().to_list()
        with step.lake.storage.mirror(tars) as root:
            part = Part(
                number=number,
                parts=len(release.crawls) * len(step.lake.numbers("bucket")),
                crawl=crawl,
                bucket=bucket,
                rows=rows,
                embeddings=vectors,
                tars={tar: root / tar for tar in tars},
            )
            written = write_part(
                step.build.con,
                part,
                formats.values(),
                open_place(release.terms.destination),
                work / "files",
                EarlierFiles(step.lake, release.name, crawl, bucket),
            )
    step.build.rows_in = len(written)
    step.build.counts["pairs"] = release.part_rows[crawl, bucket]
    step.build.counts["files taken from earlier releases"] = sum(1 for one in written if one.taken_from)
    step.build.add(file_rows(written, number))
    return {"pairs": release.part_rows[crawl, bucket], "bytes": sum(one.file.bytes for one in written)}


def _clear(folder: Path) -> None:
    """Remove what a process left that was killed at this part: a part is written anew."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix == ".parquet":
            path.unlink()


def due_parts(lake: Lake, partition: Partition) -> Iterator[Partition]:
    """The parts of a release that are not in their place."""
    with as_lake_error(ReleaseError):
        release = known_release(lake, str(partition["release"]))
        for crawl, bucket in parts_due(lake, release, open_place(release.terms.destination)):
            yield {"release": release.name, "crawl": crawl, "bucket": bucket}


def finish(lake: Lake, settings: Settings, partition: Partition) -> Metadata:
    """Write what is about all parts of a release, and its manifest."""
    with (
        as_lake_error(ReleaseError),
        tempfile.TemporaryDirectory(prefix="laion-release-", ignore_cleanup_errors=True) as work,
    ):
        release = known_release(lake, str(partition["release"]))
        place = open_place(release.terms.destination)
        formats = formats_of(release.terms.formats, pictures=release.terms.has_pictures)
        files = released_files(files_of(lake, release.name))
        _refuse_removed(lake, settings, release, files)
        manifest = finish_release(
            release,
            files,
            list(formats.values()),
            release_facts(lake, settings.models, release),
            feed_lines(requests_of(lake.scan("takedowns").collect())),
            place,
            Path(work),
        )
    return {
        "files": len(manifest.files),
        "bytes of all files": sum(file.bytes for file in manifest.files),
        "manifest": dg.MetadataValue.path(place.address("manifest.json")),
    }


def _refuse_removed(lake: Lake, settings: Settings, release: Release, files: list[ReleasedFile]) -> None:
    """Make sure that nothing was asked to be removed while the release was written.

    Raises:
        ReleaseError: something was.
    """
    commit, removals = lake.commit("releases", {"release": release.name}), current_removals(lake, settings)
    if commit is None or commit.externals.get("removals") == removals.digest:
        return
    crawls, found = {file.path: file.crawl for file in files}, Counter[str]()
    for path, rows in removed_rows(open_place(release.terms.destination), files, removals).items():
        found[str(crawls[path])] += rows
    if found:
        raise ReleaseError(refusal(found))
