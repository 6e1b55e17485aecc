"""What is known of a table stands in its declaration, and nowhere else; a new table takes three places."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import laion_assets
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.declaration import Declaration, DeclarationError

PACKAGE = Path(laion_assets.__file__).parent
MAY_NAME_TABLES = ("tables", "orchestration/assets", "cli")


def keyed_by_tables(source: str) -> Iterator[int]:
    """The lines of dictionaries, sets, lists and tuples that hold the names of two tables or more."""
    for node in ast.walk(ast.parse(source)):
        held = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", ())
        names = [part.value for part in held if isinstance(part, ast.Constant) and part.value in TABLES]
        if len(names) > 1:
            yield node.lineno


def test_no_other_room_keeps_a_book_about_tables() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}:{line}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if not file.relative_to(PACKAGE).as_posix().startswith(MAY_NAME_TABLES)
        for line in keyed_by_tables(file.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "book",
    [
        'LONG = frozenset({"images", "calibrations"})',
        'RERUN = {**dict.fromkeys(("images", "wat_files"), "recorded")}',
        'NEEDS = {"images": 1, "unique_pairs": 2}',
        'for table in ["robustness", "scaling_laws"]: pass',
    ],
)
def test_a_book_about_tables_would_be_found(book: str) -> None:
    assert [*keyed_by_tables(book)]
    assert not [*keyed_by_tables('SHOWN = {"images": 1, "captions": 2}')]


DECLARATION = """
from laion_assets.tables.declaration import Shaping

CRAWL_SPANS = Declaration(
    name="crawl_spans",
    description="One row per snapshot: how long it was captured.",
    key=("crawl",),
    partition_by=("crawl",),
    group=groups.CRAWL,
    code_version="1",
    reads=(Read(table="crawl_snapshots"),),
    kinds=("polars",),
    need=Need(hours=1),
    shaped_by=(Shaping.EXTRACTION,),
    outside=(),
    rerun="pure",
    long=False,
    command="laion build CRAWL --until crawl_spans",
    remake="`laion build {crawl}` makes it again",
    pair=None,
    funnel=None,
    short="spans",
    columns=(CRAWL, column("days", LONG, "Whole days from the first capture to the last.")),
)
"""
FUNCTION = '''
import polars as pl


def crawl_spans(step: Step) -> Metadata:
    """How long a snapshot was captured."""
    snapshots = step.frame("crawl_snapshots")
    step.build.rows_in = snapshots.height
    step.build.add(snapshots.select(days=(pl.col("last_capture") - pl.col("first_capture")).dt.total_days()))
    return {}
'''
BEFORE, LINE = "        asset(crawl.crawl_snapshots),\n", "        asset(crawl.crawl_spans),\n"

STORY = """
import json
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from laion_assets.orchestration.code_location import build_definitions
from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.staleness import lake_states
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import TABLES

CRAWL = "CC-MAIN-2026-04"
settings = Settings(_env_file=None, lake="lake", shards=1, buckets=1)
lake, definitions = settings.open_lake(), build_definitions(settings)


def register(last_day):
    expected = settings.expectations("")["crawl_snapshots"].settings_digest
    provenance = Provenance(run_id="", code_version="2", settings_digest=expected)
    with lake_build(lake, "crawl_snapshots", {"crawl": CRAWL}, provenance) as build:
        build.add(pl.DataFrame({
            "name": ["a name"], "wat_file_count": [1], "first_capture": [datetime(2026, 1, 1, tzinfo=UTC)],
            "last_capture": [datetime(2026, 1, last_day, tzinfo=UTC)], "source_uri": ["nowhere"],
            "registered_at": [datetime(2026, 2, 1, tzinfo=UTC)],
        }))
        build.rows_in = 1
        build.publish()


def state(**changes):
    expectations = Settings(_env_file=None, lake="lake", shards=1, buckets=1, **changes).expectations("")
    (found,) = (s for s in lake_states(lake, [CRAWL], expectations) if s.table == "crawl_spans")
    return found.state.value, *found.reasons


told = {"missing": state()}
register(15)
with dg.DagsterInstance.ephemeral() as instance:
    instance.add_dynamic_partitions("crawl", [CRAWL])
    job = definitions.resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, partition_key=CRAWL, asset_selection=[dg.AssetKey("crawl_spans")])
told["rows"] = lake.rows("crawl_spans", {"crawl": CRAWL}, ["days"]).to_dicts()
told["built"] = state()
told["other settings"] = state(extraction={"min_text_length": 9})
register(20)
told["other input"] = state()
spec = definitions.resolve_asset_graph().get(dg.AssetKey("crawl_spans"))
told["shown"] = [spec.group_name, sorted(key.to_user_string() for key in spec.parent_keys), spec.tags["rerun"]]
told["said"] = spec.description
print(json.dumps(told))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the code that may be changed, with what is shipped beside it."""
    shutil.copytree(PACKAGE, tmp_path / "laion_assets", ignore=shutil.ignore_patterns("__pycache__"))
    for shipped in ("recipes", "dbt_like_sql"):
        (tmp_path / shipped).symlink_to(PACKAGE.parent / shipped)
    with (tmp_path / "laion_assets/tables/crawl.py").open("a") as declared:
        declared.write(DECLARATION)
    with (tmp_path / "laion_assets/orchestration/assets/crawl.py").open("a") as functions:
        functions.write(FUNCTION)
    definitions = tmp_path / "laion_assets/orchestration/code_location.py"
    assert BEFORE in definitions.read_text()
    definitions.write_text(definitions.read_text().replace(BEFORE, BEFORE + LINE))
    return tmp_path


def run(checkout: Path, code: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    environment = kept | {"DAGSTER_HOME": str(checkout), "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def test_a_new_table_is_one_declaration_one_function_and_one_line(checkout: Path) -> None:
    ran = run(checkout, STORY)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["missing"] == ["missing"]
    assert told["rows"] == [{"days": 14}]
    assert told["built"] == ["done"]
    assert told["other settings"] == ["stale", "settings changed"]
    assert told["other input"] == ["stale", "crawl_snapshots changed"]
    assert told["shown"] == ["1_crawl", ["crawl_snapshots"], "pure"]
    assert "Write it: `laion build CRAWL --until crawl_spans`" in told["said"]


@pytest.mark.parametrize(
    ("declared", "instead", "said"),
    [
        ("    need=Need(hours=1),\n", "", "lacks need: what each of them says stands in"),
        ('key=("crawl",)', 'key=("day",)', "names columns it does not have: day"),
        ('"crawl_snapshots"', '"snapshots"', "reads snapshots, which nobody declares"),
    ],
)
def test_a_declaration_that_lacks_a_fact_is_an_error_when_definitions_load(
    checkout: Path, declared: str, instead: str, said: str
) -> None:
    file = checkout / "laion_assets/tables/crawl.py"
    head, name, own = file.read_text().partition("CRAWL_SPANS = ")
    assert declared in own
    file.write_text(head + name + own.replace(declared, instead))
    ran = run(checkout, "import laion_assets.definitions")
    assert ran.returncode == 1
    assert f"DeclarationError: the declaration of crawl_spans {said}" in ran.stderr.splitlines()[-1]


def test_all_that_a_declaration_lacks_is_said_at_once() -> None:
    with pytest.raises(DeclarationError, match=r"declaration of bare lacks partition_by, code_version, .*, short: "):
        Declaration(name="bare", description="Nothing.", key=("a",), columns=())  # type: ignore[call-arg]
