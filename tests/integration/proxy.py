"""A bad network: a TCP proxy on loopback that cuts, holds and refuses connections."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import gevent
from gevent import socket as gevent_socket
from gevent.event import Event

__all__ = ["Proxy"]

_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset, and throw away what is unsent


class Proxy:
    """Stands before a node that advertises its address.

    `target` is where it connects to; `budget` gives, for each connection, the bytes after which it is cut, both
    directions counted together, or None for no limit.
    """

    def __init__(self, target: str | None = None, budget: Callable[[], int | None] = lambda: None) -> None:
        self.target = target
        self.budget = budget
        self.cuts = 0
        self._open = Event()  # set while bytes get through
        self._open.set()
        self._listening = gevent_socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(128)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._greenlets: set[Any] = set()
        self._sockets: set[Any] = set()
        self._acceptor = gevent.spawn(self._accept)

    def hold(self) -> None:
        """Let nothing through any more, and say nothing: a cable that is out."""
        self._open.clear()

    def release(self) -> None:
        """Let everything through again, what was held too."""
        self._open.set()

    def cut_all(self) -> int:
        """Reset all connections; how many there were."""
        sockets = list(self._sockets)
        for sock in sockets:
            self._abort(sock)
        return len(sockets) // 2

    def close(self) -> None:
        """End."""
        self._acceptor.kill()
        self._listening.close()
        gevent.killall(list(self._greenlets))
        for sock in list(self._sockets):
            self._abort(sock)

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            self._sockets.add(client)
            self._start(self._serve, client)

    def _start(self, function: Callable[..., None], *args: Any) -> None:
        greenlet = gevent.spawn(function, *args)
        self._greenlets.add(greenlet)
        greenlet.rawlink(self._greenlets.discard)

    def _connect_for(self, client: Any) -> Any:
        """A connection to the target; None, and both given up, where there is none to be had."""
        assert self.target is not None
        host, _, port = self.target.rpartition(":")
        server = gevent_socket.socket()
        self._sockets.add(server)
        try:
            server.connect((host, int(port)))
        except OSError:
            self._abort(client)
            self._abort(server)
            return None
        return server

    def _serve(self, client: Any) -> None:
        self._open.wait()
        server = self._connect_for(client)
        if server is None:
            return
        left = [self.budget()]
        self._start(self._pass_on, client, server, left)
        self._start(self._pass_on, server, client, left)

    def _pass_on(self, source: Any, sink: Any, left: list[int | None]) -> None:
        try:
            while data := source.recv(65536):
                self._open.wait()
                if left[0] is not None:
                    data, left[0] = data[: left[0]], max(left[0] - len(data), 0)
                sink.sendall(data)
                if left[0] == 0:
                    self.cuts += 1
                    break
            else:
                sink.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        self._abort(source)
        self._abort(sink)

    def _abort(self, sock: Any) -> None:
        self._sockets.discard(sock)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        except OSError:
            pass
        sock.close()
