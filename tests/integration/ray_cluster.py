"""A Ray cluster of two nodes on loopback, each a family of processes of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.pipeline.conftest import free_port
from tests.warm import PYTHONPATH

_GIB = 2**30


@dataclass
class Node:
    """One machine of the cluster, as far as Ray can see."""

    address: str
    process: subprocess.Popen[str]
    log: Path

    def family(self) -> list[psutil.Process]:
        """Every process of the node."""
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        return []

    def end(self) -> None:
        """Take it away as a power cut does: every process of it, and the steps that it runs, at once."""
        family = self.family()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)


@dataclass
class Cluster:
    """A head with a pretended GPU, a worker without one."""

    dashboard: str
    head: Node
    worker: Node
    environment: dict[str, str] = field(default_factory=dict)

    def nodes(self) -> dict[str, str]:
        """Ray's ids of the living nodes, by address."""
        from ray.util.state import list_nodes

        return {n.node_ip: n.node_id for n in list_nodes(self.dashboard) if n.state == "ALIVE"}

    def jobs(self) -> list[Any]:
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self.dashboard).list_jobs()


@contextmanager
def cluster(folder: Path, **environment: str) -> Iterator[Cluster]:
    """Start one, and end it. What its nodes pretend to have suffices for any step.

    Args:
        folder: for logs, and for Ray's sockets: their paths may not be longer than 107 characters.
        environment: of the nodes, and so of the steps they run.
    """
    gcs, dashboard = free_port(), free_port()
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("LAION_", "DAGSTER_", "RAY_"))}
    variables |= {
        "PYTHONPATH": PYTHONPATH,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        "RAY_prestart_worker_first_driver": "0",
        **environment,
    }
    head_arguments = [
        "--head",
        f"--port={gcs}",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
        f"--ray-client-server-port={free_port()}",
        f"--temp-dir={folder}",
        "--num-gpus=1",
    ]
    head = _start("127.0.0.2", head_arguments, folder / "head.log", variables)
    worker = None
    try:
        address = f"http://127.0.0.1:{dashboard}"
        _wait_for(address, head)
        worker = _start("127.0.0.3", [f"--address=127.0.0.2:{gcs}", "--num-gpus=0"], folder / "worker.log", variables)
        made = Cluster(address, head, worker)
        give_up = time.monotonic() + 120
        while len(made.nodes()) < 2:
            assert time.monotonic() < give_up, worker.log.read_text()
            time.sleep(0.2)
        yield made
    finally:
        for node in (worker, head):
            if node is not None:
                node.end()


def _start(address: str, arguments: list[str], log: Path, variables: dict[str, str]) -> Node:
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--block",
        f"--node-ip-address={address}",
        "--num-cpus=4",
        f"--memory={64 * _GIB}",
        f"--object-store-memory={100_000_000}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--metrics-export-port={free_port()}",
        "--disable-usage-stats",
        *arguments,
    ]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=variables, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
    return Node(address, process, log)


def _wait_for(address: str, head: Node) -> None:
    from ray.job_submission import JobSubmissionClient

    give_up = time.monotonic() + 120
    while True:
        assert head.process.poll() is None, head.log.read_text()
        assert time.monotonic() < give_up, head.log.read_text()
        with suppress(ConnectionError, RuntimeError):
            JobSubmissionClient(address).list_jobs()
            return
        time.sleep(0.2)
