"""All that processes do between nodes, over every overlay: between neighbours, and between nodes that are none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import Any

import pytest

from partisan_actors import (
    CausalLabel,
    Down,
    Exit,
    Node,
    NodeDown,
    NodeUp,
    Pid,
    Remote,
    Undelivered,
    link,
    monitor,
    receive,
    send,
    send_exit,
    spawn_opt,
    trap_exits,
)
from partisan_actors.behaviours import GenServer, call, cast
from partisan_actors.topologies import ClientServer, FullMesh, HyParView, Scamp, Static, Topology, XBot
from tests.conditions import wait_until
from tests.integration.workers import Echo, wait_for_ever
from tests.nodes import Nodes, cluster_of

# So small that with ten nodes nearly nobody is everybody's neighbour.
SMALL: dict[str, Any] = {"active_size": 3, "passive_size": 6, "shuffle_interval": 1.0}
COUNT = 9

OVERLAYS: dict[str, Callable[[int], Topology]] = {
    "full mesh": lambda index: FullMesh(),
    "client-server": lambda index: ClientServer("server" if index < 2 else "client"),
    "static": lambda index: Static(),
    "hyparview": lambda index: HyParView(**SMALL),
    "xbot": lambda index: XBot(**SMALL),
    "scamp v1": lambda index: Scamp(version=1, c=1),
    "scamp v2": lambda index: Scamp(version=2, c=1),
}


def grown(nodes: Nodes, topology: Callable[[int], Topology], count: int = COUNT, **options: Any) -> list[Node]:
    """A cluster, each node joined through the one before it; those of a static overlay are a line then."""
    started: list[Node] = []
    for index in range(count):
        node = nodes.start(topology=topology(index), **options)
        if started:
            node.join(started[max(0, index - 1)].address)  # type: ignore[arg-type]
        started.append(node)
    knowing_each_other(started)
    return started


def knowing_each_other(nodes: list[Node], timeout: float = 20.0) -> None:
    names = sorted(node.name for node in nodes)
    wait_until(lambda: all(node.members() == names for node in nodes), timeout, what="all know each other")


def all_run(nodes: list[Node], topology: str) -> bool:
    return all(cluster_of(node).topology == topology for node in nodes)


@pytest.fixture(params=OVERLAYS, ids=str)
def overlay(request: pytest.FixtureRequest) -> Callable[[int], Topology]:
    """Each of them."""
    return OVERLAYS[request.param]


def farthest(nodes: list[Node]) -> tuple[Node, Node]:
    """Two nodes without a link to each other, where there are such; the first and the last of all else."""
    for one, other in permutations(nodes, 2):
        if other.name not in one.neighbours():
            return one, other
    return nodes[0], nodes[-1]


def test_every_node_calls_every_other(nodes: Nodes, overlay: Callable[[int], Topology]):
    cluster = grown(nodes, overlay)
    for node in cluster:
        node.run(Echo.start, name="echo")

    def all_answer(node: Node) -> list[str]:
        return [call(Remote("echo", other.name), ("echo", other.name), 20.0) for other in cluster]

    for node in cluster:
        assert node.run(all_answer, node) == [other.name for other in cluster]


def test_a_storm_of_joins_strands_nobody(nodes: Nodes):
    """Each newcomer pushes an earlier one away from the only contact, which has heard of hardly anybody by then."""
    first, *others = [nodes.start(topology=HyParView()) for _ in range(12)]
    for node in others:
        node.join(first.address)
        assert node.neighbours()
    # Without anybody's shuffle, the first of which comes within ten seconds: at once.
    knowing_each_other([first, *others], 3.0)


def test_neighbours_are_few_and_agree_about_it(nodes: Nodes, overlay: Callable[[int], Topology]):
    cluster = grown(nodes, overlay)
    by_name = {node.name: node for node in cluster}

    def symmetrical() -> bool:
        return all(node.name in by_name[peer].neighbours() for node in cluster for peer in node.neighbours())

    wait_until(symmetrical, 10.0, what="links seen from both ends")


def test_ties_between_nodes_that_are_no_neighbours(nodes: Nodes, overlay: Callable[[int], Topology]):
    """Links, monitors, exits, spawns, messages by name and by pid, acknowledged ones; and how each of them ends."""
    near, far = farthest(grown(nodes, overlay))

    def ties() -> list[Any]:
        trap_exits()
        server = Echo.start(node=far.name)
        linked = spawn_opt(wait_for_ever, node=far.name, link=True)
        watched, ref = spawn_opt(wait_for_ever, node=far.name, monitor=True)
        nobody = monitor(Remote("nobody", far.name))
        send_exit(watched, "enough")
        send_exit(linked, "bye")
        acknowledged = send(Remote("nobody", far.name), "hello?", ack=True)
        told = [receive((Down, Exit, Undelivered), timeout=20.0) for _ in range(4)]
        noproc = Down(nobody, Remote("nobody", far.name), "noproc")
        assert acknowledged is not None
        lost = Undelivered(acknowledged, Remote("nobody", far.name), "noproc")
        expected = [Down(ref, watched, "enough"), Exit(linked, "bye"), noproc, lost]
        assert sorted(map(repr, told)) == sorted(map(repr, expected))
        assert call(server, ("echo", b"x" * 3_000_000), 20.0) == b"x" * 3_000_000
        return told

    near.run(ties)


def test_messages_keep_their_order_on_the_way(nodes: Nodes, overlay: Callable[[int], Topology]):
    near, far = farthest(grown(nodes, overlay))
    got: list[int] = []
    collector = far.spawn(_collect, got)

    def numbers(pid: Pid) -> None:
        for number in range(2_000):
            send(pid, number)

    near.run(numbers, collector)
    wait_until(lambda: len(got) == 2_000, 20.0, what="all messages")
    assert got == list(range(2_000))


def _collect(into: list[int]) -> None:
    while True:
        into.append(receive(int))


def test_causal_order_between_any_three(nodes: Nodes, overlay: Callable[[int], Topology]):
    names = [f"causal-{index}-{id(nodes)}@127.0.0.1" for index in range(COUNT)]
    label = CausalLabel("chat", (names[0], names[4], names[8]))
    cluster: list[Node] = []
    for index, name in enumerate(names):
        labels = (label,) if name in label.members else ()
        node = nodes.start(name, topology=overlay(index), causal_labels=labels)
        if cluster:
            node.join(cluster[-1].address)  # type: ignore[arg-type]
        cluster.append(node)
    knowing_each_other(cluster)
    first, second, third = cluster[0], cluster[4], cluster[8]
    heard: list[Any] = []
    reader = third.spawn(_hear, heard)

    def answers() -> None:
        question = receive(timeout=20.0)
        send(reader, ("answer", question), causal="chat")

    answerer = second.spawn(answers)

    def asks() -> None:
        send(reader, ("question", 1), causal="chat")
        send(answerer, 1, causal="chat")

    first.run(asks)
    wait_until(lambda: len(heard) == 2, 20.0, what="question and answer")
    assert heard == [("question", 1), ("answer", 1)]


def _hear(into: list[Any]) -> None:
    while True:
        into.append(receive())


def test_a_node_that_leaves_is_gone_for_all_and_nobody_else_is(nodes: Nodes, overlay: Callable[[int], Topology]):
    # The last of a line: of another one, the rest would be two.
    *others, last = grown(nodes, overlay)
    events: list[Any] = []
    others[0].subscribe(events.append)
    last.leave()
    knowing_each_other(others)
    wait_until(lambda: NodeDown(last.name, "leave") in events, what="the word of it")
    assert [event for event in events if event.node != last.name] == []
    assert last.members() == [last.name]


def test_what_hangs_on_a_node_that_ends_is_told(nodes: Nodes, overlay: Callable[[int], Topology]):
    *others, last = grown(nodes, overlay)
    near = next(node for node in others if last.name not in node.neighbours()) if _sparse(others, last) else others[0]
    server = last.run(Echo.start)
    downs: list[Any] = []

    def watches() -> None:
        monitor(server)
        downs.append(("ready",))
        downs.append(receive(Down, timeout=20.0))

    near.spawn(watches)
    wait_until(lambda: downs, what="the monitor")
    wait_until(lambda: any(near.name in s.node for s in cluster_of(last).peers.sessions()), what="a session")
    last.stop(timeout=1.0)
    wait_until(lambda: len(downs) == 2, 20.0, what="the Down")
    assert downs[1].sender == server
    assert downs[1].reason in ("noconnection", "shutdown")


def _sparse(others: list[Node], last: Node) -> bool:
    return any(last.name not in node.neighbours() for node in others)


class Adder(GenServer):
    """Adds up what it is cast."""

    def init(self) -> None:
        self.total = 0

    def handle_cast(self, request: int) -> None:
        self.total += request

    def handle_call(self, request: Any, caller: Any) -> int:
        return self.total


def test_a_cluster_moves_to_another_topology_and_back_under_load(nodes: Nodes):
    cluster = grown(nodes, lambda index: FullMesh())
    servers = [node.run(Adder.start) for node in cluster]
    sent = [0] * len(cluster)
    stop = False

    def load(index: int) -> None:
        while not stop:
            for server in servers:
                cast(server, 1)
            sent[index] += 1
            assert isinstance(call(servers[(index + 1) % len(servers)], "total", 20.0), int)

    def grown_by(calls: int, before: int) -> bool:
        return sum(sent) > before + calls

    loads = [node.spawn(load, index) for index, node in enumerate(cluster)]
    for topology in (HyParView(**SMALL), FullMesh()):
        cluster[3].switch_topology(topology)
        wait_until(partial(all_run, cluster, topology.name), 20.0, what=f"all run {topology.name}")
        before = sum(sent)
        wait_until(partial(grown_by, 200, before), 20.0, what="more calls")
    knowing_each_other(cluster)
    stop = True

    def totals() -> bool:
        return all(
            node.run(call, server, "total", 20.0) == sum(sent) for node, server in zip(cluster, servers, strict=True)
        )

    wait_until(totals, 20.0, what="nothing lost and nothing doubled")
    assert len(loads) == len(cluster)


def test_joins_and_switches_are_no_warnings(nodes: Nodes, logs: list[Any]):
    """Dials that are given up on the way, and what links had still to say: nothing that anybody has to look at."""
    cluster = grown(nodes, lambda index: HyParView(**SMALL), 12)
    for topology in (FullMesh(), HyParView(**SMALL), Scamp(), FullMesh()):
        cluster[3].switch_topology(topology)
        wait_until(partial(all_run, cluster, topology.name), 20.0, what=f"all run {topology.name}")
    for node in cluster:
        node.stop(timeout=1.0)
    warnings = [line for line in logs if line["log_level"] not in ("debug", "info")]
    assert not warnings


def test_one_that_comes_after_a_switch_takes_it_over(nodes: Nodes):
    cluster = grown(nodes, lambda index: FullMesh(), count=3)
    cluster[0].switch_topology(HyParView(**SMALL))
    wait_until(lambda: all_run(cluster, "hyparview"), what="the switch")
    late = nodes.start(topology=FullMesh())
    late.join(cluster[1].address)  # type: ignore[arg-type]
    knowing_each_other([*cluster, late])
    wait_until(lambda: cluster_of(late).topology == "hyparview", what="the newcomer runs it too")


def test_node_events_come_once_for_each(nodes: Nodes, overlay: Callable[[int], Topology]):
    watcher = nodes.start(topology=overlay(0))
    seen: list[Any] = []

    watcher.subscribe(seen.append)
    others: list[Node] = []
    for index in range(1, 5):
        node = nodes.start(topology=overlay(index))
        node.join((others[-1] if others else watcher).address)  # type: ignore[arg-type]
        others.append(node)
    knowing_each_other([watcher, *others])
    wait_until(lambda: len(seen) >= 4, what="the ups")
    assert sorted(event.node for event in seen) == sorted(node.name for node in others)
    assert all(isinstance(event, NodeUp) for event in seen)


def test_linking_to_one_that_ended_over_a_route(nodes: Nodes, overlay: Callable[[int], Topology]):
    near, far = farthest(grown(nodes, overlay))
    ended = far.spawn(lambda: None)

    def links() -> Any:
        trap_exits()
        link(ended)
        return receive(Exit, timeout=20.0)

    assert near.run(links) == Exit(ended, "noproc")
