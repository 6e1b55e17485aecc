"""Whatever the documentation shows can be run as it stands."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.orchestration.planning.models import ModelRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.sql import PROJECT
from laion_assets.sql.project import load_project
from laion_assets.sql.session import connect, query
from tests.pipeline.conftest import Quiet
from tests.pipeline.documented import blocks, queries

FILES = {"README.md": 2, "docs/howto/ask.md": 5, "docs/howto/train.md": 1, "dbt_like_sql/README.md": 4}
"""Documents with queries, and how many there are at least."""


@pytest.fixture(scope="module")
def built(undisturbed, make_settings, tmp_path_factory):
    """Settings of a lake with every model built."""
    lake = tmp_path_factory.mktemp("documented") / "lake"
    shutil.copytree(undisturbed.settings.lake, lake)
    settings = make_settings(lake)
    project = load_project(settings.models)
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = Builder(settings, instance, Quiet()).build(ModelRequest(models=list(project.enabled)))
    assert outcome.failures == []
    return settings


def test_the_documentation_shows_queries():
    for file, least in FILES.items():
        assert len(queries(file)) >= least, f"no queries were found in {file}"


@pytest.mark.parametrize("text", [text for file in FILES for text in queries(file)], ids=lambda text: text[:40])
def test_every_query_that_is_shown_runs(built, text):
    with connect(built.open_lake(create=False)) as con:
        rows = query(con, text)
        assert rows is not None
        assert rows.fetchall() is not None


def test_the_policy_that_is_shown_is_one_file_and_runs(built, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder)
    [text] = blocks("dbt_like_sql/README.md", "jinja")
    (folder / "models" / "release" / "german_described.sql").write_text(text, encoding="utf-8")
    shutil.copytree(built.lake, tmp_path / "lake")
    settings = built.model_copy(update={"models": str(folder), "lake": str(tmp_path / "lake")})
    project = load_project(folder)
    assert all(column.description for column in project.models["german_described"].columns)
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = Builder(settings, instance, Quiet()).build(ModelRequest(models=["german_described"]))
    assert (outcome.built, outcome.failures) == (2, [])
    with connect(Path(settings.lake), models=folder) as con:
        selected = con.sql("SELECT count(*), min(language) FROM german_described JOIN pool_pairs USING (pair_id)")
        count, language = selected.fetchone()
    assert count > 0
    assert language == "de"
