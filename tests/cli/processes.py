"""Real commands in processes of their own, none of which outlives its test."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import attrs

PATIENCE = 30.0  # seconds for anything that a process should do; the machine may be busy
COMMAND = [sys.executable, "-m", "camomile_trio"]
FREE_PORTS = ("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
Event = dict[str, object]


@attrs.define
class Process:
    """A running command whose lines are read as they come."""

    process: subprocess.Popen[str]
    out: queue.Queue[str | None] = attrs.field(factory=queue.Queue)
    errors: queue.Queue[str | None] = attrs.field(factory=queue.Queue)
    said: list[str] = attrs.field(factory=list)
    events: dict[str, Event] = attrs.field(factory=dict)
    _readers: list[threading.Thread] = attrs.field(factory=list)

    @classmethod
    def start(cls, *words: str, before: str = ":", **environment: str) -> Process:
        process = subprocess.Popen(
            ["sh", "-c", f'{before} && exec "$@"', "sh", *COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            start_new_session=True,
        )
        new = cls(process)
        assert process.stdout is not None
        assert process.stderr is not None
        for pipe, lines in ((process.stdout, new.out), (process.stderr, new.errors)):
            reader = threading.Thread(target=_read, args=(pipe, lines), daemon=True)
            reader.start()
            new._readers.append(reader)
        return new

    def next_line(self, lines: queue.Queue[str | None]) -> str:
        line = lines.get(timeout=PATIENCE)
        assert line is not None, f"the process ended: {self.said}"
        self.said.append(line)
        return line

    def rest(self, lines: queue.Queue[str | None]) -> list[str]:
        """All lines that were not looked at yet, of a process that has ended."""
        found = []
        while (line := lines.get(timeout=PATIENCE)) is not None:
            found.append(line)
        return found

    def event(self, name: str) -> Event:
        """The first event of that name in the log, whether it is there already or to come."""
        while name not in self.events:
            found: Event = json.loads(self.next_line(self.errors))
            self.events.setdefault(str(found["event"]), found)
        return self.events[name]

    def end(self, number: signal.Signals | None = None) -> int:
        """Its exit code, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


def _read(pipe: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in pipe:
        lines.put(line.rstrip("\n"))
    lines.put(None)


class Processes:
    """Starts commands, and sees to it that none outlives its test."""

    def __init__(self) -> None:
        self._started: list[Process] = []

    def start(self, *words: str, before: str = ":", **environment: str) -> Process:
        """Starts a command; `before` is what a shell does before it becomes that command."""
        process = Process.start(*words, before=before, **environment)
        self._started.append(process)
        return process

    def node(self, *words: str, **environment: str) -> tuple[Process, Event]:
        """A node on free ports, and its event `listening`."""
        process = self.start("node", *FREE_PORTS, *words, **environment)
        return process, process.event("listening")

    def clean_up(self) -> None:
        for process in self._started:
            process.clean_up()


def url_of(listening: Event) -> str:
    """Where clients reach the node of that event."""
    http = listening["http"]
    assert isinstance(http, list)
    return str(http[0])


@attrs.frozen
class Alice:
    """A node that stays up for many tests."""

    node: Process
    listening: Event
    directory: Path

    @property
    def url(self) -> str:
        return url_of(self.listening)

    @property
    def socket(self) -> Path:
        return self.directory / "control.sock"
