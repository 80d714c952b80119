"""Certificates that expire or are another node's, and cookies that change, while nodes talk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from partisan_actors import JoinError, NodeDown, NodeUp, monitor_nodes, receive
from partisan_actors.wire.handshake import Keys
from tests.certificates import EXPIRED, Authority, write
from tests.conditions import wait_until
from tests.faults.network import BadNetwork, bad_network
from tests.faults.traffic import Residue, Traffic, warm_up
from tests.nodes import Nodes, cluster_of, session_between

HERE = "127.0.0.1"


@contextmanager
def credentials_fail(network: BadNetwork, reason: str, restore: Any) -> Iterator[None]:
    """What is connected goes on; what is new is refused, until all is well again: then what was promised is kept."""
    residue = Residue(network.both)
    session = session_between(*network.both)
    monitor_nodes()
    traffic = Traffic(*network.both)
    traffic.wait_for_more()
    yield
    traffic.wait_for_more()
    assert session_between(*network.both) is session
    del session
    network.reset()
    down = receive((NodeUp, NodeDown), timeout=10)
    assert type(down) is NodeDown and down.node == network.other.name and reason in down.reason, down
    wait_until(lambda: network.other.members() == [network.other.name], 5, what="down on both sides")
    restore()
    assert receive((NodeUp, NodeDown), timeout=10) == NodeUp(network.other.name)
    network.wait_until_connected()
    traffic.finish(down=True)
    assert receive((NodeUp, NodeDown), timeout=0, default=None) is None
    monitor_nodes(False)
    # The summaries of what was refused have timers of ten seconds.
    residue.check(slack=2)


@pytest.mark.parametrize(("fault", "told"), [("expired", "tls"), ("of another node", "certificate is that of else")])
def test_certificate_expired_or_of_another_node(nodes: Nodes, authority: Authority, fault: str, told: str):
    made = [authority.tls(HERE), authority.tls(HERE)]
    given = iter(made)
    with bad_network(nodes, lambda: {"tls": next(given)}, hurried=True) as network:
        warm_up(*network.both)
        paths = Path(made[1].certificate), Path(made[1].key)
        bad = authority.issue(HERE, **EXPIRED) if fault == "expired" else authority.issue("partisan:else@127.0.0.1")
        with credentials_fail(network, told, lambda: write(*paths, *authority.issue(HERE))):
            write(*paths, *bad)


OLD, NEW = b"the cookie of before, which has leaked", b"the cookie of now, which has not yet"


def use(node: Any, *cookies: bytes) -> None:
    cluster_of(node).peers.keys = Keys(cookies)


def test_cookie_rotated_with_an_overlap(nodes: Nodes):
    """First both are accepted, then the new one proves, then only it is: connections break at each step."""
    with bad_network(nodes, lambda: {"cookie": OLD}) as network:
        warm_up(*network.both)
        residue = Residue(network.both)
        session = session_between(*network.both)
        traffic = Traffic(*network.both)
        for cookies in ((OLD, NEW), (NEW, OLD), (NEW,)):
            for node in network.both:
                use(node, *cookies)
                assert network.reset() >= 1
                traffic.wait_for_more()
        traffic.finish()
        assert session_between(*network.both) is session and session.ended is None
        stranger = nodes.start("stranger", cookie=OLD)
        with pytest.raises(JoinError) as caught:
            stranger.join(network.here.listening[0])
        assert caught.value.reason == "cookie"
        stranger.stop()
        # What is left of it is not to be taken for what the others leave behind: a node has fourteen sets of timers.
        nodes.made.remove(stranger)
        del stranger, caught
        residue.check(slack=2)


def test_cookie_rotated_on_one_side_only(nodes: Nodes):
    with bad_network(nodes, lambda: {"cookie": OLD}, hurried=True) as network:
        warm_up(*network.both)
        with credentials_fail(network, "cookie", lambda: use(network.here, NEW)):
            use(network.other, NEW)
