"""What Dagster is told of tables and columns."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from laion_assets.clip.calibration import CalibrationOptions
from laion_assets.clip.options import EncoderOptions
from laion_assets.evaluation.options import EvaluationOptions
from laion_assets.lake.opening import open_lake
from laion_assets.orchestration.assets.metadata import column_lineage, description, preview, rows_table, tags
from laion_assets.pairs.policy import FilterOptions
from laion_assets.settings import Settings
from laion_assets.sources.extract import ExtractionOptions
from laion_assets.tables.catalogue import STAGES, TABLES
from tests.filled import fill


def sources(table: str, column: str) -> set[tuple[str, str]]:
    of = column_lineage(TABLES[table]).deps_by_column.get(column, [])
    return {(dep.asset_key.to_user_string(), dep.column_name) for dep in of}


def test_a_column_that_keeps_its_name_comes_from_where_it_was():
    assert sources("clip_embeddings", "sha256") == {("images", "sha256")}
    assert sources("scaling_laws", "arm") == {("clip_checkpoints", "arm")}


@pytest.mark.parametrize(
    ("table", "column"),
    [("training_sets", "sha256"), ("training_sets", "shard_path"), ("clip_checkpoints", "sha256"),
     ("zero_shot_scores", "precision")],
)  # fmt: skip
def test_a_tar_s_digest_is_not_made_of_pictures_digests(table, column):
    assert sources(table, column) == set()


@pytest.mark.parametrize("table", sorted(STAGES))
def test_every_column_has_its_line(table):
    assert set(column_lineage(TABLES[table]).deps_by_column) == {column.name for column in TABLES[table].columns}


@pytest.mark.parametrize("table", TABLES)
def test_a_description_says_how_to_ask_and_its_commands_exist(table):
    said = description(TABLES[table])
    for command in re.findall(r"`laion ([a-z]+)", said):
        assert command in {"sql", "build", "train", "evaluate", "takedown", "models", "release", "import"}
    assert all(f"`{name}`" in said for name in TABLES[table].key)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("LAION_EXTRACTION__…", {"extraction": ExtractionOptions(language_floor=0.9)}),
        ("LAION_ENCODER__…", {"encoder": EncoderOptions(model="RN50", pretrained="openai")}),
        ("LAION_CALIBRATION__…", {"calibration": CalibrationOptions(seed=7)}),
        ("LAION_FILTER__…", {"filter": FilterOptions(policy="none")}),
        ("LAION_EVALUATION__…", {"evaluation": EvaluationOptions(all_epochs=True)}),
    ],
)
def test_a_description_names_the_settings_that_make_it_stale(name: str, changes: Mapping[str, Any]):
    usual, changed = Settings(_env_file=None), Settings(_env_file=None, **changes)
    partition = {"recipe": "sample-filtered-4k", "benchmark": "any", "crawl": "any"}
    shaped = {t for t in STAGES if usual.expectation(t, partition, "") != changed.expectation(t, partition, "")}
    assert shaped
    assert {table.name for table in TABLES.values() if name in table.settings} == shaped
    assert all(f"`{name}`" in description(TABLES[table]) for table in shaped)


def test_assets_are_found_by_what_they_need_and_by_what_a_rerun_gives():
    assert tags(TABLES["images"], "network") == {"rerun": "recorded", "needs": "network"}
    assert tags(TABLES["unique_pairs"], None) == {"rerun": "pure"}


def test_dagster_keeps_no_row_that_somebody_may_ask_to_remove(tmp_path):
    lake = open_lake(str(tmp_path / "lake"), shards=1, buckets=1)
    for table in ("wat_files", "images", "unique_pairs", "takedowns"):
        fill(lake, table, 2, crawl=["CC-MAIN-2026-04"] * 2)
    rows = preview(lake, TABLES["wat_files"], {"crawl": "CC-MAIN-2026-04"})["first rows"].value.splitlines()
    assert rows[0] == "| file_number | path | shard | file_sha256 | first_row | row_count |"
    assert len(rows) == 4
    for table in ("images", "unique_pairs", "clip_embeddings", "filtered_pairs", "candidate_pairs"):
        told = preview(lake, TABLES[table], {"crawl": "CC-MAIN-2026-04", "bucket": 0})["first rows"].value
        assert f"(/laion/rows/{table}/crawl=CC-MAIN-2026-04/bucket=0)" in told
    assert preview(lake, TABLES["takedowns"], {"kind": "url"}) == {}


@pytest.mark.parametrize(
    "text",
    [
        "a | b || c",
        "first\nsecond\r\n| third |",
        "<script>alert('x')</script><img src=x onerror=y>",
        "[a link](javascript:x) ![picture](http://x/y.png)",
        "*bold* _under_ `code` ~~gone~~ # head",
        "back\\slash \\| pipe",
    ],
)
def test_texts_in_a_table_stay_texts(text):
    head, _, row = rows_table(pl.DataFrame({"one": [text], "two": [text]})).value.splitlines()
    cells = re.split(r"(?<!\\)\|", row)[1:-1]
    assert (head, len(cells)) == ("| one | two |", 2)
    assert "<" not in row
    # Every character that Markdown could read as markup is escaped; what is left says what the text said.
    shown = re.sub(r"\\([\\`*_{}\[\]()#+\-.!|~])", "", cells[0])
    assert re.search(r"[\\`*_{}\[\]()#+\-.!|~]", shown) is None
