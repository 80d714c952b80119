"""The peer service: the cluster view and the overlay of one node, put together; and the switch from one to another.

Promised:

- the overlay hears of a member when the view has it, and of a link when both are there: what its other end says before
  that is kept until then;
- the topology is a fact of the cluster, with a version; the higher one wins wherever two meet. While the cluster is on
  its way from one to the other, a node keeps the neighbours of both, until all live members say that they run the new
  one, or for `switch_within`. So nobody is without a link on the way. A node's own tag lasts over a switch;
- two members without a way between them, of which one can dial the other, join the parts of the overlay that they are
  in; there is no NodeDown for that;
- a node that has lost all links that it wants joins anew through a member that has made it another one;
- a member's record is told before what an overlay says, which may name it;
- a link that neither side's overlay wants any more is closed; one that either wants stays. So does an overlay's
  Connect to a name that is no member until it is one, and one that has moved is dialled where it is now;
- a newcomer dials at once all that it is to have links to; the others leave it `connect_delay_min` to
  `connect_delay_max` for that, so that two rarely dial each other at the same moment.

Everything that makes a link or sends is asked of the driver, so the same code runs over sockets and in simulation.
Not known: sessions, processes. Pure. Its messages, beside those of the view: ("topology", version, origin, name,
parameters) is the fact; ("unwanted",) says that this side does not want the link; of an overlay is (version, payload).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from random import Random
from typing import Any

from partisan_actors.cluster import view_events as view
from partisan_actors.cluster.membership import Membership
from partisan_actors.cluster.overlay_run import OverlayRun as _Run
from partisan_actors.cluster.overlay_run import OverlayRuns
from partisan_actors.cluster.peer_service_events import (
    Connect,
    Disconnect,
    Event,
    Gossip,
    JoinedThrough,
    Measure,
    Measured,
    OverlayReceived,
    OverlayRefused,
    SendOverlay,
    Switch,
    Switched,
)
from partisan_actors.cluster.peer_service_parameters import PeerServiceParameters
from partisan_actors.cluster.records import Member, Status
from partisan_actors.cluster.topology_fact import TopologyFact, fact_from_terms
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.topologies import overlay
from partisan_actors.topologies.overlay import Topology

__all__ = [
    "Connect",
    "Disconnect",
    "Event",
    "Gossip",
    "JoinedThrough",
    "Measure",
    "Measured",
    "OverlayReceived",
    "OverlayRefused",
    "PeerService",
    "PeerServiceParameters",
    "SendOverlay",
    "Switch",
    "Switched",
]

_MOST_REASONS = 64  # for which something was refused, told apart
_HELD = 64  # overlay messages of one that is no member so far, at most


class PeerService(OverlayRuns):
    """The cluster as one life of one node sees it; see the module.

    Args:
        own: the record to begin with.
        topology: what the node was made with.
        find_topology: makes one of its name and parameters; raises ValueError for what it does not know.
    """

    def __init__(
        self,
        own: Member,
        topology: Topology,
        find_topology: Callable[[str, Mapping[str, Any]], Topology],
        parameters: PeerServiceParameters | None = None,
    ) -> None:
        self.parameters = parameters if parameters is not None else PeerServiceParameters()
        self.refused: dict[str, int] = {}  # overlay messages that were not taken in, by reason
        self._tag = topology.tag  # what it was told of itself lasts: what others send is for all nodes
        own = own._replace(tag=self._tag)
        super().__init__(
            Membership(own, self.parameters.membership, self._for_everybody),
            _Run(TopologyFact(0, "", topology.name, {}), topology.overlay(own.node)),
        )
        self._node = own.node
        self._find_topology = find_topology
        self._topology = topology
        self._fresh: set[str] = set()  # those just heard of, which are left time to dial us
        self._appears: str | None = None  # the one that the overlays are just told of
        self._newcomer_until = float("-inf")
        self._held: dict[str, list[object]] = {}  # links that the overlays do not know so far: what came over them
        self._joining: set[str] = set()  # those that this node joins by, and that the overlays do not know so far
        self._asked: dict[str, tuple[str, ...]] = {}  # whom the driver keeps a link to, and by what addresses
        self._without_way: set[str] = set()  # members that neither a link nor a route leads to, and that are asked
        self._looked = False  # whether who hears of everything is what it was
        self._gossip: tuple[str, ...] = ()
        self._now = 0.0
        self._random: Random
        self._effects: list[Any]

    def step(self, event: Event, now: float, random: Random) -> list[Any]:
        """Take one event in; what is to be done, in order. `now` in seconds, monotonic."""
        self._now, self._random = now, random
        effects = self._effects = []
        match event:
            case TimerFired((str(place), key)):
                self._timer_fired(place, key)
            case view.ViewReceived(node, payload):
                self._view_received(node, payload)
            case OverlayReceived(node, payload):
                self._overlay_received(node, payload)
            case view.Met(node, _, _, _):
                if node in self._asked and self._is_down(node):
                    # Two parts of the cluster meet again, by a later life: it is a member before there is the link.
                    self._joining.add(node)
                self._step_view(event)
            case view.LinkUp(node, _, bits, _):
                self._link_up(event, node, bits)
            case view.LinkDown(node, bits, _) | view.Closed(node, bits):
                self._link_down(event, node, bits)
            case view.Unreachable(node, _):
                self._unreachable(event, node)
            case view.Probed(node, bits, _, left, _):
                self._probed(event, node, None if left else bits)
            case JoinedThrough(node):
                self._newcomer_until = now + self.parameters.newcomer_for
                self._joining.add(node)
                self._see_joined(node)
            case Measured(node, seconds):
                self._step_overlays(overlay.Measured(node, seconds))
            case Switch(topology):
                self._switch(topology)
            case view.Leave() if not self.view.left:
                self._step_overlays(overlay.Leave())
                self._step_view(event)
                self._joining.clear()
            case _:
                self._step_view(event)
        self._see_who_hears()
        return effects

    # The view

    def _step_view(self, event: Any) -> None:
        for effect in self.view.step(event, self._now, self._random):
            match effect:
                case SetTimer(key, seconds):
                    self._effects.append(SetTimer(("view", key), seconds))
                case CancelTimer(key):
                    self._effects.append(CancelTimer(("view", key)))
                case view.NodeUp(node, _, _):
                    self._effects.append(effect)
                    self._appears = node if self._now >= self._newcomer_until and node not in self._links else None
                    self._member_up(node)
                    self._appears = None
                case view.Moved(node):
                    self._member_up(node)
                case view.NodeDown(node, _, _):
                    self._effects.append(effect)
                    self._failed.discard(node)
                    self._step_overlays(overlay.MemberDown(node))
                case view.Forget(node):
                    self._drop_link(node)
                case view.Contact(node, addresses, island, briefly):
                    if island:
                        self._joining.add(node)
                    # Not briefly, where something else needs the link.
                    self._set_unwanted(node, briefly=briefly and node not in self._asked)
                    self._ask(node, addresses)
                case _:
                    self._effects.append(effect)
        self._see_whether_switched()

    def _no_longer_fresh(self, node: str) -> None:
        self._fresh.discard(node)
        if self._is_wanted(node) and node not in self._links and self.view.table.alive(node):
            self._ask(node, self._addresses(node))

    def _member_up(self, node: str) -> None:
        # hot path: once for each member at each node.
        record = self.view.table.records.get(node)
        event = overlay.MemberUp(node, record.tag if record is not None else "")
        for run in self._runs():
            self._step_overlay(run, event)
            if node in run.wanted and node not in self._fresh and self._asked.get(node) != self._addresses(node):
                self._ask(node, self._addresses(node))
        if node in self._held:
            self._tell_of_link(node)
        elif record is not None and record.topology < self._run.fact.version and node in self._links:
            self._send_fact(node)

    def _view_received(self, node: str, payload: object) -> None:
        match payload if isinstance(payload, tuple) and node in self._links else None:
            case ("topology", *rest):
                self._heard_of_topology(node, fact_from_terms(rest))
            case ("unwanted",):
                if not self._keeps(node):
                    self._disconnect(node)
            case _:
                self._step_view(view.ViewReceived(node, payload))

    # Links

    def _link_up(self, event: view.Event, node: str, bits: int) -> None:
        if (former := self._links.get(node)) is not None:  # of another life, or replaced by this one
            told = self._end_link(node)
            self._step_view(view.Closed(node, former))
            if told:
                self._step_overlays(overlay.LinkDown(node))
        if self._is_down(node):
            self._joining.add(node)  # two parts of the cluster meet again
        self._links[node] = bits
        self._held[node] = []
        self._links_changed()
        self._failed.discard(node)
        if node in self._fresh:
            self._fresh.discard(node)
            self._effects.append(CancelTimer(("fresh", node)))
        self._step_view(event)
        if node in self._held and self.view.table.alive(node, bits):
            self._tell_of_link(node)
        if node in self._links and not self._is_wanted(node) and node not in self._asked:
            # Who asked for it has set a timer for that already, or the other side wants it, and says when it is over.
            self._set_unwanted(node)

    def _tell_of_link(self, node: str) -> None:
        """The overlays are to know of it: it is to a member."""
        held = self._held.pop(node)
        if self._run.fact.version:
            self._send_fact(node)  # before what only they understand who run the same
        self._step_overlays(overlay.LinkUp(node))
        self._see_joined(node)
        for payload in held:
            self._overlay_received(node, payload)

    def _see_joined(self, node: str) -> None:
        if node in self._joining and node in self._links and node not in self._held:
            self._joining.discard(node)
            self._step_overlays(overlay.Joined(node))

    def _is_down(self, node: str) -> bool:
        record = self.view.table.records.get(node)
        return record is not None and record.status is Status.DOWN

    def _link_down(self, event: view.Event, node: str, bits: int) -> None:
        had_it = self._links.get(node) == bits
        told = had_it and self._end_link(node)
        self._step_view(event)
        if told:
            self._step_overlays(overlay.LinkDown(node))
        if had_it and node in self._asked and not self._is_wanted(node):
            self._disconnect(node)  # or it would be dialled again

    def _drop_link(self, node: str) -> None:
        """The view wants it ended."""
        if self._end_link(node):
            self._step_overlays(overlay.LinkDown(node))
        self._disconnect(node)

    def _end_link(self, node: str) -> bool:
        """There is none any more; whether the overlays knew of one."""
        had_it = self._links.pop(node, None) is not None
        held = self._held.pop(node, None)
        self._joining.discard(node)
        self._links_changed()
        return had_it and held is None

    def _links_changed(self) -> None:
        self._sorted = None
        self._looked = False

    def _unreachable(self, event: view.Event, node: str) -> None:
        addresses = self._addresses(node)
        if addresses and not self._is_wanted(node) and self.view.table.alive(node):
            # No route leads there, and nobody has dialled it so far.
            self._without_way.add(node)
            self._effects.append(view.Probe(node, addresses))
            return
        self._step_view(event)
        if self._is_wanted(node):
            self._failed.add(node)
        for run in self._runs():
            if node in run.wanted:
                self._step_overlay(run, overlay.Unreachable(node))

    def _probed(self, event: view.Event, node: str, bits: int | None) -> None:
        self._step_view(event)
        if node in self._without_way:
            self._without_way.discard(node)
            if bits is not None and node not in self._links and self.view.table.alive(node, bits):
                # It is there: the overlay has fallen apart between the two.
                self._joining.add(node)
                self._ask(node, self._addresses(node))
                self._set_unwanted(node)

    def _ask(self, node: str, addresses: tuple[str, ...]) -> None:
        self._asked[node] = addresses
        self._effects.append(Connect(node, addresses))

    def _disconnect(self, node: str) -> None:
        self._asked.pop(node, None)
        self._joining.discard(node)  # it was to be joined by this link, if by any
        self._effects.append(Disconnect(node))

    def _set_unwanted(self, node: str, *, briefly: bool = False) -> None:
        after = self.parameters.compared_within if briefly else self.parameters.unwanted_after
        self._effects.append(SetTimer(("unwanted", node), after))

    def _unwanted(self, node: str) -> None:
        """Let go of it, if this side has no use for it, and the other has none either."""
        if self._keeps(node):
            return
        if node in self._links:
            self._effects.append(view.SendView((node,), ("unwanted",)))
        elif node in self._asked:
            self._disconnect(node)

    def _keeps(self, node: str) -> bool:
        """Whether a link is wanted, or now is: this node has lost all others that it wants, and joins anew by it."""
        if not self._is_wanted(node) and node in self._links and self.wanted() and not self.neighbours():
            self._joining.add(node)
            self._see_joined(node)
        return self._is_wanted(node)

    # Overlays

    def _step_overlays(self, event: overlay.Event) -> None:
        for run in self._runs():
            self._step_overlay(run, event)

    def _step_overlay(self, run: _Run, event: overlay.Event) -> None:
        self._looked = False
        for effect in run.overlay.step(event, self._now, self._random):
            version = run.fact.version
            match effect:
                case overlay.Send(node, payload):
                    if node in self._links:
                        self._effects += (*self.view.news_for(node), SendOverlay(node, (version, payload)))
                case overlay.Connect(node):
                    self._connect(run, node)
                case overlay.Disconnect(node):
                    run.wanted.pop(node, None)
                    if not self._is_wanted(node):
                        self._disconnect(node)
                case overlay.SetTimer(key, seconds):
                    self._effects.append(SetTimer(("overlay", (version, key)), seconds))
                case overlay.CancelTimer(key):
                    self._effects.append(CancelTimer(("overlay", (version, key))))
                case overlay.Measure(node):
                    self._effects.append(Measure(node, self._addresses(node)))
                case overlay.Refuse(node, reason, late):
                    self._refuse(node, f"{run.fact.name}: {reason}", late)
                case overlay.FindMembers(most):
                    found = tuple(self.view.table.some(most, self._random))
                    self._step_overlay(run, overlay.MembersFound(found))

    def _connect(self, run: _Run, node: str) -> None:
        if node == self._node:
            return
        run.wanted[node] = None
        if self.view.table.alive(node):
            # Again where it is wanted already: it may have moved.
            self._failed.discard(node)
            if node == self._appears:
                self._fresh.add(node)
                delay = self._random.uniform(self.parameters.connect_delay_min, self.parameters.connect_delay_max)
                self._effects.append(SetTimer(("fresh", node), delay))
            elif node not in self._fresh:
                self._ask(node, self._addresses(node))

    def _addresses(self, node: str) -> tuple[str, ...]:
        record = self.view.table.records.get(node)
        return record.addresses if record is not None and record.dialable else ()

    def _overlay_received(self, node: str, payload: object) -> None:
        held = self._held.get(node)
        if type(payload) is not tuple or len(payload) != 2 or type(payload[0]) is not int:
            self._refuse(node, "malformed")
        elif held is not None and len(held) < _HELD:
            held.append(payload)
        elif held is not None or node not in self._links or not self.view.table.alive(node):
            self._refuse(node, "of a stranger", late=True)  # its link has ended, and this came after by a route
        else:
            version, message = payload
            for run in self._runs():
                if run.fact.version == version:
                    self._step_overlay(run, overlay.Message(node, message))
                    return
            # Of one that this node ran before: it was on its way when the topology was switched.
            self._refuse(node, "of another overlay", late=version < self._run.fact.version)

    def _refuse(self, node: str, reason: str, late: bool = False) -> None:
        if reason not in self.refused and len(self.refused) >= _MOST_REASONS:
            reason = "others"  # an overlay of a user's own may make up reasons
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self._effects.append(OverlayRefused(node, reason, late))

    def _for_everybody(self, links: Sequence[str]) -> Sequence[str]:
        if self._former is None:
            return self._run.overlay.gossip(links)
        return sorted({node for run in self._runs() for node in run.overlay.gossip(links)})

    def _see_who_hears(self) -> None:
        if self._looked:
            return
        self._looked = True
        hears = tuple(sorted(self._for_everybody(self.links())))
        if hears != self._gossip:
            self._gossip = hears
            self._effects.append(Gossip(hears))

    def _timer_fired(self, place: str, key: Hashable) -> None:
        match place, key:
            case "view", _:
                self._step_view(TimerFired(key))
            case "overlay", (int(version), overlay_key):
                for run in self._runs():
                    if run.fact.version == version:
                        self._step_overlay(run, overlay.TimerFired(overlay_key))
            case "unwanted", str(node):
                self._unwanted(node)
            case "fresh", str(node):
                self._no_longer_fresh(node)
            case "switch", int(version):
                if version == self._run.fact.version:
                    self._end_switch()

    # The switch to another topology

    def _switch(self, topology: Topology) -> None:
        """Begin a switch that everybody is to follow."""
        fact = TopologyFact(self._run.fact.version + 1, self._node, topology.name, dict(topology.parameters()))
        self._begin_switch(fact, topology, None)

    def _heard_of_topology(self, source: str, fact: TopologyFact | None) -> None:
        if fact is not None and not fact.beats(self._run.fact):
            return
        try:
            if fact is None:
                raise ValueError("this is no topology")
            topology = self._find_topology(fact.name, fact.parameters)
        except (ValueError, TypeError) as error:
            self.refused["unknown topology"] = self.refused.get("unknown topology", 0) + 1
            self._effects.append(view.Refused(source, str(error), 1))
            return
        self._begin_switch(fact, topology, source)

    def _begin_switch(self, fact: TopologyFact, topology: Topology, source: str | None) -> None:
        if self._former is not None:
            self._end_switch()
        self._former, self._topology = self._run, topology
        run = self._run = _Run(fact, topology.overlay(self._node))
        self._effects.append(Switched(fact.name, fact.version))
        self._tag = topology.tag or self._tag
        self._step_view(view.Written(self._tag, fact.version))
        for node in self.links():
            self._send_fact(node)
        for member in sorted(self.view.table.records.all()):
            if member.node != self._node and self.view.table.alive(member.node):
                self._step_overlay(run, overlay.MemberUp(member.node, member.tag))
        for node in self.links():
            if node not in self._held:  # the overlays are to know of it when it is to a member
                self._step_overlay(run, overlay.LinkUp(node))
        if source is not None and source in self._links and source not in self._held:
            # Who told us runs it already, and so on back to who began: the new overlay grows along that tree.
            self._step_overlay(run, overlay.Joined(source))
        self._effects.append(SetTimer(("switch", fact.version), self.parameters.switch_within))
        self._see_whether_switched()

    def _see_whether_switched(self) -> None:
        if self._former is not None and not self.view.table.behind(self._run.fact.version):
            self._end_switch()

    def _end_switch(self) -> None:
        """Let go of the former overlay, and of the links that it alone wanted."""
        former, self._former = self._former, None
        if former is None:
            return
        self._effects.append(CancelTimer(("switch", self._run.fact.version)))
        self._looked = False
        for node in former.wanted:
            self._unwanted(node)

    def _send_fact(self, node: str) -> None:
        self._effects.append(view.SendView((node,), ("topology", *self._run.fact)))
