"""From a crawl's lists to candidate pairs: the stages that read Common Crawl."""

from dataclasses import asdict
from datetime import UTC, datetime

import polars as pl

from laion_assets.common.digests import json_digest
from laion_assets.delta.errors import LakeError
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.pairs.identity import bucket
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import extract
from laion_assets.sources.index import Format, count_files, list_crawls, read_file_list
from laion_assets.tables.catalogue import TABLES


def crawl_snapshots(step: Step) -> Metadata:
    """One row: the crawl as ``collinfo.json`` and its file lists describe it."""
    source = step.source.open()
    listed = {crawl.crawl: crawl for crawl in list_crawls(source)}
    if step.crawl not in listed:
        raise LakeError(f"{source.uri} lists no crawl {step.crawl}: `laion crawls` shows those it has")
    crawl = listed[step.crawl]
    step.build.add(
        pl.DataFrame(
            {
                "name": crawl.name,
                "wat_file_count": count_files(source, step.crawl, "wat"),
                "first_capture": crawl.first_capture,
                "last_capture": crawl.last_capture,
                "source_uri": source.uri,
                "registered_at": datetime.now(UTC),
            }
        )
    )
    step.build.rows_in = 1
    return {"source": source.uri}


def wat_files(step: Step) -> Metadata:
    """The files to read: all the crawl lists, or the first ``LAION_WAT_FILES`` of them."""
    step.frame("crawl_snapshots")
    source = step.source.open()
    earlier = step.lake.commit("wat_files", step.partition)
    recorded = earlier.counts if earlier else {}
    format_ = step.settings.format or ("warc" if recorded.get("warc") else "wat")
    limit = step.settings.wat_files or recorded.get("limit")
    files = read_file_list(source, step.crawl, format_)
    taken = files.paths[:limit]
    numbers = pl.int_range(len(taken), dtype=pl.Int32, eager=True)
    step.build.add(
        pl.DataFrame({"file_number": numbers, "path": taken, "shard": numbers % step.lake.shape["shards"]}).cast(
            {"shard": pl.Int32, "path": pl.String}
        )
    )
    step.build.rows_in = len(files.paths) + files.repeated
    step.build.drop("listed_twice", files.repeated)
    step.build.drop("beyond_limit", len(files.paths) - len(taken))
    step.build.counts["warc"] = int(format_ == "warc")
    if limit:
        step.build.counts["limit"] = limit
    return {"format": format_, "files listed": len(files.paths)}


def candidate_pairs(step: Step) -> Metadata:
    """The image links with alt text of one shard's files, extracted file by file and sorted by bucket."""
    shard = int(step.partition["shard"])
    files = step.frame("wat_files", where=f"shard = {shard}").sort("file_number")
    listed = step.lake.commit("wat_files", {"crawl": step.crawl})
    format_: Format = "warc" if listed and listed.counts.get("warc") else "wat"
    work = {
        "files": files.select("file_number", "path").rows(),
        "options": asdict(step.settings.extraction),
        "code_version": TABLES["candidate_pairs"].code_version,
        "source": step.source.uri,
        "buckets": step.lake.shape["buckets"],
    }
    folder = step.build.resumable(json_digest(work, sort_keys=False, digits=32))
    source = step.source.open()
    progress = step.progress(files.height, "files")
    total = ExtractionCounts()
    for file_number, path in files.select("file_number", "path").iter_rows():
        part = f"{file_number:08d}"
        if (note := folder.note(part)) is None:
            counts = ExtractionCounts()
            with folder.part(part, step.build.schema) as out:
                for frame in extract(
                    source, path, format=format_, options=step.settings.extraction, counts=counts, crawl=step.crawl
                ):
                    out.append(
                        frame.with_columns(
                            bucket("url_id", step.lake.shape["buckets"]).cast(pl.Int32).alias("bucket"),
                            file_number=pl.lit(file_number, pl.Int32),
                            path=pl.lit(path),
                        )
                    )
                note = counts.to_json()
                out.finish(note)
        total += ExtractionCounts.from_json(note)
        progress()
    if not (total.balanced and total.every_record_counted):
        raise LakeError(f"not every record or link of these files is accounted for, which is a fault of ours: {total}")
    step.build.adopt(folder.parts())
    step.build.rows_in = total.links
    for reason, rows in total.drops.items():
        step.build.drop(reason, rows)
    step.build.counts.update(files=files.height, records=total.records, pages=total.pages)
    step.build.counts["bytes read"] = total.bytes
    step.build.counts.update({f"bad record: {reason}": n for reason, n in total.bad_records.items()})
    step.build.counts.update({f"no page: {kind}": n for kind, n in (total.non_pages or {}).items()})
    step.row_groups = step.lake.shape["buckets"]
    return {"bad records": sum(total.bad_records.values())}
