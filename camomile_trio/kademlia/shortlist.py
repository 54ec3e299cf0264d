"""The state of one iterative lookup: whom to ask next, who has answered, and whether it is over.

Rules of this file: pure. The caller sends, receives and keeps the time; here are only decisions. There are no rounds:
each answer, overdue peer or failure frees a slot at once. What peers tell is untrusted: it makes candidates of this
lookup and nothing else, and of these there are only so many. Source: Maymounkov and Mazières, Kademlia (2002), §2.3;
docs/protocol.md.

The closest that matter are the cover (`counting.py`), which is the k closest where no rule of counting is given, and
nearly always. It is made of candidates that are neither overdue nor failed.

    UNASKED ──next_queries──> ASKED ──on_reply──> ANSWERED        (or first_query, before anybody else)
                                │ on_overdue         ↑
                                └──────> OVERDUE ──on_reply
    and on_failed: UNASKED, ASKED or OVERDUE ──> FAILED
    and UNASKED <──> SET_ASIDE, while the parties that have named it are over (`parties.py`)

An id that was told at two endpoints is asked at the second once the first has failed: nodes change places. Each
candidate has that way back once. One that was set aside comes back only by an answer of another one. So a lookup can
only come to an end, since every other step takes some candidate further along these arrows, and a candidate that was
asked is never forgotten, so that it can be neither asked at the same endpoint nor counted twice. But for one case: an
answer that had no room for its last contacts is asked for once more, of the closest few, when nobody else is to be
asked. What it left out is farther than the last contact that it named, and may be one of the k closest.
"""

from __future__ import annotations

import bisect
import enum
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.counting import Counting, Cover, most
from camomile_trio.kademlia.ids import NodeId, as_int
from camomile_trio.kademlia.messages import MAX_CONTACTS
from camomile_trio.kademlia.parties import Asked, Party, Teller
from camomile_trio.kademlia.reach import EVERYBODY, NOBODY

MOST_TELLERS: Final = 3  # of one candidate that are remembered

MAX_CANDIDATES: Final = 512
"""How many contacts one lookup remembers, and so how many it can ever be made to ask.

An honest one meets one or two hundred in a network of a million nodes. With far fewer, one in which most peers are dead
would end before it found the living; with far more, peers that go on inventing closer ones could keep it busy, and make
it send packets to endpoints of their choice, for as long as its deadline allows.
"""


HEARD_IN_FULL: Final = 2
"""How many times alpha of the closest have to name all that they know.

With once, 3 of 200 lookups missed one of the k closest in a network of 300 whose nodes had just joined; with twice none
did, as with all k, for three requests more.
"""


class PeerState(enum.IntEnum):
    """How far a lookup has got with one candidate."""

    UNASKED = 0
    ASKED = 1  # in flight: it takes one of the alpha slots
    OVERDUE = 2  # one retransmission timeout has passed; it may still answer
    ANSWERED = 3
    FAILED = 4
    SET_ASIDE = 5  # it is not asked, for all that those that named it are worth


@attrs.define(eq=False)
class _Candidate:
    contact: Contact
    distance: int
    hops: int
    tellers: tuple[Teller, ...]  # by whose word alone it is known there; empty: the node that looks knows it by itself
    state: PeerState = PeerState.UNASKED
    elsewhere: Contact | None = None  # the other endpoint that it was told at
    elsewhere_by: tuple[Teller, ...] = ()  # those that have named that one
    may_have_tellers: bool = False  # one more peer that names it makes a difference
    asked_by: Asked | None = None  # by which party's word it is under way, or overdue
    is_doubtful: bool = False  # no more than one party has ever named it, and the node that looks does not know it
    is_unpaid: bool = False  # none of its tellers could pay for it, since an answer came last
    is_elsewhere: bool = False  # it is asked there, or was
    told_to: int | None = None  # how far from the target all that it knows was named, if its answer was shortened
    is_asked_again: bool = False  # for what was left out; it keeps the state ANSWERED


class Shortlist:
    """One lookup of `target` that ends with the `k` closest nodes, `alpha` requests in flight at a time.

    `counting` is the rule for `target` (default: all count), `party_of` says what a peer that names others is one of
    (default: each is one by itself). So many of the nearest as are `heard_in_full` have to name all that they know
    (default: twice alpha). `start` are the contacts it begins with, as a rule the closest of the own table.
    `own`, where the one who looks is a node itself, is never asked and never listed.
    """

    def __init__(
        self,
        target: bytes,
        *,
        k: int,
        alpha: int,
        own: NodeId | None,
        start: Iterable[Contact],
        counting: Counting | None = None,
        party_of: Callable[[Contact], bytes] | None = None,
        heard_in_full: int | None = None,
    ) -> None:
        self.k = k
        self.alpha = alpha
        self.own = own
        self.asked = 0  # requests made
        self._counting = counting
        self._heard_in_full = HEARD_IN_FULL * alpha if heard_in_full is None else heard_in_full
        self._width = k  # how many of the hopeful are the cover
        self._width_version: int | None = None  # None: to be found again
        self._width_edge = math.inf  # what is farther makes no difference to it
        self._party_of = party_of
        self._parties: dict[bytes, Party] = {}
        self._unpaid: list[_Candidate] = []
        self._number = as_int(target)
        self._candidates: dict[NodeId, _Candidate] = {}
        # Those neither overdue nor failed, closest first. Different ids never have the same distance.
        self._hopeful: list[tuple[int, _Candidate]] = []
        self._counts = [0] * len(PeerState)
        self._shortened = 0  # answers that have been, and were not asked for again
        self._asked_again = 0  # in flight; they take no slots, since they are there and will all be asked
        known: dict[int, Contact] = {}
        for contact in start:
            known.setdefault(as_int(contact[0]) ^ self._number, contact)
        if own is not None:
            known.pop(as_int(own) ^ self._number, None)
        ordered = sorted(known.items())
        self._farther = ordered[:k]
        self._learn_farther()
        # Those beyond the k closest are made candidates once that can make a difference: in most lookups never.
        self._farther = ordered[k:MAX_CANDIDATES]

    def next_queries(self, reach: int = NOBODY) -> list[Contact]:
        """Whom to ask now, closest first; they are taken as asked. Often none: then an event has to come first.

        Those within `reach` of the target will be asked in any case (see `reach.py`), so they need no free slot.
        Nobody else is asked meanwhile: what they say may bring the others within reach.
        """
        queries: list[Contact] = []
        free = self.alpha - self._counts[PeerState.ASKED]
        if free <= 0 and reach < 0:
            return queries
        left = self._cover_width()
        for distance, candidate in self._hopeful:
            is_certain = distance <= reach
            if left <= 0 or (not is_certain and free <= 0):
                break
            if candidate.state is PeerState.UNASKED:
                if candidate.tellers and not self._take_room(candidate):
                    continue  # it may be nobody: meanwhile the one behind it is asked
                self._become(candidate, PeerState.ASKED)
                queries.append(candidate.contact)
                free -= 1
            left -= 1
        if self._shortened and free > 0:
            for candidate in self._to_hear_again():
                candidate.is_asked_again = True
                self._asked_again += 1
                queries.append(candidate.contact)
        self.asked += len(queries)
        if self._unpaid and not (self._counts[PeerState.ASKED] or self._asked_again):
            self._set_unpaid_aside()
        return queries

    def first_query(self, cost: Callable[[Contact], float]) -> Contact | None:
        """Before anybody is asked: of the alpha closest the one that costs least, taken as asked. None if all cost
        infinitely much."""
        nearest = [candidate for _, candidate in self._hopeful[: self.alpha]]
        costs = [cost(candidate.contact) for candidate in nearest]
        least = min(costs, default=math.inf)
        if least == math.inf:
            return None
        candidate = nearest[costs.index(least)]
        self._become(candidate, PeerState.ASKED)
        self.asked += 1
        return candidate.contact

    def on_reply(
        self,
        node: NodeId,
        contacts: Iterable[Contact],
        may_contact: Callable[[Endpoint], bool] | None = None,
        *,
        is_shortened: bool = False,
        source: Contact | None = None,
        knows: Callable[[Contact], bool] | None = None,
    ) -> int:
        """`node` has answered, in time or late, and named these contacts. Returns how many of them are left out.

        `source`: the same node, at the address that it has answered from. `is_shortened`: there was no room for those
        that are farther than the last one. Ignored if it was not asked, has answered before or has failed. An id that
        is known already keeps its endpoint until it fails there. `may_contact` decides whether an endpoint that is new
        makes sense (default: any does), and `knows` whether the node that looks knows that contact by itself (default:
        none). Most of what an answer names is known by then, and was looked at when it was new.
        """
        candidate = self._candidates.get(node)
        if candidate is None:
            return 0
        if candidate.is_asked_again:
            self._end_asking_again(candidate)
        elif candidate.state in (PeerState.ASKED, PeerState.OVERDUE):
            was_overdue = candidate.state is PeerState.OVERDUE
            if was_overdue:
                self._gain_hope(candidate)
            self._become(candidate, PeerState.ANSWERED)
            if candidate.asked_by is not None:
                self._end_asking(candidate, candidate.asked_by, was_overdue=was_overdue)
            if is_shortened:
                contacts = tuple(contacts)
                candidate.told_to = max((as_int(each.id) ^ self._number for each in contacts), default=0)
                self._shortened += 1
        else:
            return 0
        if self._unpaid:
            self._hope_for_unpaid()
        source = source or candidate.contact
        teller: Teller | None = None  # made once it is needed: in most answers all are known
        told: list[Contact] = []
        left_out = 0
        find = self._candidates.get
        for contact in itertools.islice(contacts, MAX_CONTACTS):
            known = find(contact[0])
            if known is None and self._farther:
                self._learn_farther()
                known = find(contact[0])
            if known is not None:
                if known.state is PeerState.ANSWERED:
                    continue
                if known.contact.endpoint == contact.endpoint:
                    if known.may_have_tellers:
                        teller = teller or self._teller(source)
                        self._corroborate(known, teller)
                    continue
            if may_contact is not None and not may_contact(contact.endpoint):
                left_out += 1
            elif known is None:
                told.append(contact)
            else:
                teller = teller or self._teller(source)
                self._learn_elsewhere(known, contact, teller)
        if len(told) > self.k:
            # No more than k of them can be among the k closest, and each invention of a liar costs us a timeout.
            told.sort(key=lambda contact: as_int(contact.id) ^ self._number)
            del told[self.k :]
        for contact in told:
            is_known = knows is not None and knows(contact)
            if not is_known:
                teller = teller or self._teller(source)
            self._learn(contact, candidate.hops + 1, None if is_known else teller)
        return left_out

    def on_overdue(self, node: NodeId, *, is_suspect: bool = False) -> None:
        """One retransmission timeout has passed without an answer: the slot is free, and a late answer still counts.

        `is_suspect`: it was silent shortly before, and nobody has waited for it now.
        """
        candidate = self._candidates.get(node)
        if candidate is not None and candidate.is_asked_again:
            self._end_asking_again(candidate)
        elif candidate is not None and candidate.state is PeerState.ASKED:
            self._lose_hope(candidate)
            self._become(candidate, PeerState.OVERDUE)
            asked = candidate.asked_by
            if asked is not None and is_suspect:
                asked.on_nothing()
                candidate.asked_by = None
            elif asked is not None:
                asked.on_silence()
                if asked.party.is_over:
                    self._set_aside()
            if candidate.tellers and candidate.elsewhere is not None:
                candidate.asked_by = None
                self._ask_elsewhere(candidate)  # one who names it where it is not gains no time by that

    def on_failed(self, node: NodeId) -> None:
        """Its deadline has passed, it could not be asked, or it refused: it is out. Not so if it has answered."""
        candidate = self._candidates.get(node)
        if candidate is None or candidate.state in (PeerState.ANSWERED, PeerState.FAILED):
            if candidate is not None and candidate.is_asked_again:
                self._end_asking_again(candidate)
            return
        if candidate.state not in (PeerState.OVERDUE, PeerState.SET_ASIDE):
            self._lose_hope(candidate)
        if candidate.asked_by is not None and candidate.state is PeerState.ASKED:
            candidate.asked_by.on_nothing()
        candidate.asked_by = None
        self._become(candidate, PeerState.FAILED)
        if candidate.elsewhere is not None:
            self._ask_elsewhere(candidate)

    def on_unpaid(self, node: NodeId) -> None:
        """It was to be asked, and none of those that named it can pay for that (`tellers`). It waits for an answer of
        any node, which may give them something back; once none is to come it is set aside."""
        candidate = self._candidates.get(node)
        if candidate is None or candidate.state is not PeerState.ASKED:
            return
        if candidate.asked_by is not None:
            candidate.asked_by.on_nothing()
            candidate.asked_by = None
        self._become(candidate, PeerState.UNASKED)
        candidate.is_unpaid = True
        self._unpaid.append(candidate)
        self.asked -= 1

    @property
    def is_busy(self) -> bool:
        """Whether all slots are taken: only what changes who is certain to be asked changes whom to ask next."""
        return self._counts[PeerState.ASKED] >= self.alpha

    @property
    def finished(self) -> bool:
        """Whether all of the cover have answered, and the nearest in full.

        Where nobody has answered at all, not before the last request has failed: somebody slow is better than nobody.
        """
        if not self._counts[PeerState.ANSWERED] and self._counts[PeerState.OVERDUE]:
            return False
        for _, candidate in self._hopeful[: self._cover_width()]:
            if candidate.state is not PeerState.ANSWERED:
                return False
        return not self._asked_again and not (self._shortened and self._to_hear_again())

    def result(self) -> list[Contact]:
        """The cover of those that have answered so far, closest first."""
        return [candidate.contact for candidate in self._closest_answered()[0]]

    def counted(self) -> list[Contact]:
        """Those of the result whose word counts."""
        return self._cover_of(self.result()).counted

    def counts(self, contact: Contact) -> bool:
        """Whether its word counts, by the candidates known so far."""
        if as_int(contact[0]) ^ self._number > self.edge:
            return False
        return self._width == self.k or contact in self._cover_of(self.candidates()).counted

    def is_inconclusive(self) -> bool:
        """Whether most of those that would count, had all answered, are silent: then nobody can say what is not there.

        Silent ids that are more than there can be make room for those behind them, and say nothing by their silence.
        """
        silent = self.silent()
        if not silent:
            return False
        answered = self.result()
        nearest = sorted((*answered, *silent), key=lambda each: as_int(each.id) ^ self._number)
        counted = self._cover_of(nearest).counted
        return sum(each not in answered for each in counted) > len(counted) // 2

    def answered_within(self, reach: int) -> list[Contact]:
        """Those of the cover within `reach` of the target that have answered."""
        nearest = self._hopeful[: self._cover_width()] if reach >= 0 else []
        return [
            candidate.contact
            for distance, candidate in nearest
            if distance <= reach and candidate.state is PeerState.ANSWERED
        ]

    @property
    def edge(self) -> int:
        """How far the farthest of the cover is from the target; 0 where there are none."""
        hopeful = self._hopeful
        return hopeful[min(self._cover_width(), len(hopeful)) - 1][0] if hopeful else 0

    def edge_of(self, count: int) -> int:
        """How far the `count` closest that may be hoped for reach; all of them where there are fewer."""
        hopeful = self._hopeful
        return hopeful[count - 1][0] if len(hopeful) >= count else EVERYBODY

    def is_within(self, node: NodeId, count: int) -> bool:
        """Whether it is no farther than the `count` closest that may be hoped for."""
        return as_int(node) ^ self._number <= self.edge_of(count)

    def candidates(self) -> list[Contact]:
        """The closest candidates that have answered or may be hoped for, closest first, as many as a cover may have."""
        self._cover_width()
        return [candidate.contact for _, candidate in self._hopeful[: most(self.k)]]

    def silent(self) -> list[Contact]:
        """Those that would be among the result if they had answered, closest first.

        Nobody knows of those that one party alone has named whether they exist.
        """
        if not (self._counts[PeerState.OVERDUE] or self._counts[PeerState.FAILED]):
            return []
        answered, is_whole = self._closest_answered()
        limit = answered[-1].distance if is_whole else math.inf
        silent = [
            each
            for each in self._candidates.values()
            if each.state in (PeerState.OVERDUE, PeerState.FAILED) and each.distance < limit and not each.is_doubtful
        ]
        silent.sort(key=lambda each: each.distance)
        return [each.contact for each in silent[: self.k if self._counting is None else most(self.k)]]

    @property
    def hops(self) -> int:
        """The longest chain of answers that led to one of the result, its own included.

        1 if the start contacts were the closest ones already, 0 if nobody has answered.
        """
        return max((candidate.hops for candidate in self._closest_answered()[0]), default=0)

    def count(self, state: PeerState) -> int:
        """How many candidates are in this state."""
        return self._counts[state]

    def state(self, node: NodeId) -> PeerState | None:
        """How far the lookup has got with this node; None if it does not know it."""
        candidate = self._candidates.get(node)
        return candidate.state if candidate is not None else None

    def endpoint(self, node: NodeId) -> Endpoint | None:
        """Where this node is asked, or was; None if the lookup does not know it."""
        candidate = self._candidates.get(node)
        return candidate.contact.endpoint if candidate is not None else None

    def tellers(self, node: NodeId) -> tuple[Contact, ...]:
        """The peers by whose word alone this node is known where it is asked; none if the node that looks knows it."""
        candidate = self._candidates.get(node)
        if candidate is None or not candidate.tellers:
            return ()
        return tuple([each.contact for each in candidate.tellers])

    # By the word of others -------------------------------------------------------------------------------------------

    def _teller(self, source: Contact) -> Teller:
        name = source.id if self._party_of is None else self._party_of(source)
        party = self._parties.get(name)
        if party is None:
            party = self._parties[name] = Party(self.alpha)
        return Teller(source, party)

    def _take_room(self, candidate: _Candidate) -> bool:
        """Whether it may be asked by the word of one of its tellers; it is under way then."""
        if candidate.is_unpaid:
            return False
        for teller in candidate.tellers:
            if teller.party.has_room:
                candidate.asked_by = teller.party.ask()
                return True
        return False

    def _end_asking(self, candidate: _Candidate, asked: Asked, *, was_overdue: bool) -> None:
        """It has answered."""
        candidate.asked_by = None
        if not was_overdue:
            asked.on_answer()
            return
        was_over = asked.party.is_over
        asked.on_late_answer()
        if was_over and not asked.party.is_over:
            for each in self._candidates.values():
                if each.state is PeerState.SET_ASIDE and not each.is_unpaid:
                    self._hope_again(each)

    def _corroborate(self, candidate: _Candidate, teller: Teller) -> None:
        """One more peer has named it where it is asked."""
        tellers, is_another_party = candidate.tellers, True
        for each in tellers:
            if each.contact == teller.contact:
                return
            if each.party is teller.party:
                is_another_party = False
        if is_another_party:
            candidate.is_doubtful = False
        if len(tellers) < MOST_TELLERS or candidate.state is PeerState.SET_ASIDE:
            candidate.tellers = (*tellers[-MOST_TELLERS + 1 :], teller)
            if candidate.state is PeerState.SET_ASIDE:
                self._hope_again(candidate)
        elif not candidate.is_doubtful:
            candidate.may_have_tellers = False

    def _hope_again(self, candidate: _Candidate) -> None:
        if candidate.state is PeerState.SET_ASIDE and not all(each.party.is_over for each in candidate.tellers):
            self._become(candidate, PeerState.UNASKED)
            self._gain_hope(candidate)

    def _set_aside(self) -> None:
        """A party is over: so are the names of which none else has spoken."""
        for candidate in self._candidates.values():
            is_waiting = candidate.state is PeerState.UNASKED and candidate.tellers
            if is_waiting and all(each.party.is_over for each in candidate.tellers):
                self._lose_hope(candidate)
                self._become(candidate, PeerState.SET_ASIDE)
                candidate.may_have_tellers = True
                if candidate.elsewhere is not None:
                    self._ask_elsewhere(candidate)

    def _set_unpaid_aside(self) -> None:
        """No answer is to come that could give their tellers anything back."""
        for candidate in self._unpaid:
            if candidate.state is PeerState.UNASKED:
                self._lose_hope(candidate)
                self._become(candidate, PeerState.SET_ASIDE)
                candidate.may_have_tellers = True

    def _hope_for_unpaid(self) -> None:
        """An answer has come."""
        unpaid, self._unpaid = self._unpaid, []
        for candidate in unpaid:
            candidate.is_unpaid = False
            self._hope_again(candidate)

    # Parts -----------------------------------------------------------------------------------------------------------

    def _to_hear_again(self) -> list[_Candidate]:
        """Of the closest few those that may know one of the k closest beyond the last contact that they named."""
        nearest = self._hopeful[: self._heard_in_full]
        edge = self.edge if len(self._hopeful) >= self._cover_width() else math.inf
        return [
            each for _, each in nearest if each.told_to is not None and each.told_to < edge and not each.is_asked_again
        ]

    def _end_asking_again(self, candidate: _Candidate) -> None:
        """It has answered, or will not be waited for."""
        candidate.is_asked_again, candidate.told_to = False, None
        self._asked_again -= 1
        self._shortened -= 1

    def _closest_answered(self) -> tuple[list[_Candidate], bool]:
        """The cover of those that have answered, and whether it is whole."""
        answers = (candidate for _, candidate in self._hopeful if candidate.state is PeerState.ANSWERED)
        if self._counting is None:
            answered = list(itertools.islice(answers, self.k))
            return answered, len(answered) >= self.k
        answered = list(itertools.islice(answers, most(self.k)))
        cover = self._cover_of([candidate.contact for candidate in answered])
        return answered[: cover.width], cover.is_whole

    def _cover_of(self, nearest: list[Contact]) -> Cover:
        if self._counting is None:
            return Cover(self.k, nearest[: self.k], len(nearest) >= self.k)
        return self._counting.cover(nearest, self.k)

    def _cover_width(self) -> int:
        """How many of the hopeful are the cover; more than there are while others may belong to it."""
        if self._counting is not None and self._width_version != self._counting.known.version:
            self._renew_width(self._counting)
        return self._width

    def _renew_width(self, counting: Counting) -> None:
        self._width_version = counting.known.version
        cover = self._cover_of([candidate.contact for _, candidate in self._hopeful[: most(self.k)]])
        if not cover.is_whole and self._farther:
            self._learn_farther()
            cover = self._cover_of([candidate.contact for _, candidate in self._hopeful[: most(self.k)]])
        self._width = cover.width if cover.is_whole else most(self.k)
        self._width_edge = self._hopeful[cover.width - 1][0] if cover.is_whole else math.inf

    def _note_hope(self, distance: int) -> None:
        """A candidate at this distance is hopeful now, or is not any more."""
        if distance <= self._width_edge:
            self._width_version = None

    def _gain_hope(self, candidate: _Candidate) -> None:
        bisect.insort(self._hopeful, (candidate.distance, candidate))
        self._note_hope(candidate.distance)

    def _learn_farther(self) -> None:
        """Those of the start, by their distances, that are farther than all candidates so far, closest first."""
        for distance, contact in self._farther:
            candidate = self._candidates[contact.id] = _Candidate(contact, distance, 1, ())
            self._hopeful.append((distance, candidate))
            self._counts[PeerState.UNASKED] += 1
        if self._farther:
            self._note_hope(self._farther[0][0])
        self._farther = []

    def _learn(self, contact: Contact, hops: int, teller: Teller | None) -> None:
        if contact.id in self._candidates or contact.id == self.own:
            return
        distance = as_int(contact.id) ^ self._number
        is_over = teller is not None and teller.party.is_over
        if len(self._candidates) >= MAX_CANDIDATES and (is_over or not self._make_room(distance)):
            return
        candidate = self._candidates[contact.id] = _Candidate(
            contact, distance, hops, () if teller is None else (teller,)
        )
        candidate.is_doubtful = candidate.may_have_tellers = teller is not None
        self._counts[PeerState.UNASKED] += 1
        if is_over:
            self._become(candidate, PeerState.SET_ASIDE)
        else:
            self._gain_hope(candidate)

    def _learn_elsewhere(self, known: _Candidate, contact: Contact, teller: Teller) -> None:
        if known.is_elsewhere or known.elsewhere is not None or known.state is PeerState.ANSWERED:
            return
        known.elsewhere, known.elsewhere_by = contact, (teller,)
        if known.state in (PeerState.FAILED, PeerState.SET_ASIDE):
            self._ask_elsewhere(known)

    def _ask_elsewhere(self, candidate: _Candidate) -> None:
        """It has failed where it was asked, or is not to be asked there: hope again, at the other endpoint, once."""
        assert candidate.elsewhere is not None
        candidate.contact, candidate.elsewhere = candidate.elsewhere, None
        candidate.tellers, candidate.may_have_tellers = candidate.elsewhere_by, True
        candidate.is_elsewhere = True
        self._become(candidate, PeerState.UNASKED)
        self._await_turn(candidate)

    def _await_turn(self, candidate: _Candidate) -> None:
        """It may be asked by its state; not if those that have named it are over."""
        if candidate.tellers and all(each.party.is_over for each in candidate.tellers):
            self._become(candidate, PeerState.SET_ASIDE)
        else:
            self._gain_hope(candidate)

    def _make_room(self, distance: int) -> bool:
        """Forgets one that was set aside, or else the farthest candidate that was not asked, if it is farther than
        `distance`; whether it did."""
        if self._counts[PeerState.SET_ASIDE]:
            self._forget(next(each for each in self._candidates.values() if each.state is PeerState.SET_ASIDE))
            return True
        unasked = (candidate for _, candidate in reversed(self._hopeful) if candidate.state is PeerState.UNASKED)
        farthest = next(unasked, None)
        if farthest is None or farthest.distance < distance:
            return False
        self._lose_hope(farthest)
        self._forget(farthest)
        return True

    def _forget(self, candidate: _Candidate) -> None:
        del self._candidates[candidate.contact.id]
        self._counts[candidate.state] -= 1
        if candidate.is_unpaid:
            self._unpaid.remove(candidate)

    def _lose_hope(self, candidate: _Candidate) -> None:
        self._learn_farther()
        # A tuple of the distance alone sorts before the one that has it.
        del self._hopeful[bisect.bisect_left(self._hopeful, (candidate.distance,))]
        self._note_hope(candidate.distance)

    def _become(self, candidate: _Candidate, state: PeerState) -> None:
        self._counts[candidate.state] -= 1
        self._counts[state] += 1
        candidate.state = state
