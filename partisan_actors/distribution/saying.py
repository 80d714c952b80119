"""What the routing machine of one node says to its neighbours about ways: numbered, counted, in order. Pure.

Promised: numbers rise; hops, costs and links to cross fit their fields.
"""

from __future__ import annotations

from collections.abc import Mapping

from partisan_actors.distribution.route_table import Neighbour
from partisan_actors.distribution.routing_events import Effect, Ignored, SendRoute
from partisan_actors.distribution.routing_parameters import RoutingCounters
from partisan_actors.wire.relays import (
    ANNOUNCE,
    ANSWER,
    LOOK_UP,
    MOST_COST,
    MOST_HOPS,
    NO_ROUTE,
    RouteMessage,
)

__all__ = ["Saying"]


class Saying:
    """That of one node.

    Args:
        first_number: below all that it gives.
        hop_limit: links that a message may cross.
        neighbours: by name, as they are whenever something is said.
    """

    __slots__ = ("_counters", "_neighbours", "_node", "_number", "_ttl", "effects")

    def __init__(
        self,
        node: str,
        first_number: int,
        hop_limit: int,
        neighbours: Mapping[str, Neighbour],
        counters: RoutingCounters,
    ) -> None:
        self.effects: list[Effect] = []  # where it goes
        self._node = node
        self._number = first_number
        self._ttl = hop_limit - 1
        self._neighbours = neighbours
        self._counters = counters

    def next_number(self) -> int:
        """One above all before."""
        self._number += 1
        return self._number

    def count_from(self, number: int) -> None:
        """Give none below this one any more."""
        self._number = max(self._number, number)

    def ask(self, destination: str, reach: int, known: int, bound: int) -> int:
        """Ask all neighbours for a way, and who is so many links away; the number of that look-up."""
        number = self.next_number()
        self._to_all(RouteMessage(LOOK_UP, self._node, destination, number, 1, reach - 1, 0, known, bound), None)
        return number

    def answer(self, to: Neighbour, look_up: RouteMessage, hops: int, cost: int, known: int) -> None:
        """Say that the way from here has so many hops and that cost, and is known by that number."""
        self._counters.answers += 1
        _, origin, destination, number, *_ = look_up
        hops, cost = min(hops + 1, MOST_HOPS), min(cost, MOST_COST)
        self._to(to, RouteMessage(ANSWER, origin, destination, number, hops, self._ttl, cost, known))

    def no_way(self, to: Neighbour, source: str, destination: str, known: int, bound: int) -> None:
        """Say that a frame found no way on from here."""
        number = self.next_number()
        self._to(to, RouteMessage(NO_ROUTE, source, destination, number, 1, self._ttl, 0, known, bound))

    def announce(self) -> None:
        """Make the node known to everybody."""
        self._counters.announcements += 1
        node = self._node
        self._to_all(RouteMessage(ANNOUNCE, node, node, self.next_number(), 1, self._ttl, 0), None)

    def pass_on(self, to: Neighbour, message: RouteMessage, cost: int) -> None:
        """Pass on what another node says."""
        hops, ttl = min(message.hops + 1, MOST_HOPS), max(message.ttl - 1, 0)
        self._to(to, message._replace(hops=hops, ttl=ttl, cost=min(cost, MOST_COST)))

    def spread(self, message: RouteMessage, cost: int, but: Neighbour) -> None:
        """Pass it on to all neighbours but one, if it may cross another link."""
        # hot path: what goes to everybody comes over each link of the overlay.
        hops, ttl = message.hops, message.ttl
        if ttl and hops <= self._ttl:  # whatever the sender says that it may still cross
            self._to_all(message._replace(hops=hops + 1, ttl=ttl - 1, cost=min(cost, MOST_COST)), but)

    def ignored(self, node: str, reason: str) -> None:
        """Say here, and count, that something that came from `node` was not right."""
        self._counters.ignored[reason] += 1
        self.effects.append(Ignored(node, reason))

    def too_far(self, node: str) -> None:
        """Say here that a frame that came from `node` has crossed as many links as it may."""
        self.effects.append(Ignored(node, "hop limit"))

    def _to(self, to: Neighbour, message: RouteMessage) -> None:
        self._counters.route_messages += 1
        self.effects.append(SendRoute(to.node, message))

    def _to_all(self, message: RouteMessage, but: Neighbour | None) -> None:
        told = [SendRoute(node, message) for node, neighbour in self._neighbours.items() if neighbour is not but]
        self._counters.route_messages += len(told)
        self.effects += told
