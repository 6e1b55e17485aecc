"""A builder by itself, as scripts have it, without the command line around it."""

import subprocess
import sys
from pathlib import Path

_BUILD = """
import logging
import dagster as dg
from laion_assets.orchestration.runs.reporter import Lines
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.settings import Settings

logging.warning("a library says something, and gives the root a handler by it")
settings = Settings(_env_file=None, lake="lake", models="none")
with dg.DagsterInstance.ephemeral() as instance:
    Builder(settings, instance, Lines())
    logging.getLogger("laion_assets").setLevel(logging.INFO)  # as Dagster does, for the log of a run
    logging.getLogger("laion_assets.delta.build").info("published")
    logging.getLogger("laion_assets.delta.build").warning("something is wrong")
"""


def test_a_build_s_own_log_is_no_output_of_the_process_that_runs_it(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", _BUILD], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "published" not in ran.stdout + ran.stderr
    assert ran.stderr.count("something is wrong") == 1
