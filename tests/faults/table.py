"""docs/design/recovery.md: the table of what was tried and what came of it, written by the suite itself."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.kinds import KINDS
from tests.faults.points import Result

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "design" / "recovery.md"
COLUMNS = ("fault", "points", "what was said", "recovery", "rows as undisturbed")
_BEGIN, _END = "<!-- written by python -m tests.faults -->\n", "<!-- end -->\n"
_LONGEST = 320


def table(results: Sequence[Result]) -> str:
    """Results by kind, as a table in Markdown."""
    lines = [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    for name in KINDS:
        found = [result for result in results if result.kind == name]
        if found:
            good = sum(not result.wrong for result in found)
            lines.append(_row([name, str(len(found)), _said(found), _recovery(found), f"{good} of {len(found)}"]))
    return "".join(lines)


def write_table(results: Sequence[Result], document: Path = DOCUMENT) -> None:
    """Put the table into the document, in place of the one that is there."""
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    told = f"{len(results):,} points.\n\n"
    document.write_text(f"{before}{_BEGIN}\n{told}{table(results)}\n{_END}{rest.split(_END)[1]}", encoding="utf-8")


def written_rows(document: Path = DOCUMENT) -> Mapping[str, tuple[str, ...]]:
    """The rows of the document's table, by fault; its head is not among them."""
    written = document.read_text(encoding="utf-8").split(_BEGIN)[1].split(_END)[0]
    rows = [tuple(_cells(line)) for line in written.splitlines() if line.startswith("|")]
    return {row[0]: row for row in rows[2:]}


def written_head(document: Path = DOCUMENT) -> tuple[str, ...]:
    """The head of the document's table."""
    written = document.read_text(encoding="utf-8").split(_BEGIN)[1]
    return tuple(_cells(next(line for line in written.splitlines() if line.startswith("|"))))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _said(results: Sequence[Result]) -> str:
    """The shortest line that was said, what differs from lake to lake left out."""
    said = sorted({_general(result.said) for result in results if result.said}, key=lambda text: (len(text), text))
    return said[0] if said else "nothing needs to be"


def _general(line: str) -> str:
    line = re.sub(r"CC-MAIN-\d{4}-\d{2}", "CRAWL", line)
    line = re.sub(r"part-\d{5}-[0-9a-f-]{36}-c\d{3}\S*?\.parquet", "part-….parquet", line)
    line = re.sub(r"\b[0-9a-f]{16,64}\b", "…", line)
    line = re.sub(r"\b0{12,}(\d+)\.json", r"…\1.json", line)
    line = re.sub(r"process \d+ on \S+?\)", "process … on …)", line)
    line = re.sub(r"\d[\d,]* bytes", "N bytes", line)
    line = re.sub(r"of \d[\d,]*(?=;|$)", "of N", line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _recovery(results: Sequence[Result]) -> str:
    """The way that was taken most often."""
    ways = Counter(
        ", ".join(f"`{step}`" if step.startswith("laion") else step for step in result.recovery)
        for result in results
        if not result.wrong
    )
    most = sorted(ways.items(), key=lambda way: (-way[1], way[0]))
    return (most and most[0][0]) or "none is needed"
