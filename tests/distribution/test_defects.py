"""Defects of Partisan that this layer could have, by their number in the catalogue; others stand with their subject:
D12 and D14 in test_endings, D41 in test_session."""

from __future__ import annotations

from partisan_actors.distribution import PeerParameters, Session
from partisan_actors.distribution.dialling import Unwanted
from partisan_actors.distribution.session import SessionParameters
from tests.distribution.nodes import connected
from tests.distribution.world import World, cut_all


def test_d3_nodes_that_practically_never_send_a_heartbeat_connect_all_the_same(world: World):
    rarely = PeerParameters(session=SessionParameters(heartbeat_interval=1e6, silence=3e6, probe_interval=1e6))
    one, other = world.pair(parameters=rarely)
    world.clock.run(600.0)
    assert connected(one, other) and len(one.log) == 1


def test_d11_what_arrives_names_the_node_that_sent_it(world: World):
    one, other = world.pair()
    names: list[str] = []
    other.received = lambda session, body, outgoing: names.append(session.node)  # type: ignore[assignment, misc]
    one.session(other).send(b"x")
    world.clock.run(0.1)
    assert names == ["a"]


def test_d22_one_dying_connection_of_several_is_no_event(world: World):
    one, other = world.pair()
    session = one.session(other)
    # A second connection takes over; the first one's end comes later, and is not the session's.
    assert world.join(one, other.address) is session
    other.peers._reaching.diallers["a"].feed(Unwanted())
    old = session.link
    assert old is not None
    (near,) = world.transport.connections
    near.peer.stall()
    near.stall()
    near.close("reset")
    world.clock.until(lambda: session.link is not None and session.link is not old, 2.0)
    near.peer.stall(False)
    session.send(b"x")
    world.clock.run(1.0)
    assert connected(one, other)
    assert other.bodies == [b"x"]
    assert len(one.log) == len(other.log) == 1


def test_d45_sending_to_a_node_that_is_gone_says_so(world: World):
    one, other = world.pair()
    session = one.session(other)
    world.kill(other)
    assert session.send(b"it may come back")
    world.clock.until(lambda: one.told("ended"), 1.0)
    assert not session.send(b"x")
    assert one.peers.session("b") is None


def test_d51_neither_end_keeps_a_session_that_the_other_has_ended(world: World):
    one, other = world.pair()
    for node, to in ((one, other), (other, one)):
        cut_all(world)
        session: Session = node.session(to)
        session.end("for a test")  # the other end is not told
        world.clock.until(lambda: connected(one, other), 2.0)
        assert one.session(other).number == other.session(one).number
    assert len(one.told("started")) == len(other.told("started")) == 3
    assert len(one.told("ended")) == len(other.told("ended")) == 2
