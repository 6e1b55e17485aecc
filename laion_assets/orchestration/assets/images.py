"""Downloading the pictures of one bucket: what is known is taken over, the rest is attempted."""

from collections import Counter

import dagster as dg
import polars as pl

from laion_assets.common.digests import text_digest
from laion_assets.delta.partition import Partition, parse_partition
from laion_assets.download.driver import download
from laion_assets.download.failures import is_transient
from laion_assets.download.reuse import Reuse, plan_attempts
from laion_assets.lake.precedents import PICTURES
from laion_assets.orchestration.assets.metadata import counts_table
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.orchestration.run_tags import REFETCH_TAG
from laion_assets.tables.catalogue import TABLES

TRANSIENT = "failed, can pass"
"""Count in a commit: urls that failed for a reason that can pass."""
BYTES = "bytes of pictures"
"""Count in a commit: bytes of all that was downloaded, in this run or before."""


def images(step: Step) -> Metadata:
    """Pictures as webdataset tars, and one row per distinct url of the bucket's unique pairs."""
    known = step.build.folder.path / "known.parquet"
    step.read("unique_pairs", columns=("url_id", "url"))
    _earlier_rows(step)
    reuse = plan_attempts(
        step.build.con,
        pairs="unique_pairs",
        earlier="earlier_images",
        crawl=step.crawl,
        columns=tuple(step.build.schema.names),
        removals=step.removals,
        output=known,
        refetch=step.run_tags.get(REFETCH_TAG) == "true",
    )
    step.build.adopt([known])
    step.build.rows_in = reuse.wanted
    step.build.counts.update(known=reuse.known, removed=reuse.removed, attempted=reuse.attempted)
    if reuse.attempted:
        _attempt(step, reuse)
    return _summary(step)


def _earlier_rows(step: Step) -> None:
    """The view ``earlier_images``: what any crawl knows of this bucket's urls. It is no input of the lineage.

    Pictures in tars that were found damaged are not known: they are downloaded again, and no others.
    """
    ledger = step.lake.ledger("images")
    by_age: dict[bool, list[Partition]] = {False: [], True: []}
    broken: set[str] = set()
    for name, commit in ledger.commits.items():
        partition = parse_partition(name)
        if partition["bucket"] == step.partition["bucket"] and ledger.has_sound_rows(commit):
            by_age[commit.code_version != TABLES["images"].code_version].append(partition)
            broken.update(ledger.damaged.get(name, ()))
    for outdated, partitions in by_age.items():
        step.build.view(f"earlier_images_{outdated}", "images", partitions, lineage=False)
    step.build.con.execute("CREATE OR REPLACE TEMP TABLE broken_tars (name VARCHAR)")
    if broken:
        step.build.con.executemany("INSERT INTO broken_tars VALUES (?)", [[name] for name in sorted(broken)])
    rows = [f"SELECT *, {outdated} AS outdated FROM earlier_images_{outdated}" for outdated in by_age]
    step.build.con.execute(f"""
        CREATE OR REPLACE VIEW earlier_images AS SELECT * FROM ({" UNION ALL ".join(rows)})
        WHERE shard_path IS NULL OR shard_path NOT IN (FROM broken_tars)
    """)


def _attempt(step: Step, reuse: Reuse) -> None:
    con = step.build.con
    digest = con.execute("SELECT count(*), sum(md5_number_lower(url)::HUGEINT) FROM attempted").fetchone()
    options = step.settings.download
    previous = step.lake.commit("images", step.partition)
    # After a kill the same urls are attempted on top of the same version: the finished tars are found again, and the
    # download takes those that were made with these options.
    work = text_digest(repr((digest, previous.version if previous else -1)), digits=32)
    folder = step.build.resumable(work)
    removals = step.build.folder.path / "removals"
    step.removals.write(removals)
    progress = step.progress(reuse.attempted, "images")
    output = folder.path / "files" / "images" / step.build.name / folder.mark
    for frame in download(
        con.table("attempted").pl(),
        output=output,
        relative_to=folder.path,
        options=options,
        removals=removals,
        progress=progress,
    ):
        for tar in frame["shard_path"].drop_nulls().unique():
            step.build.publish_file(folder.path / tar, tar)
        step.build.add(frame)
        _count(step, frame)
    step.build.counts["bytes of tars"] = sum(tar.stat().st_size for tar in output.glob("*.tar"))


def _count(step: Step, frame: pl.DataFrame) -> None:
    counts = step.build.counts
    counts["requests"] += int(frame["attempts"].sum())
    counts["bytes downloaded"] += int(frame["byte_size"].sum())
    for failure, rows in frame.group_by("failure").len().sort("failure").iter_rows():
        counts[f"failure: {failure}" if failure else "succeeded"] += rows


def _summary(step: Step) -> Metadata:
    """Success by host and by failure: a bad resolver or a blocked agent shows at once."""
    con = step.build.con
    con.execute(f"CREATE VIEW staged AS SELECT * FROM {step.build.staged()}")
    found = con.execute("""
        SELECT failure, http_status, count(*), coalesce(sum(byte_size), 0)::BIGINT FROM staged GROUP BY ALL ORDER BY ALL
    """).fetchall()
    step.build.counts[TRANSIENT] = sum(rows for failure, status, rows, _ in found if is_transient(failure, status))
    step.build.counts[BYTES] = sum(size for *_, size in found)
    failures: Counter[str] = Counter()
    for failure, _, rows, _ in found:
        failures[failure or "success"] += rows
    step.build.counts[PICTURES] = failures["success"]
    total = sum(failures.values())
    hosts = con.execute("""
        SELECT regexp_extract(url, '^[a-z]+://(?:[^/@]*@)?([^/:?#]+)', 1) AS host, count(*) AS urls,
               avg((status = 'success')::INT) AS success, mode(failure) AS commonest
        FROM staged GROUP BY host ORDER BY urls DESC, host LIMIT 20
    """).fetchall()
    lines = ["| host | urls | success | most common failure |", "|---|---:|---:|---|"]
    lines += [f"| {host} | {urls:,} | {success:.1%} | {failure or ''} |" for host, urls, success, failure in hosts]
    return {
        "success rate": round(failures.get("success", 0) / total, 4) if total else 0.0,
        "outcomes": counts_table(failures, "outcome"),
        "hosts": dg.MetadataValue.md("\n".join(lines)),
    }
