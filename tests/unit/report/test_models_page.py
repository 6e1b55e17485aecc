"""The page of SQL models: everything is on it, links lead somewhere, and what models say of themselves stays text."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
from selectolax.lexbor import LexborHTMLParser, LexborNode

from laion_assets.cli.main import main
from laion_assets.delta.errors import ValidationFailed
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from laion_assets.lake.takedowns import request_takedown
from laion_assets.report.models_page import highlighted, write_models_page
from laion_assets.sql.build import build_model, partitions_of_model
from laion_assets.sql.project import SOURCES, Project, load_project
from laion_assets.tables.catalogue import TABLES
from tests.unit.sql.model_files import declared, publish_files, write_model, write_test

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
EARLY, LATE = "CC-MAIN-2026-04", "CC-MAIN-2026-08"
BY_CRAWL = "materialized: incremental_by_crawl"
HOSTILE = [
    "<script>hacked=1</script>",
    '"><img src=http://evil.example/x onerror=hacked=1>',
    "' onmouseover='hacked=1",
    "</code></pre></details></td></table></style></script><svg onload=hacked=1>",
    "`</code><script>hacked=1</script>`",
    "]]><!-- --><style>*{display:none}</style>",
]


@pytest.fixture(scope="module")
def shipped() -> Project:
    return load_project()


@pytest.fixture(scope="module")
def page(shipped: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the shipped models, without a lake."""
    return written(shipped, tmp_path_factory.mktemp("page"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two crawls, with two files and one."""
    lake = open_lake(str(tmp_path / "lake"))
    publish_files(lake, EARLY, "http://example.org/a", "http://removed.example/b")
    publish_files(lake, LATE, "http://example.org/c")
    return lake


def written(project: Project, folder: Path, lake: Lake | None = None, **options) -> str:
    output = folder / "models.html"
    size = write_models_page(project, output, lake, made_at=AT, **options)
    assert output.stat().st_size == size
    return output.read_text(encoding="utf-8")


def links(tree: LexborHTMLParser) -> Iterator[str]:
    return (node.attributes["href"] or "" for node in tree.css("a, link") if "href" in node.attributes)


def facts(tree: LexborHTMLParser, name: str) -> dict[str, str]:
    rows = tree.css(f"article[id='{name}'] > dl > div")
    return {row.css_first("dt").text(): row.css_first("dd").text() for row in rows}


def cells(table: LexborNode) -> list[list[str]]:
    return [[cell.text() for cell in row.css("th, td")] for row in table.css("tbody tr")]


def tables(tree: LexborHTMLParser, name: str) -> dict[str, list[list[str]]]:
    """By caption, the rows of the tables that speak of a model."""
    found = tree.css(f"article[id='{name}'] table")
    return {table.css_first("caption").text(): cells(table) for table in found}


def all_ids(tree: LexborHTMLParser) -> list[str]:
    return [node.attributes["id"] or "" for node in tree.css("[id]")]


def assert_links_resolve(page: str) -> None:
    tree = LexborHTMLParser(page)
    ids = all_ids(tree)
    assert len(ids) == len(set(ids))
    inside = [link for link in links(tree) if link != "data:,"]
    assert all(link.startswith("#") for link in inside)
    assert {link[1:] for link in inside} <= set(ids)


def test_every_model_table_and_column_is_there(page, shipped):
    tree = LexborHTMLParser(page)
    ids = set(all_ids(tree))
    for model in shipped.models.values():
        assert {model.name, *(f"{model.name}.{column.name}" for column in model.columns)} <= ids
        assert model.template.render().strip() in {code.text() for code in tree.css(f"#{model.name} pre code")}
        shown = [row[0] for row in tables(tree, model.name).get("Tests", [])]
        assert shown == list(model.test_names)
    for table in SOURCES.values():
        assert {table.name, *(f"{table.name}.{column.name}" for column in table.columns)} <= ids
    boxes = {box.css_first("text").text() for box in tree.css("svg a")}
    assert boxes - set(SOURCES) == set(shipped.models)


def test_links_lead_somewhere_on_the_page(page):
    assert_links_resolve(page)
    assert len(set(links(LexborHTMLParser(page)))) > 100


def test_a_model_links_to_what_it_is_built_from_and_what_is_built_on_it(page):
    tree = LexborHTMLParser(page)
    matches = facts(tree, "concept_matches")
    assert matches["Built from"] == "caption_words, concepts"
    assert matches["Tests read"] == "unique_pairs"
    assert matches["Built on it"] == "metaclip_balanced"
    assert "concept_matches" in facts(tree, "unique_pairs")["Tests of"]
    columns = {row[0]: row[3] for row in tables(tree, "pool_pairs")["Columns"]}
    assert columns["pair_id"] == "scored_pairs.pair_id"
    assert tree.css_first("a[href='#scored_pairs.pair_id']") is not None


def test_without_a_lake_nothing_is_said_of_one(page):
    tree = LexborHTMLParser(page)
    assert "not known" in tree.css_first("header").text()
    assert not tree.css("time, header .warning")
    states = {row[4] for row in cells(tree.css_first("#all-models table"))}
    assert states == {"–"}
    headings = {heading.text() for heading in tree.css("thead th")}
    assert not headings & {"rows", "found last"}


def test_the_same_models_give_the_same_page(page, tmp_path):
    assert written(load_project(), tmp_path) == page


def test_some_models_are_shown_with_what_they_name(shipped, tmp_path):
    page = written(shipped, tmp_path, names=["pool_pairs", "funnel"])
    tree = LexborHTMLParser(page)
    assert_links_resolve(page)
    articles = {node.attributes["id"] for node in tree.css("article")}
    assert articles == {"pool_pairs", "funnel", *shipped.sources("pool_pairs"), *shipped.sources("funnel")}
    assert facts(tree, "pool_pairs")["Built from"] == "scored_pairs, group_encoders"  # there, and no link


def test_a_lake_tells_states_rows_and_what_tests_found(lake, tmp_path):
    folder = tmp_path / "project"
    counts = "SELECT crawl, count(*) AS files FROM {{ source('wat_files') }} GROUP BY crawl"
    write_model(folder, "listed", counts, header=f"{BY_CRAWL}\ntests:\n  - unique: [crawl]")
    write_model(folder, "later", "SELECT sum(files) AS n FROM {{ ref('listed') }}")
    project = declared(lake, folder)
    for partition in partitions_of_model(lake, project.models["listed"]):
        build_model(lake, project, "listed", partition, "run")
    tree = LexborHTMLParser(written(project, tmp_path, lake))
    index = {row[0]: row[4:] for row in cells(tree.css_first("#all-models table"))}
    assert index == {"listed": ["done", "2"], "later": ["missing", "–"]}
    assert facts(tree, "wat_files")["Rows"] == "3"
    assert {row[0]: row[1] for row in tables(tree, "listed")["Tests"]}["unique_crawl"] == "passed in 2 crawls"
    assert [link.text() for link in tree.css("header .warning a")] == ["later"]
    assert tree.css_first("h1").text() == lake.root.name
    assert tree.css_first("time").attributes["datetime"] == AT.isoformat()
    assert written(project, tmp_path, lake) == written(project, tmp_path, lake)


def test_rows_that_broke_a_test_are_shown_but_for_those_somebody_asked_to_remove(lake, tmp_path):
    folder = tmp_path / "project"
    write_model(folder, "paths", "SELECT crawl, path FROM {{ source('wat_files') }}")
    write_test(folder, "no_paths", "SELECT path, 7 AS n, NULL AS nothing FROM {{ ref('paths') }}", "There is none.")
    project = declared(lake, folder)
    with pytest.raises(ValidationFailed):
        build_model(lake, project, "paths", {}, "run")
    request_takedown(lake, "domain", "removed.example", None)
    page = written(project, tmp_path, lake)
    found = tables(LexborHTMLParser(page), "paths")
    assert found["Tests"] == [["no_paths", "3 rows in all", "There is none."]]
    rows = [["http://example.org/a", "7", "null"], ["http://example.org/c", "7", "null"]]
    assert found["Rows that break no_paths, for instance"] == rows
    assert "removed.example" not in page


def hostile_page(text: str, lake: Lake, folder: Path) -> str:
    """A page on which everything that a person or the web can write is this text."""
    project = folder / "project"
    said = json.dumps(text)
    column, literal = "other", "'{}'".format(text.replace("'", "''"))
    columns = f"columns:\n  n: {said}\n"
    write_model(project, "bad", f"SELECT 1 AS n, {literal} AS t, 2 AS {column} -- {literal}",
                header=f"materialized: table\ndescription: {said}\n{columns}")  # fmt: skip
    write_model(project, "next", f"SELECT {column} FROM {{{{ ref('bad') }}}}")
    write_model(project, "off", "SELECT 1", header=f"materialized: table\ndisabled: {said}\n{columns}")
    write_test(project, "wrong", f"SELECT t, 1 AS {column} FROM {{{{ ref('bad') }}}} /* {literal} */", said)
    loaded = declared(lake, project)
    with pytest.raises(ValidationFailed):
        build_model(lake, loaded, "bad", {}, "run")
    return written(loaded, folder, lake)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_models_say_of_themselves_stays_text(text, lake, tmp_path):
    page = hostile_page(text, lake, tmp_path)
    tree = LexborHTMLParser(page)
    assert_links_resolve(page)
    assert not tree.css("script, img, iframe, [onload], [onerror], [onmouseover]")
    assert len(tree.css("style")) == 2  # the page's own, and that of the graph
    assert not [key for node in tree.css("*") for key in node.attributes if key.startswith("on")]
    plain = text.replace("`", "")
    assert tree.css_first("#bad .describes").text() == plain
    assert tree.css_first("#off .warning").text() == f"Disabled: {text}"
    assert [row[0] for row in tables(tree, "off")["Columns"]] == ["n"]
    changed = "other"
    last = tables(tree, "bad")["Columns"][-1]
    assert last[0] == changed
    assert unquote((tree.css("#bad tbody th")[2].attributes["id"] or "").removeprefix("bad.")) == changed
    assert tables(tree, "next")["Columns"][0][3] == f"bad.{changed}"
    assert tables(tree, "bad")["Rows that break wrong, for instance"] == [[text, "1"]]


@pytest.mark.parametrize(
    "sql", ["SELECT 'a''b' AS x, 1.5 FROM t -- no <b>\r\n", "", "\n\n", "'never closed", "é /* <i> */ ::INT[]"]
)
def test_marked_sql_is_the_sql(sql):
    assert LexborHTMLParser(f"<pre><code>\n{highlighted(sql)}</code></pre>").css_first("code").text() == (
        "\n" + sql.replace("\r\n", "\n")
    )


def test_keywords_strings_numbers_and_comments_are_marked():
    tree = LexborHTMLParser(highlighted("SELECT language, 'two' QUALIFY 3 -- four"))
    marked = {(node.attributes["class"], node.text()) for node in tree.css("span")}
    assert {("keyword", "SELECT"), ("keyword", "QUALIFY"), ("string", "'two'"), ("figure", "3")} <= marked
    assert ("comment", "-- four") in marked
    assert "language" not in {text for _, text in marked}


@pytest.mark.parametrize("with_lake", [True, False])
def test_the_command_writes_the_page_with_a_lake_or_without(with_lake, lake, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAION_LAKE", str(lake.root) if with_lake else str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["laion", "models", "docs", "--select", "funnel"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code in (0, None)
    assert capsys.readouterr().out.startswith("models.html: ")
    tree = LexborHTMLParser((tmp_path / "models.html").read_text(encoding="utf-8"))
    assert tree.css_first("#funnel") is not None
    assert bool(tree.css("time")) == with_lake
    assert not (tmp_path / "none").exists()


def test_every_table_that_models_can_name_is_described(page):
    tree = LexborHTMLParser(page)
    for name, table in TABLES.items():
        assert tree.css_first(f"#{name} .describes").text() == table.description
