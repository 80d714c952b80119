"""Events for overlays that no simulation would bring about: by chance within the interface, and beyond it.

Promised: `lawful_run` keeps to what `topologies.overlay` says of events, but for what is in a Message; `lawless_events`
keeps to nothing. Both are the same for the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from partisan_actors.testing.checked_overlay import CheckedOverlay
from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    FindMembers,
    Joined,
    Leave,
    LinkDown,
    LinkUp,
    Measure,
    Measured,
    MemberDown,
    MembersFound,
    MemberUp,
    Message,
    TimerFired,
    Unreachable,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["lawful_run", "lawless_events", "mangled", "seeds_and_steps"]

_TAGS = ("", "server", "client")
_JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 1 << 70, -0.5, float("nan"), float("inf"), "", "x@h", "\ud800", "n" * 5000, b"\x00"),
    *((), [], {}, {"x@h": 1}, frozenset({"x@h"}), (("x@h",),), ("x@h",) * 300, [["x@h", "x@h"]]),
)


def mangled(payloads: Sequence[Any], names: Sequence[str], random: Random) -> Any:
    """Something that is no message, or nearly one of these: a part of it is another, missing, doubled or too many."""
    if not payloads or random.random() < 0.2:
        return random.choice(_JUNK)
    payload = random.choice(payloads)
    if not isinstance(payload, tuple | list) or not payload:
        return random.choice(_JUNK)
    parts = list(payload)
    place = random.randrange(len(parts))
    match random.randrange(5):
        case 0:
            parts[place] = random.choice(_JUNK)
        case 1:
            del parts[place]
        case 2:
            parts.insert(place, parts[place])
        case 3:
            parts.append(random.choice(_JUNK))
        case 4:
            parts[place] = mangled([parts[place]], names, random)
    return type(payload)(parts)


def lawful_run(
    checked: CheckedOverlay, others: Sequence[str], random: Random, steps: int, payloads: Sequence[Any] = ()
) -> None:
    """Hand in so many events as a driver may, and what the effects bring about; see `CheckedOverlay`.

    Args:
        others: who may be members.
        payloads: messages of such an overlay; they come as they are, and mangled.
    """
    driver = _Driver(checked, others, random, payloads)
    for _ in range(steps):
        driver.anything()


class _Driver:
    """Keeps to the rules of the interface: what may happen next depends on what has happened."""

    def __init__(self, checked: CheckedOverlay, others: Sequence[str], random: Random, payloads: Sequence[Any]) -> None:
        self._checked, self._others, self._random, self._payloads = checked, others, random, payloads
        self._linked: dict[str, None] = {}
        self._owed: dict[str, None] = {}  # an Unreachable, for a Connect
        self._asked: list[Any] = []  # for a round trip, or for members
        self._now = 0.0

    def anything(self) -> None:
        """One event that may be."""
        random, checked = self._random, self._checked
        node = random.choice(self._others)
        member, linked = node in checked.members, node in self._linked
        self._now += random.choice((0.0, 0.01, 1.0, 30.0))
        match random.randrange(12):
            case 0 | 1:
                self._hand_in(MemberUp(node, random.choice(_TAGS)))
            case 2 if member:
                self._hand_in(MemberDown(node))
            case 3 | 4 if member and not linked:
                self._link_up(node)
            case 5 if linked:
                self._link_down(node)
            case 6 if member and linked:
                self._hand_in(Joined(node))
            case 7 | 8 if member and linked:
                self._hand_in(Message(node, self._payload()))
            case 9 if checked.timers:
                self._hand_in(TimerFired(random.choice(list(checked.timers))))
            case 10 if self._asked:
                self._hand_in(self._asked.pop(random.randrange(len(self._asked))))
            case 11 if node in self._owed and not linked:
                del self._owed[node]
                self._hand_in(Unreachable(node))
            case 11 if random.random() < 0.05:
                self._leave()

    def _payload(self) -> Any:
        if self._payloads and self._random.random() < 0.6:
            return self._random.choice(self._payloads)
        return mangled(self._payloads, self._others, self._random)

    def _leave(self) -> None:
        self._hand_in(Leave())
        for node in list(self._linked):
            self._link_down(node)
        for node in sorted(self._checked.members):
            self._hand_in(MemberDown(node))

    def _link_up(self, node: str) -> None:
        self._linked[node] = None
        self._owed.pop(node, None)
        self._hand_in(LinkUp(node))

    def _link_down(self, node: str) -> None:
        if self._linked.pop(node, 0) is None:
            self._hand_in(LinkDown(node))

    def _hand_in(self, event: Any) -> None:
        closed = []
        for effect in self._checked.step(event, self._now, self._random):
            match effect:
                case Connect(node) if node not in self._linked:
                    self._owed[node] = None
                case Disconnect(node):
                    self._owed.pop(node, None)
                    closed.append(node)
                case Measure(node):
                    self._asked.append(Measured(node, self._random.choice((0.001, 0.1, float("inf")))))
                case FindMembers(most):
                    members = sorted(self._checked.members)
                    found = self._random.sample(members, min(most, len(members)))
                    self._asked.append(MembersFound(tuple(found)))
        for node in closed:
            self._link_down(node)


def seeds_and_steps() -> SearchStrategy[tuple[int, int]]:
    """For `lawful_run`."""
    from hypothesis import strategies as st

    return st.tuples(st.integers(0, 1 << 32), st.integers(1, 150))


def lawless_events(names: Sequence[str], payloads: Sequence[Any]) -> SearchStrategy[tuple[list[Any], int]]:
    """Lists of events in any order, about anybody, with anything in them, of later versions, too; and seeds."""
    from hypothesis import strategies as st

    node = st.sampled_from([*names, "", "never@h"])
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4) | node
    anything = st.recursive(plain, lambda inner: st.lists(inner, max_size=4).map(tuple) | st.lists(inner, max_size=3))
    known = st.sampled_from(list(payloads)) if payloads else anything
    near = st.integers(0, 1 << 20).map(lambda seed: mangled(payloads, names, Random(seed)))
    key = st.sampled_from(["", "heartbeat", "shuffle", "retry"]) | st.tuples(st.text(max_size=8), node)
    events = st.lists(
        st.one_of(
            st.builds(MemberUp, node, st.sampled_from(_TAGS)),
            *(st.builds(kind, node) for kind in (MemberDown, Joined, LinkUp, LinkDown, Unreachable)),
            *(st.builds(Message, node, payload) for payload in (known, near, anything)),
            st.builds(Measured, node, st.floats()),
            st.builds(MembersFound, st.lists(node, max_size=4).map(tuple)),
            st.builds(TimerFired, key),
            st.just(Leave()),
            st.just(("of a later version",)),
        ),
        max_size=40,
    )
    return st.tuples(events, st.integers(0, 9))
