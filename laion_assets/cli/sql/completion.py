"""What Tab offers at the SQL prompt, and when a statement is complete."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

_KEYWORDS = re.findall(
    r"\w+",
    """
    SELECT FROM WHERE GROUP ORDER BY HAVING LIMIT OFFSET JOIN LEFT RIGHT FULL INNER CROSS SEMI ANTI ASOF ON USING AS
    WITH RECURSIVE UNION ALL EXCEPT INTERSECT DISTINCT AND OR NOT IN IS NULL LIKE ILIKE BETWEEN EXISTS CASE WHEN THEN
    ELSE END ASC DESC NULLS FIRST LAST FILTER OVER PARTITION QUALIFY WINDOW VALUES DESCRIBE SUMMARIZE SHOW TABLES
    EXPLAIN ANALYZE PIVOT UNPIVOT EXCLUDE REPLACE COLUMNS CAST INTERVAL DATE TIMESTAMP TRUE FALSE SAMPLE
    """,
)
_FUNCTIONS = re.findall(
    r"\w+",
    """
    abs any_value approx_count_distinct arg_max arg_min array_cosine_similarity avg coalesce concat contains corr count
    count_if date_trunc format greatest histogram language_group least length len list list_cosine_similarity
    list_filter list_transform log10 lower max median min mode nullif percent_rank quantile_cont quantile_disc rank
    read_csv read_json read_parquet regexp_extract regexp_matches round row_number starts_with stddev string_agg substr
    sum trim unnest upper url_host
    """,
)
# What a semicolon may stand in without ending anything. An opened one that is not closed stays.
_ENCLOSED = re.compile(r"""--[^\n]*(?:\n|\Z)|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$""", re.DOTALL)
_OPEN = re.compile(r"""/\*|'|"|\$\w*\$""")
_BEFORE_TABLE = re.compile(r"\b(?:FROM|JOIN|DESCRIBE|SUMMARIZE|SHOW)\s+$|\b(?:FROM|JOIN)\s[^()]*,\s*$", re.IGNORECASE)
_NAME_AND_ALIAS = re.compile(r"\b(\w+)\b(?=(?:\s+(?:AS\s+)?(\w+))?)", re.IGNORECASE)
_CLAUSE = re.compile(r"\b(?:WHERE|SELECT|GROUP|ORDER|ON|USING|HAVING|LIMIT|QUALIFY)\b", re.IGNORECASE)


def is_complete(text: str) -> bool:
    """Whether Enter runs the text: it is a dot-command, ends in a semicolon or a blank line, or is nothing at all."""
    stripped = text.strip()
    if not stripped or stripped.startswith("."):
        return True
    bare = _ENCLOSED.sub(" ", text)
    if _OPEN.search(bare):
        return False
    return bare.rstrip().endswith(";") or text.endswith("\n") or stripped.lower() in LEAVE


LEAVE = ("quit", "exit")
"""Words that leave without a dot: everybody tries one of them."""


class SqlCompleter(Completer):
    """Dot-commands and what follows them, tables after FROM, and columns of the tables a statement names."""

    def __init__(
        self,
        tables: Iterable[str],
        columns: Callable[[str], Sequence[str]],
        commands: Mapping[str, Sequence[str] | None],
    ) -> None:
        """Offer these names.

        Args:
            tables: names of tables and models.
            columns: gives the columns of one of them; asked for when they are needed.
            commands: the dot-commands, each with the words that may follow, None for the name of a table.
        """
        self._tables = sorted(tables)
        self._columns = columns
        self._commands = commands

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:  # noqa: ARG002
        """What may stand at the cursor."""
        before = document.text_before_cursor
        if before.lstrip().startswith("."):
            yield from self._of_command(before.lstrip())
            return
        statement = before.rpartition(";")[2] + document.text_after_cursor.partition(";")[0]
        word = re.search(r"(?:\w+\.)?\w*\Z", before)
        typed = word[0] if word else ""
        if _in_text(before):
            return
        owner, dot, start = typed.rpartition(".")
        if dot:
            table = self._named(statement).get(owner.lower())
            yield from _offer(start, self._columns(table) if table else (), "column")
        elif _names_table(before[: len(before) - len(typed)]):
            yield from _offer(start, self._tables, "table")
        else:
            yield from self._anything(start, statement)

    def _of_command(self, before: str) -> Iterator[Completion]:
        command, space, rest = before.partition(" ")
        if not space:
            yield from _offer(command, self._commands, "command")
        elif " " not in rest.lstrip() and command in self._commands:
            words = self._commands[command]
            yield from _offer(rest.lstrip(), self._tables if words is None else words, "")

    def _anything(self, start: str, statement: str) -> Iterator[Completion]:
        tables = dict.fromkeys(self._named(statement).values())
        columns = dict.fromkeys(name for table in tables for name in self._columns(table))
        yield from _offer(start, columns, "column")
        if not start:
            return
        keywords = [word.lower() for word in _KEYWORDS] if start.islower() else _KEYWORDS
        yield from _offer(start, keywords, "keyword")
        yield from _offer(start, [name for name in _FUNCTIONS if name not in columns], "function")
        yield from _offer(start, self._tables, "table")

    def _named(self, statement: str) -> dict[str, str]:
        """The tables a statement names, by their names and their aliases."""
        named = {}
        for found in _NAME_AND_ALIAS.finditer(_ENCLOSED.sub(" ", statement)):
            table, alias = found[1].lower(), found[2]
            if table in self._tables:
                named[table] = table
                if alias and alias.upper() not in _KEYWORDS:
                    named[alias.lower()] = table
        return named


def _in_text(before: str) -> bool:
    """Whether the cursor stands in a string or a comment."""
    bare = _ENCLOSED.sub(lambda found: "/*" if found[0].startswith("--") and "\n" not in found[0] else " ", before)
    return _OPEN.search(bare) is not None


def _names_table(before: str) -> bool:
    found = _BEFORE_TABLE.search(before)
    return found is not None and _CLAUSE.search(found[0]) is None


def _offer(start: str, names: Iterable[str], what: str) -> Iterator[Completion]:
    for name in names:
        if name.lower().startswith(start.lower()) and name != start:
            yield Completion(name, start_position=-len(start), display_meta=what)
