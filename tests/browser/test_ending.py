"""`laion ui` ends as a whole, however it is told to."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.browser.ui import start
from tests.pipeline.conftest import free_port

pytestmark = [pytest.mark.slow, pytest.mark.integration]

SECONDS = 20


def test_nothing_that_it_started_outlives_it(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    own |= {"DAGSTER_HOME": str(tmp_path / "home"), "LAION_LAKE": str(tmp_path / "lake")}
    # Begun as a shell begins what stands before `&`: with the signal of Ctrl-C ignored.
    ignoring = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
    for sent, code in ((signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
        server = start(own, free_port(), tmp_path / "log", before=ignoring)
        family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
        try:
            assert len(family) >= 4, "the command, `dagster dev`, its web server, its daemon, its code server"
            os.kill(server.process.pid, sent)
            assert server.process.wait(SECONDS) == code
            _, left = psutil.wait_procs(family, timeout=SECONDS)
            assert left == [], f"{left} outlived signal {sent}"
        finally:
            for member in family:
                if member.is_running():
                    member.kill()
        if sent is not signal.SIGKILL:
            first, *more = filter(None, (tmp_path / "log").read_text().splitlines())
            assert first.startswith("Dagster at http://127.0.0.1:")
            # What a server of Dagster's may say of an interrupt, and its daemon of an instance without runs.
            usual = ("Aborted!", "No cursor for event type", "Got goaway")
            assert [line for line in more if not any(words in line for words in usual)] == []
