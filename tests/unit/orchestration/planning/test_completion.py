"""When removal requests are done with, what they removed, and what had learned from it by then."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from laion_assets.consent.removals import load_removals
from laion_assets.delta.commits import Commit
from laion_assets.delta.lake import Lake
from laion_assets.lake.removal_lists import keep_list
from laion_assets.lake.takedowns import counts_of, request_takedown, withdraw_takedowns
from laion_assets.orchestration.planning.completion import settle_requests
from laion_assets.settings import Settings
from laion_assets.sql.removed import rows_at
from tests.unit.delta.tables_made import ENCODER, FIRST, made, made_crawl, pair, released

WEIGHTS = f"small epoch 1 {'a' * 64}"
CARD = f"files/checkpoints/recipe=small/{'0' * 16}/README.md"
BUCKET = f"crawl={FIRST}/bucket=0"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, lake=str(tmp_path / "lake"), shards=4, buckets=4)


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """One crawl, of whose released pairs 1 and 2 a training set was made and a checkpoint trained."""
    opened = settings.open_lake()
    made_crawl(opened, FIRST)
    trained(opened)
    return opened


def training_set(lake: Lake) -> Commit:
    tables = ("unique_pairs", "images", "filtered_pairs")
    read = [(table, lake.ledger(table).version) for table in tables]
    removals = load_removals(lake.scan("takedowns").collect())
    keep_list(lake, removals, lake.root / "fresh")
    row = {"policy": "filtered_pairs", "selection": "true", "source_versions": read, "split": "train"}
    externals = {"removals": removals.digest}
    return made(lake, "training_sets", "recipe=small", [row], reads={t: [BUCKET] for t in tables}, externals=externals)


def trained(lake: Lake) -> None:
    version = training_set(lake).version
    row = {
        "epoch": 1,
        "sha256": "a" * 64,
        "path": f"{CARD.rpartition('/')[0]}/1.safetensors",
        "training_set_version": version,
        "source_versions": [("training_sets", version)],
    }
    made(lake, "clip_checkpoints", "recipe=small", [row], reads={"training_sets": ["recipe=small"]})


def without_the_first(lake: Lake) -> None:
    """What a build leaves when pair 1 is to be removed."""
    rest = [pair(n, sha256=f"{n}") for n in (2, 3)]
    made(lake, "unique_pairs", BUCKET, rest)
    made(lake, "images", BUCKET, rest, reads={"unique_pairs": [BUCKET]})
    scored = [{**row, "encoder": "small", "encoder_sha256": ENCODER, "similarity": 0.5} for row in rest]
    made(lake, "clip_embeddings", BUCKET, scored, reads={"unique_pairs": [BUCKET], "images": [BUCKET]})
    released(lake, FIRST, scored[:-1])


def told(lake: Lake) -> list[dict[str, Any]]:
    rows = lake.scan("takedowns").collect().sort("value").to_dicts()
    return [{**row, "rows_removed": counts_of(row["rows_removed"])} for row in rows]


def test_a_request_is_done_with_when_no_row_and_no_training_set_holds_it(lake: Lake, settings: Settings) -> None:
    request_takedown(lake, "url", "http://a.example/1.jpg", None)
    request_takedown(lake, "url", "http://a.example/3.jpg", None)
    before = lake.ledger("takedowns").version
    assert settle_requests(lake, settings) == 2
    assert lake.ledger("takedowns").version == before, "rows are left: there is nothing to say yet"

    without_the_first(lake)
    assert settle_requests(lake, settings) == 2
    one, other = told(lake)
    assert one["rows_removed"] == {"unique_pairs": 1, "images": 1, "clip_embeddings": 1, "filtered_pairs": 1}
    assert (one["tainted_checkpoints"], one["completed_at"]) == ([WEIGHTS], None)
    assert (other["rows_removed"], other["tainted_checkpoints"]) == (None, None)

    training_set(lake)
    assert settle_requests(lake, settings) == 1
    done = told(lake)[0]
    assert done["completed_at"] >= done["requested_at"]
    assert done["rows_removed"] == one["rows_removed"]
    assert done["tainted_checkpoints"] == [WEIGHTS], "a model does not forget"
    version = lake.ledger("takedowns").version
    assert settle_requests(lake, settings) == 1
    assert lake.ledger("takedowns").version == version, "looked at again it is the same"


def test_what_finds_nothing_and_what_was_withdrawn_waits_for_nothing(lake: Lake, settings: Settings) -> None:
    request_takedown(lake, "domain", "nobody.example", None)
    request_takedown(lake, "domain", "a.example", None)
    withdraw_takedowns(lake, "domain", ["a.example"], None)
    assert settle_requests(lake, settings) == 0
    [taken_back, _, nobody] = told(lake)
    assert taken_back["completed_at"] is None
    assert (nobody["rows_removed"], nobody["tainted_checkpoints"]) == ({}, [])
    assert nobody["completed_at"] is not None


def test_a_checkpoint_that_was_trained_after_the_request_is_not_tainted(lake: Lake, settings: Settings) -> None:
    request_takedown(lake, "pair_id", "1", None)
    trained(lake)
    without_the_first(lake)
    assert settle_requests(lake, settings) == 0
    assert [row["tainted_checkpoints"] for row in told(lake)] == [[]]


def test_the_model_card_says_so_until_the_request_is_withdrawn(lake: Lake, settings: Settings) -> None:
    card = "---\nlicense: mit\n---\n\n# small\n\nA model.\n\n## Scores\n"
    lake.storage.replace(CARD, card.encode())
    request_takedown(lake, "url", "http://a.example/1.jpg", None)
    without_the_first(lake)
    for _ in range(2):
        settle_requests(lake, settings)
        said = lake.storage.read(CARD).decode()
        assert said.count("The weights of epoch 1 learned from pairs whose removal was asked for since") == 1
        assert "`laion train small` trains anew" in said
        assert [line for line in said.split("\n") if not line.startswith(">")] == card.split("\n")
    withdraw_takedowns(lake, "url", ["http://a.example/1.jpg"], None)
    settle_requests(lake, settings)
    assert lake.storage.read(CARD).decode() == card


def test_a_request_is_not_done_with_while_tables_hold_what_nothing_leads_to_any_more(
    lake: Lake, settings: Settings
) -> None:
    request_takedown(lake, "url", "http://a.example/1.jpg", None)
    rest = [pair(n, sha256=f"{n}") for n in (2, 3)]
    made(lake, "unique_pairs", BUCKET, rest)
    training_set(lake)
    assert settle_requests(lake, settings) == 1, "the picture is there"
    made(lake, "images", BUCKET, rest, reads={"unique_pairs": [BUCKET]})
    assert settle_requests(lake, settings) == 1, "its vectors and its verdict are"
    [request] = told(lake)
    assert (request["rows_removed"], request["completed_at"]) == (None, None)
    without_the_first(lake)
    assert settle_requests(lake, settings) == 0
    [request] = told(lake)
    assert request["rows_removed"] == {"unique_pairs": 1, "images": 1, "clip_embeddings": 1, "filtered_pairs": 1}


@pytest.mark.parametrize("digest", ["a" * 64, "b" * 64])
def test_pairs_are_found_by_what_an_import_tells_of_their_picture(lake: Lake, settings: Settings, digest: str) -> None:
    made(lake, "unique_pairs", BUCKET, [pair(1, expected_sha256="a" * 64, original_sha256="b" * 64), pair(2)])
    request = load_removals(pl.DataFrame({"kind": ["sha256"], "value": [digest]}))
    assert rows_at(lake, settings.models, [request], {}) == [
        {"unique_pairs": 1, "clip_embeddings": 1, "filtered_pairs": 1}
    ]
