"""No file descriptors left, and a thousand strangers at once."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent import socket as gevent_socket

from tests.conditions import wait_until
from tests.faults.test_peers import start_pair, wait_until_quiet
from tests.faults.traffic import CHANNELS, Residue, Traffic, warm_up
from tests.integration.programs import NodeProgram, Programs
from tests.nodes import Nodes, cluster_of, session_between

CROWDING = "tests.faults.crowding"
ATTEMPTS = 1000
OPENINGS = (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"PA", b"\xff" * 5000)


def reset_all(node: Any) -> int:
    """Break all connections that a node of this OS process has."""
    links = list(cluster_of(node).peers._links)
    for link in links:
        connection: Any = link.connection
        connection._socket.shutdown(socket.SHUT_RDWR)
    return len(links)


def test_file_descriptors_used_up(nodes: Nodes, programs: Programs):
    here, there = start_pair(nodes, programs)
    with here.attached():
        warm_up(here, there)
        residue, of_program = Residue([here]), {"descriptors": there.ask("descriptors")}
        session = session_between(here, there)  # type: ignore[arg-type]
        traffic = Traffic(here, there)
        traffic.wait_for_more()
        assert there.ask("run", f"{CROWDING}:use_up") > 10
        # It can make no new connection, and what it has serves on.
        traffic.wait_for_more(1000)
        # Those that break leave just as many as they had.
        assert reset_all(here) >= 5
        traffic.wait_for_more()
        # And then there is not even room for one that is on its way in.
        third = nodes.start("third", channels=CHANNELS)
        attempt = gevent.spawn(third.join, there.address, 8.0)
        traffic.wait_for_more()
        wait_until(lambda: "accept_failed" in there.log(), what="it had no descriptor for the third")
        there.ask("run", f"{CROWDING}:let_go")
        gevent.joinall([attempt])
        wait_until(lambda: join_again(third, there), 10, what="the third has joined")
        third.stop()
        traffic.finish()
        assert session_between(here, there) is session and session.ended is None  # type: ignore[arg-type]
        residue.check(slack=2)
        wait_until_quiet(there, of_program)


def join_again(node: Any, there: NodeProgram) -> bool:
    if there.name not in node.members():
        node.join(there.address, 5.0)
    return there.name in node.members()


@contextmanager
def strangers(address: str, hosts: list[str]) -> Iterator[list[Any]]:
    """A thousand connections at once, of which each says something else, or nothing."""
    host, _, port = address.rpartition(":")
    sockets: list[Any] = []

    def knock(number: int) -> None:
        sock = gevent_socket.socket()
        sockets.append(sock)
        try:
            sock.bind((hosts[number % len(hosts)], 0))
            sock.connect((host, int(port)))
            sock.sendall(OPENINGS[number % len(OPENINGS)])
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.EPIPE):
                raise

    try:
        attempts = [gevent.spawn(knock, number) for number in range(ATTEMPTS)]
        gevent.joinall(attempts, raise_error=True)
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def test_1000_connection_attempts_at_once(nodes: Nodes, programs: Programs):
    here, there = start_pair(nodes, programs)
    with here.attached():
        warm_up(here, there)
        residue, of_program = Residue([here]), {"descriptors": there.ask("descriptors")}
        session = session_between(here, there)  # type: ignore[arg-type]
        traffic = Traffic(here, there)
        traffic.wait_for_more()
        # Of other addresses than ours: 16 of each are heard, and 256 in all.
        with strangers(there.address, [f"127.0.0.{number}" for number in range(2, 42)]):
            told = there.ask("telemetry")
            assert told["connections"]["unproven"] <= 256
            traffic.wait_for_more()
            wait_until(lambda: sum(there.ask("telemetry")["counters"]["refusals"].values()) >= ATTEMPTS // 2)
        wait_until(lambda: there.ask("telemetry")["connections"]["unproven"] == 0, 10)
        third = nodes.start("third", channels=CHANNELS)
        third.join(there.address)
        third.stop()
        traffic.finish()
        assert session_between(here, there) is session and session.ended is None  # type: ignore[arg-type]
        residue.check(slack=2)
        wait_until_quiet(there, of_program)
