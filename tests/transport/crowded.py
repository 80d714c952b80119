"""A server that may open few descriptors, for test_listeners: `python -m tests.transport.crowded some|none`.

With "some" about fifty peers fit; with "none" it cannot open any at all until it is told "more".
Prints its address, then an answer for each line that it is sent.
"""

from __future__ import annotations

import resource
import socket
import sys
from unittest import mock

import gevent
from gevent.fileobject import FileObject
from structlog.testing import capture_logs

from partisan_actors.processes.clock import GeventClock
from partisan_actors.transport import Connection, SocketTransport, listeners
from partisan_actors.transport.sockets import accept_descriptor
from tests.transport.peers import Recorder


def main(limit: str) -> None:
    questions = FileObject(sys.stdin.fileno(), "r", close=False)
    ends: list[Recorder] = []
    attempts = 0

    def counted(listening: socket.socket) -> int:
        nonlocal attempts
        attempts += 1
        return accept_descriptor(listening)

    def welcome(connection: Connection) -> Recorder:
        end = Recorder(connection)
        end.on_received = lambda end, count: end.connection.write([bytes(end.data[-count:])])
        end.on_closed = ends.remove
        ends.append(end)
        connection.write([b"hello"])
        return end

    listener = SocketTransport(GeventClock()).listen("127.0.0.1:0", welcome)
    gevent.sleep(0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64 if limit == "some" else 3, hard))
    print(listener.address, flush=True)
    with capture_logs() as logs, mock.patch.object(listeners, "accept_descriptor", counted):
        for line in questions:
            answers = {"connections": len(ends), "attempts": attempts, "log lines": len(logs), "more": 0}
            if line.strip() == "end":
                break
            if line.strip() == "more":
                resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
            print(answers[line.strip()], flush=True)
    listener.close()
    for end in list(ends):
        end.connection.close("the test is over")
    while ends:
        gevent.sleep(0.001)


if __name__ == "__main__":
    main(sys.argv[1])
