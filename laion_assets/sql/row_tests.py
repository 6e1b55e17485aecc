"""The tests that front matter may ask for, as SQL that selects the rows which break them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from laion_assets.delta.partition import literal
from laion_assets.delta.validation import RowCheck, repeated_rows

KINDS = ("not_null", "unique", "accepted_values", "relationships", "range")
_OPTIONS = {"relationships": {"to", "column"}, "range": {"min", "max"}}


@dataclass(frozen=True, kw_only=True)
class RowTest:
    """One test of a model's rows: of a kind, about some columns."""

    kind: str
    columns: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the test is called in checks and verdicts."""
        return "_".join((self.kind, *self.columns))

    @property
    def reads(self) -> str | None:
        """The table or model beside its own that it looks at."""
        return str(self.options["to"]) if self.kind == "relationships" else None

    @property
    def without_later(self) -> "RowTest":
        """The test before values were added that came later: what passed it then passes it now."""
        return replace(self, options={name: value for name, value in self.options.items() if name != "later"})

    @property
    def values(self) -> list[Any]:
        """The values that are accepted, of ``accepted_values``."""
        return [*self.options.get("values", ()), *self.options.get("later", ())]

    def check(self, rows: str, key: Sequence[str]) -> RowCheck:
        """The check over a relation.

        Args:
            rows: name of the relation.
            key: columns that tell the rows apart; shown in samples.
        """
        return RowCheck(self.name, self._failing(rows, key), self.meaning)

    @property
    def meaning(self) -> str:
        """What breaks the test, for messages."""
        columns = ", ".join(self.columns)
        return {
            "not_null": f"nulls in {columns}",
            "unique": f"repeated ({columns})",
            "accepted_values": f"values of {columns} outside {self.values}",
            "relationships": f"values of {columns} that {self.options.get('to')}.{self.options.get('column')} lacks",
            "range": f"values of {columns} outside {self.options.get('min', '-∞')} to {self.options.get('max', '∞')}",
        }[self.kind]

    def _failing(self, rows: str, key: Sequence[str]) -> str:
        if self.kind == "unique":
            return repeated_rows(rows, self.columns)
        column = self.columns[0]
        shown = ", ".join(dict.fromkeys([*key, column]))
        if self.kind == "not_null":
            return f"SELECT {shown} FROM {rows} WHERE {column} IS NULL"
        if self.kind == "accepted_values":
            values = ", ".join(_literal(value) for value in self.values)
            return f"SELECT {shown} FROM {rows} WHERE {column} NOT IN ({values})"
        if self.kind == "relationships":
            other = f"(SELECT DISTINCT {self.options['column']} AS present FROM {self.options['to']}) AS other"
            return (
                f"SELECT {shown} FROM {rows} ANTI JOIN {other} ON other.present = {column} WHERE {column} IS NOT NULL"
            )
        bounds = [f"{column} {sign} {self.options[name]}" for name, sign in (("min", "<"), ("max", ">"))
                  if self.options.get(name) is not None]  # fmt: skip
        return f"SELECT {shown} FROM {rows} WHERE {' OR '.join(bounds)}"


def read_test(asked: Any, columns: Sequence[str]) -> RowTest:
    """The test that an entry of front matter asks for.

    Args:
        asked: ``not_null``, or a mapping such as ``{"range": {"min": 0}}`` or ``{"unique": ["crawl", "host"]}``.
        columns: the column it stands under; empty where it stands under the model.

    Raises:
        ValueError: it cannot be understood.
    """
    if isinstance(asked, str):
        asked = {asked: None}
    if not isinstance(asked, dict) or len(asked) != 1:
        raise ValueError(f"expected the name of a test or one `name: options`, found {asked!r}")
    kind, options = next(iter(asked.items()))
    if kind not in KINDS:
        raise ValueError(f"there is no test {kind!r}: there are {', '.join(KINDS)}")
    if not columns and kind in ("unique", "not_null") and isinstance(options, list) and options:
        if kind == "not_null" and len(options) > 1:
            raise ValueError("not_null takes one column here: better put it under its column")
        return RowTest(kind=kind, columns=tuple(map(str, options)))
    if not columns:
        raise ValueError(f"{kind} under the model takes a list of columns" if kind in ("unique", "not_null") else
                         f"{kind} belongs under a column")  # fmt: skip
    if kind == "accepted_values":
        lists = options if isinstance(options, dict) else {"values": options}
        if not {"values"} <= {*lists} <= {"values", "later"} or not all(
            isinstance(v, list) and v for v in lists.values()
        ):
            raise ValueError("accepted_values takes a list of values, or `values` and `later`, those that came later")
        return RowTest(kind=kind, columns=tuple(columns), options=lists)
    known = _OPTIONS.get(kind, set())
    given = options or {}
    if not isinstance(given, dict) or not set(given) <= known or (known and not given):
        raise ValueError(f"{kind} takes {' and '.join(sorted(known)) or 'no options'}, found {options!r}")
    if kind == "relationships" and set(given) != known:
        raise ValueError("relationships takes `to` (a table or model) and `column`")
    if kind == "range" and not all(isinstance(bound, int | float) for bound in given.values()):
        raise ValueError(f"range takes numbers, found {options!r}")
    return RowTest(kind=kind, columns=tuple(columns), options=given)


def _literal(value: Any) -> str:
    return str(value).upper() if isinstance(value, bool) else str(value) if isinstance(value, float) else literal(value)
