"""Connections that break in the middle of a frame, that carry only one direction, and readers that are slow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from partisan_actors import Node, NodeDown, NodeUp, monitor_nodes, receive
from tests.certificates import Authority
from tests.conditions import wait_until
from tests.faults.network import RESET, bad_network
from tests.faults.traffic import CHANNELS, Residue, Traffic, warm_up
from tests.nodes import Nodes, session_between


def options_of(security: str, authority: Authority) -> Callable[[], dict[str, Any]]:
    return (lambda: {"tls": authority.tls("127.0.0.1")}) if security == "tls" else dict


@pytest.mark.parametrize("security", ["plain", "tls"])
def test_connection_reset_in_mid_frame(nodes: Nodes, authority: Authority, security: str):
    with bad_network(nodes, options_of(security, authority)) as network:
        warm_up(*network.both)
        residue = Residue(network.both)
        session = session_between(*network.both)
        chance = random.Random(security)

        def cut_somewhere(data: bytes) -> Iterable[Any]:
            if len(data) > 20_000 and chance.random() < 0.02:  # of a large message: frames are 64 KiB
                return (data[: chance.randrange(1, len(data))], RESET)
            return (data,)

        traffic = Traffic(*network.both)
        network.change(cut_somewhere)
        wait_until(lambda: network.cuts >= 12, 20, what="12 resets")
        network.change()
        traffic.finish()
        assert session_between(*network.both) is session and session.ended is None
        network.wait_until_connected()
        residue.check()


@pytest.mark.parametrize("which", ["there", "back"])
def test_one_direction_cut_for_a_moment(nodes: Nodes, which: str):
    with bad_network(nodes) as network:
        warm_up(*network.both)
        residue = Residue(network.both)
        session = session_between(*network.both)
        traffic = Traffic(*network.both)
        traffic.wait_for_more()
        held = getattr(network, which)
        held.hold()
        came = traffic.progress()
        sent = frames_sent(*network.both)
        if which == "there":
            traffic.wait_for_more()  # the other direction goes on
        else:
            wait_until(lambda: frames_sent(*network.both) > sent + 100)
            assert traffic.progress() <= came + 300  # what the proxy had passed on already
        held.release()
        traffic.finish()
        assert session_between(*network.both) is session and session.ended is None
        residue.check()


def test_one_direction_cut_for_long(nodes: Nodes):
    """Each of the two finds the other one down, though one of them hears all that the other says."""
    with bad_network(nodes, hurried=True) as network:
        warm_up(*network.both)
        residue = Residue(network.both)
        monitor_nodes()
        traffic = Traffic(*network.both)
        traffic.wait_for_more()
        network.back.hold()
        assert receive((NodeUp, NodeDown), timeout=10) == NodeDown(network.other.name, "silent")
        wait_until(lambda: network.other.members() == [network.other.name], 12, what="down on both sides")
        network.back.release()
        assert receive((NodeUp, NodeDown), timeout=10) == NodeUp(network.other.name)
        network.wait_until_connected()
        traffic.finish(down=True)
        assert receive((NodeUp, NodeDown), timeout=0, default=None) is None
        monitor_nodes(False)
        residue.check()


def fullest(one: Node, other: Node) -> int:
    """How many bytes wait on the stream with the most."""
    streams = [stream.sending for stream in session_between(one, other).machine.streams]
    return max(stream.unsent + stream.unacknowledged for stream in streams)


def frames_sent(one: Node, other: Node) -> int:
    """On the channel with several connections."""
    count: int = one.telemetry()["peers"][other.name]["channels"]["bulk"]["frames_sent"]
    return count


def test_slow_reader(nodes: Nodes):
    """What waits for one that reads slowly is bounded, and all of it arrives."""
    high = 1 << 20
    channels = [replace(channel, high_watermark=high, low_watermark=high // 2) for channel in CHANNELS]
    with bad_network(nodes, lambda: {"channels": channels}) as network:
        warm_up(*network.both)
        residue = Residue(network.both)
        traffic = Traffic(*network.both)
        network.there.change = lambda data: (0.02, data)
        most = 0

        def watch() -> bool:
            nonlocal most
            most = max(most, fullest(*network.both))
            return most > high and network.back.passed_bytes > 3 << 20

        wait_until(watch, 10, what="more than there is room for")
        network.there.change = lambda data: (data,)
        traffic.finish()
        # Above the mark by the messages that made it full, one of each who sends there.
        assert most < high + (7 << 20), most
        residue.check()
