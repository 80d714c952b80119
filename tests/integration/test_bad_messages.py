"""What a peer that has proved itself sends, and should not: it costs that message, or its connection, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from partisan_actors import CallError, Crash, Down, Exit, Node, Pid, message, monitor, receive, self_pid, trap_exits
from partisan_actors.behaviours import call, send_request, wait_response
from partisan_actors.behaviours import sys as server_sys
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec, Limits
from partisan_actors.wire.message_types import MessageTypes, register_message_class
from partisan_actors.wire.signals import encode_signal
from tests.conditions import wait_until
from tests.integration.workers import Echo, wait_for_ever
from tests.nodes import Nodes, cluster_of, connected, session_between


@message
@dataclass
class Known:
    """A class that both know."""

    value: int = 0


def of_an_unknown_class() -> bytes:
    """A message of a class that only its sender has."""

    @dataclass
    class Unknown:
        value: int = 1

    elsewhere = MessageTypes()
    register_message_class(Unknown, elsewhere) if False else elsewhere.add_message_class(Unknown)  # type: ignore[attr-defined]
    return Codec(registry=elsewhere).encode(("of", Unknown()))


UNDECODABLE = {
    "10,000 nested arrays": b"\x91" * 10_000 + b"\xc0",
    "truncated": Codec().encode(["a long enough text", 1, 2])[:-3],
    "trailing bytes": Codec().encode(1) + b"\x00",
    "an unknown extension type": b"\xd4\x7b\x00",
    "a length that is not there": b"\xdd\xff\xff\xff\xff",
    "not msgpack": b"\xc1",
    "nothing": b"",
}
