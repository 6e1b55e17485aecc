"""What the documentation shows, as tests run it."""

import re
import shlex
from pathlib import Path

import duckdb

REPOSITORY = Path(__file__).resolve().parents[2]
DEMONSTRATED = ("README.md", "docs/quickstart.md", "docs/howto/ask.md", "docs/howto/train.md")
"""What shows commands and queries on the lake of the demo."""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(file: str, language: str) -> list[str]:
    """The fenced blocks of one language in a file of the repository."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    return [block for kind, block in _BLOCK.findall(text) if kind == language]


def queries(file: str) -> list[str]:
    """Every SQL statement that a file shows, in blocks of SQL or as an argument of ``laion sql``."""
    found = [s.query.strip() for block in blocks(file, "sql") for s in duckdb.extract_statements(block)]
    return found + [words[1] for words in commands(file, "sql") if len(words) > 1]


def commands(file: str, *names: str) -> list[list[str]]:
    """The arguments of every ``laion`` command that a file shows and whose words begin with one of ``names``."""
    found = []
    for line in (REPOSITORY / file).read_text(encoding="utf-8").splitlines():
        called = re.match(r"[\w./]*\blaion (.+)", line)
        if called is not None and called[1].startswith(names):
            found.append(shlex.split(called[1], comments=True))
    return found
