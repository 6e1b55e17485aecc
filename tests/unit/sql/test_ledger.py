"""The views of the ledger have the columns that they are declared with, and hold what was taken back as such."""

from datetime import UTC, datetime

import duckdb
import pytest

from laion_assets.delta.relations import duckdb_type, hive_relation
from laion_assets.sql.ledger import LEDGER, OPT_OUTS
from laion_assets.tables.catalogue import TABLES


@pytest.fixture
def con():
    with duckdb.connect() as made:
        made.execute("SET TimeZone = 'UTC'")
        for name in ("candidate_pairs", "images", "unique_pairs", "takedowns"):
            made.execute(f"CREATE TABLE {name} AS FROM {hive_relation(TABLES[name], [])}")
        yield made


@pytest.mark.parametrize("table", LEDGER, ids=lambda table: table.name)
def test_a_view_has_the_columns_that_it_is_declared_with(table, con):
    found = [(name, type_) for name, type_, *_ in con.execute(f"DESCRIBE {LEDGER[table]}").fetchall()]
    named = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}
    declared = [(c.name, duckdb_type(c.type)) for c in table.columns]
    assert found == [(name, named.get(type_, type_)) for name, type_ in declared]


def test_a_request_holds_until_the_first_withdrawal_after_it(con):
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
    rows = [("url", "x", days[1]), ("withdrawal", "url x", days[0]), ("withdrawal", "domain x", days[2])]
    rows += [("domain", "x", days[0]), ("sha256", "x", days[3])]
    con.executemany("INSERT INTO takedowns (kind, value, requested_at) VALUES (?, ?, ?)", rows)
    found = con.execute(f"SELECT subject_kind, valid_until FROM ({LEDGER[OPT_OUTS]}) ORDER BY 1").fetchall()
    assert found == [("domain", days[2]), ("sha256", None), ("url", None)]
