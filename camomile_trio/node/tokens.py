"""Write tokens: who holds one can receive at the address that it stores from.

Rules of this file: a token is bound to an ip and an hour and lives for that hour and the next; nothing is remembered
for it. Source: BEP 5 (BitTorrent DHT), "announce_peer".
"""

from __future__ import annotations

import hashlib
import hmac
import random

TOKEN_BYTES = 8
_HOUR = 3600.0


class Tokens:
    """Makes and checks the write tokens of one node, on a clock in seconds."""

    def __init__(self, rng: random.Random) -> None:
        self._secret = rng.randbytes(32)
        self._made: dict[bytes, bytes] = {}
        self._hour = -1

    def token(self, ip: bytes, now: float) -> bytes:
        """The token that `ip` (packed) is given now."""
        hour = int(now // _HOUR)
        if hour != self._hour or len(self._made) > 4096:
            self._made.clear()
            self._hour = hour
        known = self._made.get(ip)
        if known is None:
            known = self._made[ip] = self._compute(ip, hour)
        return known

    def is_valid(self, token_untrusted: bytes, ip: bytes, now: float) -> bool:
        """Whether the token was given to `ip` in this hour or the one before."""
        hour = int(now // _HOUR)
        return hmac.compare_digest(token_untrusted, self.token(ip, now)) or hmac.compare_digest(
            token_untrusted, self._compute(ip, hour - 1)
        )

    def _compute(self, ip: bytes, hour: int) -> bytes:
        text = ip + (hour & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
        return hashlib.blake2b(text, key=self._secret, digest_size=TOKEN_BYTES).digest()
