"""Model files are checked before anything runs, and every fault names its file and line."""

import pytest

from laion_assets.sql.errors import ModelError
from laion_assets.sql.project import load_project
from tests.unit.sql.model_files import write_model, write_test


def faults(folder):
    """Every fault as (file name, line, message)."""
    with pytest.raises(ModelError) as caught:
        load_project(folder)
    for fault in caught.value.faults:
        assert str(fault).startswith(f"{fault.file}:{fault.line}: ")
        assert str(fault) in str(caught.value)
    return [(fault.file.name, fault.line, fault.message) for fault in caught.value.faults]


def test_models_come_upstream_first_with_columns_and_types(tmp_path):
    write_model(tmp_path, "a_second", "SELECT n * 2 AS twice FROM {{ ref('z_first') }}")
    write_model(
        tmp_path,
        "z_first",
        "SELECT crawl, count(*) AS n, sum(file_number) AS total, 0.5 AS half, now FROM {{ source('wat_files') }}, "
        "(SELECT TIMESTAMP '2026-01-01' AS now) GROUP BY ALL",
        layer="staging",
    )
    project = load_project(tmp_path)
    assert list(project.models) == ["z_first", "a_second"]
    assert [(c.name, c.type) for c in project.models["z_first"].columns] == [
        ("crawl", "VARCHAR"),
        ("n", "BIGINT"),
        ("total", "BIGINT"),
        ("half", "DOUBLE"),
        ("now", "TIMESTAMP WITH TIME ZONE"),
    ]
    assert project.upstream("a_second") == ("z_first",)
    assert project.sources("z_first") == ("wat_files",)


def test_a_wrong_ref_is_an_error_with_its_line(tmp_path):
    write_model(tmp_path, "hosts", "SELECT 1 AS n")
    write_model(tmp_path, "wrong", "SELECT *\nFROM {{ ref('host') }}")
    assert faults(tmp_path) == [
        ("wrong.sql", 6, "ref('host'): there is no model of that name, perhaps you mean hosts"),
    ]


def test_a_wrong_source_is_an_error_with_its_line(tmp_path):
    write_model(tmp_path, "wrong", "SELECT *\nFROM {{ source('wat_file') }}\nJOIN {{ source('other') }} ON true")
    [first, second] = faults(tmp_path)
    assert first == ("wrong.sql", 6, "source('wat_file'): there is no table of that name, perhaps you mean wat_files")
    assert second[:2] == ("wrong.sql", 7)


def test_ref_and_source_are_not_mistaken_for_one_another(tmp_path):
    write_model(tmp_path, "first", "SELECT * FROM {{ ref('wat_files') }}")
    write_model(tmp_path, "second", "SELECT * FROM {{ source('first') }}")
    messages = [message for _, _, message in faults(tmp_path)]
    assert messages[0].endswith("it is a table, write source()")
    assert messages[1].endswith("it is a model, write ref()")


def test_a_table_that_is_named_without_source_is_an_error_with_its_line(tmp_path):
    write_model(tmp_path, "known", "SELECT 1 AS n")
    write_model(tmp_path, "wrong", "SELECT count(*) AS n\nFROM wat_files\nCROSS JOIN known\nCROSS JOIN nowhere")
    assert faults(tmp_path) == [
        ("wrong.sql", 6, "wat_files is not declared: write {{ source('wat_files') }}"),
        ("wrong.sql", 7, "known is not declared: write {{ ref('known') }}"),
        ("wrong.sql", 8, "nowhere is not declared: there is no table and no model of that name"),
    ]


def test_an_unknown_column_is_an_error_with_its_line(tmp_path):
    write_model(tmp_path, "wrong", "SELECT\n    crawl,\n    file_numbre\nFROM {{ source('wat_files') }}")
    [(file, line, message)] = faults(tmp_path)
    assert (file, line) == ("wrong.sql", 7)
    assert "file_numbre" in message
    assert "file_number" in message  # what it may have meant


def test_an_unknown_column_of_a_model_is_found_too(tmp_path):
    write_model(tmp_path, "first", "SELECT 1 AS n")
    write_model(tmp_path, "second", "SELECT m FROM {{ ref('first') }}")
    write_model(tmp_path, "third", "SELECT * FROM {{ ref('second') }}")
    [(file, line, message)] = faults(tmp_path)
    assert (file, line) == ("second.sql", 5)
    assert '"m"' in message


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_cycle_is_an_error_that_shows_it(tmp_path, length):
    names = [f"m{n}" for n in range(length)]
    for number, name in enumerate(names):
        write_model(tmp_path, name, f"SELECT 1 AS n\nFROM {{{{ ref('{names[(number + 1) % length]}') }}}}")
    [(file, line, message)] = faults(tmp_path)
    assert file.removesuffix(".sql") in names
    assert line == 6
    assert "built from itself" in message or all(name in message for name in names)


def test_wrong_sql_is_an_error_with_its_line(tmp_path):
    write_model(tmp_path, "wrong", "SELECT crawl\nFORM {{ source('wat_files') }}")
    [(file, line, _)] = faults(tmp_path)
    assert (file, line) == ("wrong.sql", 6)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT random() AS r", "random"),
        ("SELECT now() AS t", "now"),
        ("SELECT uuid() AS u", "uuid"),
        ("SELECT current_timestamp AS t", "currenttimestamp"),
    ],
)
def test_what_gives_other_rows_each_time_is_refused(tmp_path, sql, said):
    write_model(tmp_path, "wrong", sql)
    [(_, _, message)] = faults(tmp_path)
    assert "other rows each time" in message
    assert said.removeprefix("random")[:3] in message


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM read_parquet('/x.parquet')", "SELECT * FROM 'x.csv'", "SELECT * FROM glob('*')"]
)
def test_files_are_no_inputs_of_a_model(tmp_path, sql):
    write_model(tmp_path, "wrong", sql)
    assert len(faults(tmp_path)) == 1


@pytest.mark.parametrize(
    "sql", ["DELETE FROM x", "SELECT 1 AS a; SELECT 2 AS b", "CREATE TABLE x AS SELECT 1 AS a", ""]
)
def test_a_model_is_one_select(tmp_path, sql):
    write_model(tmp_path, "wrong", sql)
    assert faults(tmp_path)[0][0] == "wrong.sql"


def test_only_a_little_of_jinja_is_known(tmp_path):
    write_model(tmp_path, "wrong", "SELECT 1 AS n\n{% if true %}\n{{ config(x=1) }}\n{% endif %}")
    assert [(line, message.split(" is not known")[0]) for _, line, message in faults(tmp_path)] == [
        (6, "{% if true %}"),
        (7, "{{ config(x=1) }}"),
        (8, "{% endif %}"),
    ]


@pytest.mark.parametrize(
    ("header", "line", "said"),
    [
        ("materialised: view", 2, "'materialised' is not known"),
        ("materialized: snapshot", 2, "expected view, table, incremental_by_crawl, found 'snapshot'"),
        ("materialized: view\ndescription:\n  - no\n  - sentence", 3, "description: expected a sentence"),
        ("materialized: view\ncolumns: [n]", 3, "columns: expected a mapping"),
        ("materialized: view\ncolumns:\n  n: {text: x}", 3, "column n: expected a description"),
        ("materialized: view\ncolumns:\n  n: {description: x, tests: [positive]}", 3, "there is no test 'positive'"),
        (
            "materialized: view\ncolumns:\n  n: {description: x, tests: [{range: {least: 1}}]}",
            3,
            "range takes max and min",
        ),
        ("materialized: view\ncolumns:\n  n: {description: x, tests: not_null}", 3, "expected a list of tests"),
        ("materialized: view\ntests: [{accepted_values: [1]}]", 3, "accepted_values belongs under a column"),
        ("materialized: [view", 3, "front matter: "),
    ],
)
def test_wrong_front_matter_says_what_is_expected(tmp_path, header, line, said):
    write_model(tmp_path, "wrong", "SELECT 1 AS n", header=header)
    found = faults(tmp_path)
    assert [(f, n) for f, n, message in found if said in message] == [("wrong.sql", line)], found


def test_a_file_may_begin_with_a_mark_and_end_its_lines_as_on_windows(tmp_path):
    file = write_model(tmp_path, "first", "SELECT\n    crawl\nFROM {{ source('wat_files') }}")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert [column.name for column in load_project(tmp_path).models["first"].columns] == ["crawl"]


def test_what_is_no_text_is_an_error_with_its_line(tmp_path):
    file = write_model(tmp_path, "wrong", "SELECT 1 AS n")
    file.write_bytes(file.read_bytes() + b"-- \xe9\n")
    assert faults(tmp_path) == [("wrong.sql", 6, "no UTF-8 text: save it in that encoding")]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ModelError, match="is no folder of SQL models: see LAION_MODELS"):
        load_project(tmp_path / "nowhere")


def test_front_matter_is_required(tmp_path):
    write_model(tmp_path, "wrong", "SELECT 1 AS n").write_text("SELECT 1 AS n")
    assert faults(tmp_path)[0][2].startswith("expected front matter in a leading /* comment */")


def test_columns_that_are_described_must_be_there(tmp_path):
    header = "materialized: view\ncolumns:\n  n: There.\n  m: Not there.\ntests:\n  - unique: [n, o]"
    write_model(tmp_path, "wrong", "SELECT 1 AS n", header=header)
    assert [(line, message) for _, line, message in faults(tmp_path)] == [
        (3, "front matter speaks of a column m, the SQL has n"),
        (3, "front matter speaks of a column o, the SQL has n"),
    ]


def test_a_relation_to_a_column_that_is_not_there_is_found(tmp_path):
    header = (
        "materialized: view\ndescription: A model.\ncolumns:\n  crawl:\n    description: It.\n"
        "    tests: [{relationships: {to: wat_files, column: crowl}}]"
    )
    write_model(tmp_path, "wrong", "SELECT crawl FROM {{ source('wat_files') }}", header=header)
    [(_, _, message)] = faults(tmp_path)
    assert message.startswith("test relationships_crawl: ")
    assert "crowl" in message


def test_what_a_table_cannot_hold_is_named(tmp_path):
    write_model(tmp_path, "wrong", "SELECT INTERVAL 1 DAY AS a, {'x': 1} AS c")
    assert [message.split(":")[0] for _, _, message in faults(tmp_path)] == [
        "column a has type INTERVAL, which no Delta table holds",
        "column c has type STRUCT(x INTEGER), which no Delta table holds",
    ]


def test_two_columns_of_one_name_are_refused(tmp_path):
    write_model(tmp_path, "wrong", "SELECT 1 AS n, 2 AS N")
    assert faults(tmp_path)[0][2].startswith("two columns of one name among n, N")


@pytest.mark.parametrize("sql", ["SELECT count(*)", 'SELECT 1 AS "a b"', 'SELECT 1 AS "a""b"', 'SELECT 1 AS "a.b"'])
def test_columns_have_plain_names(tmp_path, sql):
    write_model(tmp_path, "wrong", sql)
    assert "a name has letters, digits and _" in faults(tmp_path)[0][2]


def test_the_crawl_is_known_only_to_incremental_models(tmp_path):
    write_model(tmp_path, "whole", "SELECT *\nFROM {{ source('wat_files') }}\nWHERE crawl = {{ crawl }}")
    assert faults(tmp_path) == [("whole.sql", 7, "{{ crawl }} is known only while an incremental model is built")]
    write_model(tmp_path, "whole", "SELECT * FROM {{ source('wat_files') }}")
    write_test(tmp_path, "own", "SELECT * FROM {{ ref('whole') }} WHERE crawl <> {{ crawl }}")
    assert faults(tmp_path)[0][0] == "own.sql"


def test_words_of_sql_and_folders_of_the_lake_are_no_names(tmp_path):
    for name in ("order", "files"):
        write_model(tmp_path, name, "SELECT 1 AS n")
        assert faults(tmp_path)[0][0] == f"{name}.sql"
        (tmp_path / "models" / "marts" / f"{name}.sql").unlink()


def test_tests_of_one_name_are_refused(tmp_path):
    tests = "[{range: {min: 0}}, {range: {max: 1}}]"
    header = f"materialized: view\ndescription: It.\ncolumns:\n  n: {{description: N, tests: {tests}}}"
    write_model(tmp_path, "wrong", "SELECT 1 AS n", header=header)
    assert "more than one test is called range_n" in faults(tmp_path)[0][2]


def test_a_sample_gives_other_rows_each_time(tmp_path):
    write_model(tmp_path, "wrong", "SELECT * FROM {{ source('wat_files') }} USING SAMPLE 3 ROWS")
    assert "a sample gives other rows each time" in faults(tmp_path)[0][2]


def test_an_incremental_model_has_its_crawl(tmp_path):
    write_model(tmp_path, "wrong", "SELECT 1 AS n", header="materialized: incremental_by_crawl")
    assert "has a column `crawl`" in faults(tmp_path)[0][2]


def test_a_name_stands_for_one_model(tmp_path):
    write_model(tmp_path, "twice", "SELECT 1 AS n", layer="staging")
    write_model(tmp_path, "twice", "SELECT 2 AS n", layer="marts")
    write_model(tmp_path, "wat_files", "SELECT 2 AS n")
    found = faults(tmp_path)
    assert [file for file, _, _ in found] == ["twice.sql", "wat_files.sql"]


def test_a_model_in_no_layer_is_not_passed_over(tmp_path):
    write_model(tmp_path, "lost", "SELECT 1 AS n", layer="mart")
    assert faults(tmp_path)[0][:2] == ("lost.sql", 1)


def test_every_fault_of_every_file_is_told_at_once(tmp_path):
    write_model(tmp_path, "first", "SELECT * FROM {{ ref('nowhere') }}")
    write_model(tmp_path, "second", "SELECT * FROM {{ source('nowhere') }}")
    assert [file for file, _, _ in faults(tmp_path)] == ["first.sql", "second.sql"]


def test_a_column_that_keeps_its_name_keeps_its_meaning(tmp_path):
    header = "materialized: view\ndescription: It.\ncolumns:\n  n: A number.\n  m: Another."
    write_model(tmp_path, "first", "SELECT 1 AS n, 2 AS m, crawl FROM {{ source('wat_files') }}", header=header)
    header = "materialized: view\ndescription: It.\ncolumns:\n  n: {tests: [not_null]}\n  m: Its own."
    write_model(tmp_path, "second", "SELECT n, m, crawl, 3 AS other FROM {{ ref('first') }}", header=header)
    project = load_project(tmp_path)
    meanings = {c.name: c.description for c in project.models["second"].columns}
    of_crawl = next(c for c in project.models["first"].columns if c.name == "crawl").description
    assert of_crawl.startswith("Common Crawl's name")
    assert meanings == {"n": "A number.", "m": "Its own.", "crawl": of_crawl, "other": ""}


def test_a_disabled_model_says_why_and_cannot_be_built_on(tmp_path):
    header = "materialized: table\ndisabled: There are no scores yet."
    write_model(tmp_path, "later", "SELECT * FROM {{ source('not_yet') }}", header=header)
    project = load_project(tmp_path)
    assert project.enabled == {}
    assert project.models["later"].disabled == "There are no scores yet."
    with pytest.raises(ValueError, match=r"later is disabled: There are no scores yet\."):
        project.select(["later"])
    write_model(tmp_path, "now", "SELECT 1 AS n FROM {{ ref('later') }}")
    assert faults(tmp_path) == [("now.sql", 5, "ref('later') is disabled: There are no scores yet.")]


@pytest.mark.parametrize(
    "header",
    ["materialized: table\nonly_with: wat_files", "materialized: incremental_by_crawl\nonly_with: robustness"],
)
def test_what_a_model_needs_is_a_table_of_each_of_its_crawls(tmp_path, header):
    write_model(tmp_path, "odd", "SELECT crawl FROM {{ source('wat_files') }}", header=f"{header}\ndescription: It.")
    ((_, _, said),) = faults(tmp_path)
    assert said.startswith("only_with: expected a table of each crawl")


def test_a_singular_test_belongs_to_the_last_model_it_names(tmp_path):
    write_model(tmp_path, "first", "SELECT 1 AS n")
    write_model(tmp_path, "second", "SELECT n FROM {{ ref('first') }}")
    write_test(tmp_path, "same", "SELECT * FROM {{ ref('first') }} EXCEPT SELECT * FROM {{ ref('second') }}")
    project = load_project(tmp_path)
    assert list(project.models["second"].test_names) == ["same"]
    assert not project.models["first"].test_names


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT m FROM {{ ref('first') }}", '"m"'),
        ("SELECT n FROM {{ ref('frist') }}", "perhaps you mean first"),
        ("SELECT n FROM first", "write {{ ref('first') }}"),
        ("SELECT 1 AS n", "names at least one model"),
    ],
)
def test_a_wrong_singular_test_is_an_error(tmp_path, sql, said):
    write_model(tmp_path, "first", "SELECT 1 AS n")
    write_test(tmp_path, "wrong", sql)
    assert any(said in message for _, _, message in faults(tmp_path))


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ([], "abcd"),
        (["b"], "b"),
        (["b+"], "bd"),
        (["+b"], "ab"),
        (["+b+"], "abd"),
        (["a+"], "abcd"),
        (["b", "c"], "bc"),
        (["b,c"], "bc"),
        (["staging"], "a"),
        (["marts+"], "bcd"),
    ],
)
def test_models_are_selected_with_what_is_around_them(tmp_path, pattern, chosen):
    write_model(tmp_path, "a", "SELECT 1 AS n", layer="staging")
    for name in "bc":
        write_model(tmp_path, name, "SELECT n FROM {{ ref('a') }}")
    write_model(tmp_path, "d", "SELECT n FROM {{ ref('b') }} JOIN {{ ref('c') }} USING (n)", layer="release")
    assert load_project(tmp_path).select(pattern) == list(chosen)


def test_what_was_found_out_is_found_again(tmp_path, monkeypatch):
    """The second time no SQL is parsed and nothing bound, and the project is the same."""
    write_model(tmp_path, "first", "SELECT crawl FROM {{ source('wat_files') }}")
    write_model(tmp_path, "second", "SELECT crawl AS c FROM {{ ref('first') }}")
    write_test(tmp_path, "none", "SELECT * FROM {{ ref('second') }} WHERE c = ''")
    fresh = load_project(tmp_path)
    monkeypatch.setattr("laion_assets.sql.project.check_sql", None)
    monkeypatch.setattr("laion_assets.sql.binding.duckdb", None)
    assert load_project(tmp_path) == fresh


@pytest.mark.parametrize("changed", ["first", "source"])
def test_a_change_upstream_is_seen_through_the_cache(tmp_path, changed):
    file = write_model(tmp_path, "first", "SELECT crawl AS c FROM {{ source('wat_files') }}")
    write_model(tmp_path, "second", "SELECT c FROM {{ ref('first') }}")
    load_project(tmp_path)
    if changed == "first":
        file.write_text(file.read_text().replace("AS c", "AS d"))
        assert faults(tmp_path)[0][0] == "second.sql"
    else:
        file.write_text(file.read_text().replace("crawl AS c", "file_number AS c"))
        assert load_project(tmp_path).models["second"].columns[0].type == "INTEGER"


def test_a_cache_that_cannot_be_read_or_written_costs_nothing(tmp_path, monkeypatch):
    write_model(tmp_path, "first", "SELECT 1 AS n")
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert list(load_project(tmp_path).models) == ["first"]
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    load_project(tmp_path)
    for file in cache.rglob("*.json"):
        file.write_text("[no json")
    assert list(load_project(tmp_path).models) == ["first"]
