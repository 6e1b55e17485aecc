"""Small projects of SQL models, and a small lake for them."""

from pathlib import Path

import polars as pl

from laion_assets.delta.build import lake_build
from laion_assets.delta.commits import Provenance
from laion_assets.delta.lake import Lake
from laion_assets.sql.project import Project, load_project

PROVENANCE = Provenance(run_id="run", code_version="1", settings_digest="")


def write_model(
    folder: Path, name: str, sql: str, *, layer: str = "marts", header: str = "materialized: table"
) -> Path:
    """A model file; the header needs no description."""
    file = folder / "models" / layer / f"{name}.sql"
    file.parent.mkdir(parents=True, exist_ok=True)
    described = header if "description:" in header else f"{header}\ndescription: A model."
    file.write_text(f"/*\n{described}\n*/\n{sql}\n", encoding="utf-8")
    return file


def write_test(folder: Path, name: str, sql: str, description: str = "Nothing is wrong.") -> Path:
    """A singular test."""
    file = folder / "tests" / f"{name}.sql"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"/*\ndescription: {description}\n*/\n{sql}\n", encoding="utf-8")
    return file


def publish_files(lake: Lake, crawl: str, *paths: str) -> None:
    """One partition of ``wat_files``, and the crawl's row."""
    schema = {"file_number": pl.Int32, "path": pl.String, "shard": pl.Int32}
    files = pl.DataFrame([(n, path, n % 4) for n, path in enumerate(paths)], schema=schema, orient="row")
    with lake_build(lake, "wat_files", {"crawl": crawl}, PROVENANCE) as build:
        build.add(files)
        build.rows_in = len(paths)
        build.publish()


def declared(lake: Lake, folder: Path) -> Project:
    """The project in ``folder``, its tables known to the lake."""
    from laion_assets.sql.project import tables_of

    project = load_project(folder)
    lake.declare(tables_of(project.models.values()))
    return project
