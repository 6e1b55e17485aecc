"""A lake of 25,600 partitions: how long do definitions, ticks and the UI's asset page take?

The tables hold commit records of every partition, of 100 crawls with 256 buckets each, written into the Delta log
as builds write them; their data files do not exist. Everything else is real: a Dagster instance, code
servers in processes of their own, the web server, and the queries that its asset page sends.

    python measurements/many_partitions.py [--crawls 100] [--buckets 256] [--folder DIR]
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from laion_assets.delta.commits import Commit, UpstreamRead, combined_digest
from laion_assets.delta.flow import partitions_of, partitions_read
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.delta.states import Expectation
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import PER_CRAWL, TABLES

SHARDS = 64
_REPOSITORY = Path(__file__).resolve().parents[1]


# -- the lake ---------------------------------------------------------------------------------------------------------


def crawl_names(count: int) -> list[str]:
    """Names as Common Crawl's: five a year."""
    return [f"CC-MAIN-{2008 + n // 5}-{4 + 9 * (n % 5):02d}" for n in range(count)]


def write_log(settings: Settings, crawls: list[str]) -> int:
    """Write commit records of every partition of these crawls, stage by stage; gives how many there are."""
    lake = settings.open_lake()
    expectations = settings.expectations(removals_digest(settings))
    digests: dict[str, dict[str, str]] = {"takedowns": {}, "calibrations": {}}
    total = 0
    for table in PER_CRAWL:
        lake.table(table)
        digests[table] = {}
        commits = []
        for crawl in crawls:
            for partition in partitions_of(lake, table, crawl):
                commit = record(lake, table, partition, expectations[table], digests, crawls)
                digests[table][commit.partition] = commit.content_digest
                commits.append(commit)
        _write_entries(lake, table, commits)
        total += len(commits)
    return total


def removals_digest(settings: Settings) -> str:
    from laion_assets.orchestration.removals import current_removals

    return current_removals(settings.open_lake(), settings).digest


def record(
    lake: Lake,
    table: str,
    partition: Partition,
    expected: Expectation,
    digests: Mapping[str, Mapping[str, str]],
    crawls: Sequence[str],
) -> Commit:
    """What a build of one partition records, had its inputs the content of ``digests``."""
    upstreams = {}
    for read in TABLES[table].reads:
        if read.table in ("takedowns", "calibrations"):
            names = []
        elif read.periods == "earlier":
            own = (str(partition["crawl"]), partition["bucket"])
            names = [f"crawl={c}/bucket={own[1]}" for c in crawls if c < own[0]]
        else:
            names = [partition_name(p) for p in partitions_read(lake, read, partition)]
        read_digests = [(name, digests[read.table][name]) for name in names]
        upstreams[read.table] = UpstreamRead(1, combined_digest(read_digests), len(read_digests))
    name = partition_name(partition)
    return Commit(
        table=table,
        partition=name,
        rows=100_000,
        rows_in=120_000,
        drops={"duplicate": 15_000, "earlier_crawl": 5_000},
        content_digest=uuid.uuid5(uuid.NAMESPACE_URL, f"{table} {name}").hex,
        run_id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        code_version=TABLES[table].code_version,
        settings_digest=expected.settings_digest or "",
        externals=dict(expected.externals),
        upstreams=upstreams,
        counts={"known": 10_000, "attempted": 90_000},
    )


def _write_entries(lake: Lake, table: str, commits: list[Commit]) -> None:
    """One log entry a commit, with one data file that is never read, and a checkpoint at the end."""
    log = Path(lake.path(table)) / "_delta_log"
    declared = lake.tables[table]
    now = int(time.time() * 1000)
    for version, commit in enumerate(commits, start=1):
        values = dict(item.split("=", 1) for item in commit.partition.split("/"))
        folder = "/".join(f"{name}={values[name]}" for name in declared.partition_by)
        info = {
            "timestamp": now + version,
            "operation": "WRITE",
            "operationParameters": {"mode": "Overwrite", "partitionBy": json.dumps(list(declared.partition_by))},
            "clientVersion": "delta-rs",
            **commit.to_metadata(),
        }
        add = {
            "path": f"{folder}/part-00001-{uuid.uuid5(uuid.NAMESPACE_DNS, folder)}-c000.zstd.parquet",
            "partitionValues": values,
            "size": 1_000_000,
            "modificationTime": now + version,
            "dataChange": True,
            "stats": json.dumps({"numRecords": commit.rows}),
        }
        lines = json.dumps({"add": add}) + "\n" + json.dumps({"commitInfo": info}) + "\n"
        (log / f"{version:020d}.json").write_text(lines)
    lake.table(table).create_checkpoint()


# -- measuring --------------------------------------------------------------------------------------------------------

_TICK = """
import json, sys, time
started, started_cpu = time.perf_counter(), time.process_time()
import dagster as dg
from laion_assets.definitions import defs
loaded, loaded_cpu = time.perf_counter() - started, time.process_time() - started_cpu
instance = dg.DagsterInstance.get()
repository = defs.get_repository_def()
def tick(name):
    begun, begun_cpu = time.perf_counter(), time.process_time()
    if name == "nightly_backfill":
        context = dg.build_schedule_context(instance=instance, repository_def=repository)
        data = repository.get_schedule_def(name).evaluate_tick(context)
    else:
        context = dg.build_sensor_context(instance=instance, repository_def=repository)
        data = repository.get_sensor_def(name).evaluate_tick(context)
    asked = [sorted(key.to_user_string() for key in r.asset_selection) for r in data.run_requests or []]
    return time.perf_counter() - begun, time.process_time() - begun_cpu, asked[:3], data.skip_message
found = [tick(sys.argv[1]) for _ in range(3)]
print(json.dumps([[loaded, loaded_cpu], found]))
"""


Seconds = tuple[float, float]
"""By the clock, and of processor time: the first is more where the machine has other work too."""


def ticks(
    name: str, environment: dict[str, str]
) -> tuple[Seconds, list[tuple[float, float, list[list[str]], str | None]]]:
    """Seconds to load the definitions in a new process, and of three ticks there, with what they asked for."""
    command = [sys.executable, "-c", _TICK, name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    loaded, found = json.loads(done.stdout.splitlines()[-1])
    return loaded, found


@contextmanager
def webserver(environment: dict[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    """Dagster's web server on loopback; gives its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    command += ["-w", str(_REPOSITORY / "workspace.yaml")]
    process = subprocess.Popen(command, env=environment, cwd=_REPOSITORY, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            try:
                ask(address, "{ version }", {})
                break
            except OSError:
                time.sleep(0.1)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def processor_seconds(server: psutil.Process) -> float:
    """Processor time of the web server and its code servers so far."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))


def shown(wall: float, processor: float) -> str:
    """Seconds, by the clock and of processor time."""
    return f"{wall:.2f} ({processor:.2f})"


def ask(address: str, query: str, variables: dict[str, object]) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        found = json.loads(answer.read())
    if "errors" in found:
        raise RuntimeError(str(found["errors"])[:2000])
    return dict(found["data"])


PAGE = {
    "the node, its partitions' counts and its condition": """
        query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            id opNames groupName description kinds isPartitioned
            automationCondition { label expandedLabel }
            partitionDefinition { name type dimensionTypes { name type dynamicPartitionsDefinitionName } }
            partitionStats { numMaterialized numMaterializing numPartitions numFailed }
        } } }""",
    "the keys of each dimension": """
        query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            partitionKeysByDimension { name type partitionKeys }
        } } }""",
    "how each partition stands": """
        query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            assetPartitionStatuses { ... on MultiPartitionStatuses { primaryDimensionName ranges {
                primaryDimStartKey primaryDimEndKey
                secondaryDim { ... on DefaultPartitionStatuses {
                    materializedPartitions failedPartitions materializingPartitions } }
            } } }
        } } }""",
    "the latest materialisations": """
        query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            assetMaterializations(limit: 100) { runId partition timestamp }
        } } }""",
}
"""The queries of the asset page, by what they fill."""


def materialised(environment: dict[str, str], tables: tuple[str, ...], crawls: list[str], told: int) -> None:
    """Let Dagster hear of every crawl, and of every partition of the first of them, as runs would have told it."""
    code = """
import json, sys
import dagster as dg
from laion_assets.orchestration.partitions import CRAWLS, Partitions
tables, crawls, told, buckets = json.loads(sys.argv[1])
instance = dg.DagsterInstance.get()
instance.add_dynamic_partitions(CRAWLS.name, crawls)
keys = Partitions(shards=64, buckets=buckets)
for table in tables:
    for crawl in crawls[:told]:
        for bucket in range(buckets):
            key = keys.key({"crawl": crawl, "bucket": bucket})
            instance.report_runless_asset_event(dg.AssetMaterialization(table, partition=key))
"""
    buckets = int(environment["LAION_BUCKETS"])
    subprocess.run(
        [sys.executable, "-c", code, json.dumps([tables, crawls, told, buckets])],
        env=environment,
        check=True,
        text=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crawls", type=int, default=100)
    parser.add_argument("--buckets", type=int, default=256)
    parser.add_argument("--told", type=int, default=100, help="crawls of `images` that Dagster heard of: a ms each")
    parser.add_argument("--folder", type=Path, default=None, help="keep everything there, and go on from it")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="many-partitions-"))
    environment = {n: v for n, v in os.environ.items() if not n.startswith("LAION_")} | {
        "LAION_LAKE": str(folder / "lake"),
        "LAION_SHARDS": str(SHARDS),
        "LAION_BUCKETS": str(options.buckets),
        "DAGSTER_HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": str(_REPOSITORY),
    }
    crawls = crawl_names(options.crawls)
    settings = Settings(_env_file=None, lake=str(folder / "lake"), shards=SHARDS, buckets=options.buckets)  # type: ignore[call-arg]
    if not (folder / "lake").exists():
        started = time.perf_counter()
        commits = write_log(settings, crawls)
        print(f"{commits:,} commit records of {options.crawls} crawls written in {time.perf_counter() - started:.0f} s")
    if not (folder / "home").exists():
        (folder / "home").mkdir(parents=True)
        (folder / "home" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        materialised(environment, ("images",), crawls, options.told)
    print(f"{options.crawls * options.buckets:,} partitions of a bucket table; seconds (of processor time):")
    for name in ("build_due", "build_due", "nightly_backfill"):
        loaded, found = ticks(name, environment)
        seconds = ", ".join(shown(wall, processor) for wall, processor, _, _ in found)
        print(f"  definitions {shown(*loaded)}; ticks of {name} in a new process: {seconds}")
        print(f"    asked for {found[-1][2] or found[-1][3]}", flush=True)
    with webserver(environment) as (address, server):
        variables: dict[str, object] = {"key": {"path": ["images"]}}
        for what, query in PAGE.items():
            taken: list[Seconds] = []
            for _ in range(4):
                started, used = time.perf_counter(), processor_seconds(server)
                ask(address, query, variables)
                taken.append((time.perf_counter() - started, processor_seconds(server) - used))
            print(f"  asset page, {what}: first {shown(*taken[0])}, again {shown(*min(taken[1:]))}", flush=True)


if __name__ == "__main__":
    main()
