"""Log lines: one a record, whatever is in it, with the run, table and partition they speak of."""

import json
import logging
import shlex
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from dagster._core.errors import DagsterExecutionInterruptedError

from laion_assets.common.logs import LineFormatter, configure_logs, console, shown_level, speaking_of


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    logger = logging.getLogger("laion_assets")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers, logger.level = handlers, level
    logger.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_json_line_has_time_level_and_what_it_speaks_of(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", None)
    log = logging.getLogger("laion_assets.download.driver")
    with speaking_of(run_id="r1", table="images"), speaking_of(partition="crawl=CC/bucket=3"):
        log.info("tar %d done", 7, extra={"rows": 12, "seconds": 0.5})
    log.warning("after")
    first, second = (json.loads(line) for line in lines(capsys))
    assert datetime.fromisoformat(first.pop("time")).utcoffset() is not None
    assert first == {
        "level": "INFO", "logger": "laion_assets.download.driver", "message": "tar 7 done", "run_id": "r1",
        "table": "images", "partition": "crawl=CC/bucket=3", "rows": 12, "seconds": 0.5,
    }  # fmt: skip
    assert {*second} == {"time", "level", "logger", "message"}


@pytest.mark.parametrize("message", ["two\nlines", 'a "quoted" \\ one', "größer 写真 \x1b[31m", ""])
def test_any_message_is_one_line(capsys: pytest.CaptureFixture[str], message: str) -> None:
    for format_ in ("json", "text"):
        configure_logs(format_, "INFO")
        logging.getLogger("laion_assets.x").info(message, extra={"detail": message})
        [line] = lines(capsys)
        if format_ == "json":
            assert (json.loads(line)["message"], json.loads(line)["detail"]) == (message, message)
        else:
            assert line.split()[1] == "INFO"


def test_a_text_line_gives_fields_as_names_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text", "INFO")
    with speaking_of(table="images"):
        logging.getLogger("laion_assets.x").info("done", extra={"rows": 3, "why": "two words", "none": None})
    [line] = lines(capsys)
    _, level, logger, message, *fields = shlex.split(line)
    assert (level, logger, message) == ("INFO", "laion_assets.x", "done")
    assert dict(field.split("=", 1) for field in fields) == {
        "table": "images", "rows": "3", "why": "two words", "none": "null",
    }  # fmt: skip


def test_a_stack_trace_is_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", None)
    try:
        raise RuntimeError("this\nbroke")
    except RuntimeError:
        logging.getLogger("laion_assets.x").exception("it broke")
    [line] = lines(capsys)
    assert json.loads(line)["message"] == "it broke"
    assert "RuntimeError: this\nbroke" in json.loads(line)["error"]


def test_people_see_what_is_wrong_and_machines_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    assert (shown_level("text", None), shown_level("json", None), shown_level("json", "ERROR")) == (
        "WARNING",
        "INFO",
        "ERROR",
    )
    log = logging.getLogger("laion_assets.x")
    for format_, seen in (("text", 1), ("json", 2)):
        configure_logs(format_, None)
        configure_logs(format_, None)  # as definitions do it after the command line
        log.info("happens")
        log.warning("wrong")
        assert len(lines(capsys)) == seen


def test_what_dagster_hands_on_is_no_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A managed logger's record goes to our lines first, and then, with its fields, to Dagster's console."""
    configure_logs("json", None)
    dagster_s = console("INFO")

    class Managed(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            known = {*vars(logging.makeLogRecord({})), "message"}
            dagster_s.log(record.levelno, record.msg, extra={k: v for k, v in vars(record).items() if k not in known})

    logging.getLogger("laion_assets").addHandler(Managed())
    logging.getLogger("laion_assets.x").info("once")
    dagster_s.info("dagster's own")
    assert [json.loads(line)["message"] for line in lines(capsys)] == ["once", "dagster's own"]


def test_dagster_s_records_say_run_step_and_partition() -> None:
    record = logging.makeLogRecord({"msg": "job - run - step - hello", "levelname": "INFO", "name": "dagster"})
    record.dagster_meta = {
        "run_id": "r", "step_key": "images", "orig_message": "hello", "dagster_event": None,
        "job_tags": {"dagster/partition": "3|CC"},
    }  # fmt: skip
    told = json.loads(LineFormatter("json").format(record))
    assert (told["message"], told["run_id"], told["table"], told["partition"]) == ("hello", "r", "images", "3|CC")


def test_an_interruption_that_meets_a_library_at_its_work_is_no_error_of_it(tmp_path: Path) -> None:
    """A signal that comes while Dagster's database is closed is not the database's fault; what else comes is told."""
    configure_logs("text", None)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'a.db'}", poolclass=sqlalchemy.NullPool)
    told: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = told.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        for raised in (DagsterExecutionInterruptedError, KeyboardInterrupt, OSError):
            real = engine.dialect.do_close

            def do_close(connection: object, raised: type[BaseException] = raised, real: Any = real) -> None:
                real(connection)
                raise raised

            engine.dialect.do_close = do_close  # type: ignore[method-assign]
            with suppress(BaseException):
                engine.connect().close()
            engine.dialect.do_close = real  # type: ignore[method-assign]
    finally:
        logging.getLogger().removeHandler(handler)
    assert [record.exc_info[0] for record in told if record.exc_info] == [OSError]
