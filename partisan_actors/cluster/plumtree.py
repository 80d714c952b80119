"""Plumtree: broadcast along trees that repair themselves (Leitao, Pereira, Rodrigues, SRDS 2007; the report corrected
in 2019), with anti-entropy beneath.

A payload goes at once to the eager neighbours of a tree, an IHAVE to the lazy ones. What comes twice over a link makes
it lazy (PRUNE); what was announced and does not come is asked for, which makes the link eager (GRAFT).

Promised:

- each message, a root and its number, is delivered here once at the most: what was seen is remembered for as long as
  its root is, and a root for `forget_after` longer than it is up. In no order: one from the exchange comes late;
- a node that was a member when a message was broadcast, and lives until all is quiet, gets it, if it is never apart for
  longer than the retention; else a Gap says which numbers it has lost, when nobody can have them any more;
- a new node gets what is broadcast after it has joined, and not what was before (`plumtree_newcomer`);
- while nothing is broadcast, one small frame goes out for each `exchange_interval` (`plumtree_exchange`);
- a neighbour that comes or goes changes the trees that it is in and no other.

A root that broadcasts rarely uses one tree that all share, as the paper has it: no redundancy from the first message
on, over twice as many hops. One that broadcasts often has its own, whose first message is a flood, and which then is as
fast as a flood. Which of the two says the origin, in the message.

Not in the paper: how long the timers are (`plumtree_missing`); a neighbour that has announced a message is not sent it;
a link that an IHAVE shows to be better is taken also when the payload has come before the IHAVE; and only a root's own
tree is made better so. In the shared one what is shorter for one root is longer for the next: with 1,000 nodes and a
random sender each time the last delivery took 14.4 hops with the optimisation, and 11.6 without.

On the channel of the handler, or the default one, those with a payload, which comes last:

    ("gossip", node, bits, number, hop, own, age, handler, payload)    along a tree
    ("answer", ...)                                                    the same, as answer to a pull

On the system channel:

    ("ihave", ((node, bits, number, own, hop), ...))
    ("graft", node, bits, own, number)     make this link eager; and number, if it is not 0, is missing
    ("prune", node, bits, own)             make it lazy
    and those of `plumtree_newcomer`, `plumtree_exchange` and `plumtree_pulls`

Its events and effects are in `broadcast_events`. Not known: sessions, how terms become bytes, who handles what comes.
Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from partisan_actors.cluster.broadcast_events import (
    Broadcast,
    BroadcastReceived,
    Deliver,
    Effect,
    Event,
    Fetched,
    Left,
    MemberDown,
    MemberUp,
    NeighbourDown,
    NeighbourUp,
    NotSent,
    PlumtreeParameters,
    Refused,
    Root,
    SendBroadcast,
)
from partisan_actors.cluster.broadcast_log import BroadcastLog, Kept
from partisan_actors.cluster.broadcast_roots import Roots, RootState
from partisan_actors.cluster.broadcast_terms import MOST_HOPS, Gossip, read_announcements, read_gossip, read_root
from partisan_actors.cluster.plumtree_missing import Announcements, Missing, MissingMessage
from partisan_actors.cluster.plumtree_pulls import answer
from partisan_actors.cluster.plumtree_repair import EXCHANGE, AntiEntropy
from partisan_actors.cluster.plumtree_trees import Trees
from partisan_actors.distribution.machine import SetTimer, TimerFired

__all__ = ["Plumtree"]

_GRAFT = ("graft", "")
_IHAVE = ("ihave", "")
_SWEEP = ("sweep", "")
_SWEEPS = 8  # looks for what is too old, within a retention
_MAX_REFUSALS = 64  # reasons that are counted


class Plumtree:
    """The broadcast of one life of one node; see the module."""

    def __init__(self, node: str, bits: int, parameters: PlumtreeParameters | None = None) -> None:
        self.parameters = parameters = parameters if parameters is not None else PlumtreeParameters()
        self.root = Root(node, bits)
        self.delivered = self.duplicates = self.grafts = self.prunes = self.optimisations = 0
        self.refused: dict[str, int] = {}  # what was not taken in, by reason
        self._roots = Roots(parameters)
        self._roots.member_up(node, bits)
        self._log = BroadcastLog(parameters)
        self._trees = Trees(parameters.max_trees)
        self._missing = Missing(parameters)
        self._announcements = Announcements(parameters)
        self._repair = AntiEntropy(self.root, parameters, self._roots, self._log, self._trees)
        self._number = 0  # of the last broadcast
        self._times: deque[float] = deque(maxlen=parameters.own_tree_after)  # of the last ones
        self._timers: set[tuple[str, str]] = set()  # of those for the whole node, which run
        self._now = 0.0
        self._random: Random
        self._effects: list[Effect]
        self._kinds: dict[str, Callable[[str, tuple[Any, ...]], str | None]] = {
            "gossip": self._on_gossip,
            "ihave": self._on_ihave,
            "prune": self._on_prune,
            "graft": self._on_graft,
            "answer": self._on_answer,
            **self._repair.kinds,
        }

    # What others ask

    @property
    def synchronised(self) -> bool:
        """Whether it knows what was broadcast before it came."""
        return self._repair.synchronised

    def eager_peers(self, root: Root | None) -> list[str]:
        """The neighbours to which what travels on this root's own tree goes at once; None: on the shared tree."""
        return self._trees.eager(root)

    def lazy_peers(self, root: Root | None) -> list[str]:
        """Those that get an IHAVE of it."""
        lazy = self._trees.lazy(root)
        return [node for node in self._trees.neighbours if node in lazy]

    def kept(self, root: Root, number: int) -> Kept | None:
        """A message, while it is kept."""
        return self._log.get(root, number)

    def sizes(self) -> dict[str, int]:
        """How much there is in each table."""
        return {
            "log": len(self._log),
            "log_bytes": self._log.bytes,
            "missing": len(self._missing),
            "roots": len(self._roots),
            "trees": len(self._trees),
            "neighbours": len(self._trees.neighbours),
        }

    def seen(self, root: Root, number: int) -> bool:
        """Whether that message was delivered, or given up, or broadcast before this node came."""
        state = self._roots.get(root)
        return state is not None and state.marks.seen(number)

    def step(self, event: Event, now: float, random: Random) -> list[Effect]:
        """Take one event in; what is to be done, in order. `now` in seconds, monotonic."""
        self._now, self._random = now, random
        effects = self._effects = []
        self._repair.turn(now, random, effects)
        if type(event) is BroadcastReceived:  # hot path: nearly all are; 0.5 us less than by the pattern
            self._received(event.node, event.message)
            return effects
        match event:
            case TimerFired((kind, node)):
                self._timer_fired(str(kind), str(node))
            case Broadcast(handler, payload):
                self._broadcast(handler, payload)
            case NeighbourUp(node):
                self._neighbour_up(node)
            case NeighbourDown(node):
                self._neighbour_down(node)
            case MemberUp(node, bits):
                self._roots.member_up(node, bits)
                self._repair.member_up(node)
            case MemberDown(node, bits):
                self._roots.member_down(node, bits, now)
                self._repair.member_down(node)
            case NotSent(node, root, number):
                kept = self._log.get(root, number)
                if kept is not None and self._trees.is_neighbour(node):
                    self._announce(node, root, number, kept.own, kept.hop + 1)
            case Fetched(node, root, number, handler, payload):
                age = int(self.parameters.retention * 1000)
                self._send(node, ("answer", *root, number, 1, False, age, handler, payload), bulky=True)
            case Left():
                self._repair.left()
        return effects

    def _send(self, node: str, message: tuple[Any, ...], bulky: bool = False) -> None:
        self._effects.append(SendBroadcast((node,), message, bulky))

    def _start(self, key: tuple[str, str], seconds: float) -> None:
        if key not in self._timers:
            self._timers.add(key)
            self._effects.append(SetTimer(key, seconds))

    # Neighbours

    def _neighbour_up(self, node: str) -> None:
        if not self._trees.add(node):
            return
        self._repair.neighbour_up(node)
        if EXCHANGE not in self._timers:
            self._start_round()

    def _neighbour_down(self, node: str) -> None:
        if not self._trees.is_neighbour(node):
            return
        self._announcements.drop(node)
        self._repair.neighbour_down(node)
        for tree in self._trees.remove(node):
            # Its last eager link: nothing would come over the others before an IHAVE was waited for in vain.
            parts = ("", 0, False) if tree is None else (*tree, True)
            for neighbour in self._trees.neighbours:
                self._send(neighbour, ("graft", *parts, 0))

    # Out

    def _broadcast(self, handler: str, payload: bytes) -> None:
        self._number += 1
        own = self._has_own_tree()
        state = self._roots.make(self.root, self._now)
        if state is None:
            # The table is full of roots that are up: then nobody else has room for this one, either.
            self._refuse(self.root.node, "too many roots")
            return
        state.marks.add(self._number, self._now)
        gossip = Gossip(self.root, self._number, 0, own, 0, handler, payload)
        self._take(state, gossip, None, None)

    def _has_own_tree(self) -> bool:
        times, after = self._times, self.parameters.own_tree_after
        if not after:
            return True
        often = len(times) == after and times[0] >= self._now - self.parameters.own_tree_window
        times.append(self._now)
        return often

    def _take(self, state: RootState, gossip: Gossip, sender: str | None, entry: MissingMessage | None) -> None:
        """Deliver a new message, and pass it on: EagerPush and LazyPush."""
        # hot path: once for each message at each node.
        root, number, hop, own, age, handler, payload = gossip
        self._roots.changed(state.root)
        self.delivered += 1
        now = self._now
        born = now - age / 1000
        state.born(number, born if self._knows(age) else now)
        kept = self._log.add(root, number, handler, payload, born=born, now=now, hop=hop, own=own, parent=sender)
        self._start(_SWEEP, self.parameters.retention / _SWEEPS)
        effects = self._effects
        effects.append(Deliver(root, number, handler, payload))
        lazy = self._trees.used(root if own else None)
        eager: list[str] = []
        for node in self._trees.neighbours:
            if node == sender or (entry is not None and (node in entry.announced or node in entry.asked)):
                continue
            if node in lazy:
                self._announce(node, root, number, own, hop + 1)
            else:
                eager.append(node)
        if eager:
            effects.append(SendBroadcast(tuple(eager), answer(kept, "gossip", now), True))

    def _announce(self, node: str, root: Root, number: int, own: bool, hop: int) -> None:
        if self._announcements.add(node, root, number, own, min(hop, MOST_HOPS)):
            self._send(node, ("ihave", self._announcements.take(node)))
        if _IHAVE not in self._timers:
            # By chance, so that of two lazy neighbours mostly one announces, and the other need not any more.
            self._start(_IHAVE, self._announcements.delay * (0.5 + self._random.random()))

    # In

    def _received(self, node: str, message: object) -> None:
        kind = message[0] if type(message) is tuple and message else None
        handle = self._kinds.get(kind) if type(kind) is str else None
        fault = handle(node, message) if handle is not None else "message"  # type: ignore[arg-type]
        if fault is not None:
            self._refuse(node, fault)
        if self._repair.holes:
            self._start(_SWEEP, self.parameters.retention / _SWEEPS)

    def _refuse(self, node: str, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self._effects.append(Refused(node, reason))

    def _on_gossip(self, node: str, message: tuple[Any, ...]) -> str | None:
        gossip = read_gossip(message, self.parameters.max_payload)
        if gossip is None:
            return "gossip"
        root, number, hop, own = gossip[:4]
        state = self._state_for(root, number)
        if state is None:
            return "root"
        neighbour = self._trees.is_neighbour(node)
        lazy = self._trees.used(root if own else None)
        if not state.marks.add(number, self._now):
            self.duplicates += 1
            self.prunes += 1
            if neighbour:
                lazy.add(node)
            self._send(node, ("prune", *root, own))
            return None
        entry = self._missing.arrived(root, number, node, self._now)
        self._take(state, gossip, node, entry)
        self._repair.look_for_holes(state)
        if neighbour:
            lazy.discard(node)
            if entry is not None and own:
                better, shorter = min(entry.announcers(), key=_hops)
                self._optimise(root, better, shorter, node, hop)
        return None

    def _on_answer(self, node: str, message: tuple[Any, ...]) -> str | None:
        """What was pulled, which says nothing about the trees."""
        gossip = read_gossip(message, self.parameters.max_payload)
        if gossip is None:
            return "answer"
        state = self._state_for(gossip.root, gossip.number)
        if state is None:
            return "root"
        if not state.marks.add(gossip.number, self._now):
            return None
        self._missing.forget(gossip.root, gossip.number)
        born = self._now - gossip.age / 1000
        if self._repair.is_for(born) or not self._knows(gossip.age):
            self._take(state, gossip, node, None)
        else:
            state.born(gossip.number, born)
            self._roots.changed(state.root)
        self._repair.look_for_holes(state)
        return None

    def _knows(self, age: int) -> bool:
        """Whether that is an age. What a handler has kept may be younger than it says."""
        return age < self.parameters.retention * 1000

    def _state_for(self, root: Root, number: int) -> RootState | None:
        if root == self.root and number > self._number:
            return None  # of this very life, and it has not broadcast that
        return self._roots.make(root, self._now)

    def _optimise(self, root: Root, better: str, shorter: int, parent: str, hop: int) -> bool:
        """The paper's Optimization: take the link of an IHAVE into the tree, if it is shorter by the threshold."""
        if hop - shorter < self.parameters.threshold or better == parent or not self._trees.is_neighbour(better):
            return False
        lazy = self._trees.used(root)
        lazy.discard(better)
        self._send(better, ("graft", *root, True, 0))
        if self._trees.is_neighbour(parent):
            lazy.add(parent)
            self._send(parent, ("prune", *root, True))
        self.optimisations += 1
        return True

    def _on_ihave(self, node: str, message: tuple[Any, ...]) -> str | None:
        announcements = read_announcements(message)
        if announcements is None:
            return "ihave"
        for root, number, own, hop in announcements:
            state = self._roots.get(root)
            if root == self.root or (state is not None and state.marks.seen(number)):
                self._announcements.known(node, root, number)
                kept = self._log.get(root, number)
                parent = kept.parent if kept is not None else None
                if kept and own and parent and self._optimise(root, node, hop, parent, kept.hop):
                    self._log.rerouted(kept, hop, node)
            elif self._trees.is_neighbour(node):
                if not self._missing.announced(root, number, own, node, hop, self._now):
                    return "too many missing"
                self._start(_GRAFT, self._missing.timeout_1.seconds)
        return None

    def _on_prune(self, node: str, message: tuple[Any, ...]) -> str | None:
        match message:
            case (_, origin, bits, bool(own)) if (root := read_root(origin, bits)) is not None:
                if self._trees.is_neighbour(node):
                    self._trees.used(root if own else None).add(node)
                return None
        return "prune"

    def _on_graft(self, node: str, message: tuple[Any, ...]) -> str | None:
        match message:
            case (_, "", 0, False, 0):  # the shared tree, whatever the root
                self._trees.used(None).discard(node)
                return None
            case (_, origin, bits, bool(own), int(number)) if (root := read_root(origin, bits)) is not None:
                pass
            case _:
                return "graft"
        if self._trees.is_neighbour(node):
            self._trees.used(root if own else None).discard(node)
        kept = self._log.get(root, number)
        if kept is not None:
            self._send(node, answer(kept, "gossip", self._now), bulky=True)
        return None

    # Time

    def _timer_fired(self, kind: str, node: str) -> None:
        self._timers.discard((kind, node))
        match kind:
            case "ihave":
                for neighbour in self._announcements.due():
                    self._send(neighbour, ("ihave", self._announcements.take(neighbour)))
            case "graft":
                self._ask_for_missing()
            case "sweep":
                self._sweep()
            case "exchange":
                self._roots.sweep(self._now)
                if self._trees.neighbours:
                    self._repair.round()
                    self._start_round()
            case _:
                self._repair.timer_fired(kind, node)

    def _start_round(self) -> None:
        self._start(EXCHANGE, self.parameters.exchange_interval * self._random.uniform(0.75, 1.25))

    def _ask_for_missing(self) -> None:
        for root, number, own, node in self._missing.ask(self._now, self._trees.is_neighbour):
            self.grafts += 1
            self._trees.used(root if own else None).discard(node)
            self._send(node, ("graft", *root, own, number))
        due = self._missing.next_due()
        if due is not None:
            self._start(_GRAFT, max(due - self._now, 0.001))

    def _sweep(self) -> None:
        self._log.expire(self._now)
        self._repair.give_up_holes()
        if len(self._log) or self._repair.holes:
            self._start(_SWEEP, self.parameters.retention / _SWEEPS)


def _hops(announcer: tuple[str, int]) -> int:
    return announcer[1]
