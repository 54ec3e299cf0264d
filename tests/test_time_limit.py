"""A test that hangs fails by name, and the tests after it run.

Rules of this file: the tests that hang are run by another pytest, with the settings of this one but for the limit.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HANGING = """
import threading
import time

import pytest
import trio


async def test_a_task_that_waits_for_ever():
    async def waits_for_what_never_comes():
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits_for_what_never_comes)


async def test_a_loop_that_never_waits():
    while True:
        pass


async def test_a_loop_in_virtual_time(autojump_clock):
    while True:
        await trio.sleep(1)


def test_a_lock_that_nobody_lets_go():
    threading.Event().wait()


def test_a_failure_that_the_test_expects():
    with pytest.raises(KeyboardInterrupt):
        threading.Event().wait()


@pytest.fixture
def stuck():
    threading.Event().wait()


def test_a_fixture(stuck):
    pass


async def test_the_next():
    assert trio.current_time()
"""
ENDLESS = """
import time

def test_that_goes_on():
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


def run_tests(directory: Path, text: str, *settings: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_hanging.py").write_text(text)
    limit = ("-p", "tests.time_limit", "-o", "time_limit=0.2", *settings)
    where = ("--config-file", str(ROOT / "pyproject.toml"), "--rootdir", str(directory), str(directory))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *limit, *where]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.real_time
def test_a_test_that_hangs_fails_by_name_and_the_next_one_runs(tmp_path: Path) -> None:
    done = run_tests(tmp_path, HANGING)
    print(done.stdout, done.stderr)
    for name in ("a_task_that_waits_for_ever", "a_loop_that_never_waits", "a_loop_in_virtual_time"):
        assert f"test_hanging.py::test_{name} ran for 0.2 s, which is the limit" in done.stdout
    assert "in waits_for_what_never_comes" in done.stdout
    assert "5 failed, 1 passed, 1 error" in done.stdout


@pytest.mark.real_time
def test_a_test_that_cannot_be_interrupted_ends_the_run_and_is_named(tmp_path: Path) -> None:
    done = run_tests(tmp_path, ENDLESS, "-o", "time_limit_grace=0.2")
    print(done.stdout, done.stderr)
    assert done.returncode == 1
    assert "test_hanging.py::test_that_goes_on ran for 0.2 s" in done.stderr
