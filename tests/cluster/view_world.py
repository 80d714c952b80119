"""Whole clusters of peer services in simulation: what every test of them looks at, and a campaign of trouble."""

from __future__ import annotations

from partisan_actors.cluster.peer_service import Switch
from partisan_actors.cluster.records import Status
from partisan_actors.cluster.view_events import NodeDown, NodeUp, Refused
from partisan_actors.testing.peer_services import LAYER, peer_service, peer_service_simulation
from partisan_actors.topologies.client_server import ClientServer
from partisan_actors.topologies.full_mesh import FullMesh
from partisan_actors.topologies.hyparview import HyParView
from partisan_actors.topologies.scamp import Scamp
from partisan_actors.topologies.static import Static

TOPOLOGIES = {topology.name: topology for topology in (FullMesh(), HyParView(), Scamp())}


def find_topology(name, parameters):
    kinds = {
        "full_mesh": FullMesh,
        "hyparview": HyParView,
        "scamp": Scamp,
        "client_server": ClientServer,
        "static": Static,
    }
    if name not in kinds:
        raise ValueError(f"there is no topology {name!r}")
    return kinds[name](**parameters)


class ViewWorld:
    """A simulation, and what the processes of each node were told."""

    def __init__(self, seed=1, topology=None, topology_of=None, **options):
        self.topology = topology if topology is not None else FullMesh()
        self.up = {}  # by node and life: by peer, the bits of the NodeUp that has no NodeDown yet
        self.told = {}  # by node and life: (when, NodeUp or NodeDown)
        self.refused = []
        self.simulation = peer_service_simulation(
            seed, topology_of or self.topology, observer=self._observe, find_topology=find_topology, **options
        )
        self.run = self.simulation.run
        self.random = self.simulation.random

    def _observe(self, node, layer, effect):
        up = self.up.setdefault((node.name, node.life), {})
        match effect:
            case NodeUp(peer, _, bits):
                assert peer != node.name
                assert peer not in up, (node, effect)
                up[peer] = bits
            case NodeDown(peer, bits, _):
                assert up.pop(peer, None) == bits, (node, effect)
            case Refused():
                self.refused.append((self.simulation.time.now, node.name, effect))
                return
            case _:
                return
        self.told.setdefault((node.name, node.life), []).append((self.simulation.time.now, effect))

    def __getitem__(self, name):
        return self.simulation[name]

    def formed(self, count, *, spacing=0.05, contact=None):
        """A cluster of so many, joined one after the other."""
        self.simulation.grow(count, spacing=spacing, contact=contact)
        self.until_one(30.0)
        return self

    def view(self, name):
        return peer_service(self.simulation[name]).view

    def members(self, name):
        return self.view(name).table.members()

    def names(self):
        """Those that live and have not left."""
        return [node.name for node in self.simulation.alive() if not peer_service(node).view.left]

    def downs(self, name, peer):
        """When, and for which reasons, `name` was told that `peer` is down, in its life now."""
        told = self.told.get((name, self.simulation[name].life), [])
        return [(when, effect.reason) for when, effect in told if isinstance(effect, NodeDown) and effect.node == peer]

    def all_downs(self):
        return [
            (key, when, effect)
            for key, told in self.told.items()
            for when, effect in told
            if isinstance(effect, NodeDown)
        ]

    def is_one(self, names=None):
        """Whether these, by default all that live, are members for each other, and nobody else is."""
        names = sorted(self.names() if names is None else names)
        return all(self.members(name) == names for name in names)

    def until_one(self, limit, names=None):
        """Let time pass until they are; how long it took."""
        try:
            return self.simulation.run_until(lambda: self.is_one(names), limit)
        except TimeoutError:
            names = sorted(self.names() if names is None else names)
            wrong = {
                name: (sorted(set(self.members(name)) - set(names)), sorted(set(names) - set(self.members(name))))
                for name in names
                if self.members(name) != names
            }
            raise AssertionError(f"seed {self.simulation.seed}: too many, too few: {wrong}") from None

    def check_members(self):
        names = sorted(self.names())
        for name in names:
            assert self.members(name) == names, name

    def check_quiet(self):
        """Everybody knows the same, and was told of each life that there is, and of none that is not."""
        names = sorted(self.names())
        bits = {name: self.view(name).table.records.own.bits for name in names}
        for name in names:
            assert self.members(name) == names, name
            others = {other: bits[other] for other in names if other != name}
            assert self.up.get((name, self.simulation[name].life), {}) == others, name
        assert len({self.view(name).table.records.root for name in names}) == 1
        services = {name: peer_service(self.simulation[name]) for name in names}
        assert len({service.topology for service in services.values()}) == 1
        self.until_links_agree(1.0)

    def until_links_agree(self, limit):
        """Let time pass until a link is one for both of its ends, and wanted by one: one may be just closing."""
        try:
            self.simulation.run_until(lambda: not self.odd_links(), limit)
        except TimeoutError:
            raise AssertionError(f"seed {self.simulation.seed}: links of one end only: {self.odd_links()}") from None

    def odd_links(self):
        """Links that one end only knows of, and such as nobody wants."""
        services = {name: peer_service(self.simulation[name]) for name in self.names()}
        return [
            (name, peer)
            for name, service in services.items()
            for peer in service.links()
            if not services[peer].linked(name) or (peer not in service.wanted() and name not in services[peer].wanted())
        ]

    def contact(self):
        """One of the cluster, by chance; one that has not joined would begin a cluster of its own."""
        return self.random.choice(sorted(self.simulation.joined.names) or sorted(self.names()))

    def make_peace(self):
        """Heal everything, and see that all come to know the same."""
        self.simulation.heal()
        self.run(21.0)  # the longest pause is over
        first, *others = self.strangers()
        for name in others:
            self.simulation.join(self.simulation[name], first)
        self.until_one(40.0)
        self.run(30.0)
        self.check_quiet()

    def strangers(self):
        """One of each part of which no other part has a record.

        A node that was cut off before it was in; or that joined those who were cut off, who were then gone before the
        heal: a newcomer does not take over who is down.
        """
        parts = {name: [name] for name in self.names()}
        for name in self.names():
            for record in self.view(name).table.records.all():
                if record.status is not Status.LEFT and record.node in parts and parts[record.node] is not parts[name]:
                    parts[name] += parts[record.node]
                    for member in parts[record.node]:
                        parts[member] = parts[name]
        return sorted({part[0] for part in parts.values()})

    def switch(self, name, topology):
        self.simulation[name].tell(LAYER, Switch(topology))


def in_trouble(seed, topology, *, count=8, steps=40, switches=(), **options):
    """Nodes that join, leave, die, stop, part and come back; then peace."""
    world = ViewWorld(seed, topology, **options).formed(count)
    simulation, random = world.simulation, world.random
    for _ in range(steps):
        act = random.random()
        names = list(simulation.nodes)
        name, other = random.choice(names), random.choice(names)
        node = simulation[name]
        if act < 0.12:
            part = random.sample(names, random.randrange(1, len(names)))
            simulation.partition(part)
        elif act < 0.22 and name != other:
            simulation.partition([name], [other], one_way=act < 0.17)
        elif act < 0.30:
            bridge = set(random.sample(names, 1))
            rest = [one for one in names if one not in bridge]
            half = random.sample(rest, len(rest) // 2)
            simulation.partition(half, [one for one in rest if one not in half])
        elif act < 0.42:
            simulation.heal()
        elif act < 0.50 and len(world.names()) > 3:
            simulation.crash(node)
        elif act < 0.54 and node.alive and len(world.names()) > 3:
            simulation.leave(node)
        elif act < 0.66 and not node.alive:
            simulation.restart(node, world.contact())
        elif act < 0.74:
            simulation.pause(node, random.uniform(0.5, 20.0))
        elif act < 0.78 and name != other and node.alive and other in simulation.joined:
            simulation.join(node, other)
        elif switches and act < 0.79 and name in simulation.joined:
            world.switch(name, random.choice(switches))
        elif act < 0.80:
            simulation.join(simulation.add(), world.contact())
        world.run(random.choice([0.0, 0.01, 0.2, 1.0, 6.0]))
    world.make_peace()
    return world
