"""The ways that one node knows: for each destination the neighbour to go by, and perhaps another in its place. Pure.

Promised: bounded; a way goes by a neighbour to which there is a link; one that was found to be of no use is not taken
again on the word of those who had it from here.

That promise is AODV's (RFC 3561): whatever a node sends bears a number, which rises, so what is known of the way back
to it has an age. Behind a node that passes such messages on are only those that know the same number at a higher cost,
or a lower number. So when its own way is of no use, it takes another only from who knows a higher number, or the same
one at a cost no higher than its own. What it must not forget for that are the highest number that has passed, `heard`,
and the lowest cost at which it did. And when a node farther on says that it has no way, the other one that stands ready
here is kept only if that node cannot be on it: if it is known by a higher number than there, or at a lower cost.

Costs are what the links take one way, in microseconds, and at least so much for each hop: see `RoutingParameters`.
"""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["Neighbour", "Route", "RouteTable", "Seen"]


class Neighbour:
    """A link; a new one with the same node is another neighbour, so that the ways over the old one are gone."""

    __slots__ = ("cost", "node", "up")

    def __init__(self, node: str, cost: int, up: bool = True) -> None:
        self.node = node
        self.cost = cost  # of the link
        self.up = up

    def __repr__(self) -> str:
        return f"<Neighbour {self.node} at {self.cost} us{'' if self.up else ', gone'}>"


_NOBODY = Neighbour("", 0, up=False)


class Route:
    """The way to one destination."""

    __slots__ = (
        "cost",
        "heard",
        "heard_cost",
        "hops",
        "number",
        "other",
        "outdated",
        "refuted",
        "used",
        "via",
        "when",
    )

    def __init__(self, via: Neighbour, hops: int, cost: int, number: int, now: float) -> None:
        self.via = via  # up, or the way is broken
        self.hops = hops
        self.cost = cost
        self.number = number  # by which it was learned; 0: by hearsay
        self.when = now  # when it was last heard of
        self.heard = number
        self.heard_cost = cost
        self.outdated = False  # anything newer takes its place, at whatever cost
        self.refuted = False  # it was given up once: hearsay is no use
        self.used = True  # since the table last looked for one to drop
        self.other: tuple[Neighbour, int, int, int] | None = None  # in its place: neighbour, hops, cost, number

    def go_by(self, via: Neighbour, hops: int, cost: int, number: int, now: float) -> None:
        """Take another way."""
        self.via, self.hops, self.cost, self.number, self.when = via, hops, cost, number, now
        self.outdated = False

    def fall_back(self) -> None:
        """Go by the other neighbour, or by none."""
        other, self.other = self.other, None
        if other is None or not other[0].up:
            self.via = _NOBODY
        else:
            self.via, self.hops, self.cost, self.number = other


class RouteTable:
    """The ways of one node, by destination.

    Args:
        most: ways kept; the one not used for longest goes first, roughly.
        stale: seconds in which a way was not heard of, after which any newer one takes its place.
        forget: seconds after which it is forgotten what was heard of a destination to which there is no way.
    """

    __slots__ = ("_forget", "_most", "_routes", "_stale", "get")

    def __init__(self, most: int, stale: float, forget: float) -> None:
        self._routes: dict[str, Route] = {}
        self._most = most
        self._stale = stale
        self._forget = forget
        self.get = self._routes.get  # broken ones, too

    def __len__(self) -> int:
        return len(self._routes)

    def way(self, destination: str) -> Neighbour | None:
        """The neighbour to go by."""
        # hot path: once per frame that passes.
        route = self._routes.get(destination)
        if route is None:
            return None
        if not route.via.up:
            route.fall_back()
            if not route.via.up:
                return None
        route.used = True
        return route.via

    def learn(self, destination: str, via: Neighbour, hops: int, cost: int, number: int, now: float) -> None:
        """Something that `destination` sent, or what somebody knows of it, came from a neighbour.

        Args:
            cost: with the link to the neighbour.
            number: the destination's, above 0.
        """
        # hot path: once per frame that passes; 0.3 us when it comes as the last one did.
        route = self._routes.get(destination)
        if route is None or (not route.via.up and route.other is None and now - route.when > self._forget):
            self._insert(destination, Route(via, hops, cost, number, now))
            return
        if not route.via.up:
            route.fall_back()
        # Else it may lie behind this node.
        feasible = number > route.heard or (number == route.heard and cost - via.cost <= route.heard_cost)
        takes = self._takes(route, via, cost, number, now) and (feasible or route.via is via)
        if number > route.heard:
            route.heard, route.heard_cost = number, cost
        elif number == route.heard and cost < route.heard_cost:
            route.heard_cost = cost
        if takes:
            kept = route.via is not via and route.via.up and route.number and not route.outdated
            if kept and route.cost - route.via.cost <= cost:
                route.other = (route.via, route.hops, route.cost, route.number)
            elif route.other is not None and route.other[0] is via:
                route.other = None
            route.go_by(via, hops, cost, number, now)
        elif feasible and route.via is not via and number >= route.number and cost - via.cost <= route.cost:
            # It is no farther from there than from here, so the way from there does not lead over here.
            other = route.other
            if other is None or not other[0].up or cost <= other[2]:
                route.other = (via, hops, cost, number)

    def _takes(self, route: Route, via: Neighbour, cost: int, number: int, now: float) -> bool:
        if not route.via.up:
            return True
        if number < route.number or not route.number:
            return not route.number
        if route.via is via:
            return number > route.number or cost < route.cost
        return cost < route.cost or route.outdated or now - route.when > self._stale

    def learn_by_hearsay(self, destination: str, via: Neighbour, hops: int, now: float) -> None:
        """Take a way that nobody has said to be one, if nothing better is known."""
        route = self._routes.get(destination)
        if route is None or (not route.via.up and now - route.when > self._forget):
            self._insert(destination, Route(via, hops, hops * via.cost, 0, now))
        elif not route.heard and not route.refuted:
            route.go_by(via, hops, hops * via.cost, 0, now)

    def give_up(self, destination: str, via: Neighbour | None = None, known: int = 0, bound: int = 0) -> None:
        """The way, or the one by `via` alone, is of no use. `known`, `bound`: what the one who says so knew."""
        route = self._routes.get(destination)
        if route is None:
            return
        if known > route.heard:
            route.heard, route.heard_cost = known, bound
        if route.other is not None:
            by, _, cost, number = route.other
            # What is no better than `known` may lead over who says so, and would cost the next frame, too.
            if by is via or (number, by.cost - cost) <= (known, -bound):
                route.other = None
        if via is None or route.via is via:
            route.refuted = True
            route.fall_back()

    def demand(self, destination: str, known: int, bound: int) -> tuple[int, int]:
        """Somebody demands a better way, by number and cost; what to demand of others, so that it is taken here, too.

        The next newer one takes the place of that which is known here.
        """
        route = self._routes.get(destination)
        if route is None:
            return known, bound
        route.outdated = True
        if self.way(destination) is not None or (route.heard, -route.heard_cost) <= (known, -bound):
            return known, bound
        return route.heard, route.heard_cost

    def doubt(self, destination: str, number: int | None = None, *, void: bool = False) -> None:
        """The way may be of no use, in a place that nobody knows: the next newer one takes its place.

        Args:
            number: what is new. One that was learned by this, or by a newer one, is not doubted.
            void: take it no more until then, nor the other one.
        """
        route = self._routes.get(destination)
        if route is not None and (number is None or route.number < number):
            route.outdated, route.other = True, None
            if void:
                route.refuted, route.via = True, _NOBODY

    def known(self, destination: str) -> tuple[int, int]:
        """The number and the cost that a better way has to have: see the module. (0, 0): any will do."""
        route = self._routes.get(destination)
        return (route.heard, route.heard_cost) if route is not None else (0, 0)

    def answer(self, destination: str, known: int, bound: int, since: float) -> Route | None:
        """The way, if it was heard of since then, and is of use to one that knows so much."""
        route = self._routes.get(destination)
        if route is None or self.way(destination) is None or route.when < since or not route.number:
            return None
        better = route.number > known or (route.number == known and route.cost <= bound)
        return route if better else None

    def forget(self, destination: str) -> None:
        """Know nothing of it any more."""
        self._routes.pop(destination, None)

    def _insert(self, destination: str, route: Route) -> None:
        routes = self._routes
        routes.pop(destination, None)
        while len(routes) >= self._most:
            # The clock algorithm: the oldest goes, but one that was used since it was last looked at goes to the end.
            oldest = next(iter(routes))
            seen = routes.pop(oldest)
            if seen.used and seen.via.up:
                seen.used = False
                routes[oldest] = seen
        routes[destination] = route


class Seen:
    """What was seen lately: each key for `seconds` at least, but no more than `most` keys."""

    __slots__ = ("_half", "_new", "_old", "_seconds", "_turn")

    def __init__(self, most: int, seconds: float) -> None:
        self._new: dict[Hashable, int] = {}
        self._old: dict[Hashable, int] = {}
        self._half = most // 2
        self._seconds = seconds
        self._turn = 0.0  # when the new ones become the old ones

    def get(self, key: Hashable) -> int | None:
        """What was put there, if it is remembered."""
        value = self._new.get(key)
        return self._old.get(key) if value is None else value

    def expire(self, now: float) -> None:
        """Forget what is due, though nothing new was put."""
        if now >= self._turn:
            old = now >= self._turn + self._seconds
            self._old, self._new = ({} if old else self._new), {}
            self._turn = now + self._seconds

    def put(self, key: Hashable, value: int, now: float) -> None:
        """Remember it."""
        # hot path: once per frame that passes.
        if now >= self._turn or len(self._new) >= self._half:
            old = now >= self._turn + self._seconds
            self._old, self._new = ({} if old else self._new), {}
            self._turn = now + self._seconds
        self._new[key] = value
