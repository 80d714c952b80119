"""Pure protocols in simulation: thousands of nodes made of layers, over links, in virtual time.

A node is one or several machines (see `layers`); the first is its overlay, which asks for links. `links` keeps the
contract of the overlay interface, `network` says how long a way takes and what is cut, `members` who hears of whom.

Promised: the same seed, operations and machines give the same events in the same order. A machine is never entered
while it runs or its effects are performed: what one effect brings to another layer comes after them. Payloads are
passed by reference, so a machine must not change what it has sent or got; with `strict=True` each goes through the
codec instead, which also finds what cannot be sent.

    simulation = ProtocolSimulation(seed, lambda node: [overlay_layer(HyParView().overlay(node.name))])
    simulation.grow(1000, spacing=0.01)
    simulation.run(30.0)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappush
from random import Random
from typing import Any, TypeAlias

from partisan_actors.testing.churn import Churn
from partisan_actors.testing.layers import Layer, Verb
from partisan_actors.testing.links import Links, Way
from partisan_actors.testing.members import MembersSource, MentionedMembers, Roll
from partisan_actors.testing.network import Cut, Network
from partisan_actors.testing.simulated_node import Handlers, SimulatedNode, Slot
from partisan_actors.testing.trace import Trace
from partisan_actors.testing.virtual_time import LATE, VirtualTime
from partisan_actors.topologies.overlay import Leave, Measured, MembersFound
from partisan_actors.wire.codec import Codec

__all__ = ["Observer", "ProtocolSimulation"]

Observer: TypeAlias = Callable[[SimulatedNode, str, Any], None]
"""Called with an effect that its layer did not name: the node, the layer's name, the effect."""

_MEASURE_TIMEOUT = 5.0
_LEAVE_DELAY = 0.1


class ProtocolSimulation:
    """A cluster of pure machines.

    Args:
        seed: of everything that is left to chance.
        make: the layers of a life of a node, the overlay's first.
        network: a fresh one; by default ways of 1 to 3 ms.
        members: whom overlays are told of; by default `MentionedMembers()`.
        observer: gets the effects that layers do not name.
        trace: written to, if there is one; makes a simulation several times slower.
        strict: encode and decode each payload.

    Attributes: `time`, `network`, `members`, `nodes` (by name, the latest life of each), `joined` (a Roll of the live
    ones that have joined), `sent` (messages by the index of the layer), `dropped` (messages by the reason).
    """

    def __init__(
        self,
        seed: int,
        make: Callable[[SimulatedNode], Sequence[Layer]],
        *,
        network: Network | None = None,
        members: MembersSource | None = None,
        observer: Observer | None = None,
        trace: Trace | None = None,
        strict: bool = False,
    ) -> None:
        self.seed = seed
        self.time = VirtualTime()
        self.network = network if network is not None else Network()
        self.network.random = Random(f"{seed}/network")
        self.random = Random(f"{seed}/operations")
        self.members: MembersSource = members if members is not None else MentionedMembers()
        self.members.simulation = self
        self.leave_delay = _LEAVE_DELAY
        self.observer = observer
        self.trace = trace
        self.nodes: dict[str, SimulatedNode] = {}
        self.joined = Roll()
        self.sent: list[int] = []
        self.dropped: dict[str, int] = {}
        self.links = Links(self)
        self.deliver = self._deliver if trace is None else self._deliver_traced
        self._make = make
        self._codec = Codec() if strict else None
        self._churn = Churn(self, 0.0, 0.0, 0.0)
        self._handlers: dict[tuple[Any, ...], Handlers] = {}
        self._verbs: dict[Verb, Callable[[Slot, Any], None]] = {
            Verb.SEND: self._send,
            Verb.SEND_MANY: self._send_many,
            Verb.SET_TIMER: self._set_timer,
            Verb.CANCEL_TIMER: self._cancel_timer,
            Verb.CONNECT: lambda slot, effect: self.links.want(slot.node, effect[0]),
            Verb.DISCONNECT: lambda slot, effect: self.links.unwant(slot.node, effect[0]),
            Verb.MEASURE: self._measure,
            Verb.FIND_MEMBERS: self._find_members,
            Verb.IGNORE: lambda slot, effect: None,
        }

    # Time

    def run(self, seconds: float) -> int:
        """Let so many seconds pass; how many events that were."""
        with self._noted():
            return self.time.run(seconds)

    def run_until(self, condition: Callable[[], Any], limit: float, *, every: float = 0.1) -> float:
        """Let time pass until `condition()`, asked `every` so many seconds; see `VirtualTime.run_until`."""
        with self._noted():
            return self.time.run_until(condition, limit, every=every)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            error.add_note(f"protocol simulation with seed {self.seed}, {self.time.now:.6f} s after its start")
            raise

    # Nodes

    def __getitem__(self, name: str) -> SimulatedNode:
        return self.nodes[name]

    def alive(self) -> list[SimulatedNode]:
        """The nodes that live, in the order in which they were first added."""
        return [node for node in self.nodes.values() if node.alive]

    def add(self, name: str | None = None, *, tag: str = "", processing: float = 0.0) -> SimulatedNode:
        """Make a node, which is alone at first.

        Args:
            name: by default "n0@sim", "n1@sim" and so on.
            tag: what others are told with its MemberUp.
            processing: seconds that it takes for each thing that happens to it; 0 for a fast one.
        """
        if name is None:
            name = f"n{len(self.nodes)}@sim"
        if name in self.nodes:
            raise ValueError(f"there is a node {name}; restart it, if it has ended")
        return self._start(SimulatedNode(self, name, 1, tag), processing)

    def grow(self, count: int, *, spacing: float = 0.0, contact: str | None = None) -> list[SimulatedNode]:
        """Add so many nodes, `spacing` seconds apart, each joining through `contact`, or one by chance."""
        added = []
        for _ in range(count):
            node = self.add()
            added.append(node)
            through = contact if contact is not None else self.someone(node.name)
            if through is None:
                self.has_joined(node, node.name)
            else:
                self.join(node, through)
            self.run(spacing)
        return added

    def join(self, node: SimulatedNode, contact: str) -> None:
        """Let the node join through `contact`, which it dials until it has a link to it."""
        self._note("join", node.name, contact)
        other = self.nodes.get(contact)
        if other is not None and other.alive and not other.joined:
            self.has_joined(other, contact)  # the first of the cluster
        node.contact = contact
        half = self.links.half(node, contact)
        if half.link is None:
            self.links.dial(half)  # by its address: it need not be a member so far
        else:
            self.links.close(half, half.link)  # a join begins with a fresh link, and its LinkUp

    def crash(self, node: SimulatedNode) -> None:
        """End the node's life between two events."""
        if node.alive:
            self._note("crash", node.name)
            self.links.crashed(node)
            self._ended(node, left=False)

    def leave(self, node: SimulatedNode) -> None:
        """Let the node leave: its overlay is told, what that sends is sent, and its links end in order."""
        self._note("leave", node.name)
        self.soon(node, self.give, node.slots[0], Leave())
        self.soon(node, self._left, node, None)

    def restart(self, node: SimulatedNode, contact: str | None = None) -> SimulatedNode:
        """Start a new life of a node that has ended, or crash it and do so; it joins through `contact`, if given."""
        self.crash(node)
        again = SimulatedNode(self, node.name, node.life + 1, node.tag)
        self._start(again, node.processing)
        if contact is not None:
            self.join(again, contact)
        return again

    def pause(self, node: SimulatedNode, seconds: float | None = None) -> None:
        """Stop the node, as SIGSTOP does, for so many seconds or until `resume`."""
        if node.alive and not node.paused:
            self._note("pause", node.name)
            node.paused = node.special = True
            node.pauses += 1
            self.links.paused(node)
            if seconds is not None:
                self.time.push(self.time.now + seconds, self._resume_after, node, node.pauses)

    def resume(self, node: SimulatedNode) -> None:
        """Let it go on: it finds all that has come meanwhile, and its timers late."""
        if node.alive and node.paused:
            self._note("resume", node.name)
            node.paused = False
            node.special = node.processing > 0.0
            backlog, node.backlog = node.backlog, []
            for function, a, b, c in backlog:
                self._divert(node, function, a, b, c) if node.special else function(a, b, c)

    def skew(self, node: SimulatedNode, *, rate: float = 1.0, offset: float = 0.0) -> None:
        """Give the node a clock that runs at another rate, and shows another time, from now on."""
        if rate <= 0.0:
            raise ValueError(f"a clock's rate is above 0, and {rate!r} is not")
        node.offset = node.now + offset - self.time.now * rate
        node.rate = rate

    # The network

    def partition(
        self, sources: Collection[str], targets: Collection[str] | None = None, *, one_way: bool = False
    ) -> Cut:
        """Cut the names `sources` off from `targets`, or from all others; see `Network.cut`."""
        self._note("partition", sorted(sources), None if targets is None else sorted(targets), one_way)
        cut = self.network.cut(sources, targets, one_way=one_way)
        self.links.cut()
        return cut

    def heal(self, cut: Cut | None = None) -> None:
        """Take that cut back, or all."""
        self._note("heal")
        self.network.mend(cut)
        self.links.healed()

    def churn(self, rate: float, *, downtime: float = 5.0, leaves: float = 0.0) -> None:
        """From now on, `rate` times a second on average, end a node by chance; 0 stops that.

        Args:
            downtime: seconds until it starts again and joins through one by chance.
            leaves: share of those that leave rather than crash.
        """
        self._churn.stop()
        self._churn = Churn(self, rate, downtime, leaves)

    # What links and members say, and what machines are told

    def at_node(
        self, node: SimulatedNode, function: Callable[[Any, Any, Any], None], args: tuple[Any, Any, Any]
    ) -> None:
        """Let the node see to this, when it can."""
        if not node.alive:
            return
        if node.special:
            self._divert(node, function, *args)
        else:
            function(*args)

    def soon(self, node: SimulatedNode, function: Callable[[Any, Any, Any], None], a: Any, b: Any) -> None:
        """Let the node see to `function(a, b, None)`, after what is due already."""
        self.time.push(self.time.now, self.at_node, node, function, (a, b, None))

    def give(self, slot: Slot, event: Any, _c: None = None) -> None:
        """Hand an event to a layer's `other`."""
        self._note("event", slot.node.name, slot.name, event)
        self._perform(slot, slot.layer.other(event, slot.node.now, slot.node.random))

    def link_up(self, node: SimulatedNode, peer: str) -> None:
        """Tell all layers."""
        if peer in node.told:
            for slot in node.slots:
                self._link_up(slot, peer)
        else:  # a layer that says who is a member hears of it first; the overlay after the MemberUp that this brings
            for slot in node.slots[1:]:
                self._link_up(slot, peer)
            self.soon(node, self._link_up, node.slots[0], peer)

    def link_down(self, node: SimulatedNode, peer: str) -> None:
        """Tell all layers."""
        self._note("link down", node.name, peer)
        for slot in node.slots:
            self._perform(slot, slot.layer.link_down(peer, node.now, node.random))

    def _link_up(self, slot: Slot, peer: str, _c: None = None) -> None:
        node = slot.node
        self._note("link up", node.name, slot.name, peer)
        self._perform(slot, slot.layer.link_up(peer, node.now, node.random))

    def has_joined(self, node: SimulatedNode, contact: str) -> None:
        """The node is one of the cluster from now on; its contact is too."""
        for name in (contact, node.name):
            joined = self.nodes[name]
            if joined.alive and not joined.joined:
                joined.joined = True
                self.joined.add(name)
                self.members.joined(joined)

    # Messages

    def _deliver(self, way: Way, index: int, payload: Any) -> None:
        # hot path: every message of a simulation comes here.
        node = way.node
        if node.special:
            self._divert(node, self._hand_in, way, index, payload)
        elif way.open:
            slot = node.slots[index]
            now = self.time.now * node.rate + node.offset
            handlers = slot.handlers
            for effect in slot.layer.message(way.source, payload, now, node.random):
                handlers[type(effect)](slot, effect)
        else:
            self._drop("closed")

    def _deliver_traced(self, way: Way, index: int, payload: Any) -> None:
        node = way.node
        if node.special:
            self._divert(node, self._hand_in, way, index, payload)
        else:
            self._hand_in(way, index, payload)

    def _hand_in(self, way: Way, index: int, payload: Any) -> None:
        if not way.open:
            self._drop("closed")
            return
        node = way.node
        slot = node.slots[index]
        self._note("message", way.source, node.name, slot.name, payload)
        self._perform(slot, slot.layer.message(way.source, payload, node.now, node.random))

    def _send(self, slot: Slot, effect: Any) -> None:
        # hot path: every message of a simulation comes here.
        way = slot.node.ways.get(effect[0])
        if way is None:
            self._drop("no link")
            return
        index = slot.index
        payload = effect[1]
        self.sent[index] += 1
        if self._codec is not None:
            payload = self._codec.decode(self._codec.encode(payload))
        if way.held is not None:
            way.held.append((index, payload))
        elif self.network.faithful:
            time = self.time
            sample = way.sample
            when = time.now + (way.seconds if sample is None else sample())
            if when < way.last:
                when = way.last
            else:
                way.last = when
            heappush(time.events, (when, time.number(), self.deliver, way, index, payload))
        else:
            self._send_badly(way, index, payload)

    def _send_badly(self, way: Way, index: int, payload: Any) -> None:
        network, random, now = self.network, self.network.random, self.time.now
        if random.random() < network.loss:
            self._drop("lost")
            return
        for _ in range(2 if random.random() < network.duplication else 1):
            when = way.arrival(now)
            if random.random() < network.reordering:
                when += random.uniform(0.0, network.late)
            self.time.push(when, self.deliver, way, index, payload)

    def _send_many(self, slot: Slot, effect: Any) -> None:
        for peer in effect[0]:
            self._send(slot, (peer, effect[1]))

    def _drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    # Other effects

    def _perform(self, slot: Slot, effects: Iterable[Any]) -> None:
        handlers = slot.handlers
        for effect in effects:
            handlers[type(effect)](slot, effect)

    def _observe(self, slot: Slot, effect: Any) -> None:
        self._note("effect", slot.node.name, slot.name, effect)
        if self.observer is not None:
            self.observer(slot.node, slot.name, effect)

    def _set_timer(self, slot: Slot, effect: Any) -> None:
        time = self.time
        number = slot.timers[effect[0]] = time.number()
        when = time.now + max(effect[1], 0.0) / slot.node.rate + LATE
        heappush(time.events, (when, number, self._timer_due, slot, effect[0], number))

    def _cancel_timer(self, slot: Slot, effect: Any) -> None:
        slot.timers.pop(effect[0], None)

    def _timer_due(self, slot: Slot, key: Hashable, number: int) -> None:
        if slot.timers.get(key) != number:
            return  # replaced, cancelled, or of a life that has ended
        node = slot.node
        if node.special:
            self._divert(node, self._timer_fired, slot, key, number)
        else:
            self._timer_fired(slot, key, number)

    def _timer_fired(self, slot: Slot, key: Hashable, number: int) -> None:
        if slot.timers.get(key) == number:
            del slot.timers[key]
            node = slot.node
            if self.trace is not None:
                self._note("timer", node.name, slot.name, key)
            self._perform(slot, slot.layer.timer(key, node.now, node.random))

    def _measure(self, slot: Slot, effect: Any) -> None:
        node, peer = slot.node, effect[0]
        target = self.nodes.get(peer)
        seconds = self.network.round_trip(node.name, peer)
        after, answer = seconds, seconds
        if (target is not None and target.paused) or self.network.apart(node.name, peer):
            after, answer = _MEASURE_TIMEOUT, float("inf")
        elif target is None or not target.alive:
            answer = float("inf")
        args = (slot, Measured(peer, answer), None)
        self.time.push(self.time.now + after, self.at_node, node, self.give, args)

    def _find_members(self, slot: Slot, effect: Any) -> None:
        node = slot.node
        self.soon(node, self.give, slot, MembersFound(tuple(self.members.find(node, effect[0], node.random))))

    # Lives

    def someone(self, without: str) -> str | None:
        """A live node that has joined, by chance, or None if there is no other."""
        found = self.joined.draw(1, without, self.random)
        return found[0] if found else None

    def _start(self, node: SimulatedNode, processing: float) -> SimulatedNode:
        self._note("start", node.name, node.life)
        node.processing = processing
        node.special = processing > 0.0
        self.nodes[node.name] = node
        for index, layer in enumerate(self._make(node)):
            said = tuple(layer.effects.items())
            if said not in self._handlers:
                self._handlers[said] = Handlers(layer.effects, self._verbs, self._observe)
            node.slots.append(Slot(node, index, layer, self._handlers[said]))
        self.sent.extend([0] * (len(node.slots) - len(self.sent)))
        for slot in node.slots:
            self._perform(slot, slot.layer.start(node.now, node.random))
        return node

    def _ended(self, node: SimulatedNode, *, left: bool) -> None:
        node.alive = node.paused = node.special = node.joined = False
        node.ended = self.time.now
        node.contact = None
        node.backlog.clear()
        node.ways.clear()
        node.halves.clear()
        for slot in node.slots:
            slot.timers.clear()
        self.joined.discard(node.name)
        self.members.gone(node, left=left)

    def _left(self, node: SimulatedNode, _b: None, _c: None) -> None:
        for half in list(node.halves.values()):
            if half.link is not None:
                half.link.from_end(half)[1].open = False
                self.links.close(half, half.link)
        self._ended(node, left=True)

    def _resume_after(self, node: SimulatedNode, pauses: int, _c: None) -> None:
        if node.pauses == pauses:
            self.resume(node)

    def _divert(self, node: SimulatedNode, function: Callable[[Any, Any, Any], None], a: Any, b: Any, c: Any) -> None:
        """Keep it until a paused node runs again, or a slow one gets to it."""
        if node.paused:
            node.backlog.append((function, a, b, c))
            return
        node.busy_until = max(self.time.now, node.busy_until) + node.processing
        self.time.push(node.busy_until, self._get_to, node, function, (a, b, c))

    def _get_to(
        self, node: SimulatedNode, function: Callable[[Any, Any, Any], None], args: tuple[Any, Any, Any]
    ) -> None:
        if node.paused:
            node.backlog.append((function, *args))
        elif node.alive:
            function(*args)

    def _note(self, what: str, *about: Any) -> None:
        if self.trace is not None:
            self.trace.add(self.time.now, what, *about)
