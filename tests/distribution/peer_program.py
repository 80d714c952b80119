"""A node in an OS process of its own, that sends back what it gets: `python -m tests.distribution.peer_program NAME`.

Prints its address. Takes from the command line: its name, its epoch, and addresses to connect to as NAME=ADDRESS.
"""

from __future__ import annotations

import sys

import gevent

from partisan_actors.distribution import Session
from partisan_actors.distribution.outgoing import Outgoing
from tests.distribution.nodes import Node


class Echo(Node):
    """Sends everything back."""

    def received(self, session: Session, body: memoryview | bytes, outgoing: Outgoing) -> None:
        outgoing.send(bytes(body))


def main() -> None:
    name, epoch, *others = sys.argv[1:]
    node = Echo(name, epoch=int(epoch), bits=int(epoch) * 1000 + len(name))
    print(node.address, flush=True)
    for other in others:
        other_name, _, address = other.partition("=")
        node.peers.connect(other_name, [address])
    while True:
        gevent.sleep(3600)


if __name__ == "__main__":
    main()
