"""Tables of older lakes: columns that came later, and NOT NULL that was taken back."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from laion_assets.delta import opening
from laion_assets.delta.build import lake_build
from laion_assets.delta.catalogue import Catalogue
from laion_assets.delta.commits import Provenance
from laion_assets.delta.lake import Lake
from laion_assets.delta.scope import Scope
from laion_assets.delta.table import Column, Table
from laion_assets.delta.verify import verify_lake
from laion_assets.sql import session

PROVENANCE = Provenance(run_id="run", code_version="1", settings_digest="s")
MONTH = Column(name="month", type=pa.string(), description="Month.", is_period=True)
NUMBER = Column(name="number", type=pa.int64(), description="Number.")
PLACE = Column(name="place", type=pa.string(), description="Place.")
NOTE = Column(name="note", type=pa.string(), description="Note.", nullable=True, added=True)
BEFORE = Table(
    name="sales", description="Sales.", columns=(MONTH, NUMBER, PLACE), key=("number",), partition_by=("month",)
)
NOW = replace(BEFORE, columns=(MONTH, NUMBER, NOTE, replace(PLACE, nullable=True)))


def lake_of(root: Path, table: Table) -> Lake:
    return opening.open_lake(str(root), Catalogue({table.name: table}), {})


def publish(lake: Lake, month: str, **columns: list[object]) -> str:
    with lake_build(lake, "sales", {"month": month}, PROVENANCE) as build:
        build.add(pl.DataFrame(columns))
        build.rows_in = len(columns["number"])
        return build.publish().content_digest


@pytest.fixture
def grown(tmp_path: Path) -> Lake:
    """A lake with a partition that the version before wrote, opened by the version of now."""
    publish(lake_of(tmp_path / "lake", BEFORE), "2026-01", number=[1, 2], place=["here", "there"])
    return lake_of(tmp_path / "lake", NOW)


def rows(lake: Lake, months: list[str], columns: tuple[str, ...] = ("*",)) -> list[tuple[object, ...]]:
    with lake_build(lake, "sales", {"month": "2026-09"}, PROVENANCE) as build:
        build.view("sales", "sales", [{"month": month} for month in months], columns=columns)
        return build.con.execute("FROM sales ORDER BY number").fetchall()


def test_a_table_is_opened_as_it_is_and_shows_nulls(grown: Lake) -> None:
    assert rows(grown, ["2026-01"]) == [("2026-01", 1, None, "here"), ("2026-01", 2, None, "there")]
    assert DeltaTable(grown.path("sales")).version() == 1, "nobody wrote to it"


def test_the_first_write_lets_it_grow_by_an_entry_that_changes_no_row(grown: Lake) -> None:
    publish(grown, "2026-02", number=[3], place=[None], note=["new"])
    assert rows(grown, ["2026-01", "2026-02"]) == [
        ("2026-01", 1, None, "here"), ("2026-01", 2, None, "there"), ("2026-02", 3, "new", None),
    ]  # fmt: skip
    assert rows(grown, ["2026-01"], ("number", "place")) == [(1, "here"), (2, "there")]
    by_others = pl.scan_delta(grown.path("sales")).sort("number").select("number", "place", "note").collect().rows()
    assert by_others == [(1, "here", None), (2, "there", None), (3, None, "new")]
    ledger = grown.ledger("sales")
    assert (ledger.version, ledger.foreign_version) == (3, -1)
    assert all(map(ledger.is_trusted, ledger.commits.values()))
    publish(grown, "2026-03", number=[4], place=["x"])
    assert grown.ledger("sales").version == 4, "it grows once"


def test_what_was_built_before_is_what_it_was(grown: Lake) -> None:
    then = grown.commit("sales", {"month": "2026-01"}).content_digest
    assert publish(grown, "2026-01", number=[1, 2], place=["here", "there"]) == then
    assert publish(grown, "2026-02", number=[2, 1], place=["there", "here"], note=[None, None]) == then
    assert publish(grown, "2026-02", number=[1, 2], place=["here", "there"], note=[None, "x"]) != then


def test_which_column_has_the_values_counts(tmp_path: Path) -> None:
    other = replace(NOTE, name="other")
    lake = lake_of(tmp_path / "lake", replace(NOW, columns=(MONTH, NUMBER, NOTE, other, PLACE)))
    digests = {publish(lake, "2026-01", number=[1], place=["a"], **{name: ["x"]}) for name in ("note", "other")}
    assert len(digests) == 2


def test_a_verification_finds_no_fault_before_and_after(grown: Lake) -> None:
    def faults() -> list[str]:
        return [f.line for f in verify_lake(grown, Scope(), archive=lambda *_: None).faults]

    assert faults() == []
    publish(grown, "2026-02", number=[3], place=[None], note=["new"])
    assert faults() == []


def test_a_session_shows_a_column_that_a_table_lacks(grown: Lake) -> None:
    con = session._engine()
    session._show(con, NOW, f"delta_scan('{grown.path('sales')}')")
    assert con.sql("SELECT month, number, note FROM sales ORDER BY ALL").fetchall() == [
        ("2026-01", 1, None), ("2026-01", 2, None),
    ]  # fmt: skip
    publish(grown, "2026-02", number=[3], place=[None], note=["new"])
    assert con.sql("SELECT note FROM sales WHERE number = 3").fetchall() == [("new",)]


def test_not_null_is_still_checked_where_it_is_declared(grown: Lake) -> None:
    from laion_assets.delta.errors import ValidationFailed

    with pytest.raises(ValidationFailed, match="not_null"):
        publish(grown, "2026-02", number=[None], place=["x"])


def test_an_added_column_of_the_key_counts_with_its_nulls(tmp_path: Path) -> None:
    from laion_assets.delta.errors import ValidationFailed

    lake = lake_of(tmp_path / "lake", replace(NOW, key=("number", "note")))
    publish(lake, "2026-01", number=[1, 1, 1], place=["a", "b", "c"], note=[None, "x", "y"])
    with pytest.raises(ValidationFailed, match="unique_key"):
        publish(lake, "2026-01", number=[1, 1], place=["a", "b"], note=[None, None])


def test_what_has_fields_counts_by_its_json_and_only_where_it_is_there(tmp_path: Path) -> None:
    type_ = pa.list_(pa.struct([("by", pa.string()), ("uses", pa.list_(pa.string()))]))
    said = Column(name="said", type=type_, description="Said.", nullable=True, added=True)
    columns = {"number": [1, 2], "place": ["here", "there"]}
    plain = publish(lake_of(tmp_path / "plain", BEFORE), "2026-01", **columns)
    lake = lake_of(tmp_path / "said", replace(BEFORE, columns=(*BEFORE.columns, said)))
    assert publish(lake, "2026-01", **columns) == plain, "nobody said anything"
    spoken = publish(lake, "2026-02", **columns, said=[None, [{"by": "a page", "uses": ["train", "show"]}]])
    assert spoken == "3cbebf9e50ed38b0e65d757f177aa5a7"
    assert rows(lake, ["2026-02"], ("number", "said"))[1] == (2, [{"by": "a page", "uses": ["train", "show"]}])
