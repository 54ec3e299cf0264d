"""All nodes of a network are killed at once, under writes: whatever was acknowledged is there when they come back."""

from __future__ import annotations

import gc
from pathlib import Path

import httpx
import pytest
import trio

from tools.kills.trial import Trial, ask


@pytest.mark.real_time
async def test_no_acknowledged_value_is_lost_when_all_nodes_are_killed_at_once(tmp_path: Path) -> None:
    with Trial(tmp_path, nodes=3, seed=3) as trial:
        for number in range(3):
            await trial.round(("os", "full")[number % 2], 0.5)
        await trial.finish("full")
    figures = trial.figures
    assert figures.kills == 3
    assert figures.acknowledged >= 3
    assert figures.looked_for >= figures.acknowledged
    assert figures.lost == []


@pytest.mark.real_time
async def test_a_node_that_is_killed_while_it_is_written_to_gives_no_answer_and_leaves_nothing_open() -> None:
    async def dies(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        # With bytes unread, so the writer's connection is reset.
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, dies, 0)
        port = listeners[0].socket.getsockname()[1]
        async with httpx.AsyncClient(trust_env=False) as client:
            # More than the system's buffers take. What is left to the garbage collector is a warning, and so an error.
            assert await ask(client, "POST", f"http://127.0.0.1:{port}/", bytes(50 * 2**20)) is None
            assert await ask(client, "GET", f"http://127.0.0.1:{port}/") is None
        nursery.cancel_scope.cancel()
    gc.collect()
