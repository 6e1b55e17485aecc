"""``laion takedown`` as it is typed: what it says before it is entered, at a terminal and in a script, and undone."""

import hashlib
import json
import os
import pty
import re
import select
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.pipeline.conftest import laion
from tests.pipeline.places import FIRST, Place
from tests.warm import PYTHONPATH

HOST = "127.0.0.1"
LIES_THERE = f"(url_host(url) = '{HOST}' OR url_host(final_url) = '{HOST}')"


@pytest.fixture(scope="module")
def place(first_crawl: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of the lake of one crawl, most of whose pictures lie on one host."""
    return Place(Path(shutil.copytree(first_crawl.folder, tmp_path_factory.mktemp("takedown") / "place")))


def ask(place: Place, query: str) -> list[dict[str, int]]:
    return [json.loads(line) for line in place.good("sql", query, "--format", "json").splitlines()]


def at_a_terminal(place: Place, answer: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command whose input and output are a terminal, where ``answer`` is typed."""
    here, there = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
    own = {"PYTHONPATH": PYTHONPATH, "COLUMNS": "120", "LAION_LAKE": str(place.lake), "TERM": "dumb"}
    process = subprocess.Popen(
        laion(*arguments), cwd=place.folder, env=kept | own, stdin=there, stdout=there, stderr=there
    )
    os.close(there)
    os.write(here, f"{answer}\n".encode())
    said = b""
    while select.select([here], [], [], 120)[0]:
        try:
            part = os.read(here, 65_536)
        except OSError:  # the other end was closed
            break
        said += part
    os.close(here)
    return process.wait(30), said.decode()


def listed(place: Place) -> list[dict[str, str | None]]:
    return list(json.loads(place.good("takedowns", "--format", "json")))


def test_a_trial_says_what_is_concerned_and_changes_nothing(place: Place) -> None:
    told = place.good("takedown", "domain", HOST, "--dry-run")
    counted = {name: int(rows.replace(",", "")) for name, rows in re.findall(r"│ (\w+) +│ +([\d,]+) │", told)}
    truth = ask(
        place,
        f"""WITH hit AS (
            SELECT crawl, bucket, pair_id FROM unique_pairs AS pair LEFT JOIN images AS image USING (crawl, bucket, url)
            WHERE {LIES_THERE}
        )
        SELECT (SELECT count(*) FROM unique_pairs WHERE url_host(url) = '{HOST}') AS unique_pairs,
        (SELECT count(*) FROM images WHERE status = 'success' AND {LIES_THERE}) AS images,
        (SELECT count(*) FROM clip_embeddings SEMI JOIN hit USING (crawl, bucket, pair_id)) AS clip_embeddings,
        (SELECT count(*) FROM filtered_pairs SEMI JOIN hit USING (crawl, bucket, pair_id)) AS filtered_pairs""",
    )
    assert [counted] == truth
    assert min(counted.values()) > 0
    assert f"{counted['images']:,} pictures" in told
    assert "no training" in told
    assert listed(place) == []
    assert place.states() == {"done": 7}


def test_one_pair_concerns_its_own_rows_alone(place: Place) -> None:
    [pair] = ask(place, "SELECT min(pair_id) AS id FROM filtered_pairs")
    told = place.good("takedown", "pair_id", str(pair["id"]), "--dry-run")
    assert re.findall(r"│ (\w+) +│ +([\d,]+) │", told) == [
        ("unique_pairs", "1"),
        ("clip_embeddings", "1"),
        ("filtered_pairs", "1"),
    ]


def test_at_a_terminal_it_asks_and_no_means_no(place: Place) -> None:
    code, said = at_a_terminal(place, "n", "takedown", "domain", HOST)
    assert code == 1
    assert "unique_pairs" in said
    assert "Enter it?" in said
    assert listed(place) == []


@pytest.mark.parametrize("flags", [(), ("--yes",)])
def test_yes_enters_it_whether_it_is_typed_or_given(place: Place, flags: tuple[str, ...]) -> None:
    value = f"{len(flags)}.example"
    code, said = at_a_terminal(place, "y", "takedown", "domain", value, *flags)
    assert code == 0, said
    assert ("Enter it?" in said) is (not flags)
    assert value in {entry["value"] for entry in listed(place)}
    place.good("takedown", "domain", value, "--withdraw")


def test_a_script_is_not_asked_and_a_mistake_is_taken_back_with_all_that_it_removed(place: Place) -> None:
    rows = """SELECT kept.pair_id, kept.threshold, image.sha256 FROM filtered_pairs AS kept
        JOIN unique_pairs AS pair USING (crawl, bucket, pair_id)
        JOIN images AS image ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url = pair.url
        ORDER BY ALL"""
    before = ask(place, rows)
    assert "`laion build` removes it" in place.good("takedown", "domain", HOST, "--reason", "a slip")
    assert place.states()["stale"] > 0
    place.good("build", FIRST)
    assert ask(place, f"SELECT count(*) AS n FROM images WHERE status = 'success' AND {LIES_THERE}") == [{"n": 0}]
    assert len(ask(place, rows)) < len(before)

    place.good("takedown", "domain", f"*.{HOST}".removeprefix("*."), "--withdraw", "--reason", "was meant for another")
    [entry] = [entry for entry in listed(place) if entry["value"] == HOST]
    assert (entry["reason"], entry["withdrawn_for"]) == ("a slip", "was meant for another")
    assert "was meant for another" in place.good("takedowns")
    place.good("build", FIRST)
    assert ask(place, rows) == before
    assert place.states() == {"done": 7}
    again = place.run("takedown", "domain", HOST, "--withdraw")
    assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
    assert "no request for domain 127.0.0.1 stands" in again.stderr


def test_a_request_that_finds_nothing_leaves_nothing_to_build(place: Place) -> None:
    place.good("takedown", "domain", "nobody.example")
    assert place.states() == {"done": 7}
    assert [one["completed_at"] for one in listed(place) if one["value"] == "nobody.example"] == [None]
    assert place.good("build", FIRST).startswith("nothing to do: ")
    [request] = [one for one in listed(place) if one["value"] == "nobody.example"]
    assert (request["rows_removed"], bool(request["completed_at"])) == ({}, True)
    place.good("takedown", "domain", "nobody.example", "--withdraw")
    assert place.states() == {"done": 7}


def test_a_redirected_picture_goes_by_the_address_it_was_redirected_to_and_comes_back(place: Place) -> None:
    rows = f"""SELECT url, final_url, sha256 FROM images WHERE status = 'success' AND final_url <> url
        AND url_host(final_url) = '{HOST}' ORDER BY ALL"""
    [moved, *others] = before = ask(place, rows)
    place.good("takedown", "url", str(moved["final_url"]))
    told = json.loads(place.good("status", "--json"))["stages"]
    assert {table for table, counts in told.items() if counts["stale"]} >= {"images", "filtered_pairs"}
    assert not told["unique_pairs"]["stale"]
    place.good("build", FIRST)
    assert ask(place, rows) == others
    assert place.states() == {"done": 7}
    [request] = [one for one in listed(place) if one["value"] == moved["final_url"]]
    assert request["rows_removed"]["images"] == 1
    assert request["completed_at"] >= request["requested_at"]
    told = json.loads(place.good("takedown", "url", str(moved["final_url"]), "--receipt", "-"))
    digest = hashlib.sha256(json.dumps({k: v for k, v in told.items() if k != "sha256"}, sort_keys=True).encode())
    assert told["sha256"] == digest.hexdigest()
    assert told["removed"]["rows"] == request["rows_removed"]
    assert told["removed"]["bytes of pictures"] > 0
    assert told["remains"]["rows"] == {}
    assert told["remains"]["replaced versions"]["images"]["rows"] >= 1
    assert {"clip_embeddings", "filtered_pairs"} <= {*told["remains"]["replaced versions"]}
    assert told["remains"]["replaced versions stay until"] > request["completed_at"].replace(" ", "T")
    assert told["remains"]["tars"]["files"] == 1
    assert str(moved["final_url"]) not in json.dumps(told)
    place.good("takedown", "url", str(moved["final_url"]), "--receipt", "receipt.json")
    assert json.loads((place.folder / "receipt.json").read_text()) == told
    at = request["completed_at"]
    place.good("build", FIRST)
    assert [one["completed_at"] for one in listed(place) if one["value"] == moved["final_url"]] == [at]
    place.good("takedown", "url", str(moved["final_url"]), "--withdraw")
    place.good("build", FIRST)
    assert ask(place, rows) == before


def test_a_withdrawal_is_found_by_what_the_request_means(place: Place) -> None:
    place.good("takedown", "domain", "*.Somewhere.EXAMPLE")
    place.good("takedown", "domain", "somewhere.example", "--withdraw")
    assert all(entry["withdrawn_at"] for entry in listed(place) if "omewhere" in str(entry["value"]))


@pytest.mark.parametrize(
    "wrong",
    [
        ("domain", "http://x/"),
        ("withdrawal", "domain 127.0.0.1"),
        ("pair_id", "x"),
        ("domain", "no.example", "--withdraw"),
    ],
)
def test_what_cannot_be_understood_is_one_line(place: Place, wrong: tuple[str, ...]) -> None:
    ran = place.run("takedown", *wrong)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
