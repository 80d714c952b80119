"""What the global names are told, and what they want done: the events and effects of `global_names`."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from partisan_actors.cluster.name_table import Holder
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired

__all__ = [
    "Broadcast",
    "Conflict",
    "Effect",
    "Event",
    "Failed",
    "Meet",
    "MemberDown",
    "MemberUp",
    "Message",
    "ProcessDown",
    "Refused",
    "Register",
    "Registered",
    "Send",
    "Unregister",
]


class Register(NamedTuple):
    """Event: a process of this node wants a name.

    `request_id` is used once. `stamp` is wall-clock nanoseconds: the age of the registration where two meet.
    """

    request_id: int
    name: str
    serial: int
    stamp: int


class Unregister(NamedTuple):
    """Event: free a name, whoever has it; with a `serial` only if that process of this node has it or waits for it."""

    name: str
    serial: int | None = None


class ProcessDown(NamedTuple):
    """Event: a process of this node that Register named has ended."""

    serial: int


class MemberUp(NamedTuple):
    """Event: this life is a reachable member."""

    node: str
    bits: int


class MemberDown(NamedTuple):
    """Event: it is not any more."""

    node: str
    bits: int


class Message(NamedTuple):
    """Event: the names of another node's life sent `payload`."""

    node: str
    bits: int
    payload: object


class Send(NamedTuple):
    """Effect: send `payload` to a member."""

    node: str
    payload: tuple[object, ...]


class Broadcast(NamedTuple):
    """Effect: send `payload` to every member. That others get it as well does no harm."""

    payload: tuple[object, ...]


class Meet(NamedTuple):
    """Effect: see that there is a session with that member. The one before has ended here, perhaps not for it."""

    node: str


class Registered(NamedTuple):
    """Effect: the answer to Register: the name is registered."""

    request_id: int


class Failed(NamedTuple):
    """Effect: the answer to Register: it is not.

    `reason` is "taken" (by `holder`, which else is None), "noproc" (the process ended), "unregistered" (meanwhile),
    "timeout", "badarg" (the name is empty or too long) or "system_limit".
    """

    request_id: int
    reason: str
    holder: Holder | None


class Conflict(NamedTuple):
    """Effect: a process of this node has lost a name that it had registered, to an older registration."""

    name: str
    serial: int
    winner: Holder


class Refused(NamedTuple):
    """Effect: something that `node` sent was not taken in."""

    node: str
    reason: str


Event: TypeAlias = Register | Unregister | ProcessDown | MemberUp | MemberDown | Message | TimerFired
Effect: TypeAlias = Send | Broadcast | Meet | Registered | Failed | Conflict | Refused | SetTimer | CancelTimer
