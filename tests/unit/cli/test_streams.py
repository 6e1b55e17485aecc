"""Standard output that nobody reads, or that cannot be written: every command ends as well-behaved tools do."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from laion_assets.cli.main import app
from laion_assets.cli.streams import CLOSED
from tests.unit.sql.shipped_lake import OLD, shipped_lake
from tests.warm import run_laion

COMMAND = Path(sys.executable).with_name("laion")

SPEAKING = (
    [],
    ["models", "run", "--help"],
    ["sql", "SELECT 1"],
    ["sql", "SELECT 1", "--format", "csv"],
    ["plan", OLD],
    ["models", "list"],
)
"""Calls that say something: with tables, bars, JSON, or a line alone."""

ALSO_SPEAKING = (
    ["sql", "SELECT 1", "--format", "parquet"],
    ["sql", "SELECT 1", "--output", "rows.csv"],
    ["tables"],
    ["status"],
    ["status", "--json"],
    ["plan", OLD, "--json"],
    ["models", "show", "funnel"],
    ["models", "compile"],
    ["models", "run", "--select", "funnel"],
    ["models", "test", "--select", "staging"],
    ["recipes"],
    ["verify"],
    ["gc"],
    ["lineage", "filtered_pairs"],
    ["diff", "filtered_pairs", "0", "4"],
    ["report"],
    ["takedowns"],
)
"""Further ones, tried in processes that are forked."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("streams")
    shipped_lake(str(folder / "lake"))
    (folder / "home").mkdir()
    own = ("LAION_", "DAGSTER", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    places = {"LAION_LAKE": "lake", "DAGSTER_HOME": "home", "XDG_CACHE_HOME": "cache"}
    return kept | {name: str(folder / place) for name, place in places.items()}


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def ended(arguments: list[str], environment: dict[str, str], folder: Path, **streams: int) -> tuple[int, str]:
    """The exit code of ``laion``, and what it said on standard error."""
    ran = subprocess.run(
        [COMMAND, *arguments], env=environment, cwd=folder, text=True, **({"stderr": subprocess.PIPE} | streams)
    )
    return ran.returncode, ran.stderr or ""


FORKS = """
import json, os, sys, tempfile
from laion_assets.cli.main import main
found = []
for arguments in json.load(sys.stdin):
    said = tempfile.TemporaryFile()
    child = os.fork()
    if not child:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        os.dup2(said.fileno(), 2)
        sys.argv = ["laion", *arguments]
        main()
    _, status = os.waitpid(child, 0)
    said.seek(0)
    found.append([os.waitstatus_to_exitcode(status), said.read().decode()])
print(json.dumps(found))
"""
"""Many calls of ``laion``, each in a process of its own that nobody reads, for the price of one start. Of what is
imported nothing may have started threads."""


def ends_unread(calls: list[list[str]], environment: dict[str, str], folder: Path) -> dict[str, tuple[int, str]]:
    ran = subprocess.run(
        [sys.executable, "-c", FORKS],
        input=json.dumps(calls),
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {" ".join(call): tuple(end) for call, end in zip(calls, json.loads(ran.stdout), strict=True)}


@pytest.mark.parametrize("arguments", SPEAKING)
def test_a_command_that_nobody_reads_ends_quietly(arguments, environment, tmp_path, unread):
    assert ended(arguments, environment, tmp_path, stdout=unread) == (CLOSED, "")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ALSO_SPEAKING)
def test_also_these_commands_end_quietly_when_nobody_reads(arguments, environment, tmp_path):
    ran = run_laion(tuple(arguments), environment, tmp_path, unread=True)
    assert (ran.returncode, ran.stderr) == (CLOSED, "")


@pytest.mark.slow
def test_every_command_s_help_may_be_left_unread(environment, tmp_path):
    def paths(group: typer.core.TyperGroup, *before: str) -> Iterator[list[str]]:
        for name, command in group.commands.items():
            yield [*before, name, "--help"]
            if isinstance(command, typer.core.TyperGroup):
                yield from paths(command, *before, name)

    ends = ends_unread(list(paths(typer.main.get_command(app))), environment, tmp_path)
    assert "models compile --help" in ends
    assert {call: end for call, end in ends.items() if end != (CLOSED, "")} == {}


@pytest.mark.parametrize("format_", ["csv", "json", "tsv", "parquet"])
def test_a_reader_that_stops_early_ends_a_long_answer(environment, tmp_path, format_):
    query = "SELECT range, 'text ' || range FROM range(2000000)"
    with subprocess.Popen(
        [COMMAND, "sql", query, "--format", format_],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        assert len(ran.stdout.read(10)) == 10
        ran.stdout.close()
        assert ran.stderr.read() == b""
    assert ran.returncode == CLOSED


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plan", OLD], ["sql", "SELECT 1", "--format", "csv"], ["models", "list"]]
)
def test_a_full_device_is_said_in_one_line(arguments, environment, tmp_path):
    with Path("/dev/full").open("w") as full:
        code, said = ended(arguments, environment, tmp_path, stdout=full.fileno())
    assert (code, said) == (2, "laion: standard output cannot be written: No space left on device\n")


def test_a_full_device_ends_a_long_answer_too(environment, tmp_path):
    with Path("/dev/full").open("w") as full:
        query = ["sql", "SELECT range FROM range(100000)", "--format", "parquet"]
        code, said = ended(query, environment, tmp_path, stdout=full.fileno())
    assert (code, said) == (2, "laion: standard output cannot be written: No space left on device\n")


def test_what_standard_error_cannot_take_stops_nothing(environment, tmp_path, unread):
    asked = ["sql", "SELECT 1 AS a", "--format", "csv", "--timing"]
    ran = subprocess.run([COMMAND, *asked], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=unread)
    assert (ran.returncode, ran.stdout) == (0, b"a\n1\n")


def test_a_closed_standard_output_is_no_fault(environment, tmp_path):
    call = f'"{COMMAND}" sql "SELECT 1" >&-'
    ran = subprocess.run(["bash", "-c", call], env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_wrong_call_says_what_is_wrong_though_nobody_reads_the_rest(environment, tmp_path, unread):
    code, said = ended(["sql", "FROM nowhere"], environment, tmp_path, stdout=unread)
    assert code == 2
    assert said.startswith("laion: ")
    assert len(said.splitlines()) == 1


def test_what_is_piped_is_neither_cut_nor_broken_in_two(environment, tmp_path):
    listed = subprocess.run([COMMAND, "models", "list"], env=environment, cwd=tmp_path, capture_output=True, text=True)
    [line] = [line for line in listed.stdout.splitlines() if "│ caption_words " in line]
    assert "the one place that says what a word is." in line
    assert "…" not in listed.stdout
    fitted = subprocess.run(
        [COMMAND, "models", "list"], env=environment | {"COLUMNS": "90"}, cwd=tmp_path, capture_output=True, text=True
    )
    assert {len(line) for line in fitted.stdout.splitlines()} == {90}
