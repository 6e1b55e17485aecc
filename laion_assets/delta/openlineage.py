"""Commits as OpenLineage events: what wrote each partition, from what, and what came of it.

Of a commit come two events, as the standard asks of a run: ``START`` and ``COMPLETE``, both made from its record alone,
so that the same commit always gives the same events. A dataset is a table, a run one partition's build.

Source: OpenLineage 2-0-2 (openlineage.io/spec), its naming (spec/Naming.md) and the facets named below.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

import pyarrow as pa

from laion_assets.delta.commits import Commit
from laion_assets.delta.lineage import CommitKey, Graph, Lineage, Node, Read

Event = dict[str, Any]
Origins = Mapping[str, tuple[tuple[str, str], ...]]
"""By column of a table, the (table, column) pairs that it comes from."""

OWN_FACETS: Final = "urn:laion-lakehouse:openlineage-facets:1"
"""The ``$id`` of docs/openlineage-facets.json, which says what our own facets hold."""
_SPEC: Final = "https://openlineage.io/spec"
_RUN_EVENT: Final = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS: Final = {
    "SchemaDatasetFacet": "1-2-0",
    "ColumnLineageDatasetFacet": "1-2-0",
    "DatasetVersionDatasetFacet": "1-0-1",
    "StorageDatasetFacet": "1-0-1",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "ParentRunFacet": "1-2-0",
    "JobTypeJobFacet": "2-0-4",
    "DocumentationJobFacet": "1-1-0",
}


@dataclass(frozen=True, kw_only=True)
class Teller:
    """Who tells of a lake, and what its log does not say."""

    producer: str
    """A URI that names the program and its version."""
    origins: Callable[[str], Origins] = lambda _: {}
    """Which columns the columns of a table come from."""


def dataset_of(lake_uri: str, table: str) -> dict[str, str]:
    """A table's namespace and name: ``s3://bucket`` and the key of its folder, ``file`` and its path."""
    parts = urlsplit(lake_uri)
    if parts.scheme == "s3":
        return {"namespace": f"s3://{parts.netloc}", "name": "/".join(filter(None, (parts.path.strip("/"), table)))}
    return {"namespace": "file", "name": f"{lake_uri.rstrip('/')}/{table}"}


def events(graph: Graph, known: Lineage, teller: Teller) -> Iterator[Event]:
    """The events of a lineage, what is read before what reads it, ready to be written as JSON.

    Partitions that nothing ever recorded have no run that could be told of, and are left out.

    Args:
        graph: which commits.
        known: the lineage that it was asked of.
        teller: who tells.
    """
    telling = _Telling(graph, known, teller)
    made_from: dict[CommitKey, set[CommitKey]] = {key: set() for key in sorted(graph.nodes)}
    for read in graph.reads:
        made_from[read.reader].update(source for source in sorted(read.sources or ()) if source in made_from)
    for key in TopologicalSorter(made_from).static_order():
        node = graph.nodes[key]
        if node.commit is not None:
            yield from telling.of(node, node.commit)


class _Telling:
    def __init__(self, graph: Graph, known: Lineage, teller: Teller) -> None:
        self._graph, self._known, self._teller = graph, known, teller
        self._uri = known.history.lake.uri
        self._origins: dict[str, Origins] = {}

    def of(self, node: Node, commit: Commit) -> Iterator[Event]:
        run: Event = {"runId": str(uuid5(NAMESPACE_URL, f"{self._uri} {node.key}")), "facets": self._run(commit)}
        job: Event = {"namespace": self._uri, "name": commit.table, "facets": self._job(commit.table)}
        common: Event = {"producer": self._teller.producer, "schemaURL": _RUN_EVENT, "run": run, "job": job}
        reads = self._known.reads_of(node)
        took = commit.cost.get("seconds", 0.0)
        yield {"eventType": "START", "eventTime": _time(commit.timestamp_ms - round(1000 * took)), **common}
        yield {
            "eventType": "COMPLETE",
            "eventTime": _time(commit.timestamp_ms),
            **common,
            "inputs": [self._input(read) for read in reads],
            "outputs": [self._output(node, commit)],
        }

    def _run(self, commit: Commit) -> Event:
        facets = {
            "laion_build": self._own(
                "BuildRunFacet",
                dagsterRun=commit.run_id,
                codeVersion=commit.code_version,
                settingsDigest=commit.settings_digest,
                externals=commit.externals,
                cost=dict(commit.cost),
            )
        }
        if _is_uuid(commit.run_id):
            parent = {"run": {"runId": commit.run_id}, "job": {"namespace": self._uri, "name": "dagster"}}
            facets["parent"] = self._facet("ParentRunFacet", **parent)
        return facets

    def _job(self, table: str) -> Event:
        facets = {
            "jobType": self._facet("JobTypeJobFacet", processingType="BATCH", integration="LAION", jobType="TABLE")
        }
        declared = self._known.history.lake.catalogue.tables.get(table)
        if declared is not None:
            facets["documentation"] = self._facet("DocumentationJobFacet", description=declared.description)
        return facets

    def _input(self, read: Read) -> Event:
        names = [source.partition for source in read.sources] if read.sources is not None else None
        if not read.partitions:  # a table that was not there yet has no history to look in
            names = []
        return dataset_of(self._uri, read.table) | {
            "facets": {"version": self._facet("DatasetVersionDatasetFacet", datasetVersion=str(read.version))},
            "inputFacets": {
                "laion_partitions": self._own(
                    "PartitionsInputDatasetFacet", count=read.partitions, digest=read.digest, partitions=names
                )
            },
        }

    def _output(self, node: Node, commit: Commit) -> Event:
        now = self._known.history.snapshot(commit.table, self._known.history.of(commit.table).version)
        files = now.of({commit.partition}) if node.replaced_in is None else []
        sizes = [file.bytes for file in files if file.bytes is not None]
        counted = {"fileCount": len(files), "size": sum(sizes)} if files and len(sizes) == len(files) else {}
        facets = {
            "schema": self._facet("SchemaDatasetFacet", fields=_fields(now.schema)),
            "version": self._facet("DatasetVersionDatasetFacet", datasetVersion=str(commit.version)),
            "storage": self._facet("StorageDatasetFacet", storageLayer="delta", fileFormat="parquet"),
        }
        columns = self._columns(commit)
        if columns:
            facets["columnLineage"] = self._facet("ColumnLineageDatasetFacet", fields=columns)
        return dataset_of(self._uri, commit.table) | {
            "facets": facets,
            "outputFacets": {
                "outputStatistics": self._facet("OutputStatisticsOutputDatasetFacet", rowCount=commit.rows, **counted),
                "laion_drops": self._own(
                    "DropsOutputDatasetFacet",
                    partition=commit.partition,
                    rowsIn=commit.rows_in,
                    drops={reason: count for reason, count in commit.drops.items() if count},
                    contentDigest=commit.content_digest,
                    validated=commit.validated,
                ),
            },
        }

    def _columns(self, commit: Commit) -> Event:
        """Of the origins of each column those in tables that this commit read."""
        if commit.table not in self._origins:
            self._origins[commit.table] = self._teller.origins(commit.table)
        found = {}
        for column, origins in self._origins[commit.table].items():
            inputs = [
                {**dataset_of(self._uri, table), "field": origin, "transformations": [{"type": "DIRECT"}]}
                for table, origin in origins
                if table in commit.upstreams
            ]
            if inputs:
                found[column] = {"inputFields": inputs}
        return found

    def _facet(self, name: str, **values: Any) -> Event:
        url = f"{_SPEC}/facets/{_FACETS[name]}/{name}.json#/$defs/{name}"
        return {"_producer": self._teller.producer, "_schemaURL": url, **values}

    def _own(self, name: str, **values: Any) -> Event:
        return {"_producer": self._teller.producer, "_schemaURL": f"{OWN_FACETS}#/$defs/{name}", **values}


def _fields(schema: pa.Schema | pa.StructType) -> list[Event]:
    """The columns, with what is said of each and, of a struct, its own."""
    found = []
    for position, field in enumerate(schema, start=1):
        entry: Event = {"name": field.name, "type": str(field.type), "ordinal_position": position}
        comment = (field.metadata or {}).get(b"comment")
        if comment:
            entry["description"] = comment.decode()
        if pa.types.is_struct(field.type):
            entry["fields"] = _fields(field.type)
        found.append(entry)
    return found


def _time(timestamp_ms: int) -> str:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
