"""What Dagster is told of columns."""

import pytest

from laion_assets.assets.metadata import column_lineage
from laion_assets.lake.stages import STAGES


def sources(table: str, column: str) -> set[tuple[str, str]]:
    of = column_lineage(table).deps_by_column.get(column, [])
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
    from laion_assets.lake.tables import TABLES

    assert set(column_lineage(table).deps_by_column) == {column.name for column in TABLES[table].columns}
