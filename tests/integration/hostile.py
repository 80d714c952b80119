"""A member that sends what no node sends, and what may not change by that: over real nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from partisan_actors import Node, Remote
from partisan_actors.behaviours import call
from partisan_actors.cluster.records import Member
from partisan_actors.cluster.view_messages import entry_of
from partisan_actors.topologies import Topology
from partisan_actors.wire import signals
from partisan_actors.wire.frames import encode_frame
from partisan_actors.wire.signals import encode_signal
from tests.conditions import wait_until
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, session_between

__all__ = ["TIMES", "Hostile", "count_of"]

TIMES = 5
"""How often each thing is said."""


def count_of(node: Node, path: Sequence[str]) -> int:
    """A counter as a user reads it, 0 where it is not there so far."""
    told: Any = node.telemetry()
    for step in path:
        told = told.get(step, {})
    return told if isinstance(told, int) else 0


class Hostile:
    """Three members in a line: `bad`, who joined `here`, and `far`, who did, too.

    On a static overlay `bad` and `far` have no link. Attributes: these nodes.
    """

    def __init__(self, nodes: Nodes, topology: Callable[[], Topology]) -> None:
        self.here, self.bad, self.far = (nodes.start(name, topology=topology()) for name in ("here", "bad", "far"))
        for node in (self.bad, self.far):
            node.join(self.here.address)
        self._names = sorted(node.name for node in self.all)
        wait_until(lambda: all(node.members() == self._names for node in self.all), 10.0, what="all know each other")
        for node in self.all:
            node.run(Echo.start, name="echo")
        self.all_answer()

    @property
    def all(self) -> list[Node]:
        """The three."""
        return [self.here, self.bad, self.far]

    def compare_broadcasts(self) -> None:
        """Wait until all know what was broadcast before they came: nothing is compared before that."""
        machines = [cluster_of(node).broadcasting.machine for node in self.all]
        wait_until(lambda: all(machine.synchronised for machine in machines), 10.0, what="they compare")

    # What it says

    def say(self, kind: int, payload: Any, to: Node | None = None) -> None:
        """Send a term of its choice, as what is said between the nodes themselves."""
        self.say_bytes(kind, cluster_of(self.bad).codec.encode(payload), to)

    def say_bytes(self, kind: int, payload: bytes, to: Node | None = None) -> None:
        """The same with any bytes."""
        flags = signals.OPTIONAL if kind in (signals.BROADCAST, signals.BROADCAST_CONTROL) else 0
        session = session_between(self.bad, to if to is not None else self.here)
        session.system.send(encode_signal(kind, payload=payload, flags=flags))

    def overlay(self, payload: Any, version: int = 0) -> None:
        """As its overlay."""
        self.say(signals.OVERLAY, (version, payload))

    def gossip(self, *message: Any, payload: bytes = b"") -> None:
        """As its broadcast: a message with a payload."""
        head = cluster_of(self.bad).codec.encode(message)
        self.say_bytes(signals.BROADCAST, len(head).to_bytes(4, "big") + head + payload)

    def frame(self, kind: int, **fields: Any) -> None:
        """Write a frame over its link, past the session."""
        link = session_between(self.bad, self.here).link
        assert link is not None
        link.connection.write([b"".join(encode_frame(kind, **fields))])

    def entry(self, **changes: Any) -> tuple[Any, ...]:
        """What its view says of itself, but for `changes`."""
        service = cluster_of(self.bad)._driver.service
        assert service is not None
        own: Member = service.view.table.records.own
        return entry_of(own._replace(**changes), None)

    # What may not change

    def state(self) -> dict[str, Any]:
        """What `here` knows of the cluster."""
        service = cluster_of(self.here)._driver.service
        assert service is not None
        run = service._run
        return {
            "members": self.here.members(),
            "neighbours": self.here.neighbours(),
            "records": self.records(),
            "topology": service.topology,
            "wanted": service.wanted(),
            "views": [sorted(getattr(view, "names", view)) for view in self._views(run.overlay)],
            "topologies": [cluster_of(node).topology for node in self.all],
        }

    def records(self) -> list[Member]:
        """What `here` knows of each member, those that are gone included."""
        service = cluster_of(self.here)._driver.service
        assert service is not None
        return sorted(service.view.table.records.all())

    def _views(self, overlay: Any) -> list[Any]:
        return [getattr(overlay, name, ()) for name in ("active", "passive", "partial_view", "in_view")]

    def sessions(self) -> list[Any]:
        """Those of `here`, with their connections."""
        of_here = [session_between(self.here, node) for node in (self.bad, self.far)]
        return [(session, session.link) for session in of_here]

    def all_answer(self) -> None:
        """Each calls each."""
        for node in self.all:
            for other in self.all:
                assert node.run(call, Remote("echo", other.name), ("echo", 1), 20.0) == 1
