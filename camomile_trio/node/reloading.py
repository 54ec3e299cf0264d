"""What a running node reads anew: its network keys, and how many nodes its deployment has at least.

Rules of this file: all that may be wrong is found before anything changes, so a broken file leaves a node as it was.
Keys are named by their fingerprints.
Source: docs/protocol.md, Keys.
"""

from __future__ import annotations

import attrs

from camomile_trio.logs import log
from camomile_trio.node.core import Core
from camomile_trio.node.keyring import Keyring
from camomile_trio.operations.results import NetworkKeyStatus, Reloaded

# A session counts as in use if anything came from its peer for so long (s): live contacts are asked more often.
IN_USE = 3600.0


def key_statuses(core: Core) -> tuple[NetworkKeyStatus, ...]:
    """The network keys that this node accepts, the one that it sends under first."""
    keyring = core.keyring
    if not keyring.fingerprints:
        return ()
    sessions = core.requests.sessions.table.count_by_key(core.clock() - IN_USE)
    return tuple(
        NetworkKeyStatus(shown, sessions[key.psk])
        for key, shown in zip(keyring.keys, keyring.fingerprints, strict=True)
    )


def reload(core: Core, expect: int | None) -> Reloaded:
    """Reads the network key file again, and takes over `expect` unless it is None. ConfigError, and nothing changed."""
    config = core.config if expect is None else attrs.evolve(core.config, expect=expect)
    keyring = Keyring.load(config)
    former, statuses, expect_before = core.keyring, key_statuses(core), core.config.expect
    removed = tuple(status for status in statuses if status.fingerprint not in keyring.fingerprints)
    reloaded = Reloaded(
        added=tuple(each for each in keyring.fingerprints if each not in former.fingerprints),
        removed=tuple(status.fingerprint for status in removed),
        promoted=keyring.fingerprints[0] if keyring.fingerprints[:1] != former.fingerprints[:1] else None,
        sessions_ended=sum(status.sessions for status in removed),
        expect_before=expect_before,
        expect=config.expect,
    )
    core.config = config
    if expect is not None:
        core.membership.set_expect(expect)
        core.readiness.look()
    if keyring != former:
        core.keyring = keyring
        core.requests.sessions.change_keys(keyring.keys, core.clock())
        core.streams.end_other_keys()
        core.requests.renew_sessions()
    changed = {name: value for name, value in attrs.asdict(reloaded).items() if value}
    log.info("reloaded", network_keys=keyring.fingerprints, **changed)
    if reloaded.sessions_ended:
        log.warning(
            "sessions have ended with a removed network key",
            sessions=reloaded.sessions_ended,
            keys=reloaded.removed,
            meaning="these peers have not promoted another key, and are cut off from this node until they do",
        )
    return reloaded
