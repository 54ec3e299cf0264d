"""Meeting neighbours that our own neighbours do not know.

A lookup of ourselves asks our neighbours, and they name theirs. After a partition, two halves of one neighbourhood may
each be complete in themselves: only those outside, who know some of either, can tell.

Rules of this file: plain calls. What is told is untrusted: of an answer's first k contacts each is pinged that would be
one of our k neighbours and that we do not know, and no more comes of it. An honest answer has no more than k, and costs
nothing where all is well; a liar's makes us send no more than a lookup would.
"""

from __future__ import annotations

import functools

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import distance
from camomile_trio.kademlia.messages import Message, NodeList
from camomile_trio.node.core import Core
from camomile_trio.peer.seams import Answer


def meet_named(core: Core, answer: Answer[Message]) -> None:
    """A peer was asked for the nodes closest to us, and this is its answer."""
    if not isinstance(answer.message, NodeList):
        return
    table = core.table
    near = table.closest(core.id)
    # With fewer than k that are known, anybody is a neighbour.
    radius = max(distance(core.id, each.id) for each in near) if len(near) >= table.k else None
    waiting: list[Contact] = []
    for named in answer.message.contacts[: table.k]:
        is_known = named.id == core.id or named.id in table
        if is_known or not core.contacts.may_contact(named.endpoint, answer.contact.endpoint):
            continue
        if radius is None or distance(core.id, named.id) < radius:
            waiting.append(named)
    _check(core, waiting, answer.contact)


def _check(core: Core, waiting: list[Contact], told_by: Contact) -> None:
    """As many as their teller can pay for. One that answers gives it back what it cost, for the next ones."""
    go_on = functools.partial(_check, core, waiting, told_by)
    while waiting and core.contacts.check(waiting[0], told_by=(told_by,), on_alive=go_on):
        del waiting[0]
