"""An adversary makes handshakes as a node does, and cannot do without: what it says otherwise is not taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import FindNode, Ping
from camomile_trio.simulation.adversary import Adversary, open_adversary
from camomile_trio.simulation.manners import each_other
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan, Scenario
from camomile_trio.simulation.world import World

AT, HONEST, MOUTH = (Endpoint.parse(f"198.18.{number}.1:8118") for number in (1, 2, 3))
A_MOMENT = 1.0
ANYTHING = FindNode(NodeId(bytes(32)))


@attrs.define(eq=False)
class Meeting:
    """Two of them, of which one only answers."""

    stranger: Adversary
    honest: Adversary

    @property
    def contact(self) -> Contact:
        return Contact.of(self.honest.sessions.local.static.public, HONEST)

    @property
    def is_confirmed(self) -> bool:
        """Whether the honest one believes the stranger."""
        return self.honest.sessions.table.current(self.stranger.sessions.local.static.public) is not None

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.honest.sessions.dropped)


def meet(
    story: Callable[[Meeting], Awaitable[None]], *, mouth: Endpoint | None = AT, has_real_crypto: bool = False
) -> None:
    async def run(world: World, nodes: int) -> None:
        async with (
            open_adversary(world, AT, mouth=mouth) as stranger,
            open_adversary(world, HONEST, mouth=HONEST) as honest,
        ):
            await story(Meeting(stranger, honest))

    scenario = Scenario(name="meeting", summary="", passes="", run=run, nodes=0)
    assert simulate(Plan(scenario=scenario, has_real_crypto=has_real_crypto), properties=()).passed


@pytest.mark.parametrize("has_real_crypto", [False, True])
def test_after_its_handshake_it_is_believed(has_real_crypto: bool) -> None:
    async def story(meeting: Meeting) -> None:
        for _ in range(3):
            meeting.stranger.say(ANYTHING, meeting.contact)
        await trio.sleep(A_MOMENT)
        assert meeting.is_confirmed
        assert not meeting.refused
        peer = meeting.stranger.sessions.table.peers[meeting.contact.public]
        assert peer.current is not None
        assert peer.current.sent >= 2  # it confirmed, and said what waited
        # A ping of the other one's is answered under the session.
        heard = peer.heard_at
        meeting.honest.say(Ping(), Contact.of(meeting.stranger.sessions.local.static.public, AT))
        await trio.sleep(A_MOMENT)
        assert peer.heard_at > heard

    meet(story, has_real_crypto=has_real_crypto)


def test_one_that_forges_its_address_is_never_confirmed() -> None:
    async def story(meeting: Meeting) -> None:
        meeting.stranger.begin(meeting.contact, Ping())
        meeting.stranger.say(ANYTHING, meeting.contact)
        meeting.stranger.seal_without_session(ANYTHING, meeting.contact)
        await trio.sleep(A_MOMENT)
        assert not meeting.is_confirmed
        assert meeting.refused == {"unknown_index": 1}

    meet(story, mouth=None)


def test_one_that_speaks_from_another_address_than_its_handshake_is_never_confirmed() -> None:
    async def story(meeting: Meeting) -> None:
        meeting.stranger.say(ANYTHING, meeting.contact)
        await trio.sleep(A_MOMENT)
        assert not meeting.is_confirmed
        assert meeting.refused == {"other_address": 2}

    meet(story, mouth=MOUTH)


def test_it_names_to_others_whom_it_likes_and_otherwise_answers_no_lookup() -> None:
    invented = Contact.of(bytes(31) + b"\x02", MOUTH)

    async def story(meeting: Meeting) -> None:
        answered: list[int] = []
        meeting.stranger.say(ANYTHING, meeting.contact)
        await trio.sleep(A_MOMENT)
        peer = meeting.honest.sessions.table.peers[meeting.stranger.sessions.local.static.public]
        assert peer.current is not None
        for names in (None, each_other([invented])):
            meeting.honest.manners.names = names
            meeting.stranger.say(ANYTHING, meeting.contact)
            await trio.sleep(A_MOMENT)
            answered.append(peer.current.sent)
        assert answered[1] == answered[0] + 1

    meet(story)
