"""``laion lineage`` and ``laion diff`` as they are typed."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from laion_assets.cli.common import out
from laion_assets.cli.main import main
from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import open_lake
from tests.openlineage import read_event
from tests.unit.delta.tables_made import (
    ENCODER,
    FIRST,
    SECOND,
    foreign,
    made,
    made_crawl,
    pair,
    record,
    released,
    undeclared,
)

BUCKET = f"crawl={FIRST}/bucket=0"


@dataclass(frozen=True)
class Ran:
    """What a command printed, and with which code it ended."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What was printed without tree glyphs and line breaks."""
        return " ".join(re.sub("[│├└─]", " ", self.out).split())


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def crawls(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two crawls in every table. Not to be written to."""
    lake = open_lake(str(tmp_path_factory.mktemp("crawls") / "lake"))
    made(lake, "calibrations", f"encoder_sha256={ENCODER}", [{"encoder": "small", "threshold": 0.25}])
    made_crawl(lake, FIRST)
    made_crawl(lake, SECOND, earlier=[FIRST], numbers=(4, 5, 6))
    return lake


@pytest.fixture
def laion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(lake: Lake, *arguments: str, width: int = 200) -> Ran:
        monkeypatch.setattr(out, "width", width)
        monkeypatch.setattr(sys, "argv", ["laion", *arguments])
        monkeypatch.setenv("LAION_LAKE", str(lake.root))
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


# -- text -------------------------------------------------------------------------------------------------------------


def test_a_table_is_summarised(laion: Run, crawls: Lake) -> None:
    ran = laion(crawls, "lineage", "filtered_pairs")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == "filtered_pairs, 2 partitions of bucket=0, at version 2"
    assert "unique_pairs, 2 partitions of bucket=0, read at versions 1–2" in ran.out
    assert "candidate_pairs, 8 partitions, read at versions 4, 8" in ran.out
    assert "takedowns, empty, read at version 0" in ran.out
    assert ran.out.count("crawl_snapshots") == 1, "shown once"
    assert "images, 2 partitions of bucket=0, read at versions 1–2 (see above)" in ran.out


def test_a_partition_shows_digests_runs_and_drops(laion: Run, lake: Lake) -> None:
    given = {"drops": {"duplicate": 5, "removed_url": 7}, "externals": {"removals": "f" * 64}, "run_id": "a" * 36}
    made(lake, "unique_pairs", BUCKET, [pair(1)], **given)
    ran = laion(lake, "lineage", "unique_pairs", "--partition", f"bucket=0/crawl={FIRST}")
    assert "1 row of 13; dropped: 7 removed_url, 5 duplicate" in ran.out
    assert f"settings s, removals {'f' * 16}…" in ran.out
    assert "run aaaaaaaa, code 1" in ran.out
    full = laion(lake, "lineage", "unique_pairs", "--full").out
    assert f"removals {'f' * 64}" in full
    assert "a" * 36 in full


def test_full_parts_what_is_otherwise_one_branch(laion: Run, crawls: Lake) -> None:
    short = laion(crawls, "lineage", "unique_pairs", "--partition", BUCKET).out
    full = laion(crawls, "lineage", "unique_pairs", "--partition", BUCKET, "--full").out
    assert f"candidate_pairs, 4 partitions of crawl={FIRST}, read at version 4" in short
    assert [f"crawl={FIRST}/shard={n}" in full for n in range(4)] == [True] * 4
    assert full.count("(see above)") == 3, "the file list of four shards is shown once"


def test_a_pair_is_shown_down_to_its_record(laion: Run, crawls: Lake) -> None:
    ran = laion(crawls, "lineage", "filtered_pairs", "--pair-id", "1")
    assert ran.code == 0
    assert "similarity      0.325" in ran.out
    assert "policy          laion" in ran.out
    assert "kept       file 0, record at 100, link 0, http://pages.example/0/100" in ran.out
    assert "duplicate  file 3, record at 9, link 0, http://pages.example/3/9" in ran.out
    end = ran.out[ran.out.index("the crawl record") :]
    for shown in (f"/source/{FIRST}", "0.wat.gz", "100 bytes into the file", "http://pages.example/0/100"):
        assert shown in end
    assert "0.5, 0.25" not in ran.out, "vectors are not printed"


def test_everything_fits_into_eighty_columns(laion: Run, crawls: Lake) -> None:
    for arguments in (["--pair-id", "1"], ["--partition", BUCKET], []):
        ran = laion(crawls, "lineage", "filtered_pairs", *arguments, width=80)
        assert max(map(len, ran.out.splitlines())) <= 80


def test_forward_says_what_was_made(laion: Run, crawls: Lake) -> None:
    ran = laion(crawls, "lineage", "images", "--partition", BUCKET, "--forward")
    assert f"filtered_pairs {BUCKET}, from version 1" in ran.out
    ran = laion(crawls, "lineage", "candidate_pairs", "--pair-id", "3", "--forward")
    assert "clip_embeddings" in ran.out
    assert "filtered_pairs" not in ran.out
    ran = laion(crawls, "lineage", "filtered_pairs", "--forward")
    assert "nothing that is there now was made from it" in ran.out


def test_what_was_rebuilt_since_is_said(laion: Run, lake: Lake) -> None:
    made(lake, "unique_pairs", BUCKET, [pair(1)])
    made(lake, "images", BUCKET, [pair(1)], reads={"unique_pairs": [BUCKET]})
    made(lake, "unique_pairs", BUCKET, [pair(2)])
    ran = laion(lake, "lineage", "images")
    assert f"unique_pairs {BUCKET}, read at version 1" in ran.out
    assert "replaced since, in version 2" in ran.out


def test_writes_without_a_record_are_named(laion: Run, lake: Lake) -> None:
    made(lake, "unique_pairs", BUCKET, [pair(1)])
    foreign(lake, "unique_pairs", BUCKET, [pair(2)])
    ran = laion(lake, "lineage", "unique_pairs")
    assert "version 2 written without a record by WRITE: what is shown here may have changed" in ran.out
    ran = laion(lake, "lineage", "unique_pairs", "--version", "2")
    assert "version 2: written without a record by WRITE" in ran.words
    assert f"it changed the files of 1 partition: {BUCKET}" in ran.words
    ran = laion(lake, "lineage", "unique_pairs", "--version", "0")
    assert "CREATE TABLE" in ran.out
    foreign(lake, "images", BUCKET)
    assert "1 partition written without a record, never by a build" in laion(lake, "lineage", "images").out


def test_reads_that_cannot_be_identified_are_counted(laion: Run, lake: Lake) -> None:
    names = [f"crawl={crawl}/bucket={bucket}" for crawl in (FIRST, SECOND) for bucket in (0, 1)]
    for number, name in enumerate(names):
        made(lake, "unique_pairs", name, [pair(number)])
    made(lake, "images", BUCKET, reads={"unique_pairs": [names[0], names[3]]})
    assert "unique_pairs, 2 partitions, read at version 4, 2 not identified" in laion(lake, "lineage", "images").out
    ran = laion(lake, "lineage", "unique_pairs", "--partition", BUCKET, "--forward")
    assert f"so they may belong here: images@1[{BUCKET}]" in ran.words


def test_a_pair_that_went_no_further(laion: Run, crawls: Lake) -> None:
    ran = laion(crawls, "lineage", "filtered_pairs", "--pair-id", "3")
    assert ran.code == 0
    assert ran.out.startswith("pair 3 is not in filtered_pairs (version 2), but in candidate_pairs [")
    assert f"images [{BUCKET}] (success)" in ran.words
    assert f"clip_embeddings [{BUCKET}] (similarity 0.575)" in ran.words


def test_a_pair_that_is_nowhere(laion: Run, crawls: Lake) -> None:
    for format_ in ("text", "json", "dot"):
        ran = laion(crawls, "lineage", "filtered_pairs", "--pair-id", "-5", "--format", format_)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.strip() == "laion: no table of the lake holds the pair -5"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing"], "no table nothing; it has imports, crawl_snapshots, wat_files,"),
        (["images", "--version", "77"], "no version 77: its versions are 0 to 2"),
        (["images", "--partition", "shard=1"], "no partition shard=1: expected crawl=…/bucket=…, for instance crawl="),
        (["images", "--pair-id", "1"], "images has no column pair_id"),
        (["unique_pairs", "--pair-id", "1", "--partition", BUCKET], "give one of them"),
        (["unique_pairs", "--pair-id", "1", "--format", "openlineage"], "OpenLineage speaks of tables, not of rows"),
        (["images", "--format", "xml"], "expected text, json, dot, openlineage, found 'xml'"),
    ],
)
def test_what_cannot_be_answered_is_one_line(laion: Run, crawls: Lake, arguments: list[str], complaint: str) -> None:
    ran = laion(crawls, "lineage", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert complaint in ran.err


# -- JSON and Graphviz ------------------------------------------------------------------------------------------------


def test_json_is_one_object_whose_parts_refer_to_each_other(laion: Run, crawls: Lake) -> None:
    answer = json.loads(laion(crawls, "lineage", "filtered_pairs", "--format", "json").out)
    assert set(answer) == {
        "table", "version", "direction", "roots", "nodes", "reads", "unsure", "left_out", "entry",
    }  # fmt: skip
    nodes = {node["id"]: node for node in answer["nodes"]}
    assert len(nodes) == len(answer["nodes"])
    assert set(answer["roots"]) <= set(nodes)
    for read in answer["reads"]:
        assert read["reader"] in nodes
        assert set(read["sources"]) <= set(nodes)
        assert len(read["sources"]) == read["partitions"]
    node = nodes[f"unique_pairs@1[{BUCKET}]"]
    assert (node["table"], node["partition"], node["version"], node["rows"]) == ("unique_pairs", BUCKET, 1, 3)
    assert node["externals"] == {"removals": "f" * 64}
    assert (node["replaced_in"], node["foreign"], node["validated"]) == (None, [], True)


def test_json_of_a_pair_has_its_rows_and_its_record(laion: Run, crawls: Lake) -> None:
    answer = json.loads(laion(crawls, "lineage", "filtered_pairs", "--pair-id", "1", "--format", "json").out)
    assert answer["pair_id"] == 1
    held = {rows["id"]: rows for rows in answer["pair_rows"]}
    assert set(held) == {node["id"] for node in answer["nodes"]}
    assert held[f"filtered_pairs@1[{BUCKET}]"]["rows"][0]["url"] == "http://a.example/1.jpg"
    assert held[f"candidate_pairs@1[crawl={FIRST}/shard=0]"]["winner"] == 0
    (record,) = answer["records"]
    assert (record["path"], record["record_offset"], record["source_uri"]) == ("0.wat.gz", 100, f"/source/{FIRST}")
    lost = json.loads(laion(crawls, "lineage", "filtered_pairs", "--pair-id", "3", "--format", "json").out)
    assert lost["roots"] == []
    assert {found["id"].split("@")[0] for found in lost["elsewhere"]} == {
        "candidate_pairs", "unique_pairs", "images", "clip_embeddings",
    }  # fmt: skip


def test_openlineage_is_an_event_a_line_that_its_own_classes_read(laion: Run, crawls: Lake) -> None:
    ran = laion(crawls, "lineage", "filtered_pairs", "--format", "openlineage")
    found = [json.loads(line) for line in ran.out.splitlines()]
    for event in found:
        read_event(event)
    nodes = json.loads(laion(crawls, "lineage", "filtered_pairs", "--format", "json").out)["nodes"]
    written = [event["outputs"][0] for event in found if event["eventType"] == "COMPLETE"]
    told = {
        f"{Path(o['name']).name}@{o['facets']['version']['datasetVersion']}[{o['outputFacets']['laion_drops']['partition']}]"
        for o in written
    }
    assert told == {node["id"] for node in nodes}
    assert "columnLineage" in written[-1]["facets"]
    assert (ran.code, ran.err) == (0, "")


def test_openlineage_says_how_many_partitions_nobody_recorded(laion: Run, tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / "lake"))
    foreign(lake, "wat_files", f"crawl={FIRST}")
    ran = laion(lake, "lineage", "wat_files", "--format", "openlineage")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "laion: partitions that were written without a record, by nobody that is known: 1\n"


QUOTED = r'"(?:[^"\\]|\\.)*"'
ATTRIBUTES = rf"\[\w+=(?:{QUOTED}|\w+)(?:, \w+=(?:{QUOTED}|\w+))*\]"


def parsed(dot: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Labels by node, and edges, of a graph in the part of Graphviz's grammar that is used; asserts that it is that."""
    assert re.fullmatch(r"digraph \w+ \{\n(.*\n)*\}\n", dot)
    nodes: dict[str, str] = {}
    edges: list[tuple[str, str]] = []
    for line in dot.splitlines()[1:-1]:
        edge = re.fullmatch(rf"  (n\d+) -> (n\d+) {ATTRIBUTES};", line)
        node = re.fullmatch(rf"  (n\d+) {ATTRIBUTES};", line)
        if edge:
            edges.append((edge[1], edge[2]))
        elif node:
            assert node[1] not in nodes, "a node is drawn once"
            nodes[node[1]] = re.findall(rf"label=({QUOTED})", line)[0]
        else:
            assert re.fullmatch(rf"  (rankdir=\w+|node {ATTRIBUTES});", line), line
    assert {name for edge in edges for name in edge} <= set(nodes)
    return nodes, edges


@pytest.mark.parametrize("arguments", [[], ["--full"], ["--pair-id", "1"], ["--partition", BUCKET]])
def test_dot_is_a_graph_in_which_everything_stands_once(laion: Run, crawls: Lake, arguments: list[str]) -> None:
    nodes, edges = parsed(laion(crawls, "lineage", "filtered_pairs", *arguments, "--format", "dot").out)
    assert len(set(nodes.values())) == len(nodes)
    assert len([label for label in nodes.values() if label.startswith('"crawl_snapshots')]) == (
        2 if "--full" in arguments else 1
    )
    ends = {target for _, target in edges}
    roots = {name for name, label in nodes.items() if label.startswith('"filtered_pairs')}
    assert roots <= ends
    assert not roots & {source for source, _ in edges}, "nothing was made from what is released"


def test_dot_quotes_what_names_hold(laion: Run, lake: Lake) -> None:
    made(lake, "unique_pairs", BUCKET, [pair(1)])
    rows = pa.table({"name": ['say "hi" \\ there'], "n": [1]})
    undeclared(lake, "odd", rows, {"unique_pairs": [BUCKET]}, by="name")
    nodes, edges = parsed(laion(lake, "lineage", "odd", "--format", "dot").out)
    assert any('say \\"hi\\" \\\\ there' in label for label in nodes.values())
    assert len(edges) == 1
    forward = parsed(laion(lake, "lineage", "unique_pairs", "--forward", "--format", "dot").out)
    assert len(forward[1]) == 1


def test_dot_draws_what_is_not_identified_and_versions_without_a_record(laion: Run, lake: Lake) -> None:
    names = [f"crawl={crawl}/bucket={bucket}" for crawl in (FIRST, SECOND) for bucket in (0, 1)]
    for number, name in enumerate(names):
        made(lake, "unique_pairs", name, [pair(number)])
    for bucket in names[:2]:
        made(lake, "images", bucket, reads={"unique_pairs": [names[0], names[3]]})
    nodes, edges = parsed(laion(lake, "lineage", "images", "--full", "--format", "dot").out)
    assert len([label for label in nodes.values() if "2 partitions, not identified" in label]) == len(edges) == 2
    foreign(lake, "images", BUCKET)
    nodes, edges = parsed(laion(lake, "lineage", "images", "--version", "3", "--format", "dot").out)
    assert edges == []
    assert "written without a record by WRITE" in nodes["n0"]


# -- diff -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def changed(lake: Lake) -> Lake:
    """A release that gained a pair, lost one, and scored one anew."""
    made(lake, "unique_pairs", BUCKET, [pair(n) | record(0, n) for n in (1, 2, 3)])
    made(lake, "images", BUCKET)
    made(lake, "clip_embeddings", BUCKET)
    released(lake, FIRST, [pair(1, similarity=0.5), pair(2, similarity=0.5)])
    released(lake, FIRST, [pair(2, similarity=0.50000006), pair(3, text="[red]new[/]")])
    return lake


def test_a_difference_is_counted_and_shown(laion: Run, changed: Lake) -> None:
    ran = laion(changed, "diff", "filtered_pairs", "1", "2", width=80)
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 80
    assert re.search(rf"{BUCKET} +│ +1 │ +1 │ +1 │ similarity 1", ran.out)
    assert f"+ pair_id=3 {BUCKET}" in ran.out
    assert f"- pair_id=1 {BUCKET}" in ran.out
    assert f"~ pair_id=2 {BUCKET}" in ran.out
    assert "similarity  0.5 → 0.5000000596046448" in ran.out, "as many digits as it takes"
    assert "text=[red]new[/]" in laion(changed, "diff", "filtered_pairs", "1", "2").out


def test_a_difference_as_json_and_csv(laion: Run, changed: Lake) -> None:
    answer = json.loads(laion(changed, "diff", "filtered_pairs", "1", "2", "--format", "json").out)
    assert answer["rows"] == {"added": 1, "removed": 1, "changed": 1}
    assert answer["partitions"] == [
        {"partition": BUCKET, "added": 1, "removed": 1, "changed": 1, "changed_columns": {"similarity": 1}}
    ]
    changes = [row for row in answer["sample"] if row["kind"] == "changed"]
    assert changes[0]["key"] == {"pair_id": 2}
    assert changes[0]["old"] == {"similarity": 0.5}
    lines = list(csv.DictReader(io.StringIO(laion(changed, "diff", "filtered_pairs", "1", "2", "--format", "csv").out)))
    assert [(line["pair_id"], line["column"], line["old"]) for line in lines if line["kind"] == "changed"] == [
        ("2", "similarity", "0.5")
    ]
    assert {line["new"] for line in lines if line["kind"] == "added" and line["column"] == "text"} == {"[red]new[/]"}


def test_how_much_is_shown_can_be_said(laion: Run, lake: Lake) -> None:
    made(lake, "unique_pairs", BUCKET, [pair(n) for n in range(30)])
    assert "… 10 more added; --limit shows more" in laion(lake, "diff", "unique_pairs", "0", "1").out
    assert laion(lake, "diff", "unique_pairs", "0", "1", "--limit", "30").out.count("+ pair_id=") == 30
    ran = laion(lake, "diff", "unique_pairs", "1", "1")
    assert "no partition was written between them" in ran.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["filtered_pairs", "1", "9"], "filtered_pairs has no version 9"),
        (["nothing", "1", "2"], "no table nothing"),
        (["filtered_pairs", "1", "2", "--key", "nothing"], "names nothing"),
        (["filtered_pairs", "1", "2", "--format", "dot"], "expected text, json, csv, found 'dot'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(laion: Run, changed: Lake, arguments: list[str], complaint: str) -> None:
    ran = laion(changed, "diff", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert complaint in ran.err


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(str(tmp_path / "lake"))
