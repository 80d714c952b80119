"""What a node counts, seen from outside."""

from __future__ import annotations

import json

from partisan_actors import CausalLabel, Channel, Remote, receive, send
from partisan_actors.behaviours import call
from tests.conditions import wait_until
from tests.integration.workers import Echo
from tests.nodes import Nodes, cut

CHANNELS = (Channel("bulk", parallelism=2), Channel("latest", monotonic=True))


def test_everything_is_counted_where_it_happens(nodes: Nodes):
    names = ("t1-telemetry@127.0.0.1", "t2-telemetry@127.0.0.1")
    here, there = nodes.cluster(*names, channels=CHANNELS, causal_labels=(CausalLabel("talk", names),))
    with here.attached():
        echo = there.run(Echo.start, name="echo")
        for number in range(20):
            assert call(echo, ("echo", bytes(100_000)), channel="bulk", partition_key=number) == bytes(100_000)
            send(echo, number, ack=True)
            send(echo, number, channel="latest", partition_key="k")
        send(Remote("echo", there.name), "caused", causal="talk")
        wait_until(lambda: here.telemetry()["peers"][there.name]["round_trip"] is not None)
        wait_until(lambda: here.telemetry()["acknowledged"]["open"] == 0)
        wait_until(lambda: there.telemetry()["causal"]["posted"]["delivered"] >= 1)

        wait_until(lambda: here.telemetry()["causal"]["posted"]["open"] == 0)
        told = here.telemetry()
        json.dumps(told)
        assert told["membership"] == {"members": 2, "ups": 1, "downs": 0}
        peer = told["peers"][there.name]
        assert peer["connected"] and peer["connections"] == 4
        assert peer["channels"]["bulk"]["streams"] == 2
        assert peer["channels"]["bulk"]["frames_sent"] >= 20
        assert peer["channels"]["bulk"]["unsent_bytes"] == peer["channels"]["bulk"]["in_pieces_bytes"] == 0
        assert there.telemetry()["acknowledged"]["delivered"] == 20
        assert told["counters"]["stream_connections"] == 3
        assert told["counters"]["bytes_sent"] > 2_000_000

        cut(here, there)
        wait_until(lambda: here.telemetry()["counters"]["connections_lost"] == 1)
        there.stop(timeout=0.5)
        wait_until(lambda: here.telemetry()["membership"] == {"members": 1, "ups": 1, "downs": 1})
        assert here.telemetry()["peers"] == {}
        assert list(here.telemetry()["counters"]["sessions_ended"].values()) == [1]
        json.dumps(here.telemetry())
        assert receive(timeout=0, default=None) is None


def test_undelivered_and_superseded_messages_are_counted(nodes: Nodes):
    here, there = nodes.cluster("here", "there", channels=CHANNELS)
    with here.attached():
        echo = there.run(Echo.start)
        for number in range(50):
            send(echo, number, channel="latest", partition_key="k")
        assert here.telemetry()["peers"][there.name]["channels"]["latest"]["superseded"] > 0
        send(Remote("nobody", there.name), 1, ack=True)
        wait_until(lambda: here.telemetry()["acknowledged"]["undelivered"] == 1)
