"""Writes `docs/reference`: settings, commands and tables, from the code that declares them.

python docs/generate.py            # writes the pages
python docs/generate.py --check    # ends with exit code 1 where one of them is not what would be written
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import typer.main

from laion_assets.cli.main import app
from laion_assets.cli.settings import makes_stale, written
from laion_assets.common.shipped import shipped
from laion_assets.setting_names import EACH, Setting, meanings, settings_in
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.declaration import Rerun
from laion_assets.tables.needs import Need

FOLDER: Final = Path(__file__).resolve().parent / "reference"
_NOTE: Final = "<!-- written by docs/generate.py: `make docs` writes it again -->"

_OF_SETTINGS: Final = """\
Variables of the environment, nested with `__`; before them go the flags of `laion`, which set variables, so that child
processes agree. After them comes `settings.env` in the lake, then the default. A lake that carries its own settings
opens with nothing but its path. `laion settings` shows the values of a process, and where each came from.

*Stale* names the tables of which built partitions become stale when the setting changes, and so are built again. What a
setting without a default does where it is not set, its meaning says, after *None*."""

_AFTER_SETTINGS: Final = f"""\
`{EACH}` stands for a table's name, `IMAGES`, or for `SQL_MODELS`. What is declared of each: [tables](tables.md).

Beside the settings, `LAION_SCRATCH` names this machine's folder for work in progress where the lake is in a bucket."""

_OF_TABLES: Final = """\
Each is a Delta table in the lake's folder of its name, a view in `laion sql`, and a Dagster asset. SQL models are
tables too: `laion models docs` writes a page about those of a project.
"""


def settings_page() -> str:
    """Every setting, by the group it belongs to."""
    lines = [_heading("Settings"), _OF_SETTINGS]
    declared = settings_in(Settings).values()
    lines += ["", "## The lake and the whole", "", *_settings(s for s in declared if len(s.path) == 1)]
    nested = [setting for setting in declared if len(setting.path) > 1]
    for group, found in groupby(nested, lambda setting: setting.path[0]):
        options = list(found)
        said = meanings(Settings).get(group) or (options[0].declared.__doc__ or "").partition("\n")[0]
        lines += [
            "",
            f"## {group.replace('_', ' ').capitalize()}",
            "",
            said.replace("``", "`"),
            "",
            *_settings(options),
        ]
    return _page([*lines, "", _AFTER_SETTINGS])


def commands_page() -> str:
    """Every command of `laion`, with its arguments and options."""
    root = typer.main.get_command(app)
    lines = [_heading("Commands"), "What `laion COMMAND --help` says, of all commands on one page."]
    for name, command in _commands(root, "laion"):
        context = command.context_class(command, info_name=name)
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        lines += ["", f"## `{name}`", "", "```", usage, "```"]
        if command.help:
            lines += ["", "\n".join(line.strip() for line in command.help.strip().splitlines())]
        records = [record for record in (p.get_help_record(context) for p in command.params) if record is not None]
        rows = [(f"`{flags}`", text) for flags, text in records if not flags.startswith("--help")]
        if rows:
            lines += ["", *_table(("argument or option", "meaning"), rows)]
    return _page(lines)


def tables_page() -> str:
    """Every table: what a row is, what it is made from, and its columns."""
    lines = [
        _heading("Tables"),
        _OF_TABLES,
        *_table(
            ("table", "what it holds", "partitions"),
            ((f"[`{t.name}`](#{t.name})", t.description, ", ".join(t.partition_by)) for t in TABLES.values()),
        ),
    ]
    for name, table in TABLES.items():
        reads = {f"`{r.table}`" + (f" ({r.periods})" if r.periods != "same" else "") for r in table.reads}
        facts = {
            "key": _names(table.key),
            "partitions": _names(table.partition_by),
            "order of rows": _names(table.order_by),
            "written by": f"`{table.command}`",
            "made from": ", ".join(sorted(reads)),
            "code version": table.code_version,
            "made stale by": _names(table.settings),
            "a rerun gives": RERUNS[table.rerun] if table.need else "",
            "a step takes": _need(table.need) if table.need else "",
        }
        lines += ["", f"## {name}", "", table.description, ""]
        lines += [f"- {fact}: {value}" for fact, value in facts.items() if value]
        rows = (
            (
                f"`{column.name}`",
                str(column.type),
                "yes" if column.nullable else "",
                column.description + (f" One of {_names(column.accepted)}." if column.accepted else ""),
            )
            for column in table.columns
        )
        lines += ["", *_table(("column", "type", "null", "meaning"), rows)]
    return _page(lines)


RERUNS: Final[Mapping[Rerun, str]] = {
    "pure": "the same rows",
    "recorded": "what the world answers then",
    "numeric": "the same rows up to rounding",
}

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "commands.md": commands_page,
    "tables.md": tables_page,
}
"""What writes each page."""


def _need(need: Need) -> str:
    """What a step is declared to take."""
    parts = [
        f"{need.cpus:g} core{'s' * (need.cpus != 1)}",
        f"{need.memory_gib:g} GiB",
        f"at most {need.hours:g} h a partition",
    ]
    parts += [f"{need.gpus} GPU"] if need.gpus else []
    parts += [f"a place in the pool `{need.pool}`"] if need.pool else []
    return ", ".join([*parts, *(["the internet"] if need.public else [])])


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A command and those below it, each with all its words."""
    yield name, command
    for below, found in getattr(command, "commands", {}).items():
        if not found.hidden:
            yield from _commands(found, f"{name} {below}")


def _settings(settings: Iterable[Setting]) -> Iterator[str]:
    rows = (
        (
            f"`{setting.name}`",
            f"{setting.kind}, {setting.unit}".removesuffix(", "),
            _default(setting.default),
            setting.meaning,
            _names(makes_stale(setting)),
        )
        for setting in settings
    )
    return _table(("setting", "takes", "default", "meaning", "stale"), rows)


def _default(value: Any) -> str:
    text = written(value)
    for name in ("dbt_like_sql", "recipes"):
        text = f"{name} of this package" if text == str(shipped(name)) else text
    return f"`{text}`" if text else ""


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        cells = (" ".join(str(cell).replace("``", "`").replace("|", "\\|").split()) for cell in row)
        yield f"| {' | '.join(cells)} |"


def _heading(title: str) -> str:
    return f"# {title}\n\n{_NOTE}\n"


def _page(lines: Iterable[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the pages, or compare them."""
    old = 0
    for name, page in PAGES.items():
        file, text = FOLDER / name, page()
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv:
            sys.stderr.write(f"docs/reference/{name} is not what the code says: python docs/generate.py\n")
            old = 1
        else:
            file.write_text(text, encoding="utf-8")
    return old


if __name__ == "__main__":
    sys.exit(main())
