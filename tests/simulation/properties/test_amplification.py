"""Nodes answer strangers with three times their bytes at most; one that sends more, or asks too often, is seen.

Rules of this file: where no node runs, a judge is shown datagrams one by one, as if a machine and a stranger had sent
them.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from unittest import mock

import attrs
import pytest
import trio

from camomile_trio.config import Config
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import FindNode
from camomile_trio.peer import responder
from camomile_trio.peer.decisions import Initiated
from camomile_trio.peer.handshake import NetworkKey, open_network_key
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.packets import LARGEST_DATAGRAM
from camomile_trio.peer.sessions import Sessions
from camomile_trio.simulation.adversary import open_adversary
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.properties.amplification import Amplification
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan, Scenario
from camomile_trio.simulation.world import World
from camomile_trio.wire import classic
from tests.peer.nodes import NETWORK
from tests.simulation.worlds import broken_rules, run_world

STRANGER, FRIEND = Endpoint.parse("10.9.9.9:8118"), Endpoint.parse("10.9.9.8:8118")


async def a_stranger_asks(world: World, machines: list[Machine]) -> None:
    """From an address at which nobody answers, as if it were forged."""
    rng = world.generator("stranger")
    async with open_adversary(world, STRANGER, mouth=None) as stranger:
        for padded_to in (0, 0, 300, 420):
            for machine in machines:
                stranger.begin(machine.contact, FindNode(NodeId(rng.randbytes(32))), padded_to=padded_to)
            await trio.sleep(20)


async def crashes_and_returns(world: World, machines: list[Machine]) -> None:
    """Nodes that start again have forgotten who has proven itself, while others still know them."""
    await world.users.put_many(10)
    await world.crash_all(machines[2:5])
    for machine in machines[2:5]:
        await world.start(machine)
    await world.users.keep_busy(60, puts=1, gets=5)


def test_strangers_and_friends_get_no_more_than_they_may() -> None:
    assert not broken_rules(run_world(a_stranger_asks, Amplification))
    assert not broken_rules(run_world(crashes_and_returns, Amplification))


def test_more_than_that_is_seen() -> None:
    def generous(initiation_bytes: int, advertised: bytes) -> int:
        return LARGEST_DATAGRAM - 200

    async def story(world: World, machines: list[Machine]) -> None:
        with mock.patch.object(responder, "room_for_answer", generous):
            await a_stranger_asks(world, machines)

    outcome = run_world(story, Amplification, nodes=30, config=Config())
    assert broken_rules(outcome) == [Amplification.name]
    assert any(str(STRANGER) in each.expected for each in outcome.violations)


# Shown to the judge --------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Scene:
    """A judge, a machine that does not run, and a stranger; both sides' sessions are real."""

    world: World
    machine: Machine
    judge: Amplification
    ours: Sessions
    theirs: Sessions
    stranger: StaticKey

    @classmethod
    def of(cls, world: World) -> Scene:
        machine = world.new_machine()
        stranger = StaticKey.from_seed(world.suite, b"s" * 32)
        key = NetworkKey.of(open_network_key(NETWORK), NETWORK)
        ours, theirs = (
            Sessions(Local.start(static, (key,), world.suite, random.Random(number)), world.now)
            for number, static in enumerate((machine.static, stranger))
        )
        return cls(world, machine, Amplification(world), ours, theirs, stranger)

    def sent(self, datagram: bytes, to: Endpoint = STRANGER) -> None:
        self.judge.on_sent(self.world.now, self.machine.endpoint, to, datagram)

    def received(self, datagram: bytes, source: Endpoint = STRANGER) -> None:
        self.judge.on_received(self.world.now, source, self.machine.endpoint, datagram)

    def asked(self, request: bytes = b"find") -> bytes:
        """An initiation of the stranger's."""
        return self.theirs.initiator.initiate(
            self.machine.static.public, self.machine.endpoint, request, self.world.now, 1
        )

    def answered(self, initiation: bytes, answer: bytes = b"found") -> bytes:
        """The machine's response to it."""
        decision = self.ours.on_datagram(initiation, STRANGER, self.world.now, 1)
        assert isinstance(decision, Initiated)
        response = self.ours.responder.respond(decision, answer, self.world.now, 1)
        assert response is not None
        return response

    def confirming(self, response: bytes) -> bytes:
        """The stranger's first sealed packet."""
        self.theirs.on_datagram(response, self.machine.endpoint, self.world.now, 1)
        sealed = self.theirs.seal(self.machine.static.public, b"", self.world.now)
        assert sealed is not None
        return sealed.datagram

    def initiation(self) -> bytes:
        """The machine's own, to the stranger."""
        return self.ours.initiator.initiate(self.stranger.public, STRANGER, b"find", self.world.now, 1)

    def sealed(self, confirming: bytes) -> bytes:
        """A packet of the machine's, once the stranger has confirmed."""
        self.ours.on_datagram(confirming, STRANGER, self.world.now, 1)
        sealed = self.ours.seal(self.stranger.public, bytes(1000), self.world.now)
        assert sealed is not None
        return sealed.datagram


Told = Callable[[Scene], Awaitable[None] | None]


def shown(story: Told, *, has_real_crypto: bool = False) -> Outcome:
    """What the judge says of a story without nodes."""

    async def run(world: World, nodes: int) -> None:
        going_on = story(Scene.of(world))
        if going_on is not None:
            await going_on
        await trio.lowlevel.checkpoint()

    scenario = Scenario(name="shown", summary="A test's.", passes="as the test says", run=run, nodes=0)
    return simulate(Plan(scenario=scenario, has_real_crypto=has_real_crypto), properties=())


@pytest.mark.parametrize("has_real_crypto", [False, True])
def test_whoever_confirms_a_session_is_answered_in_full(has_real_crypto: bool) -> None:
    def story(scene: Scene) -> None:
        asked = scene.asked()
        response = scene.answered(asked)
        confirming = scene.confirming(response)
        scene.received(asked)
        scene.sent(response)
        scene.received(confirming)
        for _ in range(10):
            scene.sent(scene.sealed(confirming))

    assert not broken_rules(shown(story, has_real_crypto=has_real_crypto))


@pytest.mark.parametrize("times", [3, 4])
def test_responses_of_more_than_three_times_the_initiation_are_seen(times: int) -> None:
    def story(scene: Scene) -> None:
        asked = scene.asked(bytes(500))
        response = scene.answered(asked, bytes(550))
        assert 3 * len(response) <= 3 * len(asked) < 4 * len(response)
        scene.received(asked)
        for _ in range(times):
            scene.sent(response)

    assert broken_rules(shown(story)) == ([Amplification.name] if times == 4 else [])


@pytest.mark.parametrize("has_real_crypto", [False, True])
def test_what_is_sealed_to_an_address_without_a_session_is_seen(has_real_crypto: bool) -> None:
    def story(scene: Scene) -> None:
        asked = scene.asked()
        response = scene.answered(asked)
        scene.received(asked)
        scene.sent(response)
        scene.sent(scene.sealed(scene.confirming(response)))

    outcome = shown(story, has_real_crypto=has_real_crypto)
    assert broken_rules(outcome) == [Amplification.name]
    assert "no session" in outcome.violations[0].expected


def test_a_sealed_packet_under_an_index_that_was_never_given_there_proves_nothing() -> None:
    def story(scene: Scene) -> None:
        asked = scene.asked()
        response = scene.answered(asked)
        confirming = scene.confirming(response)
        scene.received(asked)
        scene.sent(response, to=FRIEND)
        scene.received(confirming)
        scene.sent(scene.sealed(confirming))

    assert broken_rules(shown(story)) == [Amplification.name]


def test_a_response_to_our_own_initiation_proves_its_address_and_any_other_does_not() -> None:
    def story(scene: Scene, is_ours: bool) -> None:
        initiation = scene.initiation()
        if is_ours:
            scene.sent(initiation)
        decision = scene.theirs.on_datagram(initiation, scene.machine.endpoint, scene.world.now, 1)
        assert isinstance(decision, Initiated)
        response = scene.theirs.responder.respond(decision, b"", scene.world.now, 1)
        assert response is not None
        scene.received(response)
        scene.sent(scene.sealed(response))

    assert not broken_rules(shown(lambda scene: story(scene, is_ours=True)))
    assert broken_rules(shown(lambda scene: story(scene, is_ours=False))) == [Amplification.name]


def test_initiations_that_are_a_minute_apart_are_not_too_many() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(11):
            scene.sent(scene.initiation())
            await trio.sleep(6.1)

    assert not broken_rules(shown(story))


@pytest.mark.parametrize("initiations", [10, 11])
def test_too_many_initiations_a_minute_to_one_address_are_seen_and_repeated_bytes_are_none(initiations: int) -> None:
    def story(scene: Scene) -> None:
        for _ in range(initiations):
            datagram = scene.initiation()
            scene.sent(datagram)
            scene.sent(datagram)

    outcome = shown(story)
    assert broken_rules(outcome) == ([Amplification.name] if initiations == 11 else [])
    assert all("initiations a minute" in each.expected for each in outcome.violations)


def test_the_judge_says_what_it_cannot_read() -> None:
    async def nothing(world: World, nodes: int) -> None:
        await trio.lowlevel.checkpoint()

    scenario = Scenario(name="nothing", summary="", passes="", run=nothing, nodes=0)
    for has_real_crypto in (False, True):
        plan = Plan(scenario=scenario, has_real_crypto=has_real_crypto)
        outcome = simulate(plan, properties=(Amplification,))
        assert list(outcome.not_judged) == ([Amplification.name] if has_real_crypto else [])
        assert ("--real-crypto" in outcome.repeat) == has_real_crypto


# Classic nodes -------------------------------------------------------------------------------------------------------


def packet(scene: Scene, message: classic.Message, *, is_ours: bool = False, session: bytes = b"") -> bytes:
    sender = scene.machine.id if is_ours else scene.stranger.node_id
    return classic.encode(classic.Packet(session or scene.world.rng.randbytes(32), sender, message))


def test_a_third_classic_request_in_a_minute_is_seen() -> None:
    def story(scene: Scene, requests: int) -> None:
        for _ in range(requests):
            scene.sent(packet(scene, classic.Ping(bytes(32)), is_ours=True))

    assert not broken_rules(shown(lambda scene: story(scene, 2)))
    outcome = shown(lambda scene: story(scene, 3))
    assert broken_rules(outcome) == [Amplification.name]
    assert "first requests" in outcome.violations[0].expected


@pytest.mark.parametrize("pings", [0, 1])
def test_a_ping_that_goes_with_a_classic_answer_counts_with_it(pings: int) -> None:
    def story(scene: Scene) -> None:
        question = packet(scene, classic.Ping(bytes(32)))
        fill_up(scene)
        scene.received(question)
        for _ in range(3):
            scene.sent(packet(scene, classic.Pong(bytes(32)), is_ours=True))
        for _ in range(pings):
            scene.sent(packet(scene, classic.Ping(bytes(32)), is_ours=True))

    assert broken_rules(shown(story)) == [Amplification.name] * pings


@pytest.mark.parametrize("somebody_else", [True, False])
def test_a_ping_belongs_to_what_is_being_received_and_not_to_what_came_just_before(somebody_else: bool) -> None:
    """Seed 1485 of the swarm: in the moment of a stranger's ping another peer's answer named the stranger."""

    def story(scene: Scene) -> None:
        fill_up(scene)
        scene.received(packet(scene, classic.Ping(bytes(32))))
        for _ in range(3):
            scene.sent(packet(scene, classic.Pong(bytes(32)), is_ours=True))
        if somebody_else:
            named = classic.NodeList((Contact(scene.stranger.node_id, STRANGER),))
            scene.received(packet(scene, named), source=FRIEND)
        scene.sent(packet(scene, classic.Ping(bytes(32)), is_ours=True))

    assert broken_rules(shown(story)) == ([] if somebody_else else [Amplification.name])


@pytest.mark.parametrize("is_too_much", [False, True])
def test_classic_answers_beyond_the_rule_are_paid_from_the_budget(is_too_much: bool) -> None:
    def story(scene: Scene) -> None:
        if is_too_much:
            fill_up(scene)
        scene.received(packet(scene, classic.FindNode(scene.stranger.node_id)))
        scene.sent(long_answer(scene))

    assert broken_rules(shown(story)) == ([Amplification.name] if is_too_much else [])


def test_a_classic_node_that_has_answered_gets_answers_in_full() -> None:
    def story(scene: Scene) -> None:
        session = bytes(32)
        scene.sent(packet(scene, classic.Ping(bytes(32)), is_ours=True, session=session))
        scene.received(packet(scene, classic.Pong(bytes(32)), session=session))
        fill_up(scene)
        for _ in range(10):
            scene.sent(long_answer(scene))

    assert not broken_rules(shown(story))


def long_answer(scene: Scene) -> bytes:
    rng = scene.world.rng
    contacts = tuple(Contact(NodeId(rng.randbytes(32)), FRIEND) for _ in range(20))
    return packet(scene, classic.NodeList(contacts), is_ours=True)


def fill_up(scene: Scene) -> None:
    """Answers to other addresses, which use up all of the budget but less than one more packet."""
    left, number = scene.machine.config.requests.classic_budget, 0
    while left > 0:
        answer = long_answer(scene) if left > 2000 else packet(scene, classic.Pong(bytes(32)), is_ours=True)
        left, number = left - len(answer), number + 1
        if left >= 0:
            scene.sent(answer, Endpoint.of(bytes((10, 8, number >> 8, number & 0xFF)), 8118))
