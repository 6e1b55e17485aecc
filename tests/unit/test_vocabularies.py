"""The lake knows no library, so what both must agree on is held together here."""

import pyarrow as pa

from laion_assets.clip.embed import EMBEDDING_SCHEMA
from laion_assets.clip.options import PRECISIONS
from laion_assets.clip.thresholds import LAION_THRESHOLDS
from laion_assets.download.driver import result_schema
from laion_assets.download.failures import Failure
from laion_assets.sources.extract import CANDIDATE_SCHEMA, PAGE_SCHEMA
from laion_assets.sources.lists.columns import MEANINGS
from laion_assets.sources.lists.rows import LIST_SCHEMA
from laion_assets.sources.tars.pairs import TAR_SCHEMA
from laion_assets.sql.project import load_project
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.columns import FAILURES, SUBSETS
from laion_assets.text.language import LANGUAGE_GROUPS


def staged_names(table: str) -> set[str]:
    return set(TABLES[table].staged_schema.names)


def test_failures_are_those_of_the_download() -> None:
    assert set(FAILURES) == {str(failure) for failure in Failure}


def test_a_model_accepts_the_failures_that_there_are() -> None:
    tests = load_project().models["link_rot"].tests
    (accepted,) = (test.values for test in tests if test.name == "accepted_values_failure")
    assert sorted(accepted) == sorted(Failure)


def test_subsets_are_the_language_groups() -> None:
    assert tuple(LANGUAGE_GROUPS) == SUBSETS
    assert {*LAION_THRESHOLDS} == {*LANGUAGE_GROUPS}


def test_precisions_are_those_of_the_encoder() -> None:
    assert set(TABLES["clip_embeddings"].column("precision").accepted) == set(PRECISIONS) - {"auto"}


def test_libraries_give_the_columns_that_tables_declare() -> None:
    assert set(EMBEDDING_SCHEMA) == staged_names("clip_embeddings")
    assert set(result_schema()) == staged_names("images")
    given = {*CANDIDATE_SCHEMA, *PAGE_SCHEMA, *TAR_SCHEMA}
    assert staged_names("candidate_pairs") - given == {"bucket", "file_number", "path"}
    assert {*MEANINGS} - {"url", "text", "page_url"} == {*LIST_SCHEMA} - {"row_number"}


def test_every_column_says_what_it_means() -> None:
    for table in TABLES.values():
        assert table.description
        assert all(column.description.endswith(".") for column in table.columns), table.name
        assert set(table.key) | set(table.partition_by) | set(table.order_by) <= set(table.schema.names)
        assert not any(pa.types.is_float16(field.type) for field in table.schema)
