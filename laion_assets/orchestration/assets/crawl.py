"""From a crawl's lists to candidate pairs: the stages that read Common Crawl, or the files of an import."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import polars as pl

from laion_assets.common.digests import json_digest
from laion_assets.delta.errors import LakeError
from laion_assets.delta.staging import Part
from laion_assets.orchestration.assets import imported
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.pairs.identity import bucket
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import extract
from laion_assets.sources.index import Format, count_files, list_crawls, read_file_list
from laion_assets.tables.catalogue import TABLES


def crawl_snapshots(step: Step) -> Metadata:
    """One row: the crawl as ``collinfo.json`` and its file lists describe it."""
    facts, told = imported.snapshot(step) if step.is_import else _snapshot(step)
    step.build.add(pl.DataFrame({**facts, "registered_at": datetime.now(UTC)}))
    step.build.rows_in = 1
    return told


def _snapshot(step: Step) -> tuple[Mapping[str, object], Metadata]:
    """What a source says of a crawl, and what to tell of it."""
    source = step.source.open()
    listed = {crawl.crawl: crawl for crawl in list_crawls(source)}
    if step.crawl not in listed:
        raise LakeError(f"{source.uri} lists no crawl {step.crawl}: `laion crawls` shows those it has")
    crawl = listed[step.crawl]
    facts = {
        "name": crawl.name,
        "wat_file_count": count_files(source, step.crawl, "wat"),
        "first_capture": crawl.first_capture,
        "last_capture": crawl.last_capture,
        "source_uri": source.uri,
    }
    return facts, {"source": source.uri}


def wat_files(step: Step) -> Metadata:
    """The files to read: all the crawl lists, or the first ``LAION_WAT_FILES``; of an import, its row groups."""
    step.frame("crawl_snapshots")
    earlier = step.lake.commit("wat_files", step.partition)
    recorded = earlier.counts if earlier else {}
    limit = step.settings.wat_files or recorded.get("limit")
    listed, repeated, told = _import_pieces(step) if step.is_import else _listed_files(step, recorded)
    taken = listed.head(limit) if limit else listed
    numbers = pl.int_range(taken.height, dtype=pl.Int32, eager=True)
    shards = (numbers % step.lake.shape["shards"]).cast(pl.Int32)
    step.build.add(taken.with_columns(file_number=numbers, shard=shards))
    step.build.rows_in = listed.height + repeated
    step.build.drop("listed_twice", repeated)
    step.build.drop("beyond_limit", listed.height - taken.height)
    if limit:
        step.build.counts["limit"] = limit
    return told


def _listed_files(step: Step, recorded: Mapping[str, int]) -> tuple[pl.DataFrame, int, Metadata]:
    """The files that a crawl lists, how many are listed twice, and what to tell of them."""
    format_ = step.settings.format or ("warc" if recorded.get("warc") else "wat")
    files = read_file_list(step.source.open(), step.crawl, format_)
    step.build.counts["warc"] = int(format_ == "warc")
    paths = pl.DataFrame({"path": files.paths}, schema={"path": pl.String})
    return paths, files.repeated, {"format": format_, "files listed": len(files.paths)}


def _import_pieces(step: Step) -> tuple[pl.DataFrame, int, Metadata]:
    """The same of an import."""
    pieces = imported.units(step)
    return pieces, 0, {"files": pieces["path"].n_unique(), "row groups": pieces.height}


def candidate_pairs(step: Step) -> Metadata:
    """The image links with alt text of one shard's files, extracted file by file and sorted by bucket."""
    shard = int(step.partition["shard"])
    files = step.frame("wat_files", where=f"shard = {shard}").sort("file_number")
    reader = imported.ImportReader(step) if step.is_import else _CrawlReader(step)
    work = {
        "files": files.drop("crawl", "shard").rows(),
        "options": asdict(step.settings.extraction),
        "code_version": TABLES["candidate_pairs"].code_version,
        "source": reader.source,
        "buckets": step.lake.shape["buckets"],
        "columns": step.build.schema.names,  # what an earlier version began lacks those that came since
    }
    folder = step.build.resumable(json_digest(work, sort_keys=False, digits=32))
    progress = step.progress(files.height, "row groups" if step.is_import else "files")
    total = ExtractionCounts()
    with closing(reader):
        for file in files.iter_rows(named=True):
            part = f"{file['file_number']:08d}"
            if (note := folder.note(part)) is None:
                note = _extract(step, folder.part(part, step.build.schema), file, reader)
            total += ExtractionCounts.from_json(note)
            progress()
    if not (total.balanced and total.every_record_counted):
        raise LakeError(f"not every record or link of these files is accounted for, which is a fault of ours: {total}")
    step.build.adopt(folder.parts())
    step.build.rows_in = total.links
    step.build.drop_all(total.drops)
    step.row_groups = step.lake.shape["buckets"]
    bad_records = {f"bad record: {reason}": n for reason, n in total.bad_records.items()}
    step.build.counts.update(bad_records)
    if step.is_import:
        step.build.counts["row groups"] = files.height
        return {"bad records": sum(total.bad_records.values())} if bad_records else {}
    step.build.counts.update(files=files.height, records=total.records, pages=total.pages)
    step.build.counts["bytes read"] = total.bytes
    step.build.counts.update({f"no page: {kind}": n for kind, n in (total.non_pages or {}).items()})
    return {"bad records": sum(total.bad_records.values())}


def _extract(step: Step, part: Part, file: Mapping[str, Any], reader: "imported.ImportReader | _CrawlReader") -> str:
    """Finish the part of one file, or row group; gives its counts."""
    counts = ExtractionCounts()
    with part as out:
        for frame in reader.read(file, counts):
            rows = frame.with_columns(
                bucket("url_id", step.lake.shape["buckets"]).cast(pl.Int32).alias("bucket"),
                file_number=pl.lit(file["file_number"], pl.Int32),
                path=pl.lit(file["path"]),
            )
            out.append(step.build.completed(rows))
        note = counts.to_json()
        out.finish(note)
    return note


class _CrawlReader:
    """Reads the files of a snapshot."""

    def __init__(self, step: Step) -> None:
        listed = step.lake.commit("wat_files", {"crawl": step.crawl})
        self._step = step
        self._format: Format = "warc" if listed and listed.counts.get("warc") else "wat"
        self._source = step.source.open()

    @property
    def source(self) -> str:
        return self._step.source.uri

    def read(self, file: Mapping[str, Any], counts: ExtractionCounts) -> Iterator[pl.DataFrame]:
        step, options = self._step, self._step.settings.extraction
        return extract(
            self._source, file["path"], format=self._format, options=options, counts=counts, crawl=step.crawl
        )

    def close(self) -> None:
        """Nothing is held."""
