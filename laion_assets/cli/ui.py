"""The Dagster UI on a lake: its web server, daemon and code server as one thing that starts and ends whole."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NoReturn

import dagster as dg
from rich.console import Console

from laion_assets.common.processes import end_group, signal_from_kernel
from laion_assets.common.shipped import shipped
from laion_assets.delta.location import open_storage
from laion_assets.lake.opening import recorded_shape
from laion_assets.settings import Settings

_GRACE_SECONDS = 5
_LOOK_SECONDS = 0.2


def run_ui(settings: Settings, port: int, console: Console) -> NoReturn:
    """Run Dagster's web server and daemon until interrupted, and serve the sample's pictures if it is the source."""
    from laion_assets.orchestration.runs.home import dagster_instance
    from laion_assets.sample.publish import find_sample
    from laion_assets.sample.server import SampleServer

    instance = dagster_instance()
    unknown = _introduce(settings, instance, console) if recorded_shape(settings.lake) else ()
    folder = Path(settings.source)
    workspace = shipped("workspace.yaml")
    os.environ["LAION_LAKE"] = open_storage(settings.lake).uri  # the UI's working directory is another one
    if folder.is_dir():
        os.environ["LAION_SOURCE"] = str(folder.resolve())
    quietly = ("-W", "ignore:Function `dev_command` is superseded")
    port = port or _free_port()
    options = ("--workspace", str(workspace), "--port", str(port), "--log-level", "warning")
    command = [sys.executable, *quietly, "-m", "laion_assets.orchestration.web.dev", *options]
    console.print(f"Dagster at http://127.0.0.1:{port}; Ctrl-C ends it", highlight=False)
    with SampleServer(folder) if find_sample(folder) else nullcontext():
        raise SystemExit(_run_until_interrupted(command, workspace.parent, unknown))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _introduce(settings: Settings, instance: dg.DagsterInstance, console: Console) -> Sequence[Callable[[], None]]:
    """Make partitions of what is in the lake; gives calls that tell Dagster of each that it knows nothing of."""
    from laion_assets.orchestration.partitions import Partitions
    from laion_assets.orchestration.registration import register_built
    from laion_assets.orchestration.runs.forgotten import forget_rows_of
    from laion_assets.orchestration.runs.reported import report, unknown_to
    from laion_assets.sql.build import declared
    from laion_assets.sql.project import open_project

    lake = declared(settings.open_lake(create=False), open_project(settings.models))
    forgotten = forget_rows_of(instance, lake)
    if forgotten.runs:
        console.print(
            f"{forgotten.runs:,} runs of before are deleted, since they told Dagster of rows", highlight=False
        )
    register_built(instance, lake)
    found = list(unknown_to(instance, lake, Partitions(shards=settings.shards, buckets=settings.buckets)))
    if found:
        console.print(f"Dagster is told of {len(found):,} partitions that the lake holds", highlight=False)
    told = [partial(report, instance, unknown) for unknown in found]
    return told if forgotten.was_settled else [*told, forgotten.settle]


def _run_until_interrupted(command: list[str], folder: Path, meanwhile: Sequence[Callable[[], None]]) -> int:
    """Run a command until it ends by itself or this process is told to end; nothing it started outlives that.

    Args:
        command: what to run.
        folder: where.
        meanwhile: calls to make beside it, of which those that are left at the end are left out.

    Returns:
        its exit code; 0 where somebody ended it.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: what a shell starts with & or nohup ignores it
        signal.signal(number, lambda *_: ended.set())  # raises nothing: nothing below is left half done
    # A process group of its own: one signal reaches servers and runs alike, and a Ctrl-C reaches us alone.
    end_too = partial(signal_from_kernel, signal.SIGTERM)  # elsewhere a kill -9 of us leaves the servers to themselves
    process = subprocess.Popen(command, cwd=folder, start_new_session=True, preexec_fn=end_too)
    threading.Thread(target=lambda: [call() for call in meanwhile], daemon=True).start()
    while process.poll() is None and not ended.wait(_LOOK_SECONDS):
        continue
    code = process.returncode
    end_group(process, signal.SIGINT, grace_seconds=_GRACE_SECONDS)  # so that runs tell Dagster of it
    return 0 if code is None else code
