"""The transport door: what carries bytes between nodes, as the rest of the system sees it.

Above the door is `distribution`, which knows frames and sessions; below it are TCP and unix
sockets (`SocketTransport`) and an in-process one for tests (`MemoryTransport`). A transport
knows bytes only.

Every callback runs in the hub and must not wait. None is made from inside the call that
caused it: not `failed` or `connected` inside `dial`, not `closed` or `writable` inside `write`
or `close`. So a caller needs no guard against being re-entered. The one exception is the
other way round: inside `received` a receiver may write and close as it likes.
An exception from a callback is logged and ends that one connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = [
    "OTHER_USER",
    "TLS_FAILED",
    "TLS_REFUSED",
    "Connection",
    "Dial",
    "Listener",
    "Receiver",
    "Security",
    "Transport",
]

TLS_FAILED = "tls: "
"""What the reasons of a connection begin with that TLS ended, for what the peer did or showed."""

TLS_REFUSED = "tls, by the peer: "
"""And of one that the peer's TLS ended."""

OTHER_USER = "another user: "
"""And of a unix socket's that belongs to somebody with whom we do not talk."""


class Receiver(Protocol):
    """What a connection delivers to; implemented above the door."""

    def buffer(self) -> memoryview:
        """Say where the next bytes go. Never empty; the connection keeps it until `received` or `closed`."""

    def received(self, count: int) -> None:
        """Take `count` bytes that were put at the start of the last `buffer()`."""

    def writable(self) -> None:
        """`unsent` fell to 0 after having been above it."""

    def closed(self, reason: str) -> None:
        """Say that the connection is gone: once for each connection, and no other call follows.

        Args:
            reason: what was given to `close`, or "eof", "reset", "timeout", "unreachable: ...",
                "error: ...", "callback failed", and under TLS also "eof without close_notify", the
                first two "... in the TLS handshake", TLS_FAILED or TLS_REFUSED and a text, and on unix
                sockets OTHER_USER and a text.
        """


class Security(Protocol):
    """What is known of the peer otherwise than from what it says. Not before it has sent something."""

    @property
    def channel_binding(self) -> bytes:
        """The same on both ends of this connection, and different where somebody stands between them."""

    def objection(self, node: str) -> str | None:
        """Why the peer is not the node of this name; None where its certificate names it."""


class Connection(Protocol):
    """A stream of bytes both ways."""

    @property
    def security(self) -> Security | None:
        """What TLS knows of the peer; None without TLS."""

    @property
    def unsent(self) -> int:
        """Bytes that were accepted by `write` and not yet taken by the kernel. 0 once it is closed."""

    @property
    def peer_address(self) -> str:
        """Where the peer is: "127.0.0.1:4711", "unix:/path", or "unix:uid=0,pid=17" for one that dialled."""

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Send what the kernel takes at once and queue the rest; never waits. Does nothing after the end.

        Args:
            buffers: bytes, or memoryviews of single bytes. What is queued is not copied, so
                their contents must not change while `unsent` is above 0.
        """

    def close(self, reason: str, *, flush: bool = False) -> None:
        """End it; `closed(reason)` follows, and nothing else before it.

        Args:
            reason: passed on to `closed`.
            flush: first send what is queued and let the peer read it, for at most 1 s.
                Without it what is queued is dropped. A second `close` ends a flush at once.
        """


class Listener(Protocol):
    """An open door for peers."""

    turned_away: int
    """Peers that were closed at once, as there was no descriptor left for them."""

    @property
    def address(self) -> str:
        """The address really bound, "host:port" or "unix:/path"."""

    def close(self) -> None:
        """Accept nobody any more. Connections that were accepted stay."""


class Dial(Protocol):
    """An attempt to connect."""

    def cancel(self) -> None:
        """Give up. After this neither `connected` nor `failed` is called. Harmless when it is over."""


class Transport(Protocol):
    """Makes connections."""

    def listen(self, address: str, accepted: Callable[[Connection], Receiver | None]) -> Listener:
        """Accept peers at `address`.

        Args:
            address: "host:port" (port 0: any free one), "[v6]:port" or "unix:/path".
            accepted: called with each new connection; gives its receiver, or None to refuse it.

        Raises:
            ValueError: the address cannot be read.
            OSError: it cannot be bound; the text names it.
        """

    def dial(
        self,
        address: str,
        timeout: float,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
    ) -> Dial:
        """Connect to `address`. Exactly one of the two callbacks is called, later.

        Never raises for a bad address: addresses come from other nodes too.

        Args:
            address: as for `listen`; a host name is resolved without blocking.
            timeout: seconds in all, name resolution and every address of the name included.
            connected: called with the connection; gives its receiver.
            failed: called with "refused", "timeout" or "unreachable: " and the cause.
        """
