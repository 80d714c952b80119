"""SCAMP: every node comes to keep links to about (c+1) ln n others, and nobody counts n.

Ganesh, Kermarrec, Massoulie: "SCAMP: Peer-to-Peer Lightweight Membership Service for Large-Scale Group Communication"
(NGC 2001), version 1 here, and "Peer-to-Peer Membership Management for Gossip-Based Protocols" (IEEE ToC 52(2), 2003),
version 2.

- A newcomer takes its contact into its partial view and *subscribes*: the contact forwards the subscription to all of
  its own partial view, and c copies more. Who gets a copy keeps it with probability 1/(1 + size of its partial view),
  and else forwards it to a member of that view. A copy that has come too far is kept where it is, or lost.
- To keep a subscription is to take the subscriber into the partial view. It learns of it by a heartbeat, and takes the
  keeper into its in-view.
- Indirection (version 2): the contact sends the subscription on a walk of `walk` steps, which ends at any node with
  about the same probability; that one is the contact in its stead. Else whom all join through would be in everybody's
  view, and hand out copies by a view of its own that is not like the others'.
- Unsubscription: who leaves tells its in-view to take it out. In version 2 all but c+1 of them take a member of its
  own partial view instead, so that views keep to their size as n falls.
- Lease: a subscription is renewed after `lease`, through a member of the partial view. The copies of a renewal are as
  many as that one's view is large (the extra ones would make views grow for ever). Once they are kept, those that kept
  the former ones are told to take this node out. That evens out views that crashes and storms have made uneven.
- Isolation: every node sends heartbeats to its partial view. A member of the in-view whose heartbeats are missing for
  `isolation` is no longer in it, and who has an empty in-view subscribes again.

Links go both ways, so both views are neighbours: whom one side has in its partial view, the other has in its in-view.
Both want the link; who takes the other out of its partial view says so, and who hears of it lets go as well, unless
it has it in its own. What is lost of that is put right by heartbeats and their absence.

Promised: views stay connected but for crashes of many at once, and even then every node with an empty in-view comes
back; messages while nothing changes are a heartbeat for each partial view member. When all join at once views are
smaller, as nobody's is large yet: of 1,000 nodes that join through one contact at once, 8.5 on average with c = 4, and
half of them can crash and leave the others connected. The protocol is over `overlay`; nothing else is known.

Between nodes, as plain tuples:

    ("subscribe", renewal)         to a contact, by the subscriber itself
    ("walk", subscriber, hops, degree)  to find another contact; so many more hops; of the sender
    ("back", subscriber, hops)     turned back
    ("accept",)                    that contact to the subscriber
    ("forward", subscriber, hops)  a copy; so many more hops at most
    ("heartbeat",)                 the sender has the receiver in its partial view
    ("dropped",)                   it has it there no longer
    ("remove",)                    the receiver is to take the sender out of its partial view
    ("replace", node)              the same, and to take that one in
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    Effect,
    Event,
    FindMembers,
    Joined,
    Leave,
    LinkDown,
    LinkUp,
    MemberDown,
    MembersFound,
    MemberUp,
    Message,
    Refuse,
    Send,
    SetTimer,
    TimerFired,
    Unreachable,
)
from partisan_actors.topologies.scamp_views import View, draw

if TYPE_CHECKING:
    from partisan_actors.topologies.scamp import Scamp

__all__ = ["NAME", "ScampOverlay"]

NAME = "scamp"
_HEARTBEAT = "heartbeat"
_LEASE = "lease"
_RELEASE = "release"
_EXPECTED_MAX = 10_000
"""Names that are waited for: subscribers of whom the cluster view does not know yet."""

_NAME_LENGTH = 255

_HOPS = 8
"""Times one more than the view's size: of copies that any node may keep one in 3,000 comes so far. Where all know the
subscriber already, as in small clusters, a copy goes no further in vain."""


@dataclass(slots=True)
class _Expected:
    """What is to be done for a subscriber when the cluster view knows of it."""

    since: float
    keep: bool = False  # take it into the partial view
    accept: bool = False  # be its contact


class ScampOverlay:
    """One node; see the module."""

    def __init__(self, node: str, parameters: Scamp) -> None:
        self.refused: dict[str, int] = {}  # messages that were not taken in, by reason
        self.partial_view = View()  # since when it is in
        self.in_view = View()  # when the last heartbeat came
        self._node = node
        self._parameters = parameters
        self._members: set[str] = set()
        self._linked: set[str] = set()
        self._expected: dict[str, _Expected] = {}  # whose subscription was here before their MemberUp
        self._contact: str | None = None  # to whom a subscription is to go, or went
        self._unsent: tuple[str, bool] | None = None  # a subscription that waits for the link to the contact
        self._accepting: set[str] = set()  # subscribers that are told that this node is their contact, once linked
        self._before: list[str] = []  # who kept the subscription that a renewal is about to take the place of
        self._running = False  # whether the timers run
        self._now = 0.0
        self._random: Random
        self._effects: list[Effect]

    @property
    def name(self) -> str:
        """What the handshake says."""
        return NAME

    def step(self, event: Event, now: float, random: Random) -> Sequence[Effect]:
        """Take one event in; see `overlay`."""
        self._now, self._random = now, random
        effects = self._effects = []
        match event:
            case Message(node, payload):
                self._received(node, payload)
            case MemberUp(node) if node != self._node:
                self._member_up(node)
            case MemberDown(node) if node in self._members:
                self._member_down(node)
            case LinkUp(node) if node != self._node:
                self._link_up(node)
            case LinkDown(node) if node in self._linked:
                self._link_down(node)
            case Unreachable(node) if self._unsent is not None and self._unsent[0] == node:
                # Others in the views are wanted for as long as they are members: behind a partition that ends before
                # the cluster view gives them up, they are the only way back.
                self._forget(node)
            case Joined(node) if node != self._node:
                self._member_up(node)
                self._subscribe(node, renewal=False)
            case MembersFound(nodes):
                self._members_found(nodes)
            case TimerFired(key):
                self._timer_fired(key)
            case Leave():
                self._leave()
        return effects

    def neighbours(self) -> list[str]:
        """Both views together, sorted."""
        return sorted({*self.partial_view.names, *self.in_view.names})

    def gossip(self, linked: Sequence[str]) -> Sequence[str]:
        """All: some (c+1) ln n in each view."""
        return linked

    # Views

    def _is_neighbour(self, node: str) -> bool:
        return node in self.partial_view or node in self.in_view

    def _keep(self, node: str) -> None:
        """Take a member into the partial view."""
        if self.partial_view.put(node, self._now):
            self._effects.append(Connect(node))
            self._send(node, "heartbeat")

    def _heard(self, node: str) -> None:
        """Take a member into the in-view, or leave it there for longer."""
        if self.in_view.put(node, self._now):
            self._effects.append(Connect(node))

    def _drop(self, node: str) -> None:
        """Take it out of the partial view, and tell it."""
        if self.partial_view.discard(node):
            self._send(node, "dropped")
            self._let_go(node)

    def _unheard(self, node: str) -> None:
        """Take it out of the in-view."""
        if self.in_view.discard(node):
            self._let_go(node)

    def _let_go(self, node: str) -> None:
        if not self._is_neighbour(node):
            self._effects.append(Disconnect(node))

    def _forget(self, node: str) -> None:
        """Take it out of both."""
        self._accepting.discard(node)
        if self._unsent is not None and self._unsent[0] == node:
            self._unsent = None
        if self.partial_view.discard(node) | self.in_view.discard(node):
            self._effects.append(Disconnect(node))

    def _send(self, node: str, *payload: Any) -> None:
        if node in self._linked:
            self._effects.append(Send(node, payload))

    def _draw(self, *views: View, but: Sequence[str] = ()) -> str | None:
        """A linked one of the first view that has any."""
        for view in views:
            if (node := draw(view.names, self._linked, but, self._random)) is not None:
                return node
        return None

    # Members and links

    def _member_up(self, node: str) -> None:
        self._members.add(node)
        self._start()
        if self._is_neighbour(node):
            self._effects.append(Connect(node))  # it may have moved
        expected = self._expected.pop(node, None)
        if expected is not None and expected.keep:
            self._keep(node)
        if expected is not None and expected.accept:
            self._accept(node)
            self._hand_out(node, renewal=False)

    def _member_down(self, node: str) -> None:
        self._members.discard(node)
        self._forget(node)

    def _link_up(self, node: str) -> None:
        self._linked.add(node)
        if node in self._accepting:
            self._accepting.discard(node)
            self._send(node, "accept")
        if node in self.partial_view:
            self._send(node, "heartbeat")
        if self._unsent is not None and self._unsent[0] == node:
            self._send(node, "subscribe", self._unsent[1])
            self._unsent = None

    def _link_down(self, node: str) -> None:
        self._linked.discard(node)

    # Subscriptions

    def _subscribe(self, contact: str, *, renewal: bool) -> None:
        self._contact = None if renewal else contact
        if not renewal:
            self._keep(contact)
        self._unsent = None
        if contact in self._linked:
            self._send(contact, "subscribe", renewal)
        else:
            self._unsent = (contact, renewal)

    def _subscribed(self, node: str, renewal: bool) -> None:
        """A member asks this node to be its contact."""
        if renewal or self._parameters.version == 1:
            self._hand_out(node, renewal)
        else:
            self._walk(node, self._parameters.walk)

    def _walk(self, subscriber: str, hops: int) -> None:
        """The walk stands at this node, and goes on to a neighbour, or ends."""
        degree = len(self.partial_view) + len(self.in_view)
        way = None
        if hops and degree:
            views = (self.partial_view, self.in_view)
            if self._random.randrange(degree) >= len(self.partial_view):
                views = (self.in_view, self.partial_view)
            way = self._draw(*views, but=(subscriber,))
        if way is not None:
            self._send(way, "walk", subscriber, hops - 1, degree)
            return
        if subscriber == self._node or self._wait_for(subscriber, accept=True):
            return
        self._accept(subscriber)
        self._hand_out(subscriber, renewal=False)

    def _walk_comes(self, node: str, subscriber: str, hops: int, degree: int) -> None:
        # Metropolis and Hastings: it turns back from a node of more neighbours, by chance, so that it ends at any node
        # with the same probability. Without that it ends at those that have been here for long, whose partial views are
        # large, if it goes against the views, or at newcomers, if along: and all views grow, or shrink, by that.
        if self._random.random() * (len(self.partial_view) + len(self.in_view)) < degree:
            self._walk(subscriber, hops)
        else:
            self._send(node, "back", subscriber, hops)

    def _accept(self, subscriber: str) -> None:
        self._heard(subscriber)
        if subscriber in self._linked:
            self._send(subscriber, "accept")
        else:
            self._accepting.add(subscriber)

    def _accepted(self, node: str) -> None:
        """The walk of this node's subscription ended there: it is the contact instead of the one that was asked."""
        asked, self._contact = self._contact, None
        if asked is None:
            self._send(node, "dropped")  # too late: there is one
            return
        self._keep(node)
        if asked != node:
            self._drop(asked)

    def _hand_out(self, subscriber: str, renewal: bool) -> None:
        targets = [node for node in self.partial_view.names if node in self._linked and node != subscriber]
        if not targets:
            # The first node of all has nobody to forward to.
            self._copy(subscriber, 0)
            return
        c = self._parameters.c
        extra = max(c + 1 - len(targets), 0) if renewal else c
        hops = min(self._parameters.max_hops, _HOPS * (1 + len(self.partial_view)))
        for node in [*targets, *(self._random.choice(targets) for _ in range(extra))]:
            self._send(node, "forward", subscriber, hops)

    def _copy(self, subscriber: str, hops: int) -> None:
        """Keep a copy, or forward it."""
        known = subscriber == self._node or subscriber in self.partial_view or subscriber in self._expected
        # D33: the chance falls with the view's size.
        if not known and (hops == 0 or self._random.random() < 1 / (1 + len(self.partial_view))):
            if not self._wait_for(subscriber, keep=True):
                self._keep(subscriber)
            return
        way = self._draw(self.partial_view, self.in_view, but=(subscriber,)) if hops else None
        if way is not None:
            self._send(way, "forward", subscriber, hops - 1)

    def _wait_for(self, node: str, *, keep: bool = False, accept: bool = False) -> bool:
        """Whether the subscription was faster than the news of the subscriber, and waits for them."""
        if node in self._members:
            return False
        if node in self._expected or len(self._expected) < _EXPECTED_MAX:
            if node not in self._expected:
                self._effects.append(Connect(node))  # which waits for the same news
            expected = self._expected.setdefault(node, _Expected(self._now))
            expected.keep |= keep
            expected.accept |= accept
        return True

    def _members_found(self, nodes: Sequence[str]) -> None:
        known = [node for node in nodes if node in self._members]
        if known and not self.in_view:
            self._subscribe(self._random.choice(known), renewal=False)

    # What others say

    def _received(self, node: str, payload: object) -> None:
        if node not in self._members:
            self._refuse(node, "no member")
            return
        most = self._parameters.max_hops
        match payload if isinstance(payload, tuple) else None:
            case ("heartbeat",):
                self._heard(node)
            case ("forward", str(subscriber), int(hops)) if _is_name(subscriber) and 0 <= hops <= most:
                self._copy(subscriber, hops)
            case ("walk", str(subscriber), int(hops), int(degree)) if _is_name(subscriber) and 0 <= hops <= most:
                self._walk_comes(node, subscriber, hops, degree)
            case ("back", str(subscriber), int(hops)) if _is_name(subscriber) and 0 <= hops <= most:
                self._walk(subscriber, hops)
            case ("subscribe", bool(renewal)):
                self._subscribed(node, renewal)
            case ("accept",):
                self._accepted(node)
            case ("dropped",):
                self._unheard(node)
            case ("remove",):
                self._drop(node)
            case ("replace", str(other)) if _is_name(other):
                self._replace(node, other)
            case _:
                self._refuse(node, "payload")

    def _replace(self, leaver: str, other: str) -> None:
        if leaver not in self.partial_view:
            self._refuse(leaver, "not in the view")
            return
        self._drop(leaver)
        # D35: what is told of a member that is in already, or of this node, must not cost another.
        if other != self._node and not self._wait_for(other, keep=True):
            self._keep(other)

    def _refuse(self, node: str, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self._effects.append(Refuse(node, reason, late=reason != "payload"))

    # Time, and the own will

    def _start(self) -> None:
        if not self._running:
            self._running = True
            # Sooner than the others: who is switched to this overlay has no view, and nobody told it to join.
            self._effects.append(SetTimer(_HEARTBEAT, self._random.uniform(0.05, 0.2) * self._parameters.heartbeat))
            self._set_lease()

    def _set_lease(self) -> None:
        self._effects.append(SetTimer(_LEASE, self._random.uniform(0.75, 1.0) * self._parameters.lease))

    def _timer_fired(self, key: object) -> None:
        match key:
            case "heartbeat" if self._running:
                self._beat()
            case "lease" if self._running:
                self._renew()
            case "release":
                self._release()

    def _beat(self) -> None:
        horizon = self._now - self._parameters.isolation
        for node in self.in_view.older_than(horizon):
            self._unheard(node)
        for node in [node for node, expected in self._expected.items() if expected.since < horizon]:
            del self._expected[node]
            self._effects.append(Disconnect(node))
        for node in self.partial_view.names:
            self._send(node, "heartbeat")
        if not self._members:
            self._running = False
            return
        if not self.in_view:
            self._isolated()
        self._effects.append(SetTimer(_HEARTBEAT, self._parameters.heartbeat))

    def _isolated(self) -> None:
        """Nobody keeps this node's subscription: subscribe again."""
        contact = self._draw(self.partial_view)
        if contact is not None:
            self._subscribe(contact, renewal=True)
        else:
            self._effects.append(FindMembers(self._parameters.c + 1))

    def _renew(self) -> None:
        contact = self._draw(self.partial_view, self.in_view)
        if contact is not None:
            self._before = list(self.in_view.names)
            self._subscribe(contact, renewal=True)
            self._effects.append(SetTimer(_RELEASE, 2 * self._parameters.heartbeat))
        self._set_lease()

    def _release(self) -> None:
        """Let those go who kept the former subscription, so far as others keep the new one."""
        before = [node for node in self._before if node in self.in_view]
        fresh = len(self.in_view) - len(before)
        self._before = []
        if fresh <= self._parameters.c:
            before = sorted(self._random.sample(before, min(fresh, len(before))))
        for node in before:
            self._send(node, "remove")

    def _leave(self) -> None:
        keepers = [node for node in self.in_view.names if node in self._linked]
        self._random.shuffle(keepers)
        heirs = list(self.partial_view.names)
        self._random.shuffle(heirs)
        # D34, D35: each keeper is told once, and with nobody to inherit, that there is no one in this node's place.
        replaced = max(len(keepers) - self._parameters.c - 1, 0) if self._parameters.version == 2 else 0
        for place, keeper in enumerate(keepers):
            heir = self._heir(heirs, place, keeper) if place < replaced else None
            self._send(keeper, *(("remove",) if heir is None else ("replace", heir)))
        for node in sorted({*self.neighbours(), *self._expected}):
            self._effects.append(Disconnect(node))
        self.partial_view.clear()
        self.in_view.clear()
        self._accepting.clear()
        self._expected.clear()
        self._before = []
        self._contact = self._unsent = None
        # What comes from here on until it joins again comes from no member.
        self._members.clear()
        self._running = False

    def _heir(self, heirs: list[str], place: int, keeper: str) -> str | None:
        """The next of the partial view, by turns, that is not the keeper itself."""
        for offset in (0, 1):
            if heirs and heirs[(place + offset) % len(heirs)] != keeper:
                return heirs[(place + offset) % len(heirs)]
        return None


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _NAME_LENGTH
