"""How an asset becomes a step: its edges, its partitions, its checks, and the one way its rows are published.

An asset function gets a :class:`Step`, reads through it, stages rows into it, and returns metadata a person would look
at. Everything else, from pinned reads to the reported checks, is here and the same for every table.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeAlias

import dagster as dg
import polars as pl

from laion_assets.common.progress import Progress
from laion_assets.consent.removals import Removals, load_removals
from laion_assets.delta.build import PartitionBuild, lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.errors import LakeError
from laion_assets.delta.flow import partitions_read, partitions_there
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.delta.validation import CHECKS
from laion_assets.lake.precedents import CHECK, MEANING, surprises
from laion_assets.lake.removal_lists import keep_list
from laion_assets.orchestration.assets.metadata import (
    arranged,
    column_lineage,
    commit_metadata,
    definition_metadata,
    description,
    preview,
    tags,
)
from laion_assets.orchestration.assets.publishing import Published, keys_of, publish_each, telling_dagster
from laion_assets.orchestration.assets.source_links import function_link
from laion_assets.orchestration.execution.executors import asset_options
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.removals import current_removals, deny_lists
from laion_assets.orchestration.resources import LakeResource, SourceResource
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import CATALOGUE, PER_CRAWL, TABLES
from laion_assets.tables.limits import need_of

Metadata: TypeAlias = Mapping[str, Any]
StepFunction: TypeAlias = Callable[["Step"], Metadata | None]


@dataclass
class Step:
    """One partition of one table being built, as an asset function sees it."""

    table: str
    partition: Partition
    settings: Settings
    lake: Lake
    build: PartitionBuild
    source: SourceResource
    log: Any
    run_tags: Mapping[str, str]
    instance: dg.DagsterInstance
    row_groups: int | None = None
    warnings: dict[str, str] = field(default_factory=dict)

    @property
    def crawl(self) -> str:
        """The crawl of this partition."""
        return str(self.partition["crawl"])

    @property
    def is_import(self) -> bool:
        """Whether its crawl is an import: read from files that somebody named, and from no source of crawls."""
        return self.lake.commit("imports", {"crawl": self.crawl}) is not None

    @property
    def label(self) -> str:
        """Table and partition, for people."""
        return f"{self.table} {' '.join(str(v) for v in self.partition.values())}"

    def read(
        self,
        table: str,
        view: str | None = None,
        *,
        crawls: str | None = None,
        columns: tuple[str, ...] = ("*",),
        where: str = "true",
    ) -> str:
        """Make a view of what this stage reads of ``table``; gives its name."""
        name = view or table
        read = TABLES[self.table].read(table, crawls)
        which = partitions_read if self.settings.wants(table) else partitions_there
        self.build.view(name, table, which(self.lake, read, self.partition), columns=columns, where=where)
        return name

    def own_rows_of_this_code(self, view: str) -> None:
        """Make ``view`` over what this partition holds now; empty where other code made it."""
        commit = self.lake.commit(self.table, self.partition)
        same = commit is None or commit.code_version == TABLES[self.table].code_version
        self.build.own_earlier_rows("_own_earlier_rows")
        self.build.con.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM _own_earlier_rows WHERE {same}")

    def frame(self, table: str, **options: Any) -> pl.DataFrame:
        """What this stage reads of a small ``table``, in memory."""
        return self.build.con.table(self.read(table, **options)).pl()

    def lake_frame(self, table: str) -> pl.DataFrame:
        """A small table as it is now, for what is only shown: no input in the sense of lineage."""
        partitions = [CATALOGUE.partition(name) for name in self.lake.ledger(table).commits]
        self.build.view(f"{table}_now", table, partitions, lineage=False)
        return self.build.con.table(f"{table}_now").pl()

    @cached_property
    def removals(self) -> Removals:
        """Takedowns and deny lists: an input of dedup, images and filter.

        Raises:
            LakeError: ``takedowns`` holds requests that were not written through the lake; none is passed over.
        """
        removals = load_removals(self.frame("takedowns"), **deny_lists(self.settings))
        if removals.digest != self.build.provenance.externals["removals"]:
            raise LakeError(
                "takedowns changed while this step began, or holds rows that `laion takedown` did not write: "
                "run the step again, and enter such rows with `laion takedown`"
            )
        keep_list(self.lake, removals, self.build.folder.path / "removals.kept")
        return removals

    def progress(self, total: int, unit: str) -> Progress:
        """A callback that counts ``unit``s of this step's work."""
        return Progress(self.label, total, unit, self.log.info)

    def warn(self, check: str, message: str) -> None:
        """Let the check called ``check`` fail as a warning: shown, stops nothing."""
        self.log.warning(message)
        self.warnings[check] = message


def stage_asset(
    function: StepFunction,
    *,
    settings: Settings,
    partitions: Partitions,
    warnings: Mapping[str, str] | None = None,
    whole: Callable[[Settings], Iterable[Partition]] | None = None,
    more_deps: Iterable[dg.AssetDep] = (),
    spread: Callable[[Lake, Partition], Iterable[Partition]] | None = None,
    finish: Callable[[Lake, Settings, Partition], Metadata] | None = None,
) -> dg.AssetsDefinition:
    """The Dagster asset of the table that ``function`` is named after.

    Args:
        function: builds one partition of the table.
        settings: the settings of this code location.
        partitions: the partitions of the lake.
        warnings: checks, with their meanings, that ``function`` may let fail by :meth:`Step.warn`.
        whole: the Delta partitions to build where the asset has none in Dagster.
        more_deps: edges beside those of what the stage always reads.
        spread: the Delta partitions to build of one of Dagster's, where it stands for several.
        finish: is called for each of Dagster's partitions when all of these are built.
    """
    table = getattr(function, "__name__", "")
    declared = TABLES[table]
    definition = partitions.definition(table)
    warned = {**(warnings or {}), **({CHECK: MEANING} if table in PER_CRAWL else {})}
    specs = [
        dg.AssetCheckSpec(name, asset=table, description=text, blocking=name in CHECKS, partitions_def=definition)
        for name, text in {**CHECKS, **warned}.items()
    ]

    @dg.asset(
        name=table,
        description=description(declared),
        group_name=declared.group,
        code_version=declared.code_version,
        kinds={"deltalake", *declared.kinds},
        tags=tags(declared, need_of(table, settings.limits).pool),
        partitions_def=definition,
        deps=[
            dg.AssetDep(read.table, partition_mapping=partitions.mapping(read, table))
            for read in declared.reads
            # Dagster refuses a table that reads its own earlier crawls (see staleness), and would warn of one that
            # nobody asks for wherever something is built on it.
            if read.table != table and settings.offers(read.table)
        ]
        + list(more_deps),
        check_specs=specs,
        output_required=False,
        **asset_options(table, settings),
        backfill_policy=dg.BackfillPolicy.multi_run(1) if definition else None,
        metadata={**definition_metadata(declared, settings.lake), **function_link(function, settings.code_url)},
    )
    def asset(context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource) -> Iterator[Any]:
        opened = lake.open()

        def build(partition: Partition) -> Published:
            return _build(context, function, table, partition, opened, source, settings, warned)

        places: list[tuple[str | None, Partition]] = []
        last: list[Callable[[], Metadata]] = []
        for key in keys_of(context):
            if key is None:
                places += [(None, partition) for partition in (whole(settings) if whole else ())]
                continue
            partition = partitions.partition(table, key)
            with telling_dagster(context, settings):
                places += [(key, part) for part in (spread(opened, partition) if spread else (partition,))]
            if finish is not None:
                last.append(partial(finish, opened, settings, partition))
        yield from publish_each(context, settings, table, places, build, last=last)

    return asset


def _build(
    context: dg.AssetExecutionContext,
    function: StepFunction,
    table: str,
    partition: Partition,
    lake: Lake,
    source: SourceResource,
    settings: Settings,
    warnings: Mapping[str, str],
) -> Published:
    """Build and publish one partition."""
    started = time.monotonic()
    expected = settings.expectation(table, partition, current_removals(lake, settings).digest)
    if expected.settings_digest is None:
        raise LakeError(expected.missing or f"the settings that shape {table} cannot be read")
    provenance = Provenance(
        run_id=context.run.run_id,
        code_version=TABLES[table].code_version,
        settings_digest=expected.settings_digest,
        externals=expected.externals,
    )
    with lake_build(lake, table, partition, provenance) as build:
        build.engine_bytes = min(build.engine_bytes, need_of(table, settings.limits).memory_bytes // 2)
        step = Step(table, partition, settings, lake, build, source, context.log, context.run.tags, context.instance)
        shown = function(step) or {}
        commit = build.publish(row_groups=step.row_groups)
    if CHECK in warnings:
        unusual = surprises(commit, lake.ledger(table), _files_read(lake), lake.order.entered)
        if unusual:
            step.warn(CHECK, "; ".join(unusual))
    declared = TABLES[table]
    metadata = commit_metadata(commit, declared, column_lineage(declared), lake, time.monotonic() - started)
    return Published(
        arranged({**shown, **preview(lake, declared, partition)}, metadata),
        commit.content_digest,
        build.checks,
        [_warning_result(table, name, step.warnings.get(name)) for name in warnings],
    )


def _files_read(lake: Lake) -> dict[str, int]:
    """By crawl, the files that were taken of it."""
    listed = lake.ledger("wat_files").commits
    return {str(CATALOGUE.partition(name)["crawl"]): commit.rows for name, commit in listed.items()}


def _warning_result(table: str, name: str, message: str | None) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=table,
        check_name=name,
        passed=message is None,
        severity=dg.AssetCheckSeverity.WARN,
        description=message or "nothing unusual",
    )
