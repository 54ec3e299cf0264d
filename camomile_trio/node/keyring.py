"""The network keys that a node accepts, and what people see of them.

Rules of this file: values only. A key that has left its file is in here, in `peer/`, and nowhere else; all others see
its fingerprint.
"""

from __future__ import annotations

import attrs

from camomile_trio.config import Config
from camomile_trio.identity import network_id
from camomile_trio.network_keys import fingerprint, load_network_keys
from camomile_trio.peer.handshake import NetworkKey, open_network_key


@attrs.frozen
class Keyring:
    """The keys, the one that is sent under first, and in a closed network the fingerprint of each.

    An open network has a key that is no secret, and no fingerprints.
    """

    keys: tuple[NetworkKey, ...]
    fingerprints: tuple[str, ...]

    @classmethod
    def load(cls, config: Config) -> Keyring:
        """What the key file says, if the node has one. ConfigError."""
        network = network_id(config.network)
        if config.network_key is None:
            return cls((NetworkKey.of(open_network_key(network), network),), ())
        keys = load_network_keys(config.network_key)
        return cls(tuple(NetworkKey.of(key, network) for key in keys), tuple(map(fingerprint, keys)))

    def fingerprint_of(self, psk: bytes | None) -> str | None:
        """That of the key which this one was derived from; None in an open network, or of none of these keys."""
        for key, shown in zip(self.keys, self.fingerprints, strict=False):
            if key.psk == psk:
                return shown
        return None
