"""Drives the broadcast of a node: between the machine `plumtree`, the sessions, and the handlers of programs.

The neighbours are those members with a session to whom the overlay passes on what is for everybody. Payloads travel on
their handler's channel, or the default one; a neighbour whose stream is full is told of a message in place of it, and
asks for it later. The rest travels on the system channel. A sender waits while the way to a neighbour is full.

A message for a handler that is not registered here waits in the log for that, as long as it is kept.

In a BROADCAST signal stand the length of a term u32, the term, which is the machine's message without its last element,
and that last element, a payload, as it is: relays pass it on undecoded. In a BROADCAST_CONTROL, the machine's message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from partisan_actors.cluster import broadcast_events as events
from partisan_actors.cluster.advice import advice_on
from partisan_actors.cluster.broadcast_events import PlumtreeParameters, Root
from partisan_actors.cluster.broadcast_handler import BroadcastHandler, handler_name
from partisan_actors.cluster.broadcast_queue import HandlerQueue
from partisan_actors.cluster.plumtree import Plumtree
from partisan_actors.cluster.remote import RemoteProcesses
from partisan_actors.cluster.ties import Ties
from partisan_actors.cluster.ways import Way
from partisan_actors.distribution.bad_input import BadInputLog, Level
from partisan_actors.distribution.flows import size_of
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.errors import ActorError
from partisan_actors.processes.identity import Remote
from partisan_actors.processes.process import Process
from partisan_actors.processes.runtime import Runtime
from partisan_actors.wire.codec import Codec, DecodeError
from partisan_actors.wire.signals import BROADCAST, BROADCAST_CONTROL, LARGE, OPTIONAL, Signal, encode_signal

__all__ = ["Broadcasting", "read_message"]

_LENGTH = 4
_STRANGER = "of a stranger"
_MOST_UNHEARD = 100_000  # messages for handlers that are not registered, of which the number is kept


class Broadcasting:
    """The broadcast of one node life.

    Args:
        gossip: says to whom this node passes on what is for everybody.
        parameters: of the protocol.
    """

    def __init__(
        self,
        runtime: Runtime,
        codec: Codec,
        remote: RemoteProcesses,
        gossip: Callable[[], Sequence[str]],
        parameters: PlumtreeParameters | None = None,
    ) -> None:
        home = runtime.home
        self.machine = Plumtree(home.node, home.bits, parameters)
        self.strangers = 0  # messages of lives that are no members
        self.unheard = 0  # messages for handlers that were not registered when they came
        self._runtime = runtime
        self._codec = codec
        self._remote = remote
        self._gossip = gossip
        self._neighbours: list[str] = []
        self._queues: dict[str, HandlerQueue] = {}  # by the handler's name
        self._unheard: dict[str, deque[tuple[Root, int]]] = {}
        self._bad_input = BadInputLog(home.node, runtime.clock)
        self._timers = KeyedTimers(runtime.clock, self._step)
        self._events: deque[Any] = deque()
        self._stepping = False

    # For programs

    def register(self, handler: BroadcastHandler) -> None:
        """Let a handler take in what is broadcast for its class. Raises ValueError: another one does; its channel."""
        name = handler_name(type(handler))
        before = self._queues.get(name)
        if before is not None:
            if before.handler is not handler:
                raise ValueError(f"another handler of class {name} is registered on {self._runtime.home.node}")
            return
        monotonic = self._runtime.channels.get(handler.channel) if handler.channel is not None else False
        if monotonic is None:
            raise ValueError(f"{self._runtime.home.node} has no channel {handler.channel!r}, which {name} asks for")
        if monotonic:
            raise ValueError(f"channel {handler.channel!r} is monotonic: it would drop broadcasts of {name}")

        def fetched(peer: str, root: Root, number: int, payload: bytes) -> None:
            self._step(events.Fetched(peer, root, number, name, payload))

        queue = self._queues[name] = HandlerQueue(self._runtime, self._codec, handler, self._payload, fetched)
        for root, number in self._unheard.pop(name, ()):
            payload = self._payload(root, number)
            if payload is not None:
                queue.merge(root, number, payload)

    def unregister(self, name: str) -> bool:
        """Let it take in no more; whether there was one."""
        return self._queues.pop(name, None) is not None

    def handler(self, name: str) -> BroadcastHandler | None:
        """The handler of that name."""
        queue = self._queues.get(name)
        return queue.handler if queue is not None else None

    def broadcast(self, process: Process, message: Any, name: str) -> None:
        """Send to every node; waits while the way to a neighbour is full.

        Raises:
            NotSendable: it cannot cross.
            ValueError: it is too large.
        """
        payload = self._codec.encode(message)
        most = self.machine.parameters.max_payload
        if len(payload) > most:
            raise ValueError(f"a broadcast of {len(payload)} bytes is longer than {most}")
        for node in self._neighbours:
            ties = self._over_link(node)
            if ties is not None:
                way = self._way(ties, name, self.machine.root)
                self._remote.wait_for_room(process, way, ties, nosuspend=False, deadline=None)
        self._step(events.Broadcast(name, payload))

    def statistics(self) -> dict[str, Any]:
        """What the broadcast has done so far, and how much there is in its tables."""
        machine = self.machine
        counted = ("delivered", "duplicates", "grafts", "prunes", "optimisations")
        handlers = {
            name: {what: getattr(queue, what) for what in ("merged", "stale", "failed", "undecodable", "waiting")}
            for name, queue in sorted(self._queues.items())
        }
        return {
            **{what: getattr(machine, what) for what in counted},
            **machine.sizes(),
            "refused": machine.refused | ({_STRANGER: self.strangers} if self.strangers else {}),
            "unheard": self.unheard,
            "handlers": handlers,
        }

    # For the cluster

    def look(self) -> None:
        """Links, or what the overlay makes of them, may have changed."""
        before, now = self._neighbours, list(self._gossip())
        if before == now:
            return
        self._neighbours = now
        for node in before:
            if node not in now:
                self._step(events.NeighbourDown(node))
        for node in now:
            if node not in before:
                self._step(events.NeighbourUp(node))

    def member_up(self, node: str, bits: int) -> None:
        """A life is a member."""
        self._step(events.MemberUp(node, bits))

    def member_down(self, node: str, bits: int) -> None:
        """It is not any more."""
        self._step(events.MemberDown(node, bits))

    def left(self) -> None:
        """This node has left the cluster."""
        self._step(events.Left())

    def received(self, node: str, signal: Signal, member: bool = True) -> None:
        """The broadcast of another node has sent something; `member`: of a life that is one. Raises DecodeError."""
        if not member:
            self.strangers += 1
            self._refused(node, _STRANGER)
            return
        self._step(events.BroadcastReceived(node, read_message(self._codec, signal)))

    def close(self) -> None:
        """Stop all timers."""
        self._timers.close()

    # Inside

    def _payload(self, root: Root, number: int) -> bytes | None:
        kept = self.machine.kept(root, number)
        return kept.payload if kept is not None else None

    def _step(self, event: Any) -> None:
        self._events.append(event)
        if self._stepping:
            return
        self._stepping = True
        clock = self._runtime.clock
        try:
            while self._events:
                for effect in self.machine.step(self._events.popleft(), clock.now(), clock.random):
                    self._perform(effect)
        finally:
            self._stepping = False

    def _perform(self, effect: Any) -> None:
        match effect:
            case events.SendBroadcast(nodes, message, bulky):
                self._send_bulky(nodes, message) if bulky else self._send(nodes, message)
            case events.SendBeyond(node, message):
                self._send_beyond(node, message)
            case events.Deliver(root, number, handler, payload):
                self._deliver(root, number, handler, payload)
            case events.Gap(root, first, last):
                _log().warning("broadcasts_lost", node=self._runtime.home.node, root=root.node, first=first, last=last)
                for queue in self._queues.values():
                    queue.gap(root, first, last)
            case events.ExchangeBegun(node):
                for queue in self._queues.values():
                    queue.exchange(node)
            case events.Unavailable(node, root, first, last):
                for queue in self._queues.values():
                    for number in range(first, last + 1) if queue.grafts else ():
                        queue.graft(node, root, number)
            case events.Refused(node, reason):
                self._refused(node, reason)
            case SetTimer(key, seconds):
                self._timers.set(key, seconds)
            case CancelTimer(key):
                self._timers.cancel(key)

    def _send(self, nodes: Sequence[str], message: tuple[Any, ...]) -> None:
        signal = encode_signal(BROADCAST_CONTROL, payload=self._codec.encode(message), flags=OPTIONAL)
        for node in nodes:
            ties = self._ties(node, message)
            if ties is not None:
                ties.session.system.send(signal)

    def _send_beyond(self, node: str, message: tuple[Any, ...]) -> None:
        """Send to a member by whatever way there is, once there is a session."""
        signal = encode_signal(BROADCAST_CONTROL, payload=self._codec.encode(message), flags=OPTIONAL)

        def send() -> None:
            ties = self._remote.ties_to(node)
            if isinstance(ties, Ties):
                ties.session.system.send(signal)

        if not self._remote.opening.hold(None, Remote("broadcast", node), size_of(signal), send):
            send()

    def _send_bulky(self, nodes: Sequence[str], message: tuple[Any, ...]) -> None:
        head, payload = self._codec.encode(message[:-1]), message[-1]
        head = len(head).to_bytes(_LENGTH, "big") + head
        body = (head, payload) if len(payload) >= LARGE else head + payload
        signal = encode_signal(BROADCAST, payload=body, flags=OPTIONAL)
        root = Root(message[1], message[2]) if message[0] == "gossip" else None
        for node in nodes:
            ties = self._ties(node, message)
            if ties is None:
                continue
            if root is None:
                ties.ways.usual(0).send(signal)  # answers to pulls, in order
                continue
            way = self._way(ties, message[-2], root)
            if way.outgoing.congested:
                self._events.append(events.NotSent(node, root, message[3]))
            else:
                way.send(signal)

    def _over_link(self, node: str) -> Ties | None:
        """The ties to a neighbour while there is a link to it. Nothing here is worth a route: others have it, too."""
        ties = self._remote.ties_to(node)
        return ties if isinstance(ties, Ties) and ties.session.keeps_link else None

    def _ties(self, node: str, message: tuple[Any, ...]) -> Ties | None:
        """The same, or the ties by a route that is there, for what may be said to one that is no neighbour."""
        ties = self._over_link(node)
        if ties is None and message[0] in events.BEYOND_KINDS and node not in self._neighbours:
            found = self._remote.ties_to(node)
            return found if isinstance(found, Ties) and found.session.connected else None
        return ties

    def _way(self, ties: Ties, name: str, root: Root) -> Way:
        queue = self._queues.get(name)
        channel = queue.handler.channel if queue is not None else None
        flow = root.bits & 0xFFFFFFFF
        if channel is not None:
            try:
                return ties.ways.on(channel, flow, flow)
            except ActorError:
                pass  # this neighbour lacks it; a broadcast is for all
        return ties.ways.usual(flow)

    def _deliver(self, root: Root, number: int, name: str, payload: bytes) -> None:
        queue = self._queues.get(name)
        if queue is not None:
            queue.merge(root, number, payload)
            return
        self.unheard += 1
        event, reason = "broadcast_unheard", f"no handler {name} is registered"
        self._bad_input.tell(event, root.node, reason, advice=advice_on(event, reason), level="info")
        waiting = self._unheard.setdefault(name, deque())
        waiting.append((root, number))
        while waiting and self.machine.kept(*waiting[0]) is None:
            waiting.popleft()
        if sum(map(len, self._unheard.values())) > _MOST_UNHEARD:
            oldest = next(iter(self._unheard))
            self._unheard[oldest].popleft()
            if not self._unheard[oldest]:
                del self._unheard[oldest]

    def _refused(self, node: str, reason: str) -> None:
        event = "broadcast_refused"
        level: Level = "debug" if reason == _STRANGER else "warning"  # its session is about to end
        self._bad_input.tell(event, node, reason, advice=advice_on(event, reason), level=level)


def read_message(codec: Codec, signal: Signal) -> Any:
    """The machine's message in a BROADCAST or BROADCAST_CONTROL signal. Raises DecodeError."""
    payload = signal.payload
    if signal.kind == BROADCAST_CONTROL:
        return codec.decode(payload)
    end = _LENGTH + int.from_bytes(payload[:_LENGTH], "big")
    if len(payload) < end:
        raise DecodeError("truncated")
    head = codec.decode(payload[_LENGTH:end])
    return (*head, bytes(payload[end:])) if type(head) is tuple else head


def _log() -> Any:
    return structlog.get_logger("partisan_actors")
