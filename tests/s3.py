"""A real S3 server in a process of its own, and a proxy before it that does to requests what a busy S3 does."""

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

BUCKET = "lakes"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "a-key-that-stays-secret", "AWS_REGION": "us-east-1"}


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """The address of an S3 server that holds an empty bucket."""
    import boto3

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    url = f"http://127.0.0.1:{port}"
    try:
        give_up = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < give_up:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                break
            time.sleep(0.1)
        boto3.client(
            "s3",
            endpoint_url=url,
            region_name=KEYS["AWS_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        ).create_bucket(Bucket=BUCKET)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def troubled(url: str, done: Counter[str] | None = None, **trouble: Any) -> Iterator[str]:
    """The address at which the same server is reached with trouble.

    Args:
        url: of the server.
        done: what was done to requests is counted here, when the block has ended.
        trouble: see :class:`busy_proxy.Trouble`.
    """
    program = str(Path(__file__).with_name("busy_proxy.py"))
    process = subprocess.Popen(
        [sys.executable, program, url.rpartition(":")[2], json.dumps(trouble)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        said, _ = process.communicate(timeout=20)
        if done is not None:
            done.update(json.loads(said))
    finally:
        process.kill()
        process.wait()


def environment(url: str, scratch: Path) -> dict[str, str]:
    """The variables that lead AWS' tools to a server, and this machine's work below ``scratch``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | KEYS | {"AWS_ENDPOINT_URL": url, "LAION_SCRATCH": str(scratch), "AWS_EC2_METADATA_DISABLED": "true"}
