"""Fixtures every test may use. What belongs to one package only stands beside that package's tests."""

import os
import sys
from pathlib import Path

import pytest

import tests.site.sitecustomize  # noqa: F401 - it is enough to have it

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real third-party data beside the checkout; the test is skipped where it is absent."""
    folder = Path(os.environ.get("LAION_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data is absent: {folder} is no folder (set LAION_TEST_DATA)")
    return folder


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Where ``LAION_NO_SKIPS`` is set, as in continuous integration, a skipped test is a failed one."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("LAION_NO_SKIPS"):
        report.outcome = "failed"


def pytest_runtest_setup() -> None:
    """Forget a Dagster instance that is gone: those of fixtures end in any order, and the last brings back another."""
    base = sys.modules.get("dagster._core.storage.defs_state.base")
    kept = base._current_storage.get() if base is not None else None
    instance = getattr(kept, "_instance_weakref", None)
    if base is not None and instance is not None and instance() is None:
        base._current_storage.set(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What may take longest comes first, so that no worker is alone with it at the end."""
    items.sort(key=lambda item: -max((mark.args[0] for mark in item.iter_markers("timeout") if mark.args), default=0))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are no names of tests: gzip's hold the clock, and workers must collect the same names."""
    return "bytes" if isinstance(val, bytes) and b"\x1f\x8b" in val else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seeds and counts of mutation runs, which no failure would show."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    told = sorted(text for report in reports for name, text in report.user_properties if name == "mutation")
    if told:
        terminalreporter.section("mutation")
        for text in told:
            terminalreporter.write_line(text)
