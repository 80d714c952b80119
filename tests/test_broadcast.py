"""Broadcasts as a program makes them: between real nodes, in this OS process."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from partisan_actors import Channel, NotAProcess, NotSendable, receive, self_pid, send, sleep
from partisan_actors.broadcast import (
    BroadcastHandler,
    BroadcastId,
    Root,
    broadcast,
    eager_peers,
    lazy_peers,
    register_handler,
    statistics,
    unregister_handler,
)
from partisan_actors.cluster import broadcast_events as events
from partisan_actors.cluster import broadcast_queue
from partisan_actors.processes.runtime import current_process
from tests.cluster.conftest import logs, nodes  # noqa: F401
from tests.conditions import wait_until
from tests.nodes import Nodes, cluster_of, connected, cut, stop_reading


class Notes(BroadcastHandler):
    """Keeps what it gets; one for each node."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.gaps: list[tuple[Root, int, int]] = []
        self.peers: list[str] = []
        self.stale: set[int] = set()
        self.store: dict[BroadcastId, Any] = {}

    def merge(self, id: BroadcastId, message: Any) -> bool:
        self.store[id] = message
        self.messages.append(message)
        if message == "fail":
            raise RuntimeError("no")
        return True

    def is_stale(self, id: BroadcastId) -> bool:
        return id.number in self.stale

    def exchange(self, peer: str) -> None:
        self.peers.append(peer)

    def on_gap(self, root: Root, first: int, last: int) -> None:
        self.gaps.append((root, first, last))


class Minimal(BroadcastHandler):
    got: list[Any] = []  # noqa: RUF012

    def handle(self, message: Any) -> None:
        Minimal.got.append(message)


class OnNews(BroadcastHandler):
    channel = "news"

    def handle(self, message: Any) -> None:
        pass


class Remembering(Notes):
    """Has what the log has no more."""

    def graft(self, id: BroadcastId) -> Any:
        return self.store.get(id)


def registered(started: list[Any], kind: type[Notes] = Notes) -> list[Notes]:
    handlers = [kind() for _ in started]
    for node, handler in zip(started, handlers, strict=True):
        node.run(register_handler, handler)
    return handlers


def synchronised(*started: Any) -> bool:
    return all(cluster_of(node).broadcasting.machine.synchronised for node in started)


def cluster(nodes: Nodes, *names: str, **options: Any) -> list[Any]:  # noqa: F811
    started = nodes.cluster(*names, **options)
    wait_until(lambda: synchronised(*started))
    return started


def test_everybody_gets_it_once_this_node_included(nodes):  # noqa: F811
    started = cluster(nodes, "a", "b", "c")
    handlers = registered(started)
    for number in range(20):
        started[0].run(broadcast, ("price", number), handlers[0])
    for handler in handlers:
        wait_until(lambda handler=handler: len(handler.messages) == 20)
        assert sorted(handler.messages) == [("price", number) for number in range(20)]


def test_a_minimal_handler_is_registered_by_its_first_use(nodes):  # noqa: F811
    Minimal.got.clear()
    a, b = cluster(nodes, "a", "b")
    b.run(register_handler, Minimal)
    a.run(broadcast, {"x": [1, 2]}, Minimal)
    wait_until(lambda: Minimal.got == [{"x": [1, 2]}] * 2)
    assert a.run(unregister_handler, Minimal) and not a.run(unregister_handler, Minimal)


def test_alone_a_node_is_everybody(nodes):  # noqa: F811
    a = nodes.start("a")
    (handler,) = registered([a])
    a.run(broadcast, 1, handler)
    wait_until(lambda: handler.messages == [1])


def test_what_comes_for_an_unregistered_handler_waits_for_it(nodes):  # noqa: F811
    a, b = cluster(nodes, "a", "b")
    (mine,) = registered([a])
    a.run(broadcast, "early", mine)
    wait_until(lambda: b.run(statistics)["unheard"] == 1)
    (late,) = registered([b])
    wait_until(lambda: late.messages == ["early"])
    assert b.run(statistics)["handlers"]["tests.test_broadcast:Notes"]["merged"] == 1


def wait_for_age(node):
    """Until what was just broadcast there is so old that who joins does not get it."""
    machine = cluster_of(node).broadcasting.machine
    since = monotonic()
    wait_until(lambda: monotonic() - since > machine.parameters.newcomer_overlap)


def test_a_newcomer_gets_only_what_is_broadcast_after_it_has_joined(nodes):  # noqa: F811
    a, b = cluster(nodes, "a", "b")
    handlers = registered([a, b])
    a.run(broadcast, "before", handlers[0])
    wait_until(lambda: handlers[1].messages == ["before"])
    wait_for_age(a)
    c = nodes.make("c").start()
    (handler,) = registered([c])
    c.join(a.address)
    wait_until(lambda: connected(a, b, c) and synchronised(c))
    a.run(broadcast, "after", handlers[0])
    wait_until(lambda: handler.messages)
    c.run(broadcast, "own", handler)
    wait_until(lambda: "own" in handlers[1].messages)
    assert handler.messages == ["after", "own"]


def test_what_is_broadcast_while_apart_comes_after_the_heal(nodes):  # noqa: F811
    a, b = cluster(nodes, "a", "b")
    handlers = registered([a, b])
    for node in (a, b):  # as the exchange of a real partition, without its seconds
        broadcasting = cluster_of(node).broadcasting
        (peer,) = broadcasting._neighbours
        broadcasting._gossip = list
        broadcasting.look()
        assert peer not in node.run(eager_peers)
    for number in range(700):  # more than one pull
        a.run(broadcast, number, handlers[0])
    b.run(broadcast, "mine", handlers[1])
    for node in (a, b):
        inside = cluster_of(node)
        inside.broadcasting._gossip = lambda inside=inside: inside._for_everybody
        inside.broadcasting.look()
    wait_until(lambda: len(handlers[1].messages) == 701 and len(handlers[0].messages) == 701, 10.0)
    assert sorted(handlers[1].messages[1:]) == list(range(700))
    assert handlers[0].messages[-1] == "mine" and not handlers[1].gaps


def test_a_broken_connection_loses_nothing(nodes):  # noqa: F811
    a, b, c = cluster(nodes, "a", "b", "c")
    handlers = registered([a, b, c])
    for number in range(60):
        if number % 20 == 10:
            cut(a, b)
            cut(b, c)
        a.run(broadcast, number, handlers[0])
    for handler in handlers:
        wait_until(lambda handler=handler: sorted(handler.messages) == list(range(60)), 10.0)


def test_a_handler_that_waits_holds_up_nobody_else(nodes):  # noqa: F811
    a, b = cluster(nodes, "a", "b")

    class Slow(BroadcastHandler):
        seen = 0

        def handle(self, message: Any) -> None:
            Slow.seen += 1
            sleep(3600.0)

    (fast, _) = registered([a, b])
    b.run(register_handler, Slow)
    a.run(broadcast, 1, Slow)
    a.run(broadcast, 2, Slow)
    wait_until(lambda: Slow.seen >= 2)  # of each node the first
    a.run(broadcast, "on", fast)
    wait_until(lambda: fast.messages == ["on"])


def test_what_a_handler_raises_is_logged_and_the_next_one_comes(nodes, logs):  # noqa: F811
    a = nodes.start("a")
    (handler,) = registered([a])
    a.run(broadcast, "fail", handler)
    a.run(broadcast, "next", handler)
    wait_until(lambda: handler.messages == ["fail", "next"])
    assert [entry["handler"] for entry in logs if entry["event"] == "broadcast_handler_failed"] == ["Notes"]


def test_what_is_stale_is_not_merged(nodes):  # noqa: F811
    a = nodes.start("a")
    (handler,) = registered([a])
    handler.stale = {1}
    a.run(broadcast, "old", handler)
    a.run(broadcast, "new", handler)
    wait_until(lambda: handler.messages == ["new"])
    assert a.run(statistics)["handlers"]["tests.test_broadcast:Notes"]["stale"] == 1


def test_a_slow_handlers_queue_is_bounded_and_what_is_gone_by_then_is_a_gap(nodes, monkeypatch):  # noqa: F811
    monkeypatch.setattr(broadcast_queue, "LIMIT", 2)
    monkeypatch.setattr(broadcast_queue, "LIMIT_NUMBERS", 4)
    a = nodes.start("a")
    (handler,) = registered([a])
    queue = cluster_of(a).broadcasting._queues["tests.test_broadcast:Notes"]

    def hurry() -> Root:
        for number in range(1, 8):
            broadcast(number, handler)
        return Root(current_process().runtime.home.node, current_process().runtime.home.bits)

    root = a.run(hurry)  # in one go: the handler's process has not run
    wait_until(lambda: queue.waiting == 0)
    assert handler.messages == [1, 2, 3, 4]
    assert handler.gaps == [(root, 5, 7)]


def test_a_killed_handlers_process_loses_at_most_what_it_had_at_hand(nodes):  # noqa: F811
    a = nodes.start("a")
    (handler,) = registered([a])
    queue = cluster_of(a).broadcasting._queues["tests.test_broadcast:Notes"]

    def hurry() -> None:
        broadcast(1, handler)
        broadcast(2, handler)
        queue._process.kill()
        broadcast(3, handler)

    a.run(hurry)
    wait_until(lambda: handler.messages == [1, 2, 3])


def test_a_node_stops_whatever_waits_for_its_handlers(nodes):  # noqa: F811
    a = nodes.start("a")

    class Stuck(BroadcastHandler):
        def handle(self, message: Any) -> None:
            sleep(3600.0)

    for number in range(3):
        a.run(broadcast, number, Stuck)
    clock = cluster_of(a)._runtime.clock
    began = clock.now()
    a.stop()
    assert clock.now() - began < 2.0


def test_a_gap_is_told_to_every_handler(nodes):  # noqa: F811
    a = nodes.start("a")
    (handler,) = registered([a])
    root = Root("gone@127.0.0.1", 7)
    cluster_of(a).broadcasting._perform(events.Gap(root, 3, 9))
    wait_until(lambda: handler.gaps == [(root, 3, 9)])


def test_a_handler_has_what_the_log_has_no_more(nodes):  # noqa: F811
    a, b = cluster(nodes, "a", "b")
    (mine, theirs) = registered([a, b], Remembering)
    for node in (a, b):
        broadcasting = cluster_of(node).broadcasting
        broadcasting._gossip = list
        broadcasting.look()
    a.run(broadcast, "kept", mine)
    wait_until(lambda: mine.messages == ["kept"])
    log = cluster_of(a).broadcasting.machine._log
    log.expire(cluster_of(a)._runtime.clock.now() + 1e6)
    assert len(log) == 0
    for node in (a, b):
        inside = cluster_of(node)
        inside.broadcasting._gossip = lambda inside=inside: inside._for_everybody
        inside.broadcasting.look()
    wait_until(lambda: theirs.messages == ["kept"])


def test_d19_an_exchange_that_another_node_begins_is_one_here_too(nodes):  # noqa: F811
    """Partisan's exchanges/1 crashes on what exchanges/0 gives: only the local half works."""
    a, b = cluster(nodes, "a", "b")
    handlers = registered([a, b])
    for node, peer in ((a, b), (b, a)):
        broadcasting = cluster_of(node).broadcasting
        broadcasting.machine._repair.turn(0.0, cluster_of(node)._runtime.clock.random, [])
        broadcasting._step(events.TimerFired(("exchange", "")))
        handler = handlers[0] if node is a else handlers[1]
        wait_until(lambda handler=handler, peer=peer: peer.name in handler.peers)
        assert set(node.run(statistics)) == set(peer.run(statistics))


def test_d18_two_nodes_of_one_os_process_are_two_roots(nodes):  # noqa: F811
    """Partisan names its roots by the VM, so that of several without disterl only one is new."""
    a, b = cluster(nodes, "a", "b")
    handlers = registered([a, b])
    a.run(broadcast, "a", handlers[0])
    b.run(broadcast, "b", handlers[1])
    for handler in handlers:
        wait_until(lambda handler=handler: sorted(handler.messages) == ["a", "b"])
        assert {id.root.node for id in handler.store} == {a.name, b.name}
        assert {id.number for id in handler.store} == {1}


def test_a_channel_of_its_own(nodes):  # noqa: F811
    channels = (Channel("default"), Channel("news"), Channel("newest", monotonic=True))
    a, b = cluster(nodes, "a", "b", channels=channels)
    b.run(register_handler, OnNews)
    a.run(broadcast, b"x" * 100_000, OnNews)
    wait_until(lambda: b.run(statistics)["handlers"]["tests.test_broadcast:OnNews"]["merged"] == 1)
    ties = cluster_of(a).remote.ties_to(b.name)
    way = ties.ways.on("news", 0, 0)
    assert way.outgoing is not ties.session.default and way.outgoing.stream.sending.buffered >= 0
    assert cluster_of(a).broadcasting._way(ties, "tests.test_broadcast:OnNews", Root("r", 1)).outgoing is way.outgoing

    class Newest(OnNews):
        channel = "newest"

    with pytest.raises(ValueError, match="monotonic"):
        a.run(register_handler, Newest)


def test_a_channel_that_this_node_lacks(nodes):  # noqa: F811
    with pytest.raises(ValueError, match="has no channel 'news'"):
        nodes.start("a").run(register_handler, OnNews)


def test_what_is_no_handler(nodes):  # noqa: F811
    a = nodes.start("a")
    for wrong in (object(), int, "tests.test_broadcast:Notes", None):
        with pytest.raises(TypeError, match="BroadcastHandler"):
            a.run(register_handler, wrong)
        with pytest.raises(TypeError, match="BroadcastHandler"):
            a.run(broadcast, 1, wrong)

    class Nothing(BroadcastHandler):
        pass

    with pytest.raises(TypeError, match="takes nothing in"):
        a.run(register_handler, Nothing)
    with pytest.raises(ValueError, match="another handler"):
        registered([a, a])


def test_what_cannot_be_sent(nodes):  # noqa: F811
    a = nodes.start("a")
    (handler,) = registered([a])
    with pytest.raises(NotSendable):
        a.run(broadcast, print, handler)
    with pytest.raises(ValueError, match="longer than"):
        a.run(broadcast, bytes(17 << 20), handler)
    a.run(broadcast, "fine", handler)
    wait_until(lambda: handler.messages == ["fine"])
    with pytest.raises(NotAProcess):
        broadcast(1, handler)


def test_a_handler_is_a_process_of_its_node(nodes):  # noqa: F811
    a, b = cluster(nodes, "a", "b")

    class Answering(BroadcastHandler):
        def handle(self, message: Any) -> None:
            send(message, self_pid().node)

    b.run(register_handler, Answering)

    def ask() -> list[str]:
        broadcast(self_pid(), Answering)
        return sorted([receive(), receive()])

    assert a.run(ask) == sorted([a.name, b.name])


def test_large_payloads_cross_as_they_are(nodes):  # noqa: F811
    started = cluster(nodes, "a", "b", "c")
    handlers = registered(started)
    large = bytes(range(256)) * 4096 * 4
    for _ in range(3):
        started[0].run(broadcast, large, handlers[0])
    for handler in handlers:
        wait_until(lambda handler=handler: handler.messages == [large] * 3, 10.0)


def test_what_no_neighbour_sends_is_refused_once_in_the_log(nodes, logs):  # noqa: F811
    a, b = cluster(nodes, "a", "b")
    session = cluster_of(a).peers.session(b.name)
    broadcasting = cluster_of(a).broadcasting
    for message in (("gossip",), ("no such thing",), 7, ("gossip",)):
        broadcasting._send([b.name], message)  # type: ignore[arg-type]
    broadcasting._send_bulky([b.name], ("answer", b""))
    wait_until(lambda: sum(b.run(statistics)["refused"].values()) == 5)
    assert len([entry for entry in logs if entry["event"] == "broadcast_refused"]) == 3
    assert session.ended is None and session.connected


def test_after_a_leave_nothing_is_missed_that_is_not_to_be_got(nodes):  # noqa: F811
    a, b = cluster(nodes, "a", "b")
    handlers = registered([a, b])
    b.leave()
    wait_until(lambda: a.neighbours() == [])
    a.run(broadcast, "meanwhile", handlers[0])
    wait_for_age(a)
    b.join(a.address)
    wait_until(lambda: connected(a, b) and synchronised(a, b))
    a.run(broadcast, "after", handlers[0])
    wait_until(lambda: handlers[1].messages)
    b.run(broadcast, "own", handlers[1])
    wait_until(lambda: "own" in handlers[0].messages)
    assert handlers[1].messages == ["after", "own"]
    assert b.run(lazy_peers) == []


def test_a_neighbour_that_does_not_read_holds_up_no_relay_and_asks_later(nodes):  # noqa: F811
    narrow = (Channel("default", high_watermark=64 << 10, low_watermark=16 << 10),)
    a, b, c = cluster(nodes, "a", "b", "c", channels=narrow)
    handlers = registered([a, b, c])
    for node, neighbours in ((a, [b]), (b, [a, c]), (c, [b])):  # a line
        broadcasting = cluster_of(node).broadcasting
        names = sorted(neighbour.name for neighbour in neighbours)
        broadcasting._gossip = lambda names=names: names
        broadcasting.look()
    read_on = stop_reading(c, b)
    for number in range(50):
        a.run(broadcast, (number, bytes(16 << 10)), handlers[0])
    wait_until(lambda: len(handlers[1].messages) == 50)
    assert len(handlers[2].messages) < 20
    assert cluster_of(b).remote.ties_to(c.name).ways.usual(0).outgoing.unsent < 256 << 10
    read_on()
    wait_until(lambda: sorted(number for number, _ in handlers[2].messages) == list(range(50)), 20.0)


def test_a_sender_waits_while_its_own_neighbour_does_not_read(nodes):  # noqa: F811
    narrow = (Channel("default", high_watermark=64 << 10, low_watermark=16 << 10),)
    a, b = cluster(nodes, "a", "b", channels=narrow)
    handlers = registered([a, b])
    read_on = stop_reading(b, a)
    sent: list[int] = []

    def hurry() -> None:
        for number in range(50):
            broadcast((number, bytes(16 << 10)), handlers[0])
            sent.append(number)

    a.spawn(hurry)
    wait_until(lambda: cluster_of(a).remote.ties_to(b.name).ways.usual(0).outgoing.congested)
    wait_until(lambda: len(handlers[0].messages) == len(sent))
    assert 0 < len(sent) < 50
    read_on()
    wait_until(lambda: len(handlers[1].messages) == 50, 20.0)
    assert handlers[1].messages == handlers[0].messages
