"""Commands on a lake that is damaged: one line that says what heals it, in each of them, and never a traceback."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from laion_assets.cli.main import main
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import lake_at, recorded_shape
from tests.unit.delta.tables_made import FIRST
from tests.unit.delta.written import MARK, written_lake

COMMANDS = {
    "status": ["status"],
    "tables": ["tables"],
    "sql": ["sql", "SELECT count(text) FROM unique_pairs"],
    "build": ["build", FIRST],
    "lineage": ["lineage", "unique_pairs", "--pair-id", "1"],
    "report": ["report"],
    "gc": ["gc"],
    "doctor": ["doctor", "--quick"],
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    written_lake(str(folder / "lake"), folder / "scratch")
    return folder / "lake"


@pytest.fixture
def lake(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    shutil.copytree(original, tmp_path / "a lake")
    (tmp_path / "home").mkdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "collinfo.json").write_text(json.dumps([{"id": FIRST, "name": "First"}]))
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "a lake"))
    monkeypatch.setenv("LAION_SOURCE", str(tmp_path / "source"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return lake_at(str(tmp_path / "a lake"))


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs ``laion`` in this process: exit code, what it printed, and what it complained about."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["laion", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def entry(lake: Lake) -> Path:
    return max((lake.root / "unique_pairs/_delta_log").glob("*.json"))


def data(lake: Lake, table: str = "unique_pairs") -> Path:
    return Path(lake.partition_sizes(table, {"crawl": FIRST, "bucket": 0})[0][0])


def lost(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


MARKER = {
    "lost": lambda lake: (lake.root / "lake.json").unlink(),
    "torn": lambda lake: (lake.root / "lake.json").write_bytes(b'{"format": 1, "shar'),
}
LOG = {
    "torn": lambda lake: entry(lake).write_bytes(entry(lake).read_bytes()[:300]),
    "emptied": lambda lake: entry(lake).write_bytes(b""),
    "gone from the middle": lambda lake: lost(lake.root / f"unique_pairs/_delta_log/{1:020}.json"),
    "lost": lambda lake: lost(lake.root / "unique_pairs/_delta_log"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", MARKER)
def test_a_lost_or_torn_lake_json_is_one_line_and_the_command_in_it_helps(
    how: str, command: str, lake: Lake, said: Said
) -> None:
    MARKER[how](lake)
    code, told, complaint = said(*COMMANDS[command])
    text = " ".join((told if command == "doctor" else complaint).split())
    assert code == (1 if command == "doctor" else 2)
    assert "`laion restore` writes it again from what the tables say" in text
    assert "Traceback" not in told + complaint
    if command != "doctor":
        assert len(complaint.splitlines()) == 1
    assert said("restore")[0] == 0
    assert recorded_shape(lake.uri) == (4, 4)
    assert said("tables")[0] == 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", LOG)
def test_a_damaged_log_is_one_line_and_the_command_in_it_helps(how: str, command: str, lake: Lake, said: Said) -> None:
    LOG[how](lake)
    code, told, complaint = said(*COMMANDS[command])
    text = " ".join((told + complaint).split())
    assert code in (1, 2)
    assert "`laion verify unique_pairs --repair` mends it" in text, (told, complaint)
    assert "Traceback" not in told + complaint
    if command != "doctor":
        assert len(complaint.splitlines()) == 1, complaint
    code, told, _ = said("verify", "unique_pairs", "--repair")
    assert (code, "put back from its seal" in told) == (1, True)
    assert said("verify")[0] == 0


@pytest.mark.parametrize("how", ["gone", "half"])
@pytest.mark.parametrize("command", ["sql", "lineage", "report", "doctor"])
def test_a_damaged_data_file_is_named_with_what_heals_it(how: str, command: str, lake: Lake, said: Said) -> None:
    path = data(lake)
    content = path.read_bytes()
    path.unlink()
    if how == "half":
        path.write_bytes(content[: len(content) // 2])
    code, told, complaint = said(*COMMANDS[command], *(["--json"] if command == "doctor" else []))
    text = " ".join((told + complaint).split())
    assert "Traceback" not in text
    if (command, how) == ("lineage", "gone"):  # versions whose rows are gone are nothing unusual to it
        return
    assert code in (1, 2)
    name = path.relative_to(lake.root).as_posix()
    assert f"unique_pairs [crawl={FIRST}/bucket=0]" in text, text
    assert name in text
    assert f"`laion verify unique_pairs --crawl {FIRST} --repair`" in text
    assert f"`laion build {FIRST}`" in text


def test_gc_removes_nothing_and_names_the_file_that_it_cannot_read(lake: Lake, said: Said) -> None:
    path = data(lake, "images")
    path.write_bytes(path.read_bytes()[:700])
    code, _, complaint = said("gc")
    assert code == 2
    assert len(complaint.splitlines()) == 1
    assert "nothing is removed" in complaint
    assert f"`laion verify images --crawl {FIRST} --repair`" in complaint


def test_removal_requests_that_cannot_be_read_stop_everything_in_one_line(lake: Lake, said: Said) -> None:
    path = Path(lake.partition_sizes("takedowns", {"kind": "url"})[0][0])
    path.unlink()
    for command in ("status", "build"):
        code, _, complaint = said(*COMMANDS[command])
        assert code == 2, complaint
        assert len(complaint.splitlines()) == 1, complaint
        assert "`laion verify takedowns --repair`" in complaint
    assert "put back from its seal" in said("verify", "--repair")[1]
    assert said("status")[0] == 0


def test_verify_tells_faults_line_by_line_and_as_json(lake: Lake, said: Said) -> None:
    assert said("verify")[:1] == (0,)
    tar = lake.root / f"files/images/crawl={FIRST}/bucket=0/{MARK}/00000.tar"
    tar.write_bytes(tar.read_bytes()[:3_000])
    code, told, _ = said("verify", "images", "--crawl", FIRST)
    assert code == 1
    assert told.splitlines()[0].startswith(
        f"images [crawl={FIRST}/bucket=0] files/images/crawl={FIRST}/bucket=0/{MARK}/"
    )
    assert told.splitlines()[0].endswith(f"marks it, then `laion build {FIRST}` makes it again")
    assert "1 fault\n" in told
    code, told, _ = said("verify", "--json")
    report = json.loads(told)
    assert code == 1
    assert {fault["partition"] for fault in report["faults"]} == {
        f"crawl={FIRST}/bucket=0",
        "crawl=CC-2024-20/bucket=0",
    }
    assert report["partitions"] > 20


def test_verify_refuses_tables_and_crawls_that_are_not_there(lake: Lake, said: Said) -> None:
    code, _, complaint = said("verify", "no_such_table")
    assert code == 2
    assert "no table no_such_table" in complaint
    code, _, complaint = said("verify", "--crawl", "CC-2019-01")
    assert (code, "no partition of CC-2019-01" in complaint) == (2, True)


def test_removal_requests_of_which_there_is_a_copy_are_not_asked_for_again(lake: Lake, said: Said) -> None:
    """What polars says of a long path leaves out how it begins; the file is named all the same."""
    requests = Path(lake.partition_sizes("takedowns", {"kind": "url"})[0][0])
    requests.unlink()
    data(lake).unlink()  # no build reads it before the requests
    code, _, complaint = said("build", FIRST)
    assert code == 2
    assert requests.relative_to(lake.root).as_posix() in complaint
    assert "`laion verify takedowns --repair` puts it back from its seal" in complaint
    said("verify", "takedowns", "--repair")
    assert requests.exists()


def test_what_was_marked_is_not_to_be_marked_again(lake: Lake, said: Said) -> None:
    data(lake).unlink()
    said("verify", "unique_pairs", "--repair")
    code, told, _ = said("verify", "unique_pairs")
    assert code == 1
    assert f"marked as damaged, and was not built again yet; `laion build {FIRST}` makes it again" in told
    _, _, complaint = said("sql", "SELECT count(text) FROM unique_pairs")
    assert f"`laion build {FIRST}` makes it again" in complaint
    assert "--repair" not in complaint
