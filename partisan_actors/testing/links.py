"""The links of a protocol simulation: how they are made, how they end, and what goes over them.

It keeps the contract of `topologies.overlay`, as the driver of a real node does. A dial takes a round trip, and both
ends have the link then. One that is refused, since nobody lives there, is over after that time; one into silence, since
there is a cut or the other is paused, after DIAL_TIMEOUT. What is wanted is dialled again, with a back-off. A link ends
in order by a Disconnect or a leave: what was sent before arrives. It ends BREAK seconds after a crash, and SILENCE
seconds after a cut or a pause began that has not ended by then; what was held back until then is lost, and what is
healed in time is late, and that is all. A link that nobody wants is closed after UNWANTED.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from partisan_actors.topologies.overlay import Joined, Unreachable

if TYPE_CHECKING:
    from partisan_actors.testing.network import Network
    from partisan_actors.testing.protocols import ProtocolSimulation
    from partisan_actors.testing.simulated_node import SimulatedNode

__all__ = ["BREAK", "DIAL_TIMEOUT", "REDIAL_MAX", "REDIAL_MIN", "SILENCE", "UNWANTED", "Half", "Link", "Links", "Way"]

DIAL_TIMEOUT = 5.0
"""Seconds until a dial is given up that nobody answers."""

BREAK = 0.5
"""Seconds from a crash to the end of the links: the sockets break, and the one redial is refused."""

SILENCE = 5.0
"""Seconds without a sign of life that end a link."""

REDIAL_MIN, REDIAL_MAX = 0.1, 3.0
"""Seconds between two dials of a link that is wanted, at first and at most; doubled each time."""

UNWANTED = 10.0
"""Seconds that a link stays which no overlay wants: one that was dialled for a join, say."""

_END = -1  # in the place of a layer: the link's end


class Way:
    """One direction of one link."""

    __slots__ = ("half", "held", "last", "link", "node", "open", "sample", "seconds", "source")

    def __init__(self, link: Link, source: Half, target: Half, network: Network) -> None:
        way = network.way(source.node.name, target.node.name)
        self.link = link
        self.source = source.node.name
        self.half = target
        self.node = target.node  # the receiver
        self.open = True  # until the receiver has heard of the end
        self.seconds = way if isinstance(way, float) else 0.0
        self.sample: Callable[[], float] | None = None if isinstance(way, float) else way
        self.last = 0.0  # when what was sent last arrives: nothing overtakes it
        self.held: list[tuple[int, Any]] | None = None  # a cut holds these back: layer, payload

    def arrival(self, now: float) -> float:
        """When what is sent now arrives."""
        sample = self.sample
        when = now + (self.seconds if sample is None else sample())
        if when < self.last:
            return self.last
        self.last = when
        return when


class Half:
    """What one life of a node has to do with another node."""

    __slots__ = ("attempt", "backoff", "dialling", "link", "node", "owed", "peer", "up", "waits", "wanted")

    def __init__(self, node: SimulatedNode, peer: str) -> None:
        self.node = node
        self.peer = peer
        self.wanted = False
        self.owed = False  # an Unreachable, if the dial fails
        self.waits = False  # for the MemberUp of the peer
        self.dialling = False
        self.attempt = 0  # numbers dials and redials; an older one that comes to its end is void
        self.backoff = REDIAL_MIN
        self.link: Link | None = None  # the latest, from when it is made
        self.up: Link | None = None  # the one that the layers know

    @property
    def needed(self) -> bool:
        """Whether its own side has a use for a link."""
        return self.wanted or self.node.contact == self.peer


class Link:
    """A link between two lives of two nodes, the one that dialled first."""

    __slots__ = ("cut", "ends", "ways")

    def __init__(self, a: Half, b: Half, network: Network) -> None:
        self.ends = (a, b)
        self.ways = (Way(self, a, b, network), Way(self, b, a, network))
        self.cut = 0  # since which cut it is silent; 0: it is not

    def from_end(self, half: Half) -> tuple[Way, Way, Half]:
        """The way out, the way in, and the other end."""
        ab, ba = self.ways
        return (ab, ba, self.ends[1]) if half is self.ends[0] else (ba, ab, self.ends[0])


class Links:
    """All links of one simulation."""

    def __init__(self, simulation: ProtocolSimulation) -> None:
        self._simulation = simulation
        self._time = simulation.time
        self._network = simulation.network
        self._cuts = 0

    def half(self, node: SimulatedNode, peer: str) -> Half:
        """What `node` has to do with `peer`, from now on at the latest."""
        half = node.halves.get(peer)
        if half is None:
            half = node.halves[peer] = Half(node, peer)
        return half

    # Wishes

    def want(self, node: SimulatedNode, peer: str) -> None:
        """The overlay wants a link from now on. One to the node itself is never made."""
        half = self.half(node, peer)
        half.wanted = True
        if half.link is not None or peer == node.name:
            return
        half.owed = True
        if peer in node.told or self._simulation.members.mentioned(node, peer):
            self.dial(half)
        else:
            half.waits = True

    def unwant(self, node: SimulatedNode, peer: str) -> None:
        """It wants none any more; one that is there ends."""
        half = node.halves.get(peer)
        if half is None:
            return
        half.wanted = half.owed = half.waits = False
        if half.link is not None:
            self.close(half, half.link)
        elif not half.needed:
            half.attempt += 1
            half.dialling = False
            del node.halves[peer]

    # Dialling

    def dial(self, half: Half) -> None:
        """Dial now, unless a dial is under way or there is a link."""
        if half.dialling or half.link is not None or not half.node.alive:
            return
        half.dialling = True
        half.attempt += 1
        node, peer = half.node, half.peer
        target = self._simulation.nodes.get(peer)
        silent = target is not None and target.paused
        if silent or self._network.apart(node.name, peer):
            self._later(DIAL_TIMEOUT, half, self._dial_failed)
        else:
            self._later(self._network.round_trip(node.name, peer), half, self._dial_answered)

    def _later(self, seconds: float, half: Half, function: Callable[[Half, int, Any], None]) -> None:
        node = half.node
        self._time.push(self._time.now + seconds, self._simulation.at_node, node, function, (half, half.attempt, None))

    def _dial_answered(self, half: Half, attempt: int, _c: None) -> None:
        if attempt != half.attempt:
            return
        node = half.node
        target = self._simulation.nodes.get(half.peer)
        if target is None or not target.alive or target.paused or self._network.apart(node.name, half.peer):
            self._dial_failed(half, attempt, None)
            return
        half.dialling = False
        other = self.half(target, node.name)
        if half.link is not None:
            return  # the other's dial was faster
        link = half.link = other.link = Link(half, other, self._network)
        other.attempt += 1
        other.dialling = False
        self._link_up(half, link, None)
        self._simulation.soon(target, self._link_up, other, link)

    def _dial_failed(self, half: Half, attempt: int, _c: None) -> None:
        if attempt != half.attempt:
            return
        half.dialling = False
        if half.owed:
            half.owed = False
            self._simulation.give(half.node.slots[0], Unreachable(half.peer), None)
        self._redial(half)

    def _redial(self, half: Half) -> None:
        if half.needed and half.link is None and not half.dialling:
            half.attempt += 1
            seconds = half.backoff * self._network.random.uniform(0.75, 1.25)
            half.backoff = min(half.backoff * 2.0, REDIAL_MAX)
            self._later(seconds, half, self._redial_due)

    def _redial_due(self, half: Half, attempt: int, _c: None) -> None:
        if attempt == half.attempt and half.needed:
            self.dial(half)

    # A link's beginning and end, as one of its ends sees them

    def _link_up(self, half: Half, link: Link, _c: Any) -> None:
        node, peer, simulation = half.node, half.peer, self._simulation
        if half.link is not link:
            return  # it has ended before this end heard of it
        if peer not in node.told and simulation.members.met(node, peer):
            simulation.soon(node, self._link_up, half, link)  # after the MemberUp that this brings
            return
        if half.up is not None:
            self.link_down(half, half.up, None)
        if half.link is not link:
            return
        out, _, other = link.from_end(half)
        half.up = link
        half.owed = half.waits = False
        half.backoff = REDIAL_MIN
        node.ways[peer] = out
        if not half.wanted and not other.wanted:
            self._time.push(self._time.now + UNWANTED, self._unwanted, link)
        simulation.link_up(node, peer)
        if node.contact == peer:
            node.contact = None
            simulation.soon(node, simulation.give, node.slots[0], Joined(peer))
            simulation.has_joined(node, peer)

    def link_down(self, half: Half, link: Link, _c: Any) -> None:
        """This end hears that the link has ended."""
        if link not in (half.link, half.up):
            return
        node, peer = half.node, half.peer
        if half.link is link:
            half.link = None
        if half.up is link:
            half.up = None
            node.ways.pop(peer, None)
            link.from_end(half)[1].open = False
            self._simulation.link_down(node, peer)
        if half.needed:
            self._redial(half)
        elif half.link is None and node.halves.get(peer) is half and not half.dialling:
            del node.halves[peer]

    def close(self, half: Half, link: Link) -> None:
        """End it in order: what was sent before arrives, and then the other end hears of it."""
        out = link.from_end(half)[0]
        if half.link is link:
            half.link = None
            half.node.ways.pop(half.peer, None)
        self._simulation.soon(half.node, self.link_down, half, link)
        if out.held is None:
            self._end_arrives(out)
        else:
            out.held.append((_END, None))

    def _end_arrives(self, way: Way) -> None:
        when = way.arrival(self._time.now)
        args = (way.half, way.link, None)
        self._time.push(when, self._simulation.at_node, way.node, self.link_down, args)

    def _unwanted(self, link: Link, _b: None, _c: None) -> None:
        a, b = link.ends
        if a.link is link and b.link is link and not (a.needed or b.needed):
            self.close(a, link)

    # What the world does to links

    def crashed(self, node: SimulatedNode) -> None:
        """The node's life has ended at once; call before its halves are forgotten."""
        for half in list(node.halves.values()):
            link = half.link
            if link is not None:
                _, into, other = link.from_end(half)
                into.open = False
                if link.cut == 0:
                    self._broken_at(other, link)

    def _broken_at(self, half: Half, link: Link) -> None:
        when = self._time.now + BREAK
        self._time.push(when, self._simulation.at_node, half.node, self.link_down, (half, link, None))

    def paused(self, node: SimulatedNode) -> None:
        """The node has stopped; its links will be silent if that lasts."""
        for half in node.halves.values():
            if half.link is not None:
                self._time.push(self._time.now + SILENCE, self._still_paused, half, half.link, node.pauses)

    def _still_paused(self, half: Half, link: Link, pauses: int) -> None:
        node = half.node
        if node.alive and node.paused and node.pauses == pauses and half.link is link:
            self._break(link)

    def cut(self) -> None:
        """There are new cuts: hold back what cannot cross."""
        self._cuts += 1
        network = self._network
        for link in self._all():
            crossing = [network.stops(way.source, way.node.name) for way in link.ways]
            for way, stopped in zip(link.ways, crossing, strict=True):
                if stopped and way.held is None:
                    way.held = []
            if any(crossing) and link.cut == 0:
                link.cut = self._cuts
                self._time.push(self._time.now + SILENCE, self._still_cut, link, self._cuts)

    def healed(self) -> None:
        """There are fewer cuts: let go on what was held back."""
        for link in self._all():
            if link.cut:
                for way in link.ways:
                    if way.held is not None and not self._network.stops(way.source, way.node.name):
                        self._let_go(way)
                if all(way.held is None for way in link.ways):
                    link.cut = 0
                    for half in link.ends:
                        if not half.node.alive:
                            self._broken_at(link.from_end(half)[2], link)

    def _let_go(self, way: Way) -> None:
        held, way.held = way.held or [], None
        for index, payload in held:
            if index == _END:
                self._end_arrives(way)
            else:
                self._time.push(way.arrival(self._time.now), self._simulation.deliver, way, index, payload)

    def _still_cut(self, link: Link, number: int, _c: None) -> None:
        if link.cut == number:
            self._break(link)

    def _break(self, link: Link) -> None:
        for half in link.ends:
            self._simulation.soon(half.node, self.link_down, half, link)

    def _all(self) -> list[Link]:
        """Every link that has not ended at both ends, once, in the order of the nodes."""
        found = []
        for node in self._simulation.nodes.values():
            for half in node.halves.values():
                for link in (half.link, half.up if half.up is not half.link else None):
                    # By the end that dialled, or by the other where that one has ended.
                    if link is not None and (link.ends[0] is half or not self._holds(link.ends[0], link)):
                        found.append(link)
        return found

    def _holds(self, half: Half, link: Link) -> bool:
        return half.node.halves.get(half.peer) is half and link in (half.link, half.up)
