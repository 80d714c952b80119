"""The way of a frame to a node that no link leads to: which neighbour it goes by, and how that is found out.

A node keeps, for each destination, the next neighbour and never a whole path. It learns for nothing: from each frame
and look-up that passes, the way back to who sent it; from members' announcements, by hearsay. Where it knows no way it
looks it up, by rings that grow, and any node that has heard of a way lately may answer; a node next to the destination
passes the look-up on to it. Answers come back by the way to who asked, and teach each node there. Who is asked for
again and again from afar makes itself known to everybody, once for all of them. That is AODV (RFC 3561) where the
overlay is the network; see `route_table` for why ways do not go round in circles.

Promised:

- between nodes that are linked, if over others, a frame arrives while nothing changes: over as many links as the way
  has, each crossed once, on a way that was the fastest when it was learned;
- a frame is handed up once, whatever comes twice; it crosses `hop_limit` links at the most, and does not go back over
  the link that it came by;
- a way of which nothing was heard is looked up anew (`Doubted`), and the way back to this node with it;
- one that comes back makes the node give up the way that it took; so circles, from ways that are out of date, end;
- what waits for a way is bounded, in bytes and in time; what was sent here and found none comes back (`Undeliverable`);
- for a destination that does not answer there are ever fewer look-ups, none while it is suspected (`looking_up`), and
  none once it is a member no more.

Not promised: that a frame arrives while links come and go, or by a way that is out of date since then. Each such way
costs a frame, which finds that out, and a node may know two for a destination. Nor that frames arrive in order, or that
somebody is told of what is lost. That is the business of who sends.

Expected of the driver: LinkUp before what comes over a link, LinkDown after; Forward and SendRoute that a link does
not take may be dropped. Not known: lives, who is a member, what is in a body. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from partisan_actors.distribution.look_ups import Renown, Waiting
from partisan_actors.distribution.looking_up import LookingUp
from partisan_actors.distribution.machine import TimerFired
from partisan_actors.distribution.route_table import Neighbour, Seen
from partisan_actors.distribution.routing_events import (
    Arrived,
    Doubted,
    Effect,
    Event,
    Forward,
    Learned,
    LinkDown,
    LinkUp,
    Measured,
    MemberDown,
    RelayReceived,
    RouteReceived,
    Send,
    Suspected,
    Trusted,
)
from partisan_actors.distribution.routing_parameters import RoutingCounters, RoutingParameters
from partisan_actors.wire.relays import (
    ANNOUNCE,
    ANSWER,
    LOOK_UP,
    MOST_COST,
    NO_ROUTE,
    Relay,
    RouteMessage,
    names_of,
)

__all__ = ["Routing", "RoutingCounters", "RoutingParameters"]

_MICROSECONDS = 1_000_000
# How much the time of one answer counts in the smoothed one.
_HOP_TIME_GAIN = 1 / 4


class Routing(LookingUp):
    """The ways of one life of one node; see the module.

    Args:
        first_number: where its numbers begin: above all that an earlier life of that name gave.
    """

    def __init__(self, node: str, parameters: RoutingParameters | None = None, first_number: int = 0) -> None:
        super().__init__(node, parameters, first_number)
        parameters = self.parameters
        self._seen = Seen(parameters.most_seen, parameters.seen_for)  # frames: the hops they had crossed
        self._seen_messages = Seen(parameters.most_seen, parameters.seen_for)  # look-ups: their lowest cost
        self._hop_cost = round(parameters.hop_cost * _MICROSECONDS)
        self._renown = Renown(parameters)
        self._handlers: dict[type, Callable[[Any], None]] = {
            RelayReceived: self._relay_received,
            RouteReceived: self._route_received,
            Send: self._send,
            LinkUp: self._link_up,
            LinkDown: self._link_down,
            Measured: self._measured,
            MemberDown: self._member_down,
            Suspected: self._suspected,
            Trusted: self._trusted,
            Learned: self._learned,
            Doubted: self._doubted,
            TimerFired: self._timer_fired,
        }
        self._messages: dict[int, Callable[[Neighbour, RouteMessage], None]] = {
            LOOK_UP: self._asked_for_a_way,
            ANSWER: self._answered,
            NO_ROUTE: self._told_of_no_way,
            ANNOUNCE: self._announcement,
        }

    def step(self, event: Event, now: float, random: Random) -> Sequence[Effect]:
        """Take one event in; what is to be done, in order. `now` in seconds, monotonic."""
        self._now, self._random = now, random
        effects = self._effects = self._say.effects = []
        self._handlers[type(event)](event)
        return effects

    def count_from(self, number: int) -> None:
        """Give no number below this one any more."""
        self._say.count_from(number)

    # What others ask

    def neighbours(self) -> list[str]:
        """The nodes that there is a link to, sorted."""
        return sorted(self._neighbours)

    def next_hop(self, destination: str) -> str | None:
        """The neighbour that a frame to `destination` would go by now."""
        via = self._way(destination)
        return via.node if via is not None else None

    def distrusts(self, node: str) -> bool:
        """Whether it is suspected, or a member no more, as far as is known here."""
        return node in self._look_ups.suspects or self._is_gone(node)

    @property
    def routes(self) -> int:
        """How many ways are kept."""
        return len(self._table)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of frames that wait for a way."""
        return self._look_ups.size

    # Frames

    def _send(self, event: Send) -> None:
        destination, body = event
        names = names_of(destination, self._node)
        self.counters.sent += 1
        via = self._way(destination)
        if via is not None:
            self._start(via, destination, names, body)
        elif destination == self._node:
            self._arrived(destination, body, 0)
        else:
            size = sum(map(len, body))
            self._wait(destination, Waiting(body, size, self._now + self.parameters.wait))

    def _relay_received(self, event: RelayReceived) -> None:
        # hot path: once per frame that passes; 3 us.
        node, relay = event
        neighbour = self._neighbours.get(node)
        destination, source, number, hops, ttl, cost, names, body, extensions, flags = relay
        if neighbour is None or destination == node:
            self._say.ignored(node, "no link" if neighbour is None else "itself")
            return
        cost += neighbour.cost
        key = (source, number)
        before = self._seen.get(key) if source != self._node else 0
        if before is None:
            self._learn(source, neighbour, hops, cost, number)
        elif hops <= before or destination == self._node:
            self.counters.duplicates += 1
            return
        else:
            # It has come back: the way that it took from here leads here.
            self.counters.loops += 1
            self._table.give_up(destination)
        self._seen.put(key, hops, self._now)
        if destination == self._node:
            self._arrived(source, body, hops)
            return
        if not ttl or hops >= self.parameters.hop_limit:  # whatever its source says that it may still cross
            self._say.too_far(node)
            self._table.give_up(destination)
            self._drop(relay, "hop limit", node)
            return
        cost = min(cost, MOST_COST)
        passed = Relay(destination, source, number, hops + 1, ttl - 1, cost, names, body, extensions, flags)
        via = self._neighbours.get(destination) or self._table.way(destination)
        if via is neighbour:
            # It comes from where it would go: its own way has changed, and does not lead over there any more.
            self._table.give_up(destination, via)
            via = self._table.way(destination)
        if via is None or via is neighbour:
            self._wait(destination, Waiting(body, sum(map(len, body)), self._now + self.parameters.wait, passed, node))
        else:
            self.counters.relayed += 1
            self._effects.append(Forward(via.node, passed))

    def _arrived(self, source: str, body: Sequence[Any], hops: int) -> None:
        self.counters.arrived += 1
        self._effects.append(Arrived(source, body, hops))

    # Links and members

    def _link_up(self, event: LinkUp) -> None:
        before = self._neighbours.get(event.node)
        if before is None and event.node != self._node:
            self._neighbours[event.node] = Neighbour(event.node, self._hop_cost)
            self._settle(event.node)
            # What nobody answered so far, somebody may answer now.
            self._effects += self._look_ups.end_pauses(self._now, self._random)

    def _link_down(self, event: LinkDown) -> None:
        neighbour = self._neighbours.pop(event.node, None)
        if neighbour is not None:
            neighbour.up = False  # and with it all ways that go by it

    def _measured(self, event: Measured) -> None:
        neighbour = self._neighbours.get(event.node)
        if neighbour is not None and 0 <= event.seconds < MOST_COST / _MICROSECONDS:
            neighbour.cost = max(round(event.seconds / 2 * _MICROSECONDS), self._hop_cost)

    def _learned(self, event: Learned) -> None:
        via = self._neighbours.get(event.via)
        asking = (look_up := self._look_ups.get(event.node)) is not None and look_up.asking  # an answer is better
        if via is not None and not asking and event.node not in (self._node, event.via):
            self._table.learn_by_hearsay(event.node, via, max(event.hops, 1), self._now)
            self._settle(event.node)

    # Messages of others

    def _route_received(self, event: RouteReceived) -> None:
        node, message = event
        neighbour = self._neighbours.get(node)
        handler = self._messages.get(message.kind)
        if neighbour is None or handler is None:
            self._say.ignored(node, "no link" if neighbour is None else "kind")
        elif message.kind != ANNOUNCE and message.origin == message.destination:
            self._say.ignored(node, "itself")
        else:
            handler(neighbour, message)

    def _asked_for_a_way(self, neighbour: Neighbour, message: RouteMessage) -> None:
        # hot path: a look-up of everybody comes over each link of the overlay.
        _, origin, destination, number, hops, _, cost, known, bound = message
        if origin == self._node:
            return
        cost += neighbour.cost
        key = (origin, number)
        before = self._seen_messages.get(key)
        doubted = known and not bound
        if doubted and before is None:
            self._table.doubt(origin, number)
        self._learn(origin, neighbour, hops, cost, number)
        if destination == self._node:
            # One that comes later over a better way is answered, too.
            if before is None or cost < before:
                self._seen_messages.put(key, cost, self._now)
                self._say.answer(neighbour, message, 0, 0, self._say.next_number())
            if before is None and hops >= self.parameters.afar and self._renown.asked(self._now):
                self._say.announce()
            return
        if before is not None:
            return
        self._seen_messages.put(key, cost, self._now)
        there = self._neighbours.get(destination)
        if there is not None and not doubted:
            if there is not neighbour:
                self._say.pass_on(there, message, cost)
            return
        route = self._table.answer(destination, known, bound, self._now - self.parameters.fresh)
        if route is not None and route.via is not neighbour:
            self._say.answer(neighbour, message, route.hops, route.cost, route.number)
        else:
            # What is answered is to be taken here, too, in place of a way that was no answer.
            if doubted:
                self._table.doubt(destination)
            known, bound = self._table.demand(destination, known, bound)
            self._say.spread(message._replace(known=known, bound=bound), cost, neighbour)

    def _answered(self, neighbour: Neighbour, message: RouteMessage) -> None:
        _, origin, destination, number, hops, ttl, cost, known, _ = message
        if destination == self._node:
            return
        look_up = self._look_ups.get(destination)
        cost += neighbour.cost
        if origin == self._node and look_up is not None and look_up.asking and look_up.number == number:
            look_up.took = self._now - look_up.asked_at
            self._hop_time += (look_up.took / (2 * hops) - self._hop_time) * _HOP_TIME_GAIN
            if look_up.doubt:
                self._table.doubt(destination, known)
            self._table.learn(destination, neighbour, hops, cost, known, self._now)
            self._settle(destination, answered=True)
            return
        self._learn(destination, neighbour, hops, cost, known)
        if origin == self._node:
            return
        back = self._way(origin)
        if back is None or back is neighbour or not ttl:
            self.counters.ignored["no way back"] += 1
            return
        way, route = self._table.way(destination), self._table.get(destination)
        if way is None or way is back or route is None:
            self.counters.ignored["no way on"] += 1  # this one was not taken
            return
        # As it will be from here, which may be better than the one that is answered.
        self._say.pass_on(back, message._replace(hops=route.hops, known=route.number), route.cost)

    def _told_of_no_way(self, neighbour: Neighbour, message: RouteMessage) -> None:
        _, origin, destination, _, _, ttl, _, known, bound = message
        taken = self._way(destination) is neighbour
        self._table.give_up(destination, neighbour, known, bound)
        way = self._way(destination)
        if origin != self._node:
            if taken and way is not None:
                return  # the next frame goes another way
            back = self._way(origin)
            if back is not None and back is not neighbour and ttl:
                self._say.pass_on(back, message, 0)
            return
        if way is not None:
            if not taken:
                self._look_up_anew(destination, void=False)  # what goes by another got lost farther on, or went before
            return
        look_up = None if self._is_gone(destination) else self._look_ups.of(destination)
        if look_up is not None and not look_up.asking and self._now >= look_up.not_before:
            look_up.repair = False
            self._begin(look_up)

    def _announcement(self, neighbour: Neighbour, message: RouteMessage) -> None:
        # hot path: comes over each link of the overlay.
        _, origin, _, number, hops, _, cost, _, _ = message
        if origin == self._node:
            return
        cost += neighbour.cost
        self._learn(origin, neighbour, hops, cost, number)
        if self._seen_messages.get((origin, number)) is None:
            self._seen_messages.put((origin, number), cost, self._now)
            self._say.spread(message, cost, neighbour)
