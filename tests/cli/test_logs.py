"""One stream of events in one format, whoever speaks."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from camomile_trio.cli.logs import set_up_logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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


def test_a_file_gets_json_with_the_events_fields() -> None:
    stream = io.StringIO()
    set_up_logs("info", None, stream)
    structlog.get_logger("camomile").info("listening", peers="127.0.0.1:8118", http=["http://127.0.0.1:8080"])
    event = json.loads(stream.getvalue())
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "listening",
        "level": "info",
        "logger": "camomile",
        "peers": "127.0.0.1:8118",
        "http": ["http://127.0.0.1:8080"],
    }


def test_a_terminal_gets_coloured_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    set_up_logs("info", None, terminal)
    structlog.get_logger("camomile").warning("not ready", because="nobody answers")
    assert "not ready" in terminal.getvalue()
    assert "nobody answers" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()


def test_whoever_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    set_up_logs("info", None, terminal)
    structlog.get_logger("camomile").info("ready")
    assert "ready" in terminal.getvalue()
    assert "\x1b[" not in terminal.getvalue()


def test_the_format_can_be_chosen() -> None:
    terminal, file = Terminal(), io.StringIO()
    set_up_logs("info", "json", terminal)
    structlog.get_logger("camomile").info("ready")
    assert json.loads(terminal.getvalue())["event"] == "ready"
    set_up_logs("info", "text", file)
    structlog.get_logger("camomile").info("ready")
    assert "ready" in file.getvalue()
    assert "{" not in file.getvalue()


def test_what_weighs_less_than_the_level_is_left_out() -> None:
    stream = io.StringIO()
    set_up_logs("warning", "json", stream)
    structlog.get_logger("camomile").info("small")
    logging.getLogger("trio").info("small")
    structlog.get_logger("camomile").error("large")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["large"]


def test_the_standard_librarys_loggers_speak_the_same_format() -> None:
    stream = io.StringIO()
    set_up_logs("info", "json", stream)
    logging.getLogger("hypercorn.error").warning("client %s left", "alice")
    event = json.loads(stream.getvalue())
    assert (event["event"], event["level"], event["logger"]) == ("client alice left", "warning", "hypercorn.error")


def test_an_error_with_a_traceback_stays_one_line_of_json() -> None:
    stream = io.StringIO()
    set_up_logs("info", "json", stream)
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        structlog.get_logger("camomile").exception("a bug")
        logging.getLogger("quart.app").exception("a bug too")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["a bug", "a bug too"]
    assert all("ZeroDivisionError: a bug" in line["exception"] for line in lines)


def test_warnings_of_python_are_events() -> None:
    stream = io.StringIO()
    set_up_logs("info", "json", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # catch_warnings brought the usual way of showing back.
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert json.loads(stream.getvalue())["logger"] == "py.warnings"


def test_hypercorn_does_not_announce_what_we_have_announced() -> None:
    stream = io.StringIO()
    set_up_logs("info", "json", stream)
    logging.getLogger("hypercorn.error").info("Running on http://127.0.0.1:8080")
    assert stream.getvalue() == ""
