"""A wrong file stops the model that it is, and what is built on it; every other model lives."""

from pathlib import Path

import pytest

from laion_assets.delta.errors import LakeError
from laion_assets.lake.opening import open_lake
from laion_assets.settings import Settings
from laion_assets.sql.errors import ModelError
from laion_assets.sql.project import Project, load_project, open_project
from laion_assets.sql.selection import selected_from, training_stage
from laion_assets.sql.session import connect
from laion_assets.tables.catalogue import ALWAYS
from tests.unit.sql.model_files import write_model, write_test

GOOD = "SELECT crawl FROM {{ source('wat_files') }}"


def project(folder: Path) -> Project:
    """A sound model, a wrong one called `wrong`, which the test writes, one built on that and one built on this."""
    write_model(folder, "sound", GOOD)
    write_model(folder, "on_it", "SELECT * FROM {{ ref('wrong') }}")
    write_model(folder, "further", "SELECT * FROM {{ ref('on_it') }} JOIN {{ ref('sound') }} USING (crawl)")
    return open_project(folder)


def wrong(sql: str, header: str = "materialized: table"):
    return lambda folder: write_model(folder, "wrong", sql, header=header)


def in_bytes(content: bytes):
    def write(folder: Path) -> None:
        write_model(folder, "wrong", GOOD).write_bytes(content)

    return write


def dangling(folder: Path) -> None:
    file = write_model(folder, "wrong", GOOD)
    file.unlink()
    file.symlink_to(folder / "nowhere.sql")


def a_folder(folder: Path) -> None:
    file = write_model(folder, "wrong", GOOD)
    file.unlink()
    file.mkdir()


WRONG = {
    "syntax": wrong("SELEC crawl FORM x"),
    "token": wrong("SELECT 'open"),
    "nesting": wrong(f"SELECT {'(' * 3000}1{')' * 3000} AS crawl"),
    "no statement": wrong(""),
    "two statements": wrong(f"{GOOD}; {GOOD}"),
    "writing": wrong("DROP TABLE x"),
    "unknown column": wrong("SELECT nothing FROM {{ source('wat_files') }}"),
    "unknown function": wrong("SELECT no_such_function(crawl) FROM {{ source('wat_files') }}"),
    "type": wrong("SELECT INTERVAL 1 DAY AS crawl"),
    "unknown table": wrong("SELECT * FROM {{ source('nowhere') }}"),
    "unknown model": wrong("SELECT * FROM {{ ref('nowhere') }}"),
    "undeclared table": wrong("SELECT * FROM somewhere"),
    "jinja": wrong("SELECT {{ var('x') }}"),
    "front matter": wrong(GOOD, "materialized: [\ndescription: x"),
    "materialized": wrong(GOOD, "materialized: soon"),
    "no front matter": in_bytes(b"SELECT 1"),
    "described column": wrong(GOOD, "materialized: table\ndescription: x\ncolumns: {other: x}"),
    "bytes": in_bytes(b"/*\nmaterialized: view\ndescription: \xff\n*/ SELECT 1"),
    "empty": in_bytes(b""),
    "dangling": dangling,
    "folder": a_folder,
    "itself": wrong("SELECT * FROM {{ ref('wrong') }}"),
    "circle": wrong("SELECT * FROM {{ ref('further') }}"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_stops_its_model_and_what_is_built_on_it(tmp_path: Path, kind: str) -> None:
    WRONG[kind](tmp_path)
    found = project(tmp_path)
    assert "sound" in found.enabled
    assert {name: model.held for name, model in found.models.items() if model.held} == {
        "wrong": "broken",
        "on_it": "broken" if kind == "circle" else "waits",
        "further": "broken" if kind == "circle" else "waits",
    }
    assert found.models["wrong"].faults == found.faults
    assert {fault.file.name for fault in found.faults} <= {"wrong.sql", "further.sql", "on_it.sql"}
    assert all(fault.line >= 1 for fault in found.faults)
    with pytest.raises(ModelError) as strict:
        load_project(tmp_path)
    assert strict.value.faults == found.faults


def test_what_waits_says_for_what_and_names_the_fault_that_is_to_be_mended(tmp_path: Path) -> None:
    WRONG["syntax"](tmp_path)
    found = project(tmp_path)
    assert found.models["on_it"].waits_for == "wrong"
    assert found.models["further"].waits_for == "on_it"
    assert found.faults_of(["further"]) == found.faults_of(["wrong"]) == found.faults
    assert found.faults_of(["sound"]) == ()
    assert found.select([]) == found.select(["marts"]) == ["sound"]
    assert found.held(["sound+"]) == ["further"]


def test_a_mended_file_lives_again_with_all_that_waited(tmp_path: Path) -> None:
    WRONG["unknown column"](tmp_path)
    assert list(project(tmp_path).enabled) == ["sound"]
    write_model(tmp_path, "wrong", GOOD)
    assert sorted(load_project(tmp_path).enabled) == ["further", "on_it", "sound", "wrong"]


@pytest.mark.parametrize("sql", ["SELEC FROM {{ ref('tested') }}", "SELECT nothing FROM {{ ref('tested') }}"])
def test_a_wrong_test_stops_the_model_that_it_is_of(tmp_path: Path, sql: str) -> None:
    write_model(tmp_path, "tested", GOOD)
    write_test(tmp_path, "of_it", sql)
    write_model(tmp_path, "wrong", GOOD)
    found = project(tmp_path)
    assert sorted(found.enabled) == ["further", "on_it", "sound", "wrong"]
    assert found.models["tested"].held == "broken"
    assert [fault.file.name for fault in found.faults] == ["of_it.sql"]


@pytest.mark.parametrize("header", ["", "/* no mapping */ "])
def test_a_test_without_front_matter_is_told_what_a_test_needs(tmp_path: Path, header: str) -> None:
    write_test(tmp_path, "bare", "SELECT 1").write_text(f"{header}SELECT 1")
    [fault] = open_project(tmp_path).faults
    assert "front matter" in fault.message
    assert "description" in fault.message
    assert "materialized" not in fault.message


def test_a_test_that_names_nothing_and_a_file_that_lies_elsewhere_stop_nothing(tmp_path: Path) -> None:
    write_model(tmp_path, "wrong", GOOD)
    write_model(tmp_path, "lost", GOOD, layer="elsewhere")
    write_test(tmp_path, "of_nothing", "SELECT 1")
    write_test(tmp_path, "of_nobody", "SELECT * FROM {{ ref('nobody') }}")
    (tmp_path / "tests" / "torn.sql").write_bytes(b"\xff")
    found = project(tmp_path)
    assert len(found.enabled) == 4
    assert [fault.file.name for fault in found.faults] == ["lost.sql", "of_nobody.sql", "of_nothing.sql", "torn.sql"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("images", "images is a table of the lake"),
        ("commits", "commits is a table of the lake"),
        ("files", "files is a folder of the lake"),
        ("Upper", "lower-case letter"),
        ("with-dash", "lower-case letter"),
    ],
)
def test_a_name_that_no_model_can_have_is_a_fault_and_no_model(tmp_path: Path, name: str, said: str) -> None:
    write_model(tmp_path, "wrong", GOOD)
    write_model(tmp_path, name, GOOD)
    found = project(tmp_path)
    assert [fault.file.stem for fault in found.faults] == [name]
    assert said in found.faults[0].message
    assert name not in found.models
    with pytest.raises(ValueError, match=f"{name}.sql:1: .*{said}"):  # whoever asks for it is told why
        found.select([name])


def test_two_files_of_one_name_are_both_out(tmp_path: Path) -> None:
    write_model(tmp_path, "wrong", GOOD, layer="staging")
    write_model(tmp_path, "wrong", GOOD, layer="release")
    found = project(tmp_path)
    assert (list(found.enabled), found.models["wrong"].held) == (["sound"], "broken")


def test_a_folder_that_is_not_there_is_a_project_of_no_models(tmp_path: Path) -> None:
    found = open_project(tmp_path / "nowhere")
    assert found.models == {}
    assert "LAION_MODELS" in str(found.faults[0])


def test_what_is_known_of_sound_models_is_kept_although_one_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    WRONG["unknown column"](tmp_path / "models_of_mine")
    first = project(tmp_path / "models_of_mine")
    [kept] = (tmp_path / "cache" / "laion-lakehouse").glob("models-*.json")
    before = kept.read_text()
    assert open_project(tmp_path / "models_of_mine") == first
    assert kept.read_text() == before


def test_a_session_answers_and_shows_what_a_broken_model_was_built_to_last(tmp_path: Path) -> None:
    import polars as pl

    WRONG["syntax"](tmp_path / "models_of_mine")
    project(tmp_path / "models_of_mine")
    lake = open_lake(str(tmp_path / "lake"))
    pl.DataFrame({"crawl": ["CC-MAIN-2026-04"]}).write_delta(lake.path("wrong"))
    with connect(lake, models=tmp_path / "models_of_mine") as con:
        assert con.sql("SELECT 1").fetchone() == (1,)
        assert con.sql("SELECT count(*) FROM sound").fetchone() == (0,)
        assert con.sql("SELECT crawl FROM wrong").fetchone() == ("CC-MAIN-2026-04",)


def test_the_code_location_loads_and_shows_what_is_broken_and_what_waits(tmp_path: Path) -> None:
    import dagster as dg

    from laion_assets.orchestration.code_location import build_definitions

    WRONG["unknown column"](tmp_path)
    project(tmp_path)
    settings = Settings(_env_file=None, lake=str(tmp_path / "lake"), models=str(tmp_path))  # type: ignore[call-arg]
    graph = build_definitions(settings).resolve_asset_graph()
    assert {"sound", *ALWAYS} <= {key.to_user_string() for key in graph.get_all_asset_keys()}
    for name, kind, said in (("wrong", "broken", "wrong.sql:5"), ("on_it", "waits", "waits for wrong")):
        node = graph.get(dg.AssetKey(name))
        assert not node.is_materializable
        assert kind in node.kinds
        assert said in str(node.description)
        assert str(tmp_path) not in str(node.description)


def test_a_recipe_that_selects_from_a_broken_model_is_told_what_is_wrong(tmp_path: Path) -> None:
    WRONG["syntax"](tmp_path)
    found = project(tmp_path)
    for name in ("wrong", "on_it"):
        with pytest.raises(LakeError, match=rf"selects from {name}, which cannot run: .*wrong"):
            training_stage(found, name)
    assert selected_from(["wrong", "on_it", "sound"], found) == {}
