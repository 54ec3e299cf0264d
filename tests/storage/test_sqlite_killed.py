"""A node that is killed: whatever it had acknowledged is there when it starts again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from camomile_trio.kademlia.ids import Key
from camomile_trio.storage.sqlite import open_sqlite
from tests.storage.kept import MIB

# Writes values without end, a few at a time, and tells each key once it was acknowledged. An alarm ends it in any case.
NODE = """
import signal, sys
from pathlib import Path
import trio
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.sqlite import open_sqlite

async def main(directory, sync, first):
    storage = open_sqlite(directory, sync=sync, max_bytes=2**30)
    async with trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        number = first
        while True:
            written = trio.Event()
            for _ in range(1 + number % 7):
                number += 1
                value = b"value %d" % number * (1 + number % 300)
                key = Key.of(value)
                def done(outcome, key=key, written=written):
                    assert isinstance(outcome, Durability), outcome
                    sys.stdout.write(key.hex() + "\\n")
                    sys.stdout.flush()
                    written.set()
                state = KeyState(key, len(value), classic_until=1)
                storage.write(None, state, Timetable(due=number), value=value, done=done)
            await written.wait()

signal.alarm(30)
trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
"""
KILLS = 3
ACKNOWLEDGED = 200


def acknowledged_before_the_kill(directory: Path, sync: str, run: int) -> list[Key]:
    """Starts a node on the directory, kills it in the middle, and says what it had acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", NODE, str(directory), sync, str(run * 1_000_000)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as child:
        try:
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(ACKNOWLEDGED + 37 * run)]
            os.kill(child.pid, signal.SIGKILL)
            told += child.stdout.readlines()
        finally:
            child.kill()
        assert child.wait(10) == -signal.SIGKILL
    # The kill may have cut the last line.
    return [Key.parse(line.decode().strip()) for line in told if line.endswith(b"\n")]


@pytest.mark.real_time
@pytest.mark.parametrize("sync", ["os", "full"])
def test_a_killed_node_has_everything_that_it_acknowledged(tmp_path: Path, sync: str) -> None:
    acknowledged: list[Key] = []
    for run in range(KILLS):
        acknowledged += acknowledged_before_the_kill(tmp_path, sync, run)
        assert len(acknowledged) >= ACKNOWLEDGED * (run + 1)
        storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
        for key in acknowledged:
            state, value = storage.read(key), storage.value(key)
            assert state is not None
            assert value is not None
            assert Key.of(value) == key
            assert state.size == len(value)
        # What is counted is what is there, unacknowledged writes included.
        assert storage.statistics.keys == len(storage.keys(None, 1_000_000)) >= len(acknowledged)
        storage.close()
