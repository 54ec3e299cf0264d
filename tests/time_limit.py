"""No test hangs: after `time_limit` seconds a test is interrupted and fails by name, and the tests after it run.

Rules of this file: the interruption is Ctrl-C's, which Trio delivers between two steps of its tasks. An exception out
of the alarm itself would break Trio's state, and with it the tests that follow. A test that goes on all the same
is named, and ends the whole run. The alarm counts real time, also in tests with a virtual clock.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType

import pytest
import trio

LIBRARIES = {"_pytest", "pytest", "pluggy", "pytest_trio", "trio"}


class TimeLimit:
    """The alarm of the test that runs."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._seconds, self._grace = float(config.getini("time_limit")), float(config.getini("time_limit_grace"))
        self._test = ""
        self._stacks = ""  # empty until the time is over

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._test, self._stacks = item.nodeid, ""
        alarm = signal.signal(signal.SIGALRM, self._on_alarm)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self._grace)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        return (yield from self._named())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        return (yield from self._named())

    def _named(self) -> Generator[None, object, object]:
        """Whatever the interrupted test makes of the interruption, it failed for its time."""
        try:
            result = yield
        except BaseException:
            if not self._stacks:
                raise
        else:
            if not self._stacks:
                return result
        pytest.fail(f"{self._message()}\n{self._stacks}", pytrace=False)

    def _message(self) -> str:
        return f"{self._test} ran for {self._seconds:g} s, which is the limit, and was here:"

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        if self._stacks:
            self._give_up(frame)
        self._stacks = "".join(_stacks(frame))
        signal.raise_signal(signal.SIGINT)

    def _give_up(self, frame: FrameType | None) -> None:
        capture = self._config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        print(f"\n{self._message()}", *_stacks(frame), "It goes on: this ends the run.", sep="\n", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)


def _stacks(frame: FrameType | None) -> Iterator[str]:
    """Where the program is, and where each of Trio's tasks waits."""
    yield "\n" + _stack(traceback.walk_stack(frame), reverse=True)
    try:
        waiting = [trio.lowlevel.current_root_task()]
    except RuntimeError:  # Trio does not run
        return
    while waiting:
        task = waiting.pop()
        if task is not None:
            if stack := _stack(task.iter_await_frames()):
                yield f"Task {task.name}:\n{stack}"
            waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def _stack(frames: Iterator[tuple[FrameType, int]], *, reverse: bool = False) -> str:
    """Without the frames of pytest and Trio, which are the same for every test."""
    summary = traceback.StackSummary.extract(frames)
    if reverse:
        summary.reverse()
    ours = [each for each in summary if not LIBRARIES & set(Path(each.filename).parts) and each.filename[0] != "<"]
    return "".join(traceback.format_list(ours))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("time_limit", "seconds that one test may take", default="120")
    parser.addini("time_limit_grace", "seconds that an interrupted test may still clean up", default="10")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background, as `make test` does with half of them, has Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(TimeLimit(config), "time_limit_alarm")
