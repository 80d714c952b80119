"""A cluster of whole nodes under watch: do to it what you like, and then see whether each promise was kept.

    with Simulation(seed) as simulation:
        cluster = CheckedCluster(simulation, lambda: HyParView())
        lives = cluster.grow(8)
        cluster.partition(lives[:3])
        cluster.broadcast(lives[0])
        cluster.tie(lives[0], lives[5], "monitor")
        cluster.settle()

`settle` heals everything, lets it come to rest, and raises AssertionError unless all of this holds:

- every node that has joined, and not left, has exactly those as members, and one that left is alone;
- neighbours are neighbours both ways, at most as many as the overlay allows, and no part of the cluster is without a
  way to another;
- what `checked_traffic` promises of calls, monitors, links, broadcasts and global names.

What was said while the cluster was apart is kept for two minutes, so let no more pass without a `settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random

from partisan_actors.cluster.peer_service import PeerService
from partisan_actors.cluster.records import Status
from partisan_actors.errors import JoinError
from partisan_actors.node import Node
from partisan_actors.parameters import MembershipParameters
from partisan_actors.testing.checked_traffic import (
    CALL_LIMIT,
    Broadcasts,
    Calls,
    CheckedLife,
    Echo,
    Names,
    Ties,
    session_between,
)
from partisan_actors.testing.simulation import Simulation
from partisan_actors.topologies import Topology

__all__ = ["CheckedCluster"]

_AGREED = 60.0  # seconds that it may take until all know each other, after the worst
_RESTED = 60.0  # and until links, and what was missed, have come to rest after that
_JOIN = 5.0  # seconds that a join may take
_VIEW = MembershipParameters(small=4)  # so few nodes would send each other all they know, and compare nothing


class CheckedCluster:
    """What was done to a simulation's nodes, and what they owe to each other for it.

    Args:
        simulation: inside its `with` block.
        topology: makes that of each node.
        most_links: neighbours of a node, once all is quiet; None: any number.
    """

    def __init__(
        self, simulation: Simulation, topology: Callable[[], Topology], *, most_links: int | None = None
    ) -> None:
        self.simulation = simulation
        self.lives: dict[str, CheckedLife] = {}  # for each node the latest
        self.calls = Calls(lambda: simulation.now)
        self.ties = Ties(self.alive)
        self.names = Names()
        self.broadcasts = Broadcasts(self.alive)
        self.refused = 0  # joins that came to nothing
        self._topology = topology
        self._most_links = most_links
        self._clocks = Random(f"{simulation.seed}/clocks").uniform
        self._groups = 0
        self._apart = False  # a cut is in place

    def alive(self) -> list[CheckedLife]:
        """The lives that have not crashed, paused ones too."""
        return [life for life in self.lives.values() if life.alive]

    def running(self) -> list[CheckedLife]:
        """Those that are not paused, either."""
        return [life for life in self.alive() if not life.paused]

    def joined(self) -> list[CheckedLife]:
        """Those that live and have not left."""
        return [life for life in self.alive() if not life.left]

    # Lives

    def add(self, name: str | None = None) -> CheckedLife:
        """Start a node, alone so far, by a clock that is a little wrong."""
        name = name if name is not None else f"n{len(self.lives)}@sim"
        node = self.simulation.node(
            name,
            topology=self._topology(),
            rate=self._clocks(0.999, 1.001),
            skew=self._clocks(-100.0, 100.0),
            spawnable=(f"{CheckedLife.__module__}.*",),
            view=_VIEW,
        )
        return self._begin(node, 1)

    def grow(self, count: int) -> list[CheckedLife]:
        """So many nodes, each joined through one of those before it; then let them settle."""
        draw = Random(f"{self.simulation.seed}/contacts")
        for _ in range(count):
            contacts = self.joined()
            life = self.add()
            if contacts:
                self.join(life, draw.choice(contacts))
        self.settle()
        return self.alive()

    def join(self, life: CheckedLife, contact: CheckedLife) -> bool:
        """Let it join through `contact`, or join again; whether it has within 5 s. It is neither paused nor dead."""
        try:
            life.node.join(contact.node.address, _JOIN)
        except JoinError:
            self.refused += 1
            return False
        else:
            self._merge(life.group, contact.group)
            return True
        finally:
            # Who asks is a member again from that moment on, and who is asked when it has heard of it.
            for one in (life, contact):
                one.left = one.left and _service(one.node).view.left

    def leave(self, life: CheckedLife) -> None:
        """Let it leave in order, and stay alone. It is not paused."""
        life.node.leave()
        life.left = True
        life.stay += 1
        life.group = self._new_group()
        self._disturb({life})
        self.ties.gone(life)

    def crash(self, life: CheckedLife) -> None:
        """End its OS process."""
        self.simulation.crash(life.node)
        life.alive = life.paused = False
        self.ties.gone(life)

    def restart(self, name: str, contact: CheckedLife) -> CheckedLife:
        """Start a new life of a node that has crashed, which joins `contact` if it can."""
        before = self.lives[name]
        life = self._begin(self.simulation.restart(before.node), before.number + 1)
        self.join(life, contact)
        return life

    def pause(self, life: CheckedLife) -> None:
        """Stop it until `settle`, or `resume`."""
        self.simulation.pause(life.node)
        life.paused = life.stood = True
        self._disturb({life}, paused=life)

    def resume(self, life: CheckedLife) -> None:
        """Let it go on."""
        self.simulation.resume(life.node)
        life.paused = False

    def slow(self, life: CheckedLife, seconds: float) -> None:
        """Let each thing that happens in it take so long, until `settle`; that is no reason to lose anything."""
        self.simulation.slow(life.node, seconds)

    def partition(
        self, some: Collection[CheckedLife], others: Collection[CheckedLife] | None = None, *, one_way: bool = False
    ) -> None:
        """Cut these off from the others, or from all; see `Simulation.partition`."""
        names = None if others is None else [life.node for life in others]
        self.simulation.partition([life.node for life in some], names, one_way=one_way)
        self._apart = True
        self._disturb(set(self.lives.values()))

    def heal(self) -> None:
        """Take all cuts back. What they have disturbed stays so until `settle`."""
        self.simulation.heal()

    # Traffic

    def call(self, caller: CheckedLife, target: CheckedLife) -> None:
        """Let a process call another node's server."""
        self.calls.begin(caller, target, disturbed=self._disturbed(caller, target))

    def tie(self, watcher: CheckedLife, target: CheckedLife, kind: str) -> None:
        """Let a process monitor, link to or spawn one of another node: "monitor", "link", "spawn"; both run."""
        self.ties.begin(watcher, target, kind, disturbed=self._disturbed(watcher, target))

    def broadcast(self, root: CheckedLife) -> None:
        """Let a process broadcast."""
        self.broadcasts.begin(root)

    def take(self, life: CheckedLife, name: str) -> None:
        """Let a process take a global name, if nobody has it."""
        self.names.take(life, name)

    # Quiet

    def settle(self) -> None:
        """Heal everything, wait until it has come to rest, and see that every promise was kept.

        Raises AssertionError: one was not.
        """
        self.heal()
        for life in self.alive():
            self.slow(life, 0.0)
            if life.paused:
                self.resume(life)
        self.simulation.run(1.0)
        self._until(self._wrong_parts, _AGREED)
        self._join_strangers()
        self._until(self._wrong_members, _AGREED)
        self.simulation.run(2 * CALL_LIMIT + 2.0)
        self._until(lambda: [*self._wrong_links(), *self._idle_links(), *self._wrong_digests()], _RESTED)
        self._until(self.broadcasts.missing, _RESTED)
        problems = [*self._wrong_members(), *self._wrong_links(), *self._wrong_digests()]
        problems += [*self.calls.broken(), *self.ties.broken(), *self.broadcasts.broken()]
        problems += self.names.broken(self.joined())
        assert not problems, "\n".join(problems)
        self._apart = False
        for life in self.alive():
            life.stood = False

    def _until(self, wrong: Callable[[], list[str]], limit: float) -> None:
        try:
            self.simulation.run_until(lambda: not wrong(), limit, every=0.5)
        except TimeoutError:
            raise AssertionError(f"after {limit:.0f} quiet seconds:\n" + "\n".join(wrong())) from None

    def _wrong_parts(self) -> list[str]:
        """Who does not have exactly those as members that it can find.

        Whether they have left may have to be told first: by one that was paused, say.
        """
        return [text for part in self._parts() for text in _unequal(part)]

    def _wrong_members(self) -> list[str]:
        joined = self.joined()
        alone = [text for life in self.alive() if life.left for text in _unequal([life])]
        distrusted = [
            f"{life} looks up no way to {other}"
            for life in joined
            for other in joined
            if _distrusts(life.node, other.name)
        ]
        return [*_unequal(joined), *alone, *distrusted]

    def _wrong_links(self) -> list[str]:
        # Those of the overlay: beside them there may be links for a moment, which `_idle_links` looks at.
        links = {life.name: _service(life.node).neighbours() for life in self.alive()}
        wrong = [
            f"{name} has the neighbour {peer}, and {peer} not {name}"
            for name, peers in links.items()
            for peer in peers
            if name not in links.get(peer, ())
        ]
        most = self._most_links
        if most is not None:
            wrong += [f"{name} has neighbours {peers}" for name, peers in links.items() if len(peers) > most]
        names = [life.name for life in self.joined()]
        reached = set(names[:1])
        ahead = list(reached)
        while ahead:
            new = set(links[ahead.pop()]) - reached
            reached |= new
            ahead += new
        if beyond := set(names) - reached:
            wrong.append(f"no way leads from {names[0]} to {sorted(beyond)}")
        return wrong

    def _idle_links(self) -> list[str]:
        """Links of one side only, and such as neither wants, which there may be for some seconds."""
        services = {life.name: _service(life.node) for life in self.alive()}
        wrong = []
        for name, service in services.items():
            for peer in service.links():
                other = services.get(peer)
                if other is None or name not in other.links():
                    wrong.append(f"{name} has a link to {peer}, which has none")
                elif peer not in service.wanted() and name not in other.wanted():
                    wrong.append(f"{name} has a link to {peer} that neither wants")
        return wrong

    def _wrong_digests(self) -> list[str]:
        """Whether they do not all know the same of each other: then they would compare again and again."""
        digests = {life.name: _service(life.node).view.table.records.root for life in self.joined()}
        return [f"the digests of what they know differ: {digests}"] if len(set(digests.values())) > 1 else []

    # Who owes what to whom

    def _begin(self, node: Node, number: int) -> CheckedLife:
        life = self.lives[node.name] = CheckedLife(node, number, home=node.life, group=self._new_group())
        node.run(Echo.start, name="echo")
        self.broadcasts.listen(life)
        return life

    def _new_group(self) -> int:
        self._groups += 1
        return self._groups

    def _merge(self, one: int, other: int) -> None:
        for life in self.lives.values():
            if life.group == other:
                life.group = one

    def _disturb(self, lives: set[CheckedLife], paused: CheckedLife | None = None) -> None:
        self.calls.disturb(lives.__contains__, paused)
        self.ties.disturb(lives.__contains__)

    def _disturbed(self, one: CheckedLife, other: CheckedLife) -> bool:
        if self._apart or one.paused or other.paused or one.left or other.left:
            return True
        # What is sent to one that is known by an earlier life only is lost with that.
        if not (_has_as_member(one.node, other.node) and _has_as_member(other.node, one.node)):
            return True
        # And what is sent on a session that the other has ended while this one stood, which it has not heard yet.
        there, back = session_between(one.node, other.name), session_between(other.node, one.name)
        return (one.stood or other.stood) and there != back

    def _join_strangers(self) -> None:
        """Join parts that cannot find each other: whoever in one has heard of the other is dead.

        A node that joined those who were cut off, say, when they died before the heal. A newcomer does not take over
        who is down.
        """
        first, *others = self._parts()
        self.broadcasts.parted(lambda one, other: any((one in part) != (other in part) for part in (first, *others)))
        for part in others:
            assert self.join(part[0], first[0]), f"{part[0]} cannot join through {first[0]}"

    def _parts(self) -> list[list[CheckedLife]]:
        parts = {life.name: [life] for life in self.joined()}
        known = {life.name: _known(life.node) for life in self.joined()}
        for life in self.joined():
            for name in known[life.name]:
                # Who has heard of nobody is no part of anything: others may know it from before it left.
                if len(known.get(name, ())) > 1 and parts[name] is not parts[life.name]:
                    parts[life.name] += parts[name]
                    for one in parts[name]:
                        parts[one.name] = parts[life.name]
        return list({id(part): part for part in parts.values()}.values())


def _service(node: Node) -> PeerService:
    assert node._cluster is not None
    service = node._cluster._driver.service
    assert service is not None
    return service


def _unequal(lives: list[CheckedLife]) -> list[str]:
    """Whose members are not exactly these."""
    expected = {life.name for life in lives}
    wrong = []
    for life in lives:
        found = set(life.node.members())
        if found != expected:
            more, fewer = sorted(found - expected), sorted(expected - found)
            wrong.append(f"{life} has as members also {more}, and lacks {fewer}")
    return wrong


def _distrusts(node: Node, peer: str) -> bool:
    assert node._cluster is not None
    return node._cluster.routes.relaying.machine.distrusts(peer)


def _has_as_member(node: Node, other: Node) -> bool:
    return _service(node).view.table.alive(other.name, other.life.bits)


def _known(node: Node) -> list[str]:
    """The names of members, up or down, that have not left, as this node knows them."""
    records = _service(node).view.table.records
    return [record.node for record in records.all() if record.status is not Status.LEFT]
