"""All nodes of a network are killed at once, under writes: whatever was acknowledged is there when they come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.kills.trial import Trial


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
