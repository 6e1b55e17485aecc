"""``make clean``: what it removes, what it leaves alone, and whom it asks."""

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.files import REPOSITORY


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a lake, a sample and a history, and a lake elsewhere."""
    place = tmp_path / "check out"
    for file in (
        "lake/lake.json",
        "sample-web/sample.json",
        "sample-release/x",
        ".dagster/dagster.yaml",
        "kept/x",
        "../there/lake.json",
    ):
        path = place / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    shutil.copy(REPOSITORY / "Makefile", place)
    return place


def clean(checkout: Path, *arguments: str, answer: str | None = None, **environment: str) -> tuple[int, str]:
    """The exit code of ``make clean`` and what it said; ``answer`` is typed at a terminal, else there is none."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAION_", "DAGSTER_", "MAKE")) and k != "YES"}
    ours = theirs = None
    if answer is not None:
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
    ran = subprocess.run(
        ["make", "clean", *arguments],
        cwd=checkout,
        env=kept | environment,
        stdin=subprocess.DEVNULL if theirs is None else theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for descriptor in (ours, theirs):
        if descriptor is not None:
            os.close(descriptor)
    return ran.returncode, ran.stdout


def left(checkout: Path) -> set[str]:
    folders = {path.name for path in checkout.iterdir() if path.is_dir()}
    return folders | {path.name for path in checkout.parent.iterdir() if path != checkout}


ALL = {"lake", "sample-web", "sample-release", ".dagster", "kept", "there"}


@pytest.mark.parametrize("answer", ["y\n", "yes\n"])
def test_what_was_built_goes_once_that_is_confirmed(checkout: Path, answer: str) -> None:
    code, said = clean(checkout, answer=answer)
    assert (code, left(checkout)) == (0, {"kept", "there"})
    assert str(checkout / "lake") in said


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04", "perhaps\n"])
def test_nothing_goes_that_is_not_confirmed(checkout: Path, answer: str) -> None:
    code, said = clean(checkout, answer=answer)
    assert (code != 0, left(checkout)) == (True, ALL)
    assert "nothing was removed" in said


def test_where_nobody_can_be_asked_nothing_goes_unless_told(checkout: Path) -> None:
    code, said = clean(checkout)
    assert (code != 0, left(checkout)) == (True, ALL)
    assert "make clean YES=1" in said
    assert clean(checkout, "YES=1")[0] == 0
    assert left(checkout) == {"kept", "there"}
    assert clean(checkout) == (0, "there is nothing to remove\n")


def test_yes_may_come_from_the_environment(checkout: Path) -> None:
    assert clean(checkout, YES="1")[0] == 0
    assert left(checkout) == {"kept", "there"}


@pytest.mark.parametrize("named", ["{}/there", "file://{}/there", "../there", "{}/there/"])
def test_the_lake_that_is_named_goes_and_no_other(checkout: Path, named: str) -> None:
    assert clean(checkout, "YES=1", LAION_LAKE=named.format(checkout.parent))[0] == 0
    assert left(checkout) == {"lake", "sample-release", "kept"}


def test_a_lake_in_a_bucket_a_source_and_a_history_elsewhere_are_left_alone(checkout: Path) -> None:
    elsewhere = {"LAION_SOURCE": str(checkout / "kept"), "DAGSTER_HOME": str(checkout.parent / "there")}
    code, said = clean(checkout, "YES=1", LAION_LAKE="s3://bucket/lake", **elsewhere)
    assert (code, left(checkout)) == (0, ALL)
    assert said.count("left alone") == 3


@pytest.mark.parametrize("named", ["{}/check out/kept", "{}/check out", "{}", "/", "{}/link"])
def test_what_is_no_lake_is_refused_and_nothing_goes(checkout: Path, named: str) -> None:
    (checkout.parent / "link").symlink_to(checkout.parent / "there")
    (checkout / "lake.json").write_text("{}")
    code, said = clean(checkout, "YES=1", LAION_LAKE=named.format(checkout.parent))
    assert (code != 0, left(checkout)) == (True, ALL | {"link"})
    assert "nothing was removed" in said


def test_links_in_a_lake_lead_nowhere(checkout: Path) -> None:
    (checkout / "lake" / "files").symlink_to(checkout.parent / "there")
    assert clean(checkout, "YES=1")[0] == 0
    assert (checkout.parent / "there" / "lake.json").exists()
