"""`python -m tools.kills --kills 200 --nodes 10`: the experiment at length, with its progress and its figures."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import trio

from tools.arguments import amount, whole
from tools.kills.trial import Trial

LONGEST_WRITING = 1.5  # seconds of writing before a kill, at least a tenth of it


async def run(directory: Path, kills: int, nodes: int, minutes: float, seed: int) -> int:
    rng = random.Random(seed)
    ends = time.monotonic() + 60 * minutes
    with Trial(directory, nodes, seed) as trial:
        figures = trial.figures
        for number in range(kills):
            if time.monotonic() > ends:
                print(f"the time of {minutes:g} minutes is up", flush=True)
                break
            # With either way to acknowledge, in turn.
            await trial.round(("os", "full")[number % 2], rng.uniform(LONGEST_WRITING / 10, LONGEST_WRITING))
            if figures.kills % 10 == 0:
                print(
                    f"{figures.kills} kills, {figures.acknowledged} acknowledged, {len(figures.lost)} lost", flush=True
                )
        await trial.finish("os")
    print(f"{figures.kills} times all {nodes} nodes were killed at once (seed {seed})")
    print(f"keys acknowledged {figures.acknowledged}, looked for {figures.looked_for} times, lost {len(figures.lost)}")
    print(f"worst read {figures.worst_read:.2f} s")
    for key in figures.lost:
        print(f"lost {key}")
    return 1 if figures.lost or figures.kills < kills else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=whole(1, 1_000_000), default=200)
    parser.add_argument("--nodes", type=whole(3, 100), default=10)
    parser.add_argument(
        "--minutes", type=amount(0.1, 10_000), default=60.0, help="after which no further kill is begun"
    )
    parser.add_argument("--seed", type=whole(0, 2**32), default=1)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="camomile-kills-") as directory:
        return trio.run(run, Path(directory), words.kills, words.nodes, words.minutes, words.seed)


if __name__ == "__main__":
    sys.exit(main())
