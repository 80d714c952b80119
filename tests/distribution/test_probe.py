"""Looks whether a node answers, which leave nothing behind on either side."""

from __future__ import annotations

from partisan_actors.distribution.dialling import REFUSED
from tests.conditions import wait_until
from tests.distribution.nodes import Node


def look(node, name, *addresses):
    """What a probe comes to: the hello or None, why, and the seconds to connect."""
    results = []
    node.peers.probe(name, addresses, lambda *result: results.append(result))
    wait_until(lambda: results, 5.0, what=f"the outcome of a look at {name}")
    assert len(results) == 1
    return results[0]


def test_a_node_that_answers_says_which_life_it_is():
    a, b = Node("a@h"), Node("b@h")
    hello, reason, seconds = look(a, "b@h", b.address)
    assert hello.life == b.life
    assert reason == ""
    assert 0 < seconds < 1


def test_it_leaves_no_session_no_connection_and_no_refusal():
    a, b = Node("a@h"), Node("b@h")
    look(a, "b@h", b.address)
    wait_until(
        lambda: not a.peers.open_connections and not b.peers.open_connections, 5.0, what="all connections closed"
    )
    assert a.log == b.log == []
    assert not a.peers.counters.refusals
    assert not b.peers.counters.refusals
    assert a.peers.counters.probes == b.peers.counters.probes == 1


def test_nobody_there_is_a_refusal():
    a, b = Node("a@h"), Node("b@h")
    address = b.address
    b.peers.close()
    assert look(a, "b@h", address) == (None, REFUSED, 0.0)


def test_another_node_there_is_as_nobody():
    a, c = Node("a@h"), Node("c@h")
    assert look(a, "b@h", c.address) == (None, REFUSED, 0.0)


def test_the_addresses_are_tried_in_turn():
    a, b, gone = Node("a@h"), Node("b@h"), Node("gone@h")
    address = gone.address
    gone.peers.close()
    hello, _, _ = look(a, "b@h", address, b.address)
    assert hello.life == b.life


def test_one_that_is_connected_answers_too_and_stays_so():
    a, b = Node("a@h"), Node("b@h")
    a.peers.connect("b@h", [b.address])
    wait_until(lambda: a.peers.session("b@h") and b.peers.session("a@h"), 5.0, what="a session")
    hello, _, _ = look(a, "b@h", b.address)
    assert hello.life == b.life
    assert a.told("ended") == b.told("ended") == []
    assert a.session(b).connected


def test_a_node_that_closes_gives_its_looks_up():
    a, b = Node("a@h"), Node("b@h")
    results = []
    a.peers.probe("b@h", [b.address], lambda *result: results.append(result))
    gone = []
    a.peers.close("stop", lambda: gone.append(True))
    wait_until(lambda: gone, 5.0, what="the end of the node")
    wait_until(lambda: not b.peers.open_connections, 5.0, what="the end of the connection")
    assert results == []
