"""What is due of crawls: stage by stage, the earliest crawl first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from laion_assets.delta.partition import Partition
from laion_assets.delta.states import PartitionState
from laion_assets.download.failures import is_transient
from laion_assets.orchestration.planning.parts import CALIBRATIONS
from laion_assets.orchestration.planning.states import calibration_is_due, current_states, is_due
from laion_assets.orchestration.planning.waves import Site, Wave, stage_wave
from laion_assets.orchestration.removals import current_removals
from laion_assets.orchestration.run_tags import ASK_AGAIN_TAG, REFETCH_TAG
from laion_assets.settings import SettingsError
from laion_assets.tables.catalogue import PER_CRAWL, TABLES


@dataclass(frozen=True, kw_only=True)
class CrawlRequest:
    """What is missing or stale of some crawls, and no partition whose inputs could not be built."""

    crawls: Sequence[str]
    until: str = PER_CRAWL[-1]
    """The last stage."""
    retry_failed: bool = False
    """Also pictures that failed for a reason that can pass."""
    refetch: bool = False
    """Every picture, known or not."""
    ask_before: datetime | None = None
    """Also pictures whose owners were last asked what they allow before this."""

    @property
    def tables(self) -> Sequence[str]:
        """The stages to go through."""
        return PER_CRAWL[: PER_CRAWL.index(self.until) + 1]

    def names(self, _: Site) -> Mapping[str, Sequence[str]]:
        """The crawls."""
        return {"crawl": self.crawls}

    def waves(self, site: Site) -> Iterator[Wave]:
        """A wave for each stage; for each crawl where one crawl depends on those before it."""
        if self.ask_before is not None and not site.settings.download.respect_opt_outs:
            raise SettingsError("LAION_DOWNLOAD__RESPECT_OPT_OUTS is false: nobody is asked what is not heeded")
        current_removals(site.lake, site.settings)  # nothing is fetched or kept by lists that cannot be read
        self._refuse_what_cannot_end(site)
        return self._waves(site)

    def _refuse_what_cannot_end(self, site: Site) -> None:
        """Name a file that some stage will need and that is not there, before hours go into the stages before it."""
        expectations = site.settings.expectations(None)
        for table in self.tables:
            missing = expectations[table].missing
            if missing is not None and self._due(site, table, self.crawls):
                raise SettingsError(missing)

    def _waves(self, site: Site) -> Iterator[Wave]:
        if "filtered_pairs" in self.tables and calibration_is_due(site.lake, site.settings):
            yield stage_wave(site, CALIBRATIONS, [{}], lambda _: True, total=1)
        for table in self.tables:
            yield from self._stage(site, table)

    def _stage(self, site: Site, table: str) -> Iterator[Wave]:
        crawls = site.lake.order.sorted(self.crawls)
        # Each crawl's unique pairs depend on those of the crawls before it, which must be up to date by then.
        batches = [[crawl] for crawl in crawls] if table == "unique_pairs" else [crawls]
        at_first = [self._due(site, table, batch) for batch in batches]
        total = sum(map(len, at_first))
        if TABLES[table].optional and not total:
            return
        tags = {REFETCH_TAG: "true"} if self.refetch and table == "images" else {}
        if self.ask_before is not None and table == "images":
            tags[ASK_AGAIN_TAG] = self.ask_before.isoformat()
        for number, batch in enumerate(batches):

            def still_due(partition: Partition, batch: Sequence[str] = batch) -> bool:
                return partition in self._due(site, table, batch)

            due = self._due(site, table, batch) if number else at_first[0]
            yield stage_wave(site, table, due, still_due, total=None if number else total, tags=tags)

    def _due(self, site: Site, table: str, crawls: Sequence[str]) -> list[Partition]:
        states = current_states(site.lake, site.settings, crawls, until=table)
        own = [state for state in states if state.table == table and state.partition["crawl"] in crawls]
        due = [state.partition for state in own if is_due(state) or self._is_asked_for(site, state)]
        if table == "images" and self.ask_before is not None:
            due += [s.partition for s in own if s.partition not in due and _is_old(site, s.partition, self.ask_before)]
        if table == "images" and self.retry_failed:
            due += [s.partition for s in own if s.partition not in due and _has_transient(site, s.partition)]
        return due

    def _is_asked_for(self, site: Site, state: PartitionState) -> bool:
        """Whether a flag asks for a partition that is done."""
        if state.table == "images":
            return self.refetch
        commit = site.lake.commit(state.table, state.partition)
        if state.table != "wat_files" or commit is None:
            return False
        limit, format_ = site.settings.wat_files, site.settings.format
        if state.partition["crawl"] in site.lake.order.entered:
            format_ = None  # an import is what it is
        other_limit = limit is not None and limit != commit.counts.get("limit", commit.rows)
        other_format = format_ is not None and (format_ == "warc") != bool(commit.counts.get("warc"))
        return other_limit or other_format


def _is_old(site: Site, partition: Partition, before: datetime) -> bool:
    """Whether some picture, or no, of a partition was last asked about before a moment."""
    rows = site.lake.scan("images").filter(**partition)
    asked = [name for name in ("asked_at", "fetched_at") if name in rows.collect_schema()]  # the first came later
    asked_for = pl.col("attempts") > 0
    said_no = (pl.col("failure") == "opted_out") & (asked_for | pl.col("content_type").is_null())  # by its host, else
    had = (pl.col("status") == "success") & asked_for | said_no
    old = rows.filter(had, pl.coalesce(asked) < before)
    return not old.select("url_id").head(1).collect().is_empty()


def _has_transient(site: Site, partition: Partition) -> bool:
    rows = site.lake.rows("images", partition, ["failure", "http_status"]).unique().iter_rows()
    return any(is_transient(failure, status) for failure, status in rows)
