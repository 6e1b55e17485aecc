"""docs/design/recovery.md is what the suite writes."""

import shutil
from pathlib import Path

from tests.faults.kinds import KINDS
from tests.faults.points import Result
from tests.faults.table import COLUMNS, DOCUMENT, write_table, written_head, written_rows


def test_the_document_has_a_row_for_every_kind_of_fault_and_no_other() -> None:
    assert written_head() == COLUMNS
    assert list(written_rows()) == list(KINDS)


def test_every_row_says_what_was_said_and_that_all_rows_were_the_undisturbed_ones() -> None:
    for fault, points, said, recovery, same in written_rows().values():
        assert same == f"{points} of {points}", fault
        assert said, fault
        assert recovery, fault


def test_writing_it_again_changes_the_table_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "recovery.md"
    shutil.copy(DOCUMENT, document)
    name = next(iter(KINDS))
    line = "images [crawl=CC-MAIN-2026-04/bucket=0] a|b: the file has 1,024 bytes of 2,048; `laion build X`"
    write_table([Result(name, 3, line, ("laion build CRAWL",)), Result(name, 4, wrong="other rows")], document)
    told = "images [crawl=CRAWL/bucket=0] a|b: the file has N bytes of N; `laion build X`"
    assert written_rows(document) == {name: (name, "2", told, "`laion build CRAWL`", "1 of 2")}
    assert document.read_text().split("<!--")[0] == DOCUMENT.read_text().split("<!--")[0]
    assert document.read_text().split("<!-- end -->")[1] == DOCUMENT.read_text().split("<!-- end -->")[1]
