"""What the documentation shows, as tests run it."""

import re
import shlex
from pathlib import Path

import duckdb

REPOSITORY = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(file: str, language: str) -> list[str]:
    """The fenced blocks of one language in a file of the repository."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    return [block for kind, block in _BLOCK.findall(text) if kind == language]


def queries(file: str) -> list[str]:
    """Every SQL statement that a file shows, in blocks of SQL or as an argument of ``laion sql``."""
    found = [s.query.strip() for block in blocks(file, "sql") for s in duckdb.extract_statements(block)]
    commands = (REPOSITORY / file).read_text(encoding="utf-8").splitlines()
    for line in commands:
        words = shlex.split(line, comments=True) if re.search(r"\blaion sql ['\"]", line) else []
        if "sql" in words:
            found.append(words[words.index("sql") + 1])
    return found
