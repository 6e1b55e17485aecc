"""The engine with tables that are none of ours: it knows of a table what its declaration says, and nothing else."""

import json
import re
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from laion_assets import delta
from laion_assets.delta.build import lake_build
from laion_assets.delta.catalogue import Catalogue
from laion_assets.delta.commits import Commit, Provenance
from laion_assets.delta.errors import LakeMismatch
from laion_assets.delta.flow import partitions_of, partitions_read
from laion_assets.delta.lake import Lake
from laion_assets.delta.location import open_storage
from laion_assets.delta.opening import open_lake
from laion_assets.delta.recovery import restore_marker
from laion_assets.delta.staleness import lake_states
from laion_assets.delta.states import Expectation
from laion_assets.delta.table import Column, Numbered, Read, Table
from laion_assets.tables.catalogue import TABLES

MONTH = Column(name="month", type=pa.string(), description="When.", is_period=True)
PART = Column(name="part", type=pa.int32(), description="Which.", numbered=Numbered(count="parts", of="customer"))
CUSTOMER = Column(name="customer", type=pa.int64(), description="Who.")

ORDERS = Table(
    name="orders", description="What was bought.", key=("customer",), partition_by=("month", "part"),
    columns=(MONTH, PART, CUSTOMER), code_version="1", remake="`shop load {month}` loads it again",
)  # fmt: skip
KNOWN = Table(
    name="known", description="Who bought before.", key=("customer",), partition_by=("month", "part"),
    columns=(MONTH, PART, CUSTOMER), code_version="1",
    reads=(Read(table="orders"), Read(table="known", periods="earlier"), Read(table="notes")),
)  # fmt: skip
NOTES = Table(
    name="notes", description="What people wrote.", key=("text",), partition_by=(), entered="notes",
    columns=(Column(name="text", type=pa.string(), description="What."),),
)  # fmt: skip
SHOP = Catalogue({table.name: table for table in (ORDERS, KNOWN, NOTES)})
EXPECTED = {name: Expectation(settings_digest="s") for name in SHOP.tables}


@pytest.fixture
def shop(tmp_path: Path) -> Lake:
    return open_lake(str(tmp_path / "shop"), SHOP, {"parts": 2})


def publish(lake: Lake, table: str, month: str, part: int, customers: list[int]) -> Commit:
    place = {"month": month, "part": part}
    with lake_build(lake, table, place, Provenance(run_id="r", code_version="1", settings_digest="s")) as build:
        for number, read in enumerate(SHOP.tables[table].reads):
            build.view(f"v{number}", read.table, partitions_read(lake, read, place))
        build.add(pl.DataFrame({"customer": customers}))
        build.rows_in = len(customers)
        return build.publish()


def filled(lake: Lake) -> None:
    with lake_build(lake, "notes", {}, Provenance(run_id="r", code_version="", settings_digest="s")) as build:
        build.publish()
    for month in ("2026-01", "2026-02"):
        for part in (0, 1):
            publish(lake, "orders", month, part, [10 + part, 20 + part])
            publish(lake, "known", month, part, [10 + part])


def states(lake: Lake) -> dict[str, tuple[str, ...]]:
    found = lake_states(lake, ["2026-02", "2026-01"], EXPECTED)
    return {f"{state.table} {state.name}": (*state.reasons, *state.inherited) for state in found}


def test_a_lake_of_other_tables_is_built_and_judged(shop: Lake) -> None:
    assert json.loads(shop.storage.read("lake.json"))["parts"] == 2
    filled(shop)
    assert set(states(shop).values()) == {()}
    publish(shop, "orders", "2026-01", 1, [31])
    changed = states(shop)
    assert changed["known month=2026-01/part=1"] == ("orders changed",)
    assert changed["known month=2026-02/part=1"] == ("built on stale known [month=2026-01/part=1]",)
    assert changed["known month=2026-02/part=0"] == ()


def test_what_is_entered_is_there_from_the_first_day_and_its_seal_keeps_it(shop: Lake) -> None:
    assert shop.exists("notes")
    assert not shop.exists("orders")
    assert (SHOP.is_entered("notes"), SHOP.is_entered("orders")) == (True, False)


def test_partitions_follow_from_the_declared_shape(shop: Lake) -> None:
    assert partitions_of(shop, "orders", "2026-01") == [{"month": "2026-01", "part": n} for n in (0, 1)]
    assert SHOP.partition("month=2026-01/part=1") == {"month": "2026-01", "part": 1}
    assert SHOP.remake("orders", "month=2026-01/part=1") == "`shop load 2026-01` loads it again"
    assert SHOP.remake("orders") == "`shop load MONTH` loads it again"


def test_another_shape_is_refused_and_a_lost_one_is_found_again(shop: Lake) -> None:
    filled(shop)
    with pytest.raises(LakeMismatch, match=r"was created with 2 parts, the settings say 3: set LAION_PARTS=2"):
        open_lake(shop.uri, SHOP, {"parts": 3})
    storage = open_storage(shop.uri)
    storage.delete(["lake.json"])
    marker, written = restore_marker(storage, SHOP, {})
    assert (dict(marker.shape), written) == ({"parts": 2}, True)


def test_the_engine_has_no_word_of_our_tables() -> None:
    words = {*TABLES, "crawl", "crawls", "shard", "shards", "recipe", "recipes", "benchmark", "picture", "pictures"}
    ours = re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.IGNORECASE)
    files = sorted(Path(str(delta.__file__)).parent.glob("*.py"))
    found = {file.name: ours.findall(file.read_text("utf-8")) for file in files}
    assert len(files) > 30
    assert {name: said for name, said in found.items() if said} == {}
