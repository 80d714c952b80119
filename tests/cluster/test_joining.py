"""Nodes that join, leave, come back, and do not get in: several in this OS process, over real sockets."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any

import gevent
import pytest
from gevent import socket

from partisan_actors import (
    CallError,
    Down,
    JoinError,
    NoConnection,
    Node,
    NodeDown,
    NodeUp,
    NoProcess,
    Remote,
    monitor,
    monitor_nodes,
    receive,
    send,
)
from partisan_actors.behaviours import call
from partisan_actors.topologies.full_mesh import FullMeshOverlay
from partisan_actors.wire.frames import HEARTBEAT_REPLY, encode_frame
from tests.conditions import wait_until
from tests.distribution import nodes as raw
from tests.integration.workers import Echo
from tests.nodes import cluster_of, connected, session_between, stop_reading


def watched(node: Node) -> list[Any]:
    """The node events as a subscriber gets them."""
    events: list[Any] = []
    node.subscribe(events.append)
    gevent.sleep(0)
    return events


def ups_and_downs(events: list[Any], node: str) -> list[type]:
    return [type(event) for event in events if event.node == node]


# Joining.


def test_a_node_alone_is_its_own_cluster(nodes):
    node = nodes.start()
    assert node.members() == [node.name] and node.neighbours() == []


def test_by_the_address_of_any_member_one_comes_to_know_all(nodes):
    one, two, three = nodes.cluster("one", "two", "three")
    events = [watched(node) for node in (one, two, three)]
    four = nodes.start("four")
    four.join(three.address)
    # When it returns the newcomer has the view, and is connected.
    everybody = sorted(node.name for node in (one, two, three, four))
    assert four.members() == everybody and four.neighbours() == [name for name in everybody if name != four.name]
    wait_until(lambda: connected(one, two, three, four))
    wait_until(lambda: events == [[NodeUp(four.name)]] * 3)
    for other in (one, two, three):
        with pytest.raises(NoProcess):
            four.run(call, Remote("nobody", other.name), 1)


def test_joining_again_changes_nothing(nodes):
    one, two = nodes.cluster("one", "two")
    events = watched(one)
    session = session_between(one, two)
    for joiner, joined in ((one, two), (two, one), (one, two)):
        joiner.join(joined.address)
    assert session_between(one, two) is session and events == []


def test_a_process_is_told_of_each_node_once_however_often_it_asks(nodes):
    """D13, Partisan: n registrations give n events each."""
    one, two = nodes.start("one"), nodes.start("two")
    with one.attached():
        for _ in range(3):
            monitor_nodes()
        two.join(one.address)
        two.leave()
        assert [receive(timeout=5), receive(timeout=5)] == [NodeUp(two.name), NodeDown(two.name, "leave")]
        monitor_nodes(False)
        two.join(one.address)
        wait_until(lambda: connected(one, two))
        assert receive(timeout=0, default=None) is None


@pytest.mark.parametrize("count", [2, 3])
def test_all_join_at_once_in_every_order(nodes, count):
    """Each node is told of one other, in every way in which that makes one cluster of them."""
    targets = [t for t in itertools.product(range(count), repeat=count) if all(i != t[i] for i in range(count))]
    rounds = []
    for target in targets:
        members = [nodes.start(f"herd-{count}") for _ in range(count)]
        rounds.append(members)
        joins = [gevent.spawn(node.join, members[target[i]].address) for i, node in enumerate(members)]
        gevent.joinall(joins, timeout=10, raise_error=True)
        assert all(join.successful() for join in joins)
        wait_until(lambda members=members: connected(*members), what=f"all are connected: {target}")
        for node in members:
            node.stop()


@pytest.mark.parametrize("shape", ["star", "ring", "chain", "chance"])
def test_a_thundering_herd(nodes, shape):
    """Six nodes join at once; they end as one cluster, with one session for each pair."""
    members = [nodes.start("herd") for _ in range(6)]
    chance = random.Random(shape)
    target = {
        "star": lambda i: 0 if i else 1,
        "ring": lambda i: (i + 1) % 6,
        "chain": lambda i: max(i - 1, 0) if i else 1,
        "chance": lambda i: chance.choice([j for j in range(6) if j != i and (j < i or i == 0)]),
    }[shape]
    events = [watched(node) for node in members]
    began = time.monotonic()
    joins = [gevent.spawn(node.join, members[target(i)].address) for i, node in enumerate(members)]
    gevent.joinall(joins, timeout=10, raise_error=True)
    wait_until(lambda: connected(*members), what="all are connected")
    assert time.monotonic() - began < 5
    for one, other in itertools.permutations(members, 2):
        assert session_between(one, other).number == session_between(other, one).number
        assert one.run(lambda other=other: call_nobody(other)) == "noproc"
    for mine in events:
        wait_until(lambda mine=mine: len(mine) >= 5)
        assert sorted(mine, key=lambda event: event.node) == sorted(set(mine), key=lambda event: event.node)
        assert {type(event) for event in mine} == {NodeUp}


def call_nobody(node: Node) -> Any:
    try:
        return call(Remote("nobody", node.name), 1)
    except CallError as error:
        return error.reason


def test_two_that_dial_each_other_at_once_settle_on_one_connection(nodes):
    for _ in range(15):
        dial_each_other(nodes.start("one"), nodes.start("other"))


def dial_each_other(one: Node, other: Node) -> None:
    events = watched(one), watched(other)
    gevent.joinall([gevent.spawn(one.join, other.address), gevent.spawn(other.join, one.address)], raise_error=True)
    wait_until(lambda: connected(one, other))
    assert session_between(one, other).number == session_between(other, one).number
    with one.attached():
        assert call(Echo.start(node=other.name), "where") == other.name
    wait_until(lambda: cluster_of(one).peers.open_connections == cluster_of(other).peers.open_connections == 1)
    assert events == ([NodeUp(other.name)], [NodeUp(one.name)])
    one.stop()
    other.stop()


def test_two_clusters_become_one(nodes):
    left, right = nodes.cluster("left", "left", "left"), nodes.cluster("right", "right")
    left[2].join(right[1].address)
    wait_until(lambda: connected(*left, *right))


def test_where_two_nodes_of_a_name_meet_the_later_life_stays(nodes, logs):
    """Two clusters that have a name in common are joined; nobody could refuse the second node before."""
    left, earlier = nodes.cluster("left", "common")
    right = nodes.start("right")
    later = nodes.start(earlier.name)
    later.join(right.address)
    events = watched(left)
    left.join(right.address)
    wait_until(lambda: connected(left, right, later))
    wait_until(lambda: earlier.members() == [earlier.name] and not earlier.neighbours())
    assert left.run(call, left.run(Echo.start, node=later.name), "where") == later.name
    assert cluster_of(left).peers.known_life(later.name) == later.life
    wait_until(lambda: ups_and_downs(events, later.name) == [NodeDown, NodeUp])
    # It dials on, and is told why that is in vain.
    wait_until(lambda: [entry for entry in logs if entry.get("reason") == "name, by the peer"])


# Not getting in.


def refused(node: Node, address: str, reason: str, within: float = 3.0, **options: Any) -> JoinError:
    began = time.monotonic()
    with pytest.raises(JoinError) as raised:
        node.join(address, **options)
    assert time.monotonic() - began < within
    assert raised.value.reason == reason, raised.value
    assert node.name in str(raised.value) and address in str(raised.value)
    return raised.value


def test_without_the_cookie_there_is_no_joining(nodes, logs):
    one = nodes.start("one")
    other = nodes.start("other", cookie="quite another cookie")
    refused(other, one.address, "cookie")
    refused(one, other.address, "cookie")
    assert one.members() == [one.name] and other.members() == [other.name]
    assert any(entry.get("address") and "cookie" in str(entry) for entry in logs)


def test_cookies_can_be_changed_with_everybody_up(nodes):
    """The first cookie of several proves, all are accepted."""
    old, new = "the cookie until today", "the cookie from tomorrow"
    before = nodes.start("before", cookie=old)
    both = nodes.start("both", cookie=(old, new))
    turned = nodes.start("turned", cookie=(new, old))
    after = nodes.start("after", cookie=new.encode())
    both.join(before.address)
    turned.join(both.address)
    refused(after, before.address, "cookie")
    after.join(turned.address)
    wait_until(lambda: after.neighbours() == sorted([both.name, turned.name]))


def test_an_address_where_nobody_is(nodes):
    one, gone = nodes.start("one"), nodes.start("gone")
    address = gone.address
    gone.stop()
    refused(one, address, "unreachable")
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(8)
    refused(one, f"127.0.0.1:{silent.getsockname()[1]}", "unreachable", timeout=0.2)
    silent.close()
    refused(one, "unix:/nonexistent/socket", "unreachable")
    for nonsense in ("127.0.0.1", "", "127.0.0.1:99999", "::1:80"):
        with pytest.raises(ValueError):
            one.join(nonsense)
    assert one.members() == [one.name]


def test_a_node_cannot_join_itself(nodes):
    one = nodes.start("one")
    refused(one, one.address, "name")


def test_a_second_live_node_of_a_name_is_refused(nodes):
    one, two = nodes.cluster("one", "two")
    events = watched(one)
    impostor = nodes.start(two.name)
    refused(impostor, one.address, "name")
    refused(impostor, two.address, "name")
    same = nodes.start(one.name)
    refused(same, one.address, "name")
    assert connected(one, two) and events == []
    # The name of nobody is free, whoever had it before.
    two.stop()
    wait_until(lambda: events)
    impostor.join(one.address)
    wait_until(lambda: connected(one, impostor))


class OtherTopology:
    """A topology of another name."""

    name = "other_mesh"
    tag = ""

    def parameters(self) -> dict[str, Any]:
        return {}

    def overlay(self, node: str) -> FullMeshOverlay:
        return FullMeshOverlay(node)


def test_a_cluster_has_one_topology(nodes):
    one = nodes.start("one")
    other = nodes.start("other", topology=OtherTopology())
    error = refused(other, one.address, "topology")
    assert "full_mesh" in str(error) and "other_mesh" in str(error)


def test_a_node_of_a_later_protocol_is_told_so(nodes, cookie):
    one = nodes.start("one")
    later = raw.Node("later@127.0.0.1", cookies=(cookie.encode(),), protocol=(7, 9))
    try:
        error = refused(one, later.address, "version")
        assert "7 to 9" in str(error)
        failure = raw.join(later, one.address)
        assert (failure.reason, "7 to 9" in failure.text) == ("version", True)  # type: ignore[union-attr]
    finally:
        later.peers.close()


def test_a_join_that_is_given_up_leaves_nothing(nodes):
    one = nodes.start("one")
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(8)
    try:
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            one.join(f"127.0.0.1:{silent.getsockname()[1]}")
        wait_until(lambda: not cluster_of(one).peers.open_connections)
        assert not cluster_of(one)._joins
        pending = gevent.spawn(one.join, f"127.0.0.1:{silent.getsockname()[1]}")
        wait_until(lambda: cluster_of(one)._joins)
        one.stop()
        with pytest.raises(JoinError, match="stopping"):
            pending.get()
        one.start()
        pending = gevent.spawn(one.join, f"127.0.0.1:{silent.getsockname()[1]}")
        wait_until(lambda: cluster_of(one)._joins)
        one.leave()
        with pytest.raises(JoinError, match="leaving"):
            pending.get()
    finally:
        silent.close()


# Leaving and coming back.


def test_who_leaves_is_alone_and_can_be_used(nodes):
    one, two, three = nodes.cluster("one", "two", "three")
    events = [watched(node) for node in (one, two, three)]
    with three.attached():
        local = Echo.start(name="local")
        there = Echo.start(node=one.name)
        ref = monitor(there)
        three.leave()
        assert three.members() == [three.name] and three.neighbours() == []
        assert receive(timeout=5) == Down(ref, there, "noconnection")
        assert call(local, "where") == three.name
        with pytest.raises(NoConnection):
            call(there, "where")
        wait_until(lambda: connected(one, two))
        wait_until(lambda: events[0] == events[1] == [NodeDown(three.name, "leave")])
        wait_until(lambda: len(events[2]) == 2)
        assert {(type(event), event.node, event.reason) for event in events[2]} == {
            (NodeDown, node.name, "leave") for node in (one, two)
        }
        # It stays away until it is asked to join; its life is the same, and so are its pids.
        three.join(two.address)
        wait_until(lambda: connected(one, two, three))
        assert call(there, "where") == one.name
        assert one.run(call, local, "where") == three.name
    for mine in events[:2]:
        wait_until(lambda mine=mine: ups_and_downs(mine, three.name) == [NodeDown, NodeUp])


def test_d14_one_of_two_leaves_and_is_found_again_from_either_side(nodes):
    """Partisan: sockets of who left stay open, and the other side can never join it again."""
    one, other = nodes.cluster("one", "other")
    events = watched(one)
    for joiner, joined in ((one, other), (other, one)) * 2:
        other.leave()
        wait_until(lambda: one.members() == [one.name] and other.members() == [other.name])
        wait_until(lambda: not cluster_of(one).peers.open_connections and not cluster_of(other).peers.open_connections)
        joiner.join(joined.address)
        wait_until(lambda: connected(one, other))
        with one.attached():
            assert call(Echo.start(node=other.name), "where") == other.name
    assert ups_and_downs(events, other.name) == [NodeDown, NodeUp] * 4


def test_everybody_leaves(nodes):
    members = nodes.cluster("one", "two", "three", "four")
    for node in members:
        node.leave()
    wait_until(lambda: all(node.members() == [node.name] for node in members))
    for node in members[1:]:
        node.join(members[0].address)
    wait_until(lambda: connected(*members))


def test_a_leave_is_no_loss_of_what_was_sent(nodes):
    one, other = nodes.cluster("one", "other")
    echo = other.run(Echo.start)

    def say_and_leave() -> None:
        for number in range(2000):
            send(echo, number)
        one.leave()

    one.run(say_and_leave)
    assert other.run(call, echo, "notes") == tuple(range(2000))


def test_that_a_node_left_does_not_overtake_what_it_sent_before(nodes):
    """Others tell of a leave too, and may be quicker than the connection over which the leaver said more."""
    one, two, three = nodes.cluster("one", "two", "three")
    events = watched(one)
    echo = one.run(Echo.start)
    read_on = stop_reading(one, three)

    def say_and_leave() -> None:
        for number in range(100):
            send(echo, number)
        three.leave()

    three.run(say_and_leave)
    wait_until(lambda: two.members() == one.members() == sorted([one.name, two.name]))
    assert one.neighbours() == [two.name]
    read_on()
    wait_until(lambda: one.run(call, echo, "count") == 100)
    three.join(one.address)
    wait_until(lambda: connected(one, two, three))
    wait_until(lambda: events == [NodeDown(three.name, "leave"), NodeUp(three.name)])
    # And who never says its last words is not waited for.
    stop_reading(one, three)
    three.leave()
    wait_until(lambda: cluster_of(one).peers.session(three.name) is None)
    assert len(one.run(call, echo, "notes")) == 100


def test_d14b_a_node_that_comes_back_is_a_new_life(nodes):
    """Old pids get noproc, and the others reconnect by themselves."""
    one, two, three = nodes.cluster("one", "two", "three")
    events = [watched(one), watched(two)]
    with one.attached():
        old = Echo.start(node=three.name, name="server")
        ref = monitor(old)
        call(old, "where")
        life = three.life
        three.stop()
        assert receive(timeout=5) == Down(ref, old, "shutdown")
        with pytest.raises(NoConnection):
            call(old, "where")
        three.start()
        assert three.life != life and three.life.epoch > life.epoch
        three.join(two.address)
        wait_until(lambda: connected(one, two, three))
        with pytest.raises(NoProcess):
            call(old, "where")
        assert Echo.start(node=three.name, name="server") != old
        # Not to what has its serial now.
        assert call(Remote("server", three.name), "where") == three.name
        send(old, "for the former life")
        assert call(Remote("server", three.name), "notes") == ()
        late = monitor(old)
        assert receive(timeout=5) == Down(late, old, "noproc")
    for mine in events:
        assert ups_and_downs(mine, three.name) == [NodeDown, NodeUp]


def test_a_session_that_ended_is_followed_by_another(nodes):
    """Whatever hung on it has ended; the node is no less a member, and its pids are valid."""
    one, two = nodes.cluster("one", "two")
    events = watched(one), watched(two)
    with one.attached():
        echo = Echo.start(node=two.name)
        for _ in range(3):
            ref = monitor(echo)
            session_between(one, two).end("a test")
            assert receive(timeout=5) == Down(ref, echo, "noconnection")
            assert call(echo, "where") == two.name
            wait_until(lambda: connected(one, two))
        assert receive(timeout=0, default=None) is None
    assert events == ([], [])


def test_ups_and_downs_alternate_whatever_happens(nodes):
    members = nodes.cluster("one", "two", "three", "four")
    events = {node.name: watched(node) for node in members}
    watchers = {node.name: node for node in members}
    chance = random.Random(3)
    for _ in range(40):
        one, other = chance.sample(members, 2)
        match chance.choice(("leave", "join", "end", "stop")):
            case "leave":
                one.leave()
            case "join":
                one.join(other.address)
            case "end" if (session := cluster_of(one).peers.session(other.name)) is not None:
                session.end("chance")
            case "stop" if chance.random() < 0.3:
                one.stop()
                one.start()
                events[one.name] = watched(one)
        gevent.sleep(chance.choice((0, 0, 0.001, 0.01)))
    for node in members[1:]:
        node.join(members[0].address)
    wait_until(lambda: connected(*members), 10)
    for name, mine in events.items():
        for other in watchers.keys() - {name}:
            wait_until(lambda mine=mine, other=other: [NodeUp, *ups_and_downs(mine, other)][-1] is NodeUp)
            kinds = ups_and_downs(mine, other)
            assert all(kind is not following for kind, following in itertools.pairwise(kinds)), (name, other, mine)


def test_d41_a_late_sign_of_life_closes_nothing(nodes):
    """Partisan: a late pong to an earlier attempt closes the connection."""
    one, other = nodes.cluster("one", "other")
    session = session_between(one, other)
    link = session.link
    assert link is not None
    for token in (bytes(8), b"\xff" * 8):
        link.connection.write(encode_frame(HEARTBEAT_REPLY, body_buffers=(token,)))  # type: ignore[arg-type]
    with one.attached():
        echo = Echo.start(node=other.name)
        assert [call(echo, ("echo", n)) for n in range(50)] == list(range(50))
    assert session.link is link and session_between(other, one).connected


def test_d45_a_call_to_a_node_that_cannot_be_reached_is_no_success(nodes):
    """Partisan: sending to an unreachable node returns ok."""
    one, two = nodes.cluster("one", "two")
    with one.attached():
        echo = Echo.start(node=two.name)
        # Nobody by that name is a member: that is known at once.
        with pytest.raises(NoConnection):
            call(Remote("echo", "nobody@127.0.0.1"), "where")
        two.stop()
        with pytest.raises(NoConnection):
            call(echo, "where")


def test_d12_many_joins_are_quick(nodes):
    """Partisan: each join blocks the manager for a second."""
    first = nodes.start("first")
    began = time.monotonic()
    for _ in range(8):
        nodes.start("more").join(first.address)
    wait_until(lambda: connected(*nodes.made))
    assert time.monotonic() - began < 4
