"""One stream of events in one format, whoever speaks."""

from __future__ import annotations

import json
import logging
import os
import pty
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import structlog

from camomile_trio.cli.log_options import LogFormat, LogLevel
from camomile_trio.cli.logs import logging_events


@attrs.define
class Log:
    """What has been logged, once the block is left."""

    text: str = ""

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log"


@contextmanager
def to_file(file: Path, level: LogLevel, log_format: LogFormat | None) -> Iterator[Log]:
    log = Log()
    with file.open("wb") as out, logging_events(level, log_format, out.fileno()):
        yield log
    log.text = file.read_text("utf-8")


@contextmanager
def to_terminal(level: LogLevel, log_format: LogFormat | None) -> Iterator[Log]:
    log = Log()
    screen, terminal = pty.openpty()
    try:
        with logging_events(level, log_format, terminal):
            yield log
        log.text = os.read(screen, 2**16).decode()
    finally:
        os.close(screen)
        os.close(terminal)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    root, level = logging.getLogger(), logging.getLogger().level
    handlers, hypercorn_level = root.handlers[:], logging.getLogger("hypercorn").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("hypercorn").setLevel(hypercorn_level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_a_file_gets_json_with_the_events_fields(file: Path) -> None:
    with to_file(file, "info", None) as log:
        structlog.get_logger("camomile").info("listening", peers="127.0.0.1:8118", http=["http://127.0.0.1:8080"])
    (event,) = log.events
    assert str(event.pop("timestamp")).endswith("Z")
    assert event == {
        "event": "listening",
        "level": "info",
        "logger": "camomile",
        "peers": "127.0.0.1:8118",
        "http": ["http://127.0.0.1:8080"],
    }


def test_a_terminal_gets_coloured_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with to_terminal("info", None) as log:
        structlog.get_logger("camomile").warning("not ready", because="nobody answers")
    assert "not ready" in log.text
    assert "nobody answers" in log.text
    assert "\x1b[" in log.text


def test_whoever_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with to_terminal("info", None) as log:
        structlog.get_logger("camomile").info("ready")
    assert "ready" in log.text
    assert "\x1b[" not in log.text


def test_the_format_can_be_chosen(file: Path) -> None:
    with to_terminal("info", "json") as log:
        structlog.get_logger("camomile").info("ready")
    assert json.loads(log.text)["event"] == "ready"
    with to_file(file, "info", "text") as log:
        structlog.get_logger("camomile").info("ready")
    assert "ready" in log.text
    assert "{" not in log.text


def test_what_weighs_less_than_the_level_is_left_out(file: Path) -> None:
    with to_file(file, "warning", "json") as log:
        structlog.get_logger("camomile").info("small")
        logging.getLogger("trio").info("small")
        structlog.get_logger("camomile").error("large")
    assert [event["event"] for event in log.events] == ["large"]


def test_the_standard_librarys_loggers_speak_the_same_format(file: Path) -> None:
    with to_file(file, "info", "json") as log:
        logging.getLogger("hypercorn.error").warning("client %s left", "alice")
    (event,) = log.events
    assert (event["event"], event["level"], event["logger"]) == ("client alice left", "warning", "hypercorn.error")


def test_an_error_with_a_traceback_stays_one_line_of_json(file: Path) -> None:
    with to_file(file, "info", "json") as log:
        try:
            raise ZeroDivisionError("a bug")
        except ZeroDivisionError:
            structlog.get_logger("camomile").exception("a bug")
            logging.getLogger("quart.app").exception("a bug too")
    assert [line["event"] for line in log.events] == ["a bug", "a bug too"]
    assert all("ZeroDivisionError: a bug" in str(line["exception"]) for line in log.events)


def test_warnings_of_python_are_events(file: Path) -> None:
    with to_file(file, "info", "json") as log, warnings.catch_warnings():
        warnings.simplefilter("always")
        # catch_warnings brought the usual way of showing back.
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (event,) = log.events
    assert event["logger"] == "py.warnings"


def test_exceptions_that_python_cannot_raise_are_events(file: Path) -> None:
    class Stubborn:
        def __del__(self) -> None:
            raise ZeroDivisionError("a bug")

    with to_file(file, "info", "json") as log:
        Stubborn()
    (event,) = log.events
    assert (event["level"], event["logger"]) == ("error", "py.unraisable")
    assert "Stubborn.__del__" in str(event["event"])
    assert "ZeroDivisionError: a bug" in str(event["exception"])


def test_hypercorn_does_not_announce_what_we_have_announced(file: Path) -> None:
    with to_file(file, "info", "json") as log:
        logging.getLogger("hypercorn.error").info("Running on http://127.0.0.1:8080")
    assert log.text == ""


def test_bytes_of_a_path_that_are_not_utf_8_are_written_as_what_they_are(file: Path) -> None:
    with to_file(file, "info", "text") as log:
        structlog.get_logger("camomile").info("waiting", file=os.fsdecode(b"/caf\xe9"))
    assert "caf\\udce9" in log.text


@pytest.mark.real_time
def test_a_log_that_nobody_reads_holds_nobody_up_and_says_later_what_is_missing() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader:
        try:
            with logging_events("info", "json", writing) as lines:
                log = structlog.get_logger("camomile")
                log.info("before", filler="x" * 100_000)  # more than a pipe takes
                while not lines.dropped:
                    log.info("a line", filler="x" * 1000)
                log.info("the last that is dropped", filler="x" * 1000)
                dropped = lines.dropped
                # Now there is a reader again.
                read = [json.loads(reader.readline())]
                while "missing" not in str(read[-1]["event"]):
                    read.append(json.loads(reader.readline()))
                log.info("after")
                read.append(json.loads(reader.readline()))
        finally:
            os.close(writing)
    assert [event["event"] for event in read[:2]] == ["before", "a line"]
    assert str(read[-2]["event"]).startswith(f"{dropped} lines of the log are missing here")
    assert (read[-2]["level"], read[-2]["logger"]) == ("warning", "camomile")
    assert read[-1]["event"] == "after"
