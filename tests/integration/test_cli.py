"""``laion`` as it is typed: what it prints, what it says when something is wrong, and with which exit code it ends."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from laion_assets.clip.options import EncoderOptions
from laion_assets.tables.catalogue import ALWAYS, TABLES
from tests.integration import foreign
from tests.integration.conftest import serving
from tests.pipeline.conftest import free_port
from tests.warm import run_laion

pytestmark = pytest.mark.integration

CRAWL, OTHER = "CC-MAIN-2025-13", "CC-MAIN-2025-18"
TEXTS = ["[red]not red[/] :smile: text", 'a "quoted", comma text', "first line\nsecond line", "größer 写真 🚀 قطة"]
COMMAND = str(Path(sys.executable).with_name("laion"))


@dataclass(frozen=True)
class Place:
    """A folder with a source and, once somebody builds it, a lake; ``laion`` runs there."""

    folder: Path
    settings: dict[str, str]

    def __call__(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return run_laion(arguments, self.environment | settings, self.folder)

    def typed(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """The command that is installed, started as a shell does."""
        return subprocess.run(
            [COMMAND, *arguments], cwd=self.folder, env=self.environment, capture_output=True, check=False, timeout=300
        )

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
        return kept | {"COLUMNS": "160"} | self.settings

    def good(self, *arguments: str, **settings: str) -> str:
        ran = self(*arguments, **settings)
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        return ran.stdout

    def complaint(self, *arguments: str, **settings: str) -> str:
        """The one line that a wrong call is answered with."""
        ran = self(*arguments, **settings)
        assert ran.returncode == 2, (ran.stdout, ran.stderr)
        assert len(ran.stderr.splitlines()) == 1, ran.stderr
        assert ran.stderr.startswith("laion: ")
        assert "Traceback" not in ran.stderr + ran.stdout
        return ran.stderr.removeprefix("laion: ").strip()


@pytest.fixture(scope="module")
def place(encoder: EncoderOptions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A source of two crawls whose pictures are served while the tests run."""
    folder = tmp_path_factory.mktemp("a 'place' with ümläuts")
    served = foreign.pictures()
    with serving(foreign.handler(served)) as port:
        here = f"http://127.0.0.1:{port}"
        links = [foreign.Link(f"{here}/noise?{n}", text) for n, text in enumerate(TEXTS)]
        links.append(foreign.Link(f"http://127.0.0.1:{free_port()}/zu.png", "a picture behind a closed door"))
        links.append(foreign.Link(f"{here}/404.png", "a picture that is gone"))
        foreign.write(folder / "source", CRAWL, [[("http://pages.test/", links)]])
        foreign.write(folder / "source", OTHER, [[("http://pages.test/2", links[:1])], []])
        settings = {
            "LAION_SOURCE": "source",
            "LAION_SHARDS": "1",
            "LAION_BUCKETS": "2",
            "LAION_ENCODER__MODEL": encoder.model,
            "LAION_ENCODER__PRETRAINED": encoder.pretrained,
            "LAION_ENCODER__MODEL_CONFIGS": str(encoder.model_configs),
            "LAION_FILTER__POLICY": "none",
            "LAION_DOWNLOAD__ALLOWED_NETWORKS": '["127.0.0.0/8", "::1/128"]',
            "LAION_DOWNLOAD__RETRIES": "0",
        }
        yield Place(folder, settings)


@pytest.fixture(scope="module")
def first_build(place: Place) -> subprocess.CompletedProcess[str]:
    return place("build", CRAWL)


@pytest.fixture(scope="module")
def built(place: Place, first_build: subprocess.CompletedProcess[str]) -> Place:
    """The place once the first of its crawls is built."""
    assert first_build.returncode == 0, first_build.stderr
    return place


@pytest.fixture(scope="module")
def sql(built: Place) -> Callable[..., str]:
    return lambda query, *options, **settings: built.good("sql", query, *options, **settings)


# -- help ------------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_stage_and_where_to_begin(place):
    shown = place.good("--help")
    for word in (
        "build",
        "demo",
        "crawls",
        "tables",
        "status",
        "sql",
        "ui",
        "sample",
        "LAION_",
        "settings.env",
        *ALWAYS,
    ):
        assert word in shown
    assert "laion demo" in shown


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("build", ["--lake", "--source", "--until", "--wat-files", "--format", "--retry-failed", "--refetch"]),
        ("status", ["--lake", "--why", "--crawl", "--json", "--most"]),
        ("sql", ["--lake", "--format"]),
    ],
)
def test_each_command_explains_its_options(place, command, options):
    shown = place.good(command, "--help")
    missing = [option for option in options if option not in shown]
    assert missing == []


def test_laion_alone_shows_its_help(place):
    ran = place.typed()
    assert b"Commands" in ran.stdout + ran.stderr
    assert b"Traceback" not in ran.stderr


# -- before there is a lake ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["tables"], ["status"], ["sql", "SELECT 1"]])
def test_a_missing_lake_is_said(place, command):
    said = place.complaint(*command, "--lake", "nowhere")
    assert "no lake at" in said
    assert "laion build" in said
    assert not (place.folder / "nowhere").exists()


@pytest.mark.parametrize(
    ("command", "source", "words"),
    [
        (["crawls"], "no [such] folder", ["no [such] folder", "does not exist"]),
        (["build", CRAWL], "source/crawl-data", ["has no file collinfo.json"]),
        (["build", CRAWL], "http://127.0.0.1:{closed}/", ["127.0.0.1:{closed}", "Connection refused"]),
        (["crawls"], "gopher://example.org", ["gopher://example.org", "https://"]),
    ],
)
def test_a_source_that_is_not_there_is_said(place, command, source, words):
    closed = free_port()
    said = place.complaint(*command, "--lake", "never", "--source", source.format(closed=closed))
    for word in words:
        assert word.format(closed=closed) in said
    assert not (place.folder / "never").exists()


def test_crawls_are_listed_newest_first(place):
    shown = place.good("crawls", "--lake", "never")
    assert shown.index(OTHER) < shown.index(CRAWL)
    assert CRAWL not in place.good("crawls", "--lake", "never", "--most", "1")
    assert not (place.folder / "never").exists()


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (["build", "CC-MAIN-1999-01"], {}, ["CC-MAIN-1999-01", "laion crawls"]),
        (["build", CRAWL, "--until", "filterd_pairs"], {}, ["filterd_pairs", "filtered_pairs"]),
        (["build", CRAWL, "--format", "wet"], {}, ["FORMAT", "wat"]),
        (["build", CRAWL], {"LAION_SHARDS": "abc"}, ["LAION_SHARDS", "integer"]),
        (["build", CRAWL], {"LAION_ENCODER__PRETRAINED": "/nonexistent.pt"}, ["/nonexistent.pt"]),
        (["build", CRAWL], {"LAION_DENY__URL_LISTS": "/nonexistent.txt"}, ["/nonexistent.txt"]),
        (["build", CRAWL, "--lake", "source/collinfo.json/lake"], {}, ["collinfo.json"]),
        (["build", CRAWL, "--lake", "gs://bucket/lake"], {}, ["gs://bucket/lake", "s3://bucket/prefix"]),
        (["build", CRAWL, "--lake", "a [lake]"], {}, ["a [lake]", "another path"]),
        (["sample", "serve", "nowhere"], {}, ["nowhere", "no published sample"]),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_built(place, arguments, settings, words):
    said = place.complaint(*arguments, **{"LAION_LAKE": "never"} | settings)
    for word in words:
        assert word in said
    assert not (place.folder / "never" / "crawl_snapshots").exists()


@pytest.mark.parametrize(
    "arguments",
    [["bild", CRAWL], ["sql"], ["build", CRAWL, "--wat-files", "0"]],
)
def test_a_call_that_is_no_command_is_told_how_to_get_help(place, arguments):
    ran = place(*arguments)
    assert ran.returncode == 2
    assert "--help" in ran.stderr
    assert "Traceback" not in ran.stderr


# -- building --------------------------------------------------------------------------------------------------------


def test_a_build_says_what_it_did(first_build):
    assert (first_build.returncode, first_build.stderr) == (0, "")
    assert f"{2 + 1 + 4 * 2} partitions built, 0 failed" in first_build.stdout
    for table in ALWAYS:
        assert table in first_build.stdout


def test_building_again_builds_nothing(built):
    said = f"nothing to do: {CRAWL} is up to date as far as filtered_pairs (0 partitions built, 0 failed)"
    assert built.good("build", CRAWL).splitlines() == [f"{said}; `laion status` shows all"]


def test_a_partition_that_cannot_be_built_is_one_line_and_exit_code_1(built):
    """The rest of what could be built is built, and the lake tells which is which."""
    file = built.folder / "source" / "crawl-data" / OTHER / "segments"
    file.rename(file.with_name("hidden"))
    try:
        ran = built("build", OTHER)
        assert ran.returncode == 1
        (line,) = ran.stderr.splitlines()
        assert line.startswith(f"failed candidate_pairs crawl={OTHER}/shard=0: ")
        assert "has no file" in line
        assert "2 partitions built, 1 failed, 8 left out" in ran.stdout
        shown = built.good("status")
        assert [row for row in table(shown) if row[:2] == ["candidate_pairs", OTHER]] == [
            ["candidate_pairs", OTHER, "", "", "", "1"]
        ]
        said = built.good("status", "--why", "--crawl", OTHER)
        assert f"candidate_pairs crawl={OTHER}/shard=0: failed 1 time, last at " in said
        assert "has no file" in said
        [failed] = [p for p in json.loads(built.good("status", "--json"))["partitions"] if p["state"] == "failed"]
        assert (failed["table"], failed["failures"]) == ("candidate_pairs", 1)
    finally:
        file.with_name("hidden").rename(file)


def test_a_build_is_logged_in_json_lines_where_that_is_asked_for(place):
    segments = place.folder / "source" / "crawl-data" / CRAWL / "segments"
    segments.rename(segments.with_name("hidden"))
    try:
        ran = place("build", CRAWL, "--until", "candidate_pairs", LAION_LAKE="logged", LAION_LOG_FORMAT="json")
    finally:
        segments.with_name("hidden").rename(segments)
    assert ran.returncode == 1
    told = [json.loads(line) for line in ran.stderr.splitlines() if not line.startswith("failed ")]
    published = [line for line in told if line["message"] == "published" and line["table"] != "partition_states"]
    assert [line["table"] for line in published] == ["crawl_snapshots", "wat_files"]
    for line in published:
        assert (line["partition"], line["rows"], line["level"]) == (f"crawl={CRAWL}", 1, "INFO")
        assert line["seconds"] >= 0
        assert line["run_id"]
    [failed] = [line for line in told if line.get("event") == "STEP_FAILURE"]
    assert (failed["level"], failed["table"]) == ("ERROR", "candidate_pairs")
    assert "has no file" in failed["error"]
    assert CRAWL in failed["partition"]


# -- looking ---------------------------------------------------------------------------------------------------------


def table(shown: str) -> list[list[str]]:
    """The cells of a printed table, without its frame."""
    lines = [line for line in shown.splitlines() if line.startswith(("│", "|"))]
    return [[cell.strip() for cell in line.strip("│|").split("│")] for line in lines]


def test_crawls_tells_which_the_lake_has(built):
    has = {row[0]: row[-1] for row in table(built.good("crawls"))}
    assert has[CRAWL] == "yes"


def test_tables_tells_rows_partitions_files_bytes_and_version(built):
    shown = {row[0]: row[1:] for row in table(built.good("tables"))}
    assert set(shown) >= set(TABLES)
    rows, partitions, files, size, version = shown["filtered_pairs"]
    assert (rows, partitions) == (str(len(TEXTS)), "2")
    assert int(files) >= 1
    assert size.endswith(("kB", "MB"))
    assert int(version) >= 2
    assert shown["calibrations"][0] == "0"


def test_status_tells_how_the_partitions_stand(built):
    shown = {row[0]: row[2:] for row in table(built.good("status")) if row[1] == CRAWL}
    assert set(shown) == set(ALWAYS)
    assert shown["images"] == ["2", "", "", ""]
    assert shown["crawl_snapshots"] == ["1", "", "", ""]


def test_status_says_what_is_stale_and_why(built):
    changed = built.good("status", "--why", LAION_FILTER__POLICY="laion_clean", LAION_FILTER__THRESHOLD_EN="0.3")
    shown = {row[0]: row[2:] for row in table(changed) if row[1] == CRAWL}
    assert shown["filtered_pairs"] == ["", "2", "", ""]
    assert shown["clip_embeddings"] == ["2", "", "", ""]
    assert f"filtered_pairs crawl={CRAWL}/bucket=0: settings changed" in changed


def test_looking_needs_no_weights(built):
    """Tables, SQL and states work where the encoder does not: a lake may have been moved without it."""
    gone = {"LAION_ENCODER__PRETRAINED": "/nonexistent.pt"}
    built.good("tables", **gone)
    built.good("sql", "SELECT 1", **gone)
    built.good("status", **gone)


def test_another_shape_than_the_lake_has_is_refused(built):
    said = built.complaint("tables", LAION_SHARDS="3")
    assert "LAION_SHARDS=1" in said


# -- SQL -------------------------------------------------------------------------------------------------------------

KEPT = f"SELECT text FROM filtered_pairs WHERE crawl = '{CRAWL}' ORDER BY text"


def normal(texts: list[str]) -> list[str]:
    return sorted(" ".join(text.split()) for text in texts)


def test_rows_as_a_table_are_shown_as_they_are(sql):
    assert [row[0] for row in table(sql(KEPT, "--format", "table"))] == normal(TEXTS)


def test_rows_as_csv(sql):
    query = """
        SELECT text, width, license, crawl = 'x' AS no, [1, 2] AS list
        FROM filtered_pairs ORDER BY text
    """
    head, *rows = csv.reader(io.StringIO(sql(query, "--format", "csv")))
    assert head == ["text", "width", "license", "no", "list"]
    assert [row[0] for row in rows] == normal(TEXTS)
    assert [row[1:] for row in rows] == [["120", "", "false", "[1, 2]"]] * len(TEXTS)


def test_rows_as_json(sql):
    query = f"""
        SELECT text, pair.similarity, license, image_embedding, fetched_at, 'nan'::FLOAT AS nan
        FROM filtered_pairs AS pair JOIN clip_embeddings USING (pair_id) JOIN images USING (url)
        WHERE pair.crawl = '{CRAWL}' ORDER BY text
    """
    rows = [json.loads(line) for line in sql(query, "--format", "json").splitlines()]
    assert [row["text"] for row in rows] == normal(TEXTS)
    for row in rows:
        assert -1 <= row["similarity"] <= 1
        assert len(row["image_embedding"]) > 8
        assert row["license"] is None
        assert row["nan"] is None
        assert row["fetched_at"].startswith("20")


def test_rows_as_parquet_through_a_pipe(built):
    ran = built.typed("sql", "FROM clip_embeddings", "--format", "parquet")
    assert ran.returncode == 0
    frame = pl.read_parquet(io.BytesIO(ran.stdout))
    assert frame.height == len(TEXTS)
    assert frame.columns == [column.name for column in TABLES["clip_embeddings"].columns]


def test_the_funnel_adds_up(built, sql):
    ran = built("models", "run", "--select", "funnel")
    assert ran.returncode == 0, ran.stdout
    rows = [json.loads(line) for line in sql("FROM funnel", "--format", "json").splitlines()]
    first = [row for row in rows if row["crawl"] == CRAWL]
    counts = [
        sum(row[name] for row in first) for name in ("candidates", "unique_pairs", "downloaded", "embedded", "kept")
    ]
    assert counts == [len(TEXTS) + 2, len(TEXTS) + 2, len(TEXTS), len(TEXTS), len(TEXTS)]
    (again,) = built.good("models", "run", "--select", "funnel").splitlines()
    assert again.startswith("nothing to do: ")


def test_a_reader_may_stop_early(built):
    """As `laion sql … | head -1` does."""
    command = f"'{COMMAND}' sql 'SELECT range FROM range(200000)' --format csv | head -2"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    ran = subprocess.run(
        command, shell=True, cwd=built.folder, env=kept | built.settings, capture_output=True, text=True, check=False
    )
    assert ran.stdout == "range\n0\n"
    assert ran.stderr == ""


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELEC 1", ["syntax error", "SELEC"]),
        ("SELECT * FROM filterd_pairs", ["filterd_pairs", "filtered_pairs"]),
        ("SELECT '[/red]'::INT", ["[/red]"]),
        ("COPY (SELECT 1) TO 'x.csv'", ["COPY", "only reads"]),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO 'lake/x.csv'", ["EXPLAIN", "only reads"]),
        ("FROM read_text('/etc/hostname')", ["/etc/hostname"]),
    ],
)
def test_sql_that_cannot_be_run_is_one_line(built, query, words):
    said = built.complaint("sql", query)
    for word in words:
        assert word in said
    assert not list(built.folder.glob("**/x.csv"))


def test_a_wrong_format_is_said(built):
    said = built.complaint("sql", "SELECT 1", "--format", "xml")
    for word in ("xml", "table", "csv", "json", "parquet"):
        assert word in said


def test_the_lake_may_be_named_by_flag_or_setting_and_the_flag_wins(built):
    query = ("sql", "SELECT count(*) AS n FROM filtered_pairs", "--format", "csv")
    assert built.good(*query, LAION_LAKE="lake") == f"n\n{len(TEXTS)}\n"
    assert built.good(*query, "--lake", str(built.folder / "lake"), LAION_LAKE="nowhere") == f"n\n{len(TEXTS)}\n"
