"""This node as its peers know it: its key, its network keys, and what it tells of itself.

Rules of this file: no secret is in a text form. Seeds and key files are read elsewhere (identity.py).
"""

from __future__ import annotations

import random

import attrs

from camomile_trio.kademlia.ids import NodeId
from camomile_trio.peer.handshake import NetworkKey, keyed_hash
from camomile_trio.peer.packets import RUN_BYTES, About
from camomile_trio.peer.suite import KEY_BYTES, CipherSuite, DhKey


@attrs.frozen(repr=False)
class StaticKey:
    """The X25519 key that is a node, made of the seed whose Ed25519 key signs records."""

    key: DhKey
    node_id: NodeId

    @classmethod
    def from_seed(cls, suite: CipherSuite, seed: bytes) -> StaticKey:
        key = DhKey.of(suite, keyed_hash(seed, b"camomile node\0", KEY_BYTES))
        return cls(key, NodeId.of(key.public))

    @property
    def public(self) -> bytes:
        return self.key.public

    def __repr__(self) -> str:
        return f"StaticKey({self.public.hex()[:16]})"


@attrs.define(eq=False, repr=False)
class Local:
    """One run of one node in one network."""

    static: StaticKey
    network_keys: tuple[NetworkKey, ...]  # one accepted key, or two while they are changed; the first is for sending
    suite: CipherSuite
    rng: random.Random  # `random.SystemRandom()` for anything but a simulation
    run: bytes
    version: int = 2
    flags: int = 0  # in every packet, and in what handshakes tell
    advertised: bytes = b""  # an Endpoint, or empty

    @classmethod
    def start(
        cls, static: StaticKey, network_keys: tuple[NetworkKey, ...], suite: CipherSuite, rng: random.Random
    ) -> Local:
        """A run begins, under a random number of its own."""
        return cls(static, network_keys, suite, rng, rng.randbytes(RUN_BYTES))

    def about(self, wall_ms: int) -> About:
        return About(max(0, wall_ms), self.run, self.version, self.flags, self.advertised)

    def ephemeral(self) -> DhKey:
        return DhKey.generate(self.suite, self.rng)
