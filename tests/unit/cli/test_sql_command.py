"""``laion sql`` with a query, a file or a pipe: what it prints, what it writes, and what it says when it cannot."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from laion_assets.cli.main import main
from laion_assets.lake.opening import open_lake
from tests.filled import fill
from tests.unit.sql.model_files import write_model

COMMAND = Path(sys.executable).with_name("laion")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line that a wrong call is answered with."""
        assert self.code == 2, (self.out, self.err)
        assert self.err.startswith("laion: ")
        assert len(self.err.splitlines()) == 1
        return self.err.removeprefix("laion: ").strip()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found out about models is kept in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with three files at version 1 and five at version 2, and one model."""
    folder = tmp_path_factory.mktemp("a 'place'")
    lake = open_lake(str(folder / "lake"))
    fill(lake, "wat_files", 3, path=["a", "größer 写真", "two\nlines"])
    fill(lake, "wat_files", 2, path=["d", "e"])
    model = "SELECT count(*) AS files FROM {{ source('wat_files') }}"
    write_model(folder / "project", "total", model, header="materialized: view")
    return folder


@pytest.fixture
def settings(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in [name for name in os.environ if name.startswith("LAION_")]:
        monkeypatch.delenv(name)
    found = {"LAION_LAKE": str(folder / "lake"), "LAION_MODELS": str(folder / "project")}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return found


@pytest.fixture
def sql(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Call ``laion sql`` in this process."""

    def call(*arguments: str | Path, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["laion", "sql", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as end:
            main()
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Ran(int(end.value.code or 0), out, err)

    return call


def cells(shown: str) -> list[list[str]]:
    """The cells of a printed table."""
    lines = [line for line in shown.splitlines() if line.startswith(("│", "|"))]
    return [[cell.strip() for cell in line.strip("│|").split("│")] for line in lines]


# -- where the SQL comes from ----------------------------------------------------------------------------------------


def test_a_table_is_printed_with_how_many_rows_it_has(sql):
    query = "SELECT path FROM wat_files WHERE file_number < 2 AND path < 'c' OR path = 'e'"
    ran = sql(query, "--format", "table")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(cells(ran.out)) == [["a"], ["e"]]
    assert ran.out.rstrip().endswith("2 rows")


def test_models_are_views(sql):
    assert sql("FROM total", "--format", "csv").out == "files\n5\n"


def test_a_file_may_hold_several_statements(sql, tmp_path):
    (tmp_path / "q.sql").write_text("-- größer\nSELECT 1 AS one;\nSELECT 2 AS two, 3 AS three\n;\n", encoding="utf-8")
    assert sql("--file", "q.sql").out == "one\n1\ntwo\tthree\n2\t3\n"
    ran = sql("--file", "q.sql", "--format", "table")
    assert cells(ran.out) == [["1"], ["2", "3"]]
    assert ran.out.count("1 row\n") == 2


def test_standard_input_is_read_where_no_query_is_given(sql):
    for arguments in ([], ["--file", "-"]):
        assert sql(*arguments, "--format", "csv", stdin="SELECT 1 AS a").out == "a\n1\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ([], "", ["no query", "--help"]),
        (["SELECT 1", "--file", "q.sql"], "", ["QUERY or --file", "both"]),
        (["--file", "nowhere.sql"], "", ["nowhere.sql", "No such file"]),
        (["--file", sys.executable], "", ["no UTF-8 text"]),
        (["SELECT 1", "--format", "xml"], "", ["xml", "table", "csv", "json", "parquet"]),
        (["--format", "csv"], "SELECT 1; SELECT 2", ["--format csv", "one statement", "found 2"]),
        (["--format", "json"], "-- nothing", ["--format json", "one statement", "found 0"]),
        (["--format", "tsv"], "SELECT 1; SELECT 2", ["--format tsv", "one statement"]),
        (["--output", "x.csv"], "SELECT 1; SELECT 2", ["--output x.csv", "found 2"]),
        (["SELECT 1", "--output", "x.xlsx"], "", ["x.xlsx", ".csv", ".json", ".parquet", ".tsv"]),
        (["SELECT 1", "--output", "x.csv.gz"], "", ["x.csv.gz", ".csv", "found .gz"]),
        (["SELECT 1", "--output", "x"], "", [".csv", "found none"]),
        (["SELECT 1", "--output", "x.xls", "--format", "auto"], "", [".csv", "found .xls"]),
        (["SELECT 1", "--vertical", "--format", "csv"], "", ["--vertical", "--format csv"]),
        (["SELECT 1; SELEC 2"], "", ["syntax error", "SELEC"]),
        (["SELECT 1; FROM wat_flies"], "", ["statement 2", "wat_flies", "wat_files"]),
        (["SELECT\n 1,\n pth\nFROM wat_files"], "", ['"pth"', "path", "(line 3)"]),
        (["SELECT\n 1,\n FROM WHERE"], "", ["syntax error", "WHERE", "(line 3)"]),
        (["SELECT error('it [is] so')"], "", ["it [is] so"]),
        (["COPY (SELECT 1) TO 'x.csv'"], "", ["COPY", "only reads"]),
        (["FROM read_text('/etc/hostname')"], "", ["/etc/hostname", "--unsafe"]),
        (["FROM 'https://127.0.0.1:9/x.csv'", "--unsafe"], "", ["https://127.0.0.1:9/x.csv", "this machine"]),
        (["SELECT INTERVAL 1 HOUR AS span", "--format", "parquet"], "", ["Parquet", "interval", "cast"]),
        (["SELECT 1", "--output", "nowhere/x.csv"], "", ["nowhere/x.csv", "No such file"]),
        (["SELECT 1", "--at", "wat_files"], "", ["TABLE=VERSION", "'wat_files'"]),
        (["SELECT 1", "--at", "wat_files=new"], "", ["TABLE=VERSION", "wat_files=new"]),
        (["SELECT 1", "--at", "wat_files=3"], "", ["wat_files", "0 to 2", "3"]),
        (["SELECT 1", "--at", "wat_flies=3"], "", ["wat_flies", "wat_files"]),
        (["SELECT 1", "--at", "images=0"], "", ["images", "nobody has built"]),
    ],
)
def test_what_is_wrong_is_one_line(sql, tmp_path, arguments, stdin, words):
    said = sql(*arguments, stdin=stdin).complaint
    assert [word for word in words if word not in said] == []
    assert list(tmp_path.iterdir()) == []


def test_the_help_teaches(sql):
    shown = sql("--help").out
    for option in ("--file", "--format", "--output", "--at", "--unsafe", "--timing", "--lake"):
        assert option in shown
    assert shown.count('laion sql "SELECT') == 2


# -- what comes out --------------------------------------------------------------------------------------------------


def test_output_takes_its_format_from_the_ending_of_the_file(sql, tmp_path):
    query = "SELECT file_number AS n, path FROM wat_files ORDER BY path"
    expected = [(3 % 3, "a"), (0, "d"), (1, "e"), (1, "größer 写真"), (2, "two\nlines")]
    for name in ("rows.csv", "rows.json", "rows.parquet"):
        ran = sql(query, "--output", name)
        assert (ran.code, ran.out, ran.err) == (0, f"5 rows written to {name}\n", "")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as text:
        assert [(int(n), path) for n, path in list(csv.reader(text))[1:]] == expected
    lines = (tmp_path / "rows.json").read_text(encoding="utf-8").splitlines()
    assert [tuple(json.loads(line).values()) for line in lines] == expected
    assert pl.read_parquet(tmp_path / "rows.parquet").rows() == expected
    assert len(list(tmp_path.iterdir())) == 3


def test_a_format_that_is_asked_for_goes_before_the_ending(sql, tmp_path):
    sql("SELECT 1 AS a", "--output", "rows.txt", "--format", "csv")
    assert (tmp_path / "rows.txt").read_text() == "a\n1\n"


def test_what_a_file_held_before_stays_when_the_query_fails(sql, tmp_path):
    (tmp_path / "rows.csv").write_text("precious")
    said = sql(
        "SELECT CASE WHEN range = 5000 THEN error('late') END FROM range(9000)", "--output", "rows.csv"
    ).complaint
    assert "late" in said
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("rows.csv", "precious")]


def test_a_device_may_take_the_rows(sql):
    assert sql("SELECT 1", "--output", "/dev/null", "--format", "csv").out == "1 row written to /dev/null\n"


def test_nothing_is_written_into_the_lake(sql, folder):
    said = sql("SELECT 1", "--output", folder / "lake" / "x.csv").complaint
    assert "inside the lake" in said
    assert not (folder / "lake" / "x.csv").exists()


def test_columns_of_one_name_are_told_apart(sql):
    query = "SELECT a.path, b.path FROM wat_files AS a JOIN wat_files AS b ON a.path = 'a' AND b.path = 'd'"
    assert json.loads(sql(query, "--format", "json").out) == {"path": "a", "path_1": "d"}
    sql(query, "--output", "rows.parquet")
    assert pl.read_parquet("rows.parquet").to_dicts() == [{"path": "a", "path_1": "d"}]


def test_parquet_has_few_row_groups_and_all_rows(sql):
    import pyarrow.parquet as pq

    sql("SELECT range AS n, range::VARCHAR AS text FROM range(300000)", "--output", "rows.parquet")
    metadata = pq.read_metadata("rows.parquet")
    assert (metadata.num_rows, metadata.num_row_groups) == (300_000, 3)


def test_timing_is_said_and_does_not_spoil_the_rows(sql):
    assert " row in 0." in sql("SELECT 1", "--timing", "--format", "table").out
    ran = sql("SELECT 1 AS a", "--timing", "--format", "csv")
    assert ran.out == "a\n1\n"
    assert ran.err.startswith("1 row in 0.")
    assert ran.err.endswith(" s\n")


def test_a_table_says_how_to_get_the_rows_it_does_not_show(sql):
    shown = sql("SELECT range AS n FROM range(1000)", "--format", "table").out
    assert len(cells(shown)) == 200
    assert "1,000 rows, the first 200 shown (--format csv, json or parquet gives all)" in shown


def test_a_pipe_gets_all_rows_and_columns_and_nothing_else(sql):
    columns = ", ".join(f"'{'x' * 90}' AS column_{n}" for n in range(30))
    ran = sql(f"SELECT range AS n, {columns} FROM range(1000)")
    lines = ran.out.splitlines()
    assert (len(lines), ran.err) == (1001, "")
    assert {len(line.split("\t")) for line in lines} == {31}
    assert lines[1000] == "\t".join(["999", *["x" * 90] * 30])


def test_a_value_in_a_pipe_is_one_field(sql):
    query = "SELECT 'a' || chr(9) || 'b' || chr(10) || chr(27) AS text, NULL AS no, [1, 2] AS list, 0.1::FLOAT AS real"
    assert sql(query).out == "text\tno\tlist\treal\na b\\n\\x1b\tNULL\t[1, 2]\t0.1\n"


@pytest.mark.parametrize("arguments", [["--vertical"], ["-x"], ["--format", "vertical"]])
def test_wide_rows_are_shown_a_line_a_value(sql, arguments):
    ran = sql(f"SELECT 'a' AS short, '{'b' * 200}' AS much_longer UNION ALL SELECT 'c', NULL ORDER BY 1", *arguments)
    assert ran.out.splitlines() == [
        "-- row 1 --", "short        a", f"much_longer  {'b' * 200}",
        "-- row 2 --", "short        c", "much_longer  NULL",
        "2 rows",
    ]  # fmt: skip


def test_a_file_of_any_name_takes_a_format_that_is_named(sql, tmp_path):
    sql("SELECT 1 AS a", "--output", "x.txt", "--format", "csv")
    sql("SELECT 1 AS a, 'b' AS b", "--output", "x.TSV")
    assert (tmp_path / "x.txt").read_text() == "a\n1\n"
    assert (tmp_path / "x.TSV").read_text() == "a\tb\n1\tb\n"


# -- what nobody has built -------------------------------------------------------------------------------------------


@pytest.fixture
def models(folder, tmp_path, settings, monkeypatch):
    project = tmp_path / "own"
    write_model(project, "below", "SELECT path FROM {{ source('wat_files') }}")
    write_model(project, "above", "SELECT path FROM {{ ref('below') }}")
    write_model(project, "shown", "SELECT path FROM {{ ref('above') }}", header="materialized: view")
    write_model(project, "wrong", "SELECT pth FROM {{ source('wat_files') }}")
    write_model(project, "waits", "SELECT * FROM {{ ref('wrong') }}")
    write_model(project, "off", "SELECT 1 AS n", header="materialized: view\ndisabled: not yet")
    monkeypatch.setenv("LAION_MODELS", str(project))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("FROM below", ["below (laion models run --select below)"]),
        ("SELECT count(*) AS n FROM Above a JOIN main.\"below\" USING (path)",
         ["above (laion models run --select +above)", "below (laion models run --select below)"]),
        ("FROM shown", ["above (laion models run --select +above)"]),
        ("WITH x AS (FROM below) FROM x, wat_files", ["below (laion models run --select below)"]),
        ("SELECT (SELECT count(*) FROM images) AS n", ["images (laion build CRAWL --until images)"]),
        ("FROM filtered_pairs", ["filtered_pairs (laion build CRAWL)"]),
        ("FROM clip_checkpoints", ["clip_checkpoints (laion train RECIPE)"]),
        ("FROM zero_shot_scores", ["zero_shot_scores (laion evaluate RECIPE)"]),
        ("EXPLAIN FROM below", ["below (laion models run --select below)"]),
    ],
)  # fmt: skip
def test_a_query_of_what_was_never_built_says_so_and_what_builds_it(sql, models, query, told):
    ran = sql(query)
    assert ran.code == 0
    assert ran.err == f"laion: never built, so there are no rows in it: {', '.join(told)}\n"


@pytest.mark.parametrize(
    "query", ["FROM wat_files", "WITH below AS (SELECT 1) FROM below", "SELECT 1", "FROM commits", "SHOW TABLES"]
)
def test_what_is_built_or_no_table_is_not_spoken_of(sql, models, query):
    assert (sql(query).code, sql(query).err) == (0, "")


@pytest.mark.parametrize(
    ("name", "words"),
    [("wrong", ["broken", "wrong.sql:", "pth"]), ("waits", ["waits", "wrong"]), ("off", ["disabled", "not yet"])],
)
def test_a_model_that_cannot_run_says_why_there_is_nothing_of_it(sql, models, name, words):
    said = sql(f"FROM {name}").complaint
    assert said.startswith(f"{name} was never built, for it is ")
    assert [word for word in words if word not in said] == []


# -- versions, and files elsewhere -----------------------------------------------------------------------------------


def test_a_table_is_read_at_a_version(sql):
    counts = [sql("FROM total", "--format", "csv", "--at", f"wat_files={n}").out for n in (0, 1, 2)]
    assert counts == ["files\n0\n", "files\n3\n", "files\n5\n"]
    both = ("--at", "wat_files=1", "--at", "takedowns=0")
    assert sql("FROM total", "--format", "csv", *both).out == "files\n3\n"


def test_unsafe_reads_files_outside_of_the_lake_and_writes_none(sql, tmp_path):
    pl.DataFrame({"path": ["a", "d"]}).write_parquet(tmp_path / "mine.parquet")
    query = f"SELECT count(*) AS n FROM wat_files SEMI JOIN '{tmp_path}/mine.parquet' USING (path)"
    assert "--unsafe" in sql(query).complaint
    assert sql(query, "--unsafe", "--format", "csv").out == "n\n2\n"
    assert "only reads" in sql(f"COPY (SELECT 1) TO '{tmp_path}/x.csv'", "--unsafe").complaint
    assert [file.name for file in tmp_path.iterdir()] == ["mine.parquet"]


# -- as a process ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["table", "csv", "json", "parquet"])
def test_a_reader_may_stop_early(settings, tmp_path, format_):
    """As `laion sql … | head -c 10` does."""
    ran = subprocess.Popen(
        [COMMAND, "sql", "SELECT range, 'text ' || range FROM range(2000000)", "--format", format_],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert ran.stdout is not None
    assert ran.stderr is not None
    assert len(ran.stdout.read(10)) == 10
    ran.stdout.close()
    assert ran.stderr.read() == b""
    assert ran.wait(timeout=60) in (0, 141)


@pytest.mark.parametrize(
    ("format_", "rows"),
    [pytest.param("csv", 600_000, marks=pytest.mark.slow), ("json", 600_000), ("parquet", 800_000)],
)
def test_results_stream(settings, tmp_path, format_, rows):
    """Most of a gigabyte of text, or a whole one, goes through a process that never holds as much."""
    query = f"SELECT repeat(md5(range::VARCHAR), 40) AS text FROM range({rows})"
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, COMMAND, "sql", query, "--output", tmp_path / f"rows.{format_}"],
        capture_output=True,
        text=True,
        check=True,
    )
    said, peak = ran.stdout.splitlines()
    assert said.startswith(f"{rows:,} rows written")
    assert int(peak) < rows * 32 * 40


MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def test_ctrl_c_stops_a_query_however_often_it_is_pressed(settings, tmp_path):
    query = "SELECT range FROM range(1000000000000)"
    ran = subprocess.Popen([COMMAND, "sql", query, "--format", "csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ran.stdout is not None
    assert ran.stdout.read(8) == b"range\n0\n"
    for _ in range(3):
        ran.send_signal(signal.SIGINT)
    _, err = ran.communicate(timeout=60)
    assert (ran.returncode, err) == (130, b"")
