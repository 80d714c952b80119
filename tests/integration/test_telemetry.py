"""What a node counts, seen from outside."""

from __future__ import annotations

import errno
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from partisan_actors import CausalLabel, Channel, Node, Remote, monitor, receive, send, sleep
from partisan_actors.behaviours import call, send_request
from partisan_actors.broadcast import BroadcastHandler, broadcast, register_handler
from partisan_actors.distribution.log_file import DiskLogError
from partisan_actors.topologies import Static
from partisan_actors.transport import listeners
from partisan_actors.transport.sockets import accept_descriptor
from partisan_actors.wire import signals
from partisan_actors.wire.signals import encode_signal
from tests.conditions import wait_until
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, cut, session_between

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
        assert told["membership"] == {"members": 2, "joins": 1, "leaves": 0, "ups": 1, "downs": 0}
        peer = told["peers"][there.name]
        assert peer["connected"] and peer["connections"] == 4
        assert peer["channels"]["bulk"]["streams"] == 2
        assert peer["channels"]["bulk"]["frames_sent"] >= 20
        assert peer["channels"]["bulk"]["unsent_bytes"] == peer["channels"]["bulk"]["in_pieces_bytes"] == 0
        assert there.telemetry()["acknowledged"]["delivered"] == 20
        assert here.telemetry()["acknowledged"]["taken"] == 20
        assert there.telemetry()["acknowledged"]["delivered_bytes"] == 20  # of one byte each
        assert told["counters"]["stream_connections"] == 3
        assert told["counters"]["channels_up"] == {"bulk": 2, "latest": 1}
        assert told["counters"]["channels_down"] == {}
        assert told["counters"]["bytes_sent"] > 2_000_000

        cut(here, there)
        wait_until(lambda: here.telemetry()["counters"]["connections_lost"] == 1)
        there.stop(timeout=0.5)
        wait_until(lambda: here.telemetry()["membership"]["downs"] == 1)
        assert here.telemetry()["membership"]["members"] == 1
        assert here.telemetry()["peers"] == {}
        assert here.telemetry()["counters"]["channels_down"] == here.telemetry()["counters"]["channels_up"]
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


def counters_of(told: Any, path: str = "") -> dict[str, int]:
    """Every number that may only go up, by its path in what was told."""
    if isinstance(told, int):
        return {path: told}
    return {name: number for key, value in told.items() for name, number in counters_of(value, f"{path}.{key}").items()}


class News(BroadcastHandler):
    def handle(self, message: Any) -> None:
        pass


def test_what_goes_over_an_overlay_is_counted(nodes: Nodes):
    here, between, there = [nodes.start(topology=Static()) for _ in range(3)]
    assert between.address is not None
    here.join(between.address)
    there.join(between.address)
    wait_until(lambda: all(len(node.members()) == 3 for node in (here, between, there)))
    with here.attached():
        echo = there.run(Echo.start, name="echo")
        there.run(register_handler, News)
        assert call(echo, ("echo", 1), 20.0) == 1
        broadcast("news", News)
        wait_until(lambda: there.telemetry()["broadcast"]["delivered"] == 1)
        told = {node: node.telemetry() for node in (here, between, there)}
        json.dumps(told[here])
        assert told[here]["routing"]["sent"] > 0 and told[here]["routing"]["dropped"] == {}
        assert told[between]["routing"]["relayed"] > 0 and told[between]["routing"]["relayed_bytes"] > 0
        assert told[there]["routing"]["arrived"] > 0 and told[there]["routing"]["routes"] > 0
        assert told[here]["conduits"]["dialled"] + told[there]["conduits"]["dialled"] >= 1
        assert told[here]["conduits"]["taken"] + told[there]["conduits"]["taken"] >= 1
        counted = ("open", "dialled", "taken", "refused", "repeated", "bad", "unknown")
        assert told[between]["conduits"] == dict.fromkeys(counted, 0)
        assert told[here]["opening"]["opened"] + told[there]["opening"]["opened"] >= 1
        assert told[here]["opening"]["operations"] == told[here]["opening"]["overflowed"] == 0
        assert told[here]["broadcast"]["handlers"].keys() == {f"{News.__module__}:News"}

        assert told[between]["overlay"] == {"refused": {}, "records_refused": {}}
        for kind in (signals.OVERLAY, signals.MEMBERSHIP):
            payload = cluster_of(here).codec.encode("no")
            session_between(here, between).system.send(encode_signal(kind, payload=payload))
        wait_until(lambda: between.telemetry()["overlay"]["refused"] == {"malformed": 1})
        wait_until(lambda: sum(between.telemetry()["overlay"]["records_refused"].values()) == 1)


def test_what_waits_for_a_session_is_told(nodes: Nodes):
    here = nodes.start("here")
    opening = cluster_of(here).remote.opening
    opening.is_member = lambda node, bits: True
    asked: list[str] = []
    opening.open = asked.append
    with here.attached():
        send(Remote("nobody", "nowhere@127.0.0.1"), bytes(1000))
        told = here.telemetry()["opening"]
        assert (asked, told["opened"], told["nodes"], told["operations"]) == (["nowhere@127.0.0.1"], 1, 1, 1)
        assert told["bytes"] > 1000 and told["processes"] == 0
        opening.decided("nowhere@127.0.0.1")
        told = here.telemetry()["opening"]
        assert told == {**dict.fromkeys(told, 0), "opened": 1}


def test_no_counter_of_conduits_falls_when_one_ends(nodes: Nodes):
    here, between, there = [nodes.start(topology=Static()) for _ in range(3)]
    assert between.address is not None
    here.join(between.address)
    there.join(between.address)
    wait_until(lambda: all(len(node.members()) == 3 for node in (here, between, there)))
    with here.attached():
        assert call(there.run(Echo.start), ("echo", 1), 20.0) == 1
    conduits = cluster_of(here).routes.conduits
    (connection,) = conduits._conduits.values()
    connection.machine.repeated += 2
    connection.machine.bad += 1
    there.stop(timeout=0.5)
    wait_until(lambda: here.telemetry()["conduits"]["open"] == 0)
    told = here.telemetry()["conduits"]
    assert told["repeated"] >= 2 and told["bad"] == 1


NOW = {"members", "outboxes", "remembered", "open", "open_bytes", "links", "monitors", "requests", "full_mailboxes"}
"""What is no counter: how things are now."""


def counted(node: Node) -> dict[str, int]:
    told = node.telemetry()
    parts = {part: told[part] for part in ("membership", "ties", "counters", "acknowledged", "undecodable")}
    last = {name: number for name, number in counters_of(parts).items() if name.rpartition(".")[2] not in NOW}
    return {name: number for name, number in last.items() if not name.startswith(".ties.own_")}


def test_no_counter_falls_when_a_session_ends(nodes: Nodes):
    here, there = nodes.cluster("here", "there", channels=CHANNELS)
    post = cluster_of(here).remote.acknowledging
    post._boxes.parameters = replace(post._boxes.parameters, resend_after=0.05, resend_cap=0.05)
    there.hooks.add("slow", receive=lambda message, about: sleep(0.2) if message == "x" else None)
    cluster_of(here).remote.ties()[0].credit.ignored += 1
    with here.attached():
        echo = there.run(Echo.start)
        send(echo, "x", ack=True)
        for number in range(50):
            send(echo, number, channel="latest", partition_key="k")
        wait_until(lambda: here.telemetry()["acknowledged"]["resent"] > 0)
        wait_until(lambda: here.telemetry()["acknowledged"]["open"] == 0)
        before = counted(here)
        there.stop(timeout=0.5)
        wait_until(lambda: not here.telemetry()["peers"])
    after = counted(here)
    assert here.telemetry()["acknowledged"]["outboxes"] == 0
    assert {name: (number, after[name]) for name, number in before.items() if after[name] < number} == {}
    for name in (".acknowledged.resent", ".acknowledged.resent_bytes", ".counters.superseded", ".acknowledged.taken"):
        assert before[name] > 0, name
    assert before[".ties.full_mailboxes_ignored"] == 1
    assert (before[".membership.leaves"], after[".membership.leaves"], after[".membership.joins"]) == (0, 1, 1)


def test_own_monitors_and_requests_that_wait_are_told(nodes: Nodes):
    here, there = nodes.cluster("here", "there")
    with here.attached():
        echo = there.run(Echo.start)
        monitor(echo)
        requests = [send_request(echo, "keep") for _ in range(2)]
        wait_until(lambda: there.telemetry()["ties"]["requests"] == 2)
        told = here.telemetry()["ties"]
        assert (told["own_monitors"], told["own_requests"]) == (1, 2)
        assert (told["monitors"], told["requests"]) == (0, 0)
        for request in requests:
            request.abandon()
        assert here.telemetry()["ties"]["own_requests"] == 0


def test_commits_of_the_disk_log_are_counted_and_those_that_failed(nodes: Nodes, tmp_path: Path):
    here = nodes.start("here", outbox=str(tmp_path / "here.outbox"))
    assert here.telemetry()["acknowledged"]["log_commits"] == 0
    with here.attached():
        send(Remote("nobody", "nowhere@127.0.0.1"), 1, ack=True)
        told = here.telemetry()["acknowledged"]
        assert (told["log_commits"], told["log_commits_failed"]) == (1, 0)
        log = cluster_of(here).remote.acknowledging._log
        assert log is not None
        full = patch.object(log._file, "commit", side_effect=DiskLogError("no space"))
        with full, capture_logs(), pytest.raises(DiskLogError, match="no space"):
            send(Remote("nobody", "nowhere@127.0.0.1"), 2, ack=True)
        told = here.telemetry()["acknowledged"]
        assert (told["log_commits"], told["log_commits_failed"]) == (2, 1)


def test_connections_without_a_descriptor_are_counted(nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    here = nodes.start("here")
    failures = [OSError(errno.EMFILE, "Too many open files")]

    def accept(listening: socket.socket) -> int:
        if failures:
            raise failures.pop()
        return accept_descriptor(listening)

    monkeypatch.setattr(listeners, "accept_descriptor", accept)
    host, _, port = (here.address or "").rpartition(":")
    with capture_logs(), socket.create_connection((host, int(port))):
        wait_until(lambda: here.telemetry()["counters"]["turned_away"] == 1)
