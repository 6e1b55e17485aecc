"""The prompt of ``laion sql``: what it answers, what Tab offers, and how it behaves at a real terminal."""

import fcntl
import io
import os
import pty
import re
import select
import stat
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from rich.console import Console

from laion_assets.cli.sql import prompt as prompt_module
from laion_assets.cli.sql.completion import SqlCompleter, is_complete
from laion_assets.cli.sql.prompt import Prompt
from laion_assets.cli.sql.results import Destination
from laion_assets.lake.opening import lake_at, open_lake
from tests.filled import fill
from tests.unit.sql.model_files import write_model

COMMAND = Path(sys.executable).with_name("laion")
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found out about models is kept in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with three files at version 1 and five at version 2, and one model."""
    folder = tmp_path_factory.mktemp("prompt")
    lake = open_lake(str(folder / "lake"))
    fill(lake, "wat_files", 3, path=["a.wat", "b.wat", "c.wat"])
    fill(lake, "wat_files", 2, path=["d.wat", "e.wat"])
    header = (
        "materialized: view\ndescription: How many files there are. Counted anew each time.\n"
        "columns:\n  files: Their number."
    )
    write_model(folder / "project", "total", "SELECT count(*) AS files FROM {{ source('wat_files') }}", header=header)
    return folder


class Sitting:
    """A prompt without a terminal: answers as text."""

    def __init__(self, folder: Path, *, unsafe: bool = False) -> None:
        self.shown = io.StringIO()
        self.prompt = Prompt(
            lake_at(str(folder / "lake")),
            Destination(),
            models=folder / "project",
            at={},
            unsafe=unsafe,
            console=Console(file=self.shown, width=100, force_terminal=True, color_system=None),
        )

    def __call__(self, text: str) -> str:
        self.shown.seek(0)
        self.shown.truncate()
        self.prompt.answer(text)
        return self.shown.getvalue()


@pytest.fixture
def say(folder: Path) -> Sitting:
    return Sitting(folder)


# -- queries ---------------------------------------------------------------------------------------------------------


def test_a_query_is_answered_with_rows_and_the_time_it_took(say):
    shown = say("SELECT path FROM wat_files ORDER BY path LIMIT 2;")
    assert re.search(r"path .*a\.wat .*b\.wat .*\n2 rows in 0\.\d{3} s\n", shown, re.DOTALL)


def test_several_statements_are_answered_in_turn(say):
    assert say("SELECT 'one'; SELECT 'two'").count("1 row in") == 2


def test_the_first_rows_are_shown_and_how_many_there_are(say):
    shown = say("SELECT 'row ' || range AS n FROM range(400);")
    assert ("row 49" in shown, "row 50 " in shown) == (True, False)
    assert "400 rows, the first 50 shown (`.output FILE.csv` takes all of the next result) in" in shown
    assert "more than 10,000 rows" in say("SELECT range FROM range(100000)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("selec 1;", ["syntax error", "\nLINE 1: selec 1", "\n        ^"]),
        ("SELECT pth FROM wat_files", ['"pth"', "path", "LINE 1: SELECT pth", "\n               ^"]),
        ("FROM wat_flies", ["wat_flies", "wat_files"]),
        ("FROM '/etc/passwd.csv'", ["/etc/passwd.csv", "--unsafe"]),
        ("DROP VIEW wat_files;", ["DROP", "only reads"]),
        ("SELECT error('it [is] so')", ["it [is] so"]),
        ("SELECT error('red ' || chr(27) || '[31m')", [r"red \x1b[31m"]),
        (".nonsense", [".nonsense", ".tables", ".quit"]),
        (".columns", ["''", ".tables"]),
        (".columns wat_flies", ["wat_flies", ".tables"]),
        (".format xml", ["xml", "parquet"]),
        (".output rows.xlsx", ["rows.xlsx", ".csv", ".parquet"]),
        (".timing perhaps", ["perhaps", ".timing on"]),
        (".at wat_files new", ["'new'", ".at TABLE VERSION"]),
        (".at wat_files 3", ["wat_files", "0 to 2"]),
        (".at wat_flies 1", ["wat_flies", "wat_files"]),
        (".at wat_files", ["wat_files is read as it is now"]),
    ],
)
def test_what_is_wrong_is_said_in_short_and_the_prompt_goes_on(say, text, said):
    shown = say(text)
    assert [part for part in said if part not in shown] == []
    assert "Traceback" not in shown
    assert "5" in say("FROM total;")


def test_leaving(say):
    for text in (".quit", "quit", "exit;", " EXIT "):
        with pytest.raises(EOFError):
            say(text)


# -- commands --------------------------------------------------------------------------------------------------------


def test_tables_and_models_are_listed_with_what_they_hold(say):
    shown = say(".tables")
    assert "One row per crawl: a Common Crawl snapshot" in shown
    assert re.search(r"total .* model .* How many files there are\. +│", shown)
    assert re.search(r"images .* table, not built", shown)
    assert re.search(r"wat_files .* table +│", shown)


def test_columns_are_listed_with_type_and_meaning(say):
    assert re.search(r"file_number .* INTEGER .* Position in the crawl's list, from 0", say(".columns wat_files"))
    shown = say(".columns total;")
    assert shown.startswith("How many files there are. Counted anew each time.\n")
    assert re.search(r"files .* BIGINT .* Their number\.", shown)


def test_a_table_is_read_at_a_version_until_it_is_no_more(say):
    assert "every table is read as it is now" in say(".at")
    assert "wat_files is read at version 1" in say(".at wat_files 1")
    assert " 3 " in say("FROM total;")
    assert "wat_files at version 1" in say(".at")
    assert "table at 1" in say(".tables")
    assert "wat_files is read as it is now" in say(".at wat_files")
    assert " 5 " in say("FROM total;")


def test_a_version_that_is_not_there_leaves_the_one_that_was_asked_for_before(say):
    say(".at wat_files 1")
    say(".at wat_files 9")
    assert " 3 " in say("FROM total;")


def test_formats(say, capsys):
    assert "csv" in say(".format csv")
    assert "1 row" in say("FROM total;")
    assert capsys.readouterr().out == "files\n5\n"
    say(".format json")
    say("FROM total;")
    assert capsys.readouterr().out == '{"files": 5}\n'
    say(".format parquet")
    assert "`.output FILE`" in say("FROM total;")
    say(".format table")
    assert "┃" in say("FROM total;")
    say(".format vertical")
    assert say("FROM total;").startswith("-- row 1 --\nfiles  5\n1 row in ")


def test_a_query_of_what_was_never_built_says_so(say):
    shown = say("SELECT count(*) AS n FROM images;").splitlines()
    assert "never built, so there are no rows in it: images (laion build CRAWL --until images)" in shown


def test_the_next_result_alone_goes_into_a_file(say, tmp_path):
    assert f"written to {tmp_path}/a.csv" in say(f".output {tmp_path}/a.csv").replace("\n", "")
    assert "5 rows written to" in say("SELECT path FROM wat_files ORDER BY path;").replace("\n", " ")
    assert "a.wat" in say("SELECT path FROM wat_files;")
    assert (tmp_path / "a.csv").read_text() == "path\na.wat\nb.wat\nc.wat\nd.wat\ne.wat\n"
    say(f".output {tmp_path}/b.parquet")
    say("SELEC 1;")  # a query that fails does not use it up
    say("FROM total;")
    assert pl.read_parquet(tmp_path / "b.parquet").to_dicts() == [{"files": 5}]
    say(f".output {tmp_path}/c.csv")
    assert "shown here" in say(".output")
    say("FROM total;")
    assert not (tmp_path / "c.csv").exists()
    say(".format tsv")
    say(f".output {tmp_path}/d.txt")
    say("FROM total;")
    assert (tmp_path / "d.txt").read_text() == "files\n5\n"


def test_nothing_is_put_into_the_lake(say, folder):
    assert "inside the lake" in say(f".output {folder}/lake/x.csv").replace("\n", " ")


def test_timing_can_be_left_out(say):
    assert "off" in say(".timing")
    assert say("FROM total;").endswith("1 row\n")
    say(".timing on")
    assert say("FROM total;").endswith(" s\n")


def test_help_names_every_command(say):
    shown = say(".help")
    for name in (".tables", ".columns", ".at", ".format", ".output", ".timing", ".help", ".quit", "Ctrl-C"):
        assert name in shown


def test_unsafe_reads_files_elsewhere(folder, tmp_path):
    (tmp_path / "mine.csv").write_text("a\n7\n")
    assert "--unsafe" in Sitting(folder)(f"FROM '{tmp_path}/mine.csv';")
    assert " 7 " in Sitting(folder, unsafe=True)(f"FROM '{tmp_path}/mine.csv';")


# -- typing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        ".tables",
        "SELECT 1;",
        "SELECT 1; \n",
        "SELECT 1\n",
        "SELECT\n1\n;",
        "SELECT 'it''s';",
        "SELECT 1; -- done",
        "SELECT 1 /* ; */ ;",
        "SELECT $$;$$;",
        "exit",
    ],
)
def test_enter_runs_what_is_complete(text):
    assert is_complete(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT",
        "SELECT 'a;",
        'SELECT "a;',
        "SELECT 1 -- ;",
        "SELECT 1 /* ;",
        "SELECT $$;",
        "SELECT 'it''s;",
        "SELECT 1; SELECT 2",
        "SELECT '\n",
    ],
)
def test_enter_goes_on_with_what_is_not(text):
    assert not is_complete(text)


COLUMNS = {"wat_files": ["crawl", "file_number", "path"], "images": ["crawl", "url", "status"], "total": ["files"]}


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        (".f", {".format"}),
        (".format ", {"table", "csv"}),
        (".columns w", {"wat_files"}),
        (".at im", {"images"}),
        ("SELECT * FROM w", {"wat_files"}),
        ("SELECT * FROM ", {"wat_files", "images", "total"}),
        ("select * from images join to", {"total"}),
        ("FROM images, t", {"total"}),
        ("DESCRIBE i", {"images"}),
        ("sel", {"select"}),
        ("SEL", {"SELECT"}),
        ("FROM wat_files WHERE file", {"file_number"}),
        ("FROM images AS i JOIN wat_files w USING (crawl) WHERE w.", {"crawl", "file_number", "path"}),
        ("FROM images AS i WHERE i.st", {"status"}),
        ("SELECT | FROM images WHERE true", {"crawl", "url", "status"}),
        ("SELECT 1; SELECT pat| FROM wat_files; SELECT 2", {"path"}),
        ("SELECT list_cos", {"list_cosine_similarity"}),
        ("SELECT 'w", set()),
        ("SELECT 1 -- w", set()),
        ("SELECT nothing.", set()),
    ],
)
def test_what_tab_offers(text, offered):
    before, _, after = text.partition("|")
    completer = SqlCompleter(COLUMNS, COLUMNS.__getitem__, {".format": ("table", "csv"), ".columns": None, ".at": None})
    document = Document(before + after, len(before))
    found = {completion.text for completion in completer.get_completions(document, CompleteEvent())}
    assert found == offered


# -- what was typed before -------------------------------------------------------------------------------------------


def test_history_is_kept_where_nobody_else_reads_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    prompt_module._history().append_string("SELECT 1;")
    file = tmp_path / "laion-lakehouse" / "sql_history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(prompt_module._history().load_history_strings()) == ["SELECT 1;"]


def test_history_that_cannot_be_kept_lasts_for_the_sitting(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert isinstance(prompt_module._history(), InMemoryHistory)


def test_history_whose_file_goes_away_bothers_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    history = prompt_module._history()
    (tmp_path / "laion-lakehouse" / "sql_history").unlink()
    (tmp_path / "laion-lakehouse").rmdir()
    history.append_string("SELECT 1;")
    assert history.get_strings() == ["SELECT 1;"]


# -- at a terminal ---------------------------------------------------------------------------------------------------


class Terminal:
    """``laion sql`` in a pseudo-terminal of 100 columns."""

    def __init__(self, *arguments: str, **settings: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LAION_")}
        self.process = subprocess.Popen(
            [COMMAND, "sql", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=kept | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"} | settings,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C becomes a signal
        )
        os.close(theirs)
        self.everything = self._unseen = ""

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def see(self, pattern: str) -> str:
        """Wait until the pattern appears behind what was seen before, and give all up to it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := re.search(pattern, self._unseen, re.DOTALL)) is None:
            ready, _, _ = select.select([self._ours], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} did not appear: {self._unseen!r}"
            try:
                read = os.read(self._ours, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                read = ""
            assert read, f"it ended before {pattern!r} appeared: {self._unseen!r}"
            self.everything += read
            self._unseen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", read)
        seen, self._unseen = self._unseen[: found.end()], self._unseen[found.end() :]
        return seen

    def ended(self) -> int:
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(folder: Path, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(
        LAION_LAKE=str(folder / "lake"), LAION_MODELS=str(folder / "project"), XDG_STATE_HOME=str(tmp_path / "state")
    )
    yield made
    made.close()


def test_a_sitting_at_a_real_terminal(terminal, tmp_path):
    assert "tables, 1 model" in terminal.see("laion>")
    terminal.type("SELECT path FROM wat\t")
    terminal.see("wat_files")
    terminal.type(" ORDER BY path\r")
    terminal.see(r"\.\.\.")
    terminal.type("LIMIT 2;\r")
    shown = terminal.see(r"2 rows in \d+\.\d{3} s")
    assert ("a.wat" in shown, "b.wat" in shown, "c.wat" in shown) == (True, True, False)
    terminal.see("laion>")
    terminal.type(".col\t")
    terminal.see("umns")
    terminal.type(" tot\t")
    terminal.see("total")
    terminal.type("\r")
    terminal.see("Their number.")
    terminal.see("laion>")
    terminal.type("\x04")
    assert terminal.ended() == 0
    assert "Traceback" not in terminal.everything
    history = tmp_path / "state" / "laion-lakehouse" / "sql_history"
    assert "+SELECT path FROM wat_files ORDER BY path\n+LIMIT 2;" in history.read_text()


def test_ctrl_c_stops_a_query_or_drops_a_line_and_the_prompt_lives_on(terminal):
    terminal.see("laion>")
    terminal.type(".format csv\r")
    terminal.see("shown as csv.*laion>")
    terminal.type("SELECT range FROM range(1000000000000);\r")
    terminal.see("\n4000\n")
    terminal.type("\x03")
    terminal.see("cancelled.*laion>")
    terminal.type(".format table\r")
    terminal.see("shown as table.*laion>")
    terminal.type("SELECT nothing that\x03")
    terminal.type("SELECT 6 * 7 AS answer;\r")
    assert "nothing" not in terminal.see(r"42.*1 row in").rpartition("SELECT 6")[2]
    terminal.type("exit\r")
    assert terminal.ended() == 0


def test_parquet_is_not_thrown_at_a_terminal(folder):
    terminal = Terminal("SELECT 1", "--format", "parquet", LAION_LAKE=str(folder / "lake"))
    assert "--output FILE" in terminal.see("laion: .*\n")
    assert terminal.ended() == 2
    terminal.close()
