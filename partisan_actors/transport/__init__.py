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
from partisan_actors.transport.ports import Connection, Dial, Listener, Receiver, Transport
from partisan_actors.transport.socket_transport import SocketTransport

__all__ = [
    "Connection",
    "Dial",
    "Listener",
    "MemoryConnection",
    "MemoryTransport",
    "Receiver",
    "SocketTransport",
    "TcpAddress",
    "Transport",
    "UnixAddress",
    "choose_advertised",
    "format_address",
    "is_wildcard",
    "parse_address",
]
