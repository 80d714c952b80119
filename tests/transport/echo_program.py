"""An echo within one program, for test_programs: `python -m tests.transport.echo_program plain|patched PATH`."""

import sys

from gevent import monkey

if __name__ == "__main__" and sys.argv[1] == "patched":
    monkey.patch_all()

import socket
from typing import Any

from gevent import get_hub

from tests.transport.peers import Network, active_watchers, open_descriptors


def main(path: str) -> None:
    get_hub().threadpool.apply(int)
    original = monkey.get_original("socket", "socket")
    assert (socket.socket is original) == (sys.argv[1] == "plain")
    descriptors, watchers = open_descriptors(), active_watchers()
    for kind in ("tcp", "tls", "unix"):
        network = Network(kind, path)
        near, far = network.pair()
        for end in (near, far):
            connection: Any = end.connection
            if kind == "tls":
                assert type(connection._credentials.client) is monkey.get_original("ssl", "SSLContext")
                connection = connection._inner
            assert type(connection._socket) is original
        near.connection.write([bytes(8 * 1024 * 1024)])
        near.connection.write([b"!"])
        far.expect(bytes(8 * 1024 * 1024) + b"!")
        listener = network.listen(network.record)
        network.dial(listener.address.replace("127.0.0.1", "localhost"))
        network.close()
    assert (open_descriptors(), active_watchers()) == (descriptors, watchers)
    print(type(get_hub().loop).__module__)


if __name__ == "__main__":
    main(sys.argv[2])
