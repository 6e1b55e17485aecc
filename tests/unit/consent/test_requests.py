"""Files of removal requests."""

import json
from pathlib import Path

import pytest

from laion_assets.consent.removals import RemovalError
from laion_assets.consent.requests import read_requests

ROWS = [
    ("url", "http://a.example/ä,1.jpg", 'rights: "mine", all of it'),
    ("pair_id", "-92", None),
    ("domain", "b.example", "privacy"),
]


def written(folder: Path, ending: str) -> Path:
    path = folder / f"requests{ending}"
    if ending == ".jsonl":
        lines = [json.dumps({"kind": kind, "value": value, "reason": reason}) for kind, value, reason in ROWS]
        path.write_text("\n".join(lines) + "\n")
        return path
    mark = "," if ending == ".csv" else "\t"
    quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' if cell else "" for cell in row] for row in ROWS]
    path.write_text("\n".join([mark.join(["kind", "value", "reason"]), *map(mark.join, quoted)]) + "\n")
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_each_kind_of_file_says_the_same(tmp_path: Path, ending: str) -> None:
    assert [tuple(request) for request in read_requests(written(tmp_path, ending))] == ROWS


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "kind,value\nurl,http://a.example/\nphone,12345\n", r"a\.csv, row 2: expected a kind out of"),
        ("a.csv", "kind,value\nurl,a.example\n", r"row 1: expected an absolute http\(s\) url"),
        ("a.csv", "url\nhttp://a.example/\n", "expected columns kind, value .* found url"),
        ("a.csv", "kind,value,when\n", "found kind, value, when"),
        ("a.jsonl", "{", "cannot be read"),
        ("a.csv", "", "cannot be read"),
        ("a.csv", 'kind,value\nurl,"http://a.example/x\nurl,http://b.example/y"\n', "a quote that does not end"),
        ("a.jsonl", '{"kind": "url", "value": ["http://a.example/"]}\n', "cannot be read|expected an absolute"),
        ("a.xlsx", "", "ends with .csv, .tsv or .jsonl"),
        ("a.jsonl", '{"kind": "url", "value": null}\n', "row 1: expected an absolute"),
    ],
)
def test_what_cannot_be_understood_is_named_by_its_row(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RemovalError, match=said):
        read_requests(tmp_path / name)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RemovalError, match="cannot be read"):
        read_requests(tmp_path / "none.csv")


def test_empty_lines_are_no_requests(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("kind,value\n\ndomain,a.example\n\n")
    assert [request.value for request in read_requests(tmp_path / "a.csv")] == ["a.example"]
