"""What carries bytes between nodes: the door, sockets behind it, and an in-process stand-in for tests."""

from partisan_actors.transport.addresses import (
    TcpAddress,
    UnixAddress,
    choose_advertised,
    format_address,
    is_wildcard,
    parse_address,
)
from partisan_actors.transport.memory import MemoryConnection, MemoryTransport
from partisan_actors.transport.ports import (
    OTHER_USER,
    TLS_FAILED,
    TLS_REFUSED,
    Connection,
    Dial,
    Listener,
    Receiver,
    Security,
    Transport,
)
from partisan_actors.transport.socket_transport import SocketTransport
from partisan_actors.transport.tls import TLS, problem_with

__all__ = [
    "OTHER_USER",
    "TLS",
    "TLS_FAILED",
    "TLS_REFUSED",
    "Connection",
    "Dial",
    "Listener",
    "MemoryConnection",
    "MemoryTransport",
    "Receiver",
    "Security",
    "SocketTransport",
    "TcpAddress",
    "Transport",
    "UnixAddress",
    "choose_advertised",
    "format_address",
    "is_wildcard",
    "parse_address",
    "problem_with",
]
