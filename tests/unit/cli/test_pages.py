"""Where commands that write a page put it."""

import pytest
from typer.testing import CliRunner

from laion_assets.cli.common import UsageError
from laion_assets.cli.main import app
from tests.unit.sql.shipped_lake import shipped_lake


@pytest.mark.parametrize("command", [["report"], ["models", "docs"]])
@pytest.mark.parametrize("name", ["page.pdf", "page.xlsx", "page", "page.html.gz", "absent/page.html", "."])
def test_a_page_is_written_under_a_name_that_says_so_or_not_at_all(command, name, tmp_path, monkeypatch):
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shipped_lake(str(tmp_path / "lake"))
    before = {path for path in tmp_path.iterdir() if path.name != "cache"}
    ran = CliRunner().invoke(app, [*command, "--output", str(tmp_path / name)])
    assert isinstance(ran.exception, UsageError)
    assert "--output" in str(ran.exception)
    assert {path for path in tmp_path.iterdir() if path.name != "cache"} == before
