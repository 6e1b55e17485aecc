"""Logs as lines, one for each record: text for people, JSON for machines, both with what they speak of.

Everything logs through the standard library. Inside :func:`speaking_of` every record of the thread carries the run,
table and partition that are being built; whatever a call gives as ``extra`` is carried too.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, TypeAlias

LogFormat: TypeAlias = Literal["text", "json"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

_ROOT: Final = "laion_assets"
_POOL: Final = "sqlalchemy.pool.impl.NullPool"
"""Logs what is raised while Dagster's storage closes a connection, with the whole trace of calls."""
_SHOWN: Final = "laion_shown"
"""Marks a record that is a line already: Dagster hands those of managed loggers on to its console."""
_DAGSTER: Final = "dagster_meta"
_STANDARD: Final = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", _SHOWN, _DAGSTER})
_context: ContextVar[Mapping[str, str]] = ContextVar("laion_log_context")


@contextmanager
def speaking_of(**fields: str) -> Iterator[None]:
    """Give every record of this thread these fields, such as ``table``, until the block ends."""
    token = _context.set({**_context.get({}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class LineFormatter(logging.Formatter):
    """A record as one line.

    JSON lines have ``time`` (UTC, ISO 8601), ``level``, ``logger``, ``message``, whatever was said by
    :func:`speaking_of` and ``extra``, and ``error`` with the stack trace where there is one.
    """

    def __init__(self, format_: LogFormat) -> None:
        super().__init__()
        self._json = format_ == "json"

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told = getattr(record, _DAGSTER, None) or {}
        head = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": str(told.get("orig_message") or record.getMessage()),
        }
        fields = {**_of_dagster(told), **_context.get({}), **_extra(record)}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        if self._json:
            return json.dumps({**head, **fields}, default=str, ensure_ascii=False)
        words = [f"{name}={_word(value)}" for name, value in fields.items()]
        return " ".join([*(_plain(text) for text in head.values()), *words])


def _of_dagster(told: Mapping[str, Any]) -> dict[str, str]:
    """What Dagster knows of a record: the run, the step, the partition, the kind of event."""
    event = told.get("dagster_event")
    values = {
        "run_id": told.get("run_id"),
        "table": told.get("step_key"),
        "partition": (told.get("job_tags") or {}).get("dagster/partition"),
        "event": getattr(event, "event_type_value", None),
    }
    error = getattr(getattr(event, "event_specific_data", None), "error", None)
    if error is not None:
        values["error"] = (error.cause or error).message.strip()
    return {name: value for name, value in values.items() if value}


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    # Other libraries put things of their own, underscored, on every record of the process.
    return {name: value for name, value in given.items() if not name.startswith(("_", "dagster_"))}


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _word(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if any(c in ' "\\\n\r' for c in text) or not text else text


class _Lines(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at the moment."""

    def __init__(self, format_: LogFormat) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(LineFormatter(format_))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        setattr(record, _SHOWN, True)
        super().emit(record)


def configure_logs(format_: LogFormat, level: LogLevel | None) -> None:
    """Let what this package logs appear on stderr, line by line; may be called again.

    Args:
        format_: of the lines.
        level: the least that is shown; None: see :func:`shown_level`.
    """
    logger = logging.getLogger(_ROOT)
    logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, _Lines)]
    lines = _Lines(format_)
    lines.setLevel(shown_level(format_, level))  # Dagster sets the level of loggers that it manages
    logger.handlers.insert(0, lines)  # before Dagster's, which rewrites records
    logger.setLevel(shown_level(format_, level))
    logging.getLogger(_POOL).addFilter(_no_interrupt)
    logger.propagate = False  # a library that logs through the root gives it a handler, which would say all again


def _no_interrupt(record: logging.LogRecord) -> bool:
    """Whether a record is of something else than an interruption that met a library at its work."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ not in ("KeyboardInterrupt", "DagsterExecutionInterruptedError")


def shown_level(format_: LogFormat, level: LogLevel | None) -> LogLevel:
    """What is shown where nobody says: to people what is wrong, to machines what happens too."""
    return level or ("INFO" if format_ == "json" else "WARNING")


def console(level: str) -> logging.Logger:
    """A logger for Dagster's console that writes JSON lines, without what is a line already."""
    made = logging.Logger("dagster", level)
    handler = _Lines("json")
    handler.addFilter(lambda record: not hasattr(record, _SHOWN))
    made.addHandler(handler)
    return made
