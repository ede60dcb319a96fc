"""The log: one JSON object per line, the same for libraries, and nothing secret in it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from executor.figures.log import LogFormat, LogLevel, configure_logging
from executor.figures.registry import Registry
from executor.store.store import open_store
from tests.executor.figures.support import figures


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Put the process's logging back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logging.captureWarnings(capture=False)  # as commands that other tests have called may have left it
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    logging.getLogger("uvicorn.access").disabled = False
    structlog.reset_defaults()


def set_up(log_format: LogFormat = "json", level: LogLevel = "info", stream: io.StringIO | None = None) -> io.StringIO:
    """Log into memory."""
    stream = stream or io.StringIO()
    configure_logging(log_format=log_format, level=level, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """All lines, each read as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_are_lines_of_json() -> None:
    """With time, level, logger and event first."""
    stream = set_up()
    structlog.get_logger("executor.test").info("started", port=8080, odd={1, 2}, text="two\nlines \x1b[31m é 🐱 \ud800")
    (line,) = lines(stream)
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert (line["level"], line["logger"], line["event"], line["port"]) == ("info", "executor.test", "started", 8080)
    assert line["odd"] == "{1, 2}"
    assert line["text"] == "two\nlines \x1b[31m é 🐱 \ud800"
    assert line["timestamp"].endswith("Z")


def test_an_invocation_is_one_line() -> None:
    """With every figure."""
    stream = set_up()
    Registry().record(figures(detail="line one\nline two"))
    (line,) = lines(stream)
    assert line["event"] == "invocation"
    assert line["invocation_id"] == "0193a5f0-0000-7000-8000-000000000001"
    assert line["max_rss_bytes"] == 32 * 1024**2
    assert line["detail"] == "line one\nline two"


def test_libraries_are_rendered_alike() -> None:
    """The logging module and warnings."""
    stream = set_up()
    logging.getLogger("uvicorn.error").warning("port %d is %s", 80, "taken")
    logging.getLogger("asyncio").debug("too much")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("it is old", UserWarning, stacklevel=1)
    first, second = lines(stream)
    assert list(first) == ["timestamp", "level", "logger", "event"]
    assert (first["event"], first["level"], first["logger"]) == ("port 80 is taken", "warning", "uvicorn.error")
    assert second["logger"] == "py.warnings"
    assert "it is old" in second["event"]


@pytest.mark.parametrize("through", ["structlog", "logging"])
def test_exceptions_are_told_without_local_variables(through: str) -> None:
    """They may hold settings."""
    stream = set_up()

    def fail(secret: str) -> None:
        raise RuntimeError(f"failed with {len(secret)} characters")

    try:
        fail("hunter2")
    except RuntimeError:
        if through == "structlog":
            structlog.get_logger("executor.test").exception("broken")
        else:
            logging.getLogger("executor.test").exception("broken")
    (line,) = lines(stream)
    assert line["exception"][0]["exc_value"] == "failed with 7 characters"
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_less_severe_events_are_left_out(level: LogLevel, count: int) -> None:
    """For both ways in."""
    stream = set_up(level=level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("a"), name)("one")
        getattr(logging.getLogger("a"), name)("two")
    assert [line["event"] for line in lines(stream)] == ["one", "two"] * count


def test_making_the_store_is_not_told_by_alembic(tmp_path: Path) -> None:
    """What it says of its parts and steps is ten lines at the first start, which help nobody."""
    stream = set_up()
    with open_store(None, tmp_path):
        pass
    assert lines(stream) == []


def test_requests_are_not_logged_by_the_server() -> None:
    """Their paths and queries may be secret."""
    stream = set_up(level="debug")
    logging.getLogger("uvicorn.access").info("GET /e/cat/?token=secret")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("log_format", "stream"), [("console", io.StringIO()), ("auto", Terminal())])
def test_people_get_lines_to_read(log_format: LogFormat, stream: io.StringIO) -> None:
    """When they ask for them, or on a terminal; endpoints cannot steer that terminal."""
    set_up(log_format, stream=stream)
    structlog.get_logger("executor.test").info("log", message="\x1b[2Jboo\r\n")
    text = stream.getvalue()
    assert "executor.test" in text
    assert "\\x1b[2Jboo\\r\\n" in text
    assert not text.startswith("{")


def test_machines_get_json_without_asking() -> None:
    """What is no terminal is a machine."""
    stream = set_up("auto")
    structlog.get_logger("executor.test").info("started")
    assert lines(stream)[0]["event"] == "started"


def test_a_second_set_up_replaces_the_first() -> None:
    """No line is written twice."""
    first, second = set_up(), set_up(level="debug")
    logging.getLogger("a").info("one")
    structlog.get_logger("a").debug("two")
    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["one", "two"]


class Broken(io.StringIO):
    """A stream whose other end has gone."""

    def write(self, _: str) -> int:
        """Fail."""
        raise BrokenPipeError


def test_a_log_that_cannot_be_written_breaks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a request nor the executor."""
    set_up(stream=Broken())
    Registry().record(figures())
    logging.getLogger("a").error("lost")
    closed = set_up()
    closed.close()
    Registry().record(figures())
    logging.getLogger("a").error("lost")
    assert capsys.readouterr().err == ""
