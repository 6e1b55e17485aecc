"""The pictures of one bucket: what is known is taken over, the rest is downloaded, or copied out of imported tars."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import dagster as dg

from laion_assets.delta.partition import Partition
from laion_assets.download.asking import ask_again
from laion_assets.download.bucket import FetchedTar, attempts_token, fetch_bucket, open_earlier, outcomes
from laion_assets.download.copied import PLACES, Tars, copy_bucket
from laion_assets.download.hosts import Heed, asked_on, forget_earlier_days
from laion_assets.download.reuse import plan_attempts
from laion_assets.lake.precedents import PICTURES
from laion_assets.orchestration.assets import imported
from laion_assets.orchestration.assets.metadata import counts_table
from laion_assets.orchestration.assets.step import Metadata, Step
from laion_assets.orchestration.run_tags import ASK_AGAIN_TAG, REFETCH_TAG
from laion_assets.tables.catalogue import CATALOGUE, TABLES

TRANSIENT = "failed, can pass"
"""Count in a commit: urls that failed for a reason that can pass."""
BYTES = "bytes of pictures"
"""Count in a commit: bytes of all that was downloaded, in this run or before."""


def images(step: Step) -> Metadata:
    """Pictures as webdataset tars, and one row per distinct url of the bucket's unique pairs."""
    known = step.build.folder.path / "known.parquet"
    tars = imported.foreign_tars(step)
    before = step.run_tags.get(ASK_AGAIN_TAG)
    ask_before = None if before is None else datetime.fromisoformat(before)
    reuse = plan_attempts(
        step.build.con,
        pairs=step.read(
            "unique_pairs", columns=("url_id", "url", "expected_md5", "expected_sha256", *(PLACES if tars else ()))
        ),
        earlier=_earlier_rows(step),
        crawl=step.crawl,
        columns=tuple(step.build.schema.names),
        removals=step.removals,
        output=known,
        ask_again=ask_before,
        refetch=step.run_tags.get(REFETCH_TAG) == "true",
        copied=tars is not None,
    )
    step.build.adopt([known if ask_before is None else _asked_again(step, known, reuse.known, ask_before)])
    step.build.rows_in = reuse.wanted
    step.build.counts.update(known=reuse.known, removed=reuse.removed, attempted=reuse.attempted)
    if reuse.attempted:
        _attempt(step, reuse.attempted, tars)
    found = outcomes(step.build.con, step.build.staged())
    step.build.counts.update({TRANSIENT: found.transient, BYTES: found.bytes, PICTURES: found.by_kind["success"]})
    lines = ["| host | urls | success | most common failure |", "|---|---:|---:|---|"]
    lines += [
        f"| {host} | {urls:,} | {success:.1%} | {failure or ''} |" for host, urls, success, failure in found.hosts
    ]
    return {
        "success rate": round(found.success_rate, 4),
        "outcomes": counts_table(found.by_kind, "outcome"),
        "hosts": dg.MetadataValue.md("\n".join(lines)),
    }


def _asked_again(step: Step, known: Path, rows: int, before: datetime) -> Path:
    """The rows that are known, after their owners were asked what they allow by now."""
    asked = step.build.folder.path / "asked.parquet"
    found = ask_again(
        step.build.con,
        known,
        asked,
        before=before,
        now=datetime.now(UTC),
        options=step.settings.download,
        heed=_heed(step),
        progress=step.progress(rows, "pictures asked about"),
    )
    step.build.counts.update({"asked again": found.asked, "answered": found.answered, "refused by now": found.refused})
    return asked


def _heed(step: Step) -> Heed:
    return Heed(str(step.lake.staging / "hosts"), step.settings.consent.obeyed)


def _earlier_rows(step: Step) -> str:
    """A view of what any crawl knows of this bucket's urls. It is no input of the lineage."""
    ledger = step.lake.ledger("images")
    by_age: dict[bool, list[Partition]] = {False: [], True: []}
    broken: set[str] = set()
    for name, commit in ledger.commits.items():
        partition = CATALOGUE.partition(name)
        if partition["bucket"] == step.partition["bucket"] and ledger.has_sound_rows(commit):
            by_age[commit.code_version != TABLES["images"].code_version].append(partition)
            broken.update(ledger.damaged.get(name, ()))
    views = {outdated: f"earlier_images_{outdated}" for outdated in by_age}
    for outdated, partitions in by_age.items():
        step.build.view(views[outdated], "images", partitions, lineage=False)
    return open_earlier(step.build.con, views, broken)


def _attempt(step: Step, urls: int, tars: Tars | None) -> None:
    """Download what is not known, or copy it, and publish each tar as it is finished."""
    previous = step.lake.commit("images", step.partition)
    folder = step.build.resumable(attempts_token(step.build.con, previous.version if previous else -1))
    output = folder.path / "files" / "images" / step.build.name / folder.mark
    heed, today = _heed(step), datetime.now(UTC).date()
    hosts = Path(str(heed.hosts))
    forget_earlier_days(hosts)
    asked = asked_on(hosts, today)
    work: Callable[..., Iterator[FetchedTar]] = partial(fetch_bucket, scratch=step.build.folder.path / "removals")
    if tars is not None:
        work = partial(copy_bucket, pairs="unique_pairs", tars=tars)
    for fetched in work(
        step.build.con,
        root=folder.path,
        output=output,
        options=step.settings.download,
        removals=step.removals,
        heed=heed,
        progress=step.progress(urls, "images"),
    ):
        for tar in fetched.tars:
            step.build.publish_file(folder.path / tar, tar)
        step.build.add(fetched.rows)
        step.build.counts.update(fetched.counts)
    step.build.counts["hosts asked what they allow"] = asked_on(hosts, today) - asked
    step.build.counts["bytes of tars"] = sum(tar.stat().st_size for tar in output.glob("*.tar"))
