"""What users were told: values that were acknowledged, and keys that were forgotten. Stories are judged against it.

Rules of this file: only what a node acknowledged enters. A read that gives something else than the value counts as one
that gave nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import attrs

from tools.cluster.client import Answer
from tools.faults.figures import Figures
from tools.faults.network import Member, Network, key_of, reason

LARGE = 5000  # bytes of every tenth value: more than a datagram holds


def value_of(word: str, number: int) -> bytes:
    text = f"{word} {number} ".encode()
    return text * (LARGE // len(text)) if number % 10 == 9 else text


@attrs.define
class Truth:
    network: Network
    figures: Figures
    values: dict[str, bytes] = attrs.field(factory=dict)  # acknowledged and not forgotten
    forgotten: set[str] = attrs.field(factory=set)

    def put(self, word: str, count: int, members: Sequence[Member]) -> list[str]:
        """Puts `count` values at the members in turn; the keys. What is refused is a failed request."""
        values = [value_of(word, number) for number in range(count)]
        pairs = [(members[number % len(members)], value) for number, value in enumerate(values)]
        keys = []
        for (member, value), answer in zip(pairs, self.network.put(pairs), strict=True):
            if answer.status == 202:
                keys.append(key_of(answer))
                self.values[keys[-1]] = value
            else:
                self.figures.failed.append(f"put at {member.host.name}: {reason(answer)}")
        self.figures.keys += len(keys)
        return keys

    def forget(self, keys: Sequence[str], members: Sequence[Member]) -> None:
        """Forgets the keys at the members in turn."""
        pairs = [(members[number % len(members)], key) for number, key in enumerate(keys)]
        for (member, key), answer in zip(pairs, self.network.forget(pairs), strict=True):
            if answer.status == 204:
                self.forgotten.add(key)
                self.values.pop(key, None)
            else:
                self.figures.failed.append(f"forget at {member.host.name}: {reason(answer)}")

    def read_all(self, members: Sequence[Member], *, within: float, since: float | None = None) -> None:
        """Reads every value at one of the members, and at the next one where that fails, until `within` is over.

        What is not read by then is lost. A read's time counts from its own start, or from `since`.
        """
        began = time.monotonic() if since is None else since
        left = {key: (place, 0.0) for place, key in enumerate(self.values)}
        said = dict[str, str]()
        turn = 0
        while left and time.monotonic() - began < within:
            asked = [(members[(place + turn) % len(members)], key) for key, (place, _) in left.items()]
            patience = max(1.0, began + within - time.monotonic())
            for (member, key), answer in zip(asked, self.network.read(asked, timeout=patience), strict=True):
                place, first = left[key]
                first = first or answer.began
                took = answer.ended - (first if since is None else since)
                if self._is_value(key, answer) and (since is None or took <= within):
                    self.figures.read_took(took)
                    del left[key]
                else:
                    said[key] = f"{member.host.name}: {reason(answer)} after {took:.1f} s"
                    left[key] = (place, first)
            turn += 1
        self.figures.lost |= {f"{key} ({said.get(key, 'not asked in time')})" for key in left}

    def read_everywhere(self, keys: Iterable[str], members: Sequence[Member]) -> list[str]:
        """Reads each key at each member; what was not read, in words."""
        asked = [(member, key) for key in keys for member in members]
        missed = []
        for (member, key), answer in zip(asked, self.network.read(asked), strict=True):
            if self._is_value(key, answer):
                self.figures.read_took(answer.ended - answer.began)
            else:
                missed.append(f"{key} at {member.host.name}: {reason(answer)}")
        return missed

    def unread(self, keys: Sequence[str], members: Sequence[Member]) -> int:
        """How many reads give no value, of each key at each member. Leaves no figure: it is for waiting."""
        asked = [(member, key) for key in keys for member in members]
        answers = zip(asked, self.network.read(asked), strict=True)
        return sum(not self._is_value(key, answer) for (_, key), answer in answers)

    def still_served(self, members: Sequence[Member]) -> set[str]:
        """Forgotten keys that one of the members serves."""
        asked = [(member, key) for key in sorted(self.forgotten) for member in members]
        answers = zip(asked, self.network.read(asked), strict=True)
        return {key for (_, key), answer in answers if answer.status == 200}

    def _is_value(self, key: str, answer: Answer) -> bool:
        return answer.status == 200 and answer.body == self.values[key]
