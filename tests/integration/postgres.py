"""A PostgreSQL server of a test's own, from Debian's package or any that has its programs on the path."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.pipeline.conftest import free_port

PASSWORD = "p@ss: word/%41"  # what has to be quoted in an address
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "listen_addresses": "127.0.0.1"}


def programs() -> Path:
    """The folder of `initdb` and `postgres`; the test is skipped where there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    if found is None:
        pytest.skip("PostgreSQL is not installed: install the package postgresql")
    return Path(found).resolve().parent


@dataclass
class PostgresServer:
    """One cluster in a folder, which may be stopped and started again on the same port."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Where `infra/postgres/dagster.yaml` finds it."""
        return {
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": str(self.port),
            "DAGSTER_POSTGRES_USER": "dagster",
            "DAGSTER_POSTGRES_PASSWORD": PASSWORD,
            "DAGSTER_POSTGRES_DB": "postgres",
        }

    def create(self) -> None:
        """Make the cluster, which lets nobody in without the password."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        options = ["--username=dagster", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
        command = [str(programs() / "initdb"), "--pgdata", str(self.folder / "data"), *options]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, timeout=120, **_nobody())

    def start(self) -> None:
        """Start it, and come back once it answers."""
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        data, program = str(self.folder / "data"), str(programs() / "postgres")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-D", data, "-p", str(self.port), "-k", str(self.folder), *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **_nobody(),
            )
        give_up = time.monotonic() + 60
        while True:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            try:
                return psycopg2.connect(**self._address).close()
            except psycopg2.OperationalError:
                assert time.monotonic() < give_up, (self.folder / "log").read_text()
                time.sleep(0.02)

    def die(self) -> None:
        """End it at once, as a crash of its machine would; it recovers when it is started again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query, asked of the server itself."""
        connection = psycopg2.connect(**self._address)
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()
        finally:
            connection.close()

    @property
    def _address(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "user": "dagster", "password": PASSWORD, "dbname": "postgres"}


def _nobody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server with an empty database; gone, with all it held, at the end of the block."""
    programs()
    # Below the folder of a test, which belongs to root alone, another user could not work; and the path of a socket
    # may not be long.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:
        if os.getuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        server = PostgresServer(Path(folder))
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.die()
