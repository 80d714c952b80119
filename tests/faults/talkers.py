"""The processes that talk to each other while something is wrong; they run on both nodes, which may be programs.

Each sends numbers to a `Sink` on the other node until it is told "stop", and tells its owner how many: in `Sent`,
`Called`, `Watched` or `Spawned`.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from partisan_actors import (
    ActorError,
    Down,
    Exit,
    Pid,
    Ref,
    Undelivered,
    link,
    message,
    monitor,
    receive,
    self_pid,
    send,
    send_exit,
    spawn_opt,
    trap_exits,
)
from partisan_actors.behaviours import GenServer, call, cast
from tests.integration.workers import end_with

__all__ = ["TALKERS", "Called", "Sent", "Sink", "Spawned", "Watched", "bystander"]

BULK = "bulk"
PACKED = "packed"
CALL_TIMEOUT = 12.0
DONE = ("shutdown", "done")  # an end that is no crash


@message
@dataclass(frozen=True)
class Sent:
    """So many were sent in a flow, and these of them were told as undelivered: number and reason."""

    flow: str
    count: int
    undelivered: dict[int, str] = field(default_factory=dict)


@message
@dataclass(frozen=True)
class Called:
    """So many calls began; so many were answered rightly; how the others ended."""

    flow: str
    begun: int
    answered: int
    failed: list[str]


@message
@dataclass(frozen=True)
class Watched:
    """All that a monitor and a link of one process told: the kind and the reason."""

    flow: str
    told: list[tuple[str, Any]]


@message
@dataclass(frozen=True)
class Spawned:
    """So many processes were started with link and monitor; how often each told of its end, and why."""

    flow: str
    started: int
    downs: list[int]
    exits: list[int]
    reasons: list[Any]


class Sink(GenServer):
    """Keeps, flow by flow, the numbers that came in the order in which they came."""

    def init(self) -> None:
        self.flows: dict[str, list[int]] = {}
        self.odd = 0  # what was not sent like that

    def handle_call(self, request: Any, caller: Any) -> Any:
        match request:
            case ("echo", value):
                return value
            case "flows":
                return self.flows
            case "odd":
                return self.odd
            case "count":
                return sum(map(len, self.flows.values()))

    def handle_cast(self, request: Any) -> None:
        match request:
            case (str(flow), int(number), int(check), bytes(data)) if zlib.crc32(data) == check:
                self.flows.setdefault(flow, []).append(number)
            case _:
                self.odd += 1

    def handle_info(self, message: Any) -> None:
        self.handle_cast(message)


def bystander() -> None:
    """Somebody to watch, who does nothing."""
    receive(lambda message: False)


def until_told(pace: float) -> bool:
    """Whether to go on."""
    return receive(lambda message: message == "stop", timeout=pace, default=None) is None


def item(flow: str, number: int, data: bytes = b"") -> tuple[str, int, int, bytes]:
    return flow, number, zlib.crc32(data), data


def caster(flow: str, sink: Pid, owner: Pid) -> None:
    """Casts, and messages in between."""
    number = 0
    while until_told(0.01):
        (send if number % 2 else cast)(sink, item(flow, number))
        number += 1
    send(owner, Sent(flow, number))


def orderly(flow: str, sink: Pid, owner: Pid) -> None:
    """Casts on a channel with several connections, some large enough to matter."""
    number = 0
    while until_told(0.01):
        (send if number % 3 else cast)(sink, item(flow, number, bytes(number % 7 * 300)), channel=BULK)
        number += 1
    send(owner, Sent(flow, number))


def packer(flow: str, sink: Pid, owner: Pid) -> None:
    """Text, on a channel that is compressed; one in fifty is large."""
    number = 0
    while until_told(0.02):
        text = f"number {number} of a text that repeats itself; ".encode() * (4000 if number % 50 == 20 else 20)
        send(sink, item(flow, number, text), channel=PACKED)
        number += 1
    send(owner, Sent(flow, number))


def key_talker(flow: str, sink: Pid, owner: Pid) -> None:
    """Two senders of one key, in turn: this one of large messages, which others may pass, the other of small ones."""
    trap_exits()
    other = spawn_opt(key_partner, (flow, sink, self_pid()), link=True)
    number = 0
    while until_told(0.05):
        send(sink, item(flow, number, bytes(100_000)), channel=BULK, partition_key=flow)
        send(other, ("your turn", number + 1))  # type: ignore[arg-type]
        receive(lambda message: message == "my turn")
        number += 2
    send_exit(other, "kill")  # type: ignore[arg-type]
    receive(Exit)
    send(owner, Sent(flow, number))


def key_partner(flow: str, sink: Pid, talker: Pid) -> None:
    while True:
        _, number = receive(tuple)
        send(sink, item(flow, number), channel=BULK, partition_key=flow)
        send(talker, "my turn")


def carrier(flow: str, sink: Pid, owner: Pid, channel: str | None) -> None:
    """Messages of 1 to 3 MiB: they travel in pieces."""
    chance = random.Random(flow)
    number = 0
    while until_told(0.2):
        send(sink, item(flow, number, chance.randbytes(chance.randrange(1 << 20, 3 << 20))), channel=channel)
        number += 1
    send(owner, Sent(flow, number))


def poster(flow: str, sink: Any, owner: Pid, channel: str | None) -> None:
    """Acknowledged messages."""
    refs: dict[Ref, int] = {}
    while until_told(0.01):
        number = len(refs)
        # Two in a hundred are large.
        data = bytes(200_000) if number % 50 == 20 else b""
        refs[send(sink, item(flow, number, data), ack=True, channel=channel)] = number  # type: ignore[index]
    send(owner, Sent(flow, len(refs)))
    receive(lambda message: message == "report")
    undelivered: dict[int, str] = {}
    while (told := receive(Undelivered, timeout=0, default=None)) is not None:
        assert refs[told.ref] not in undelivered
        undelivered[refs[told.ref]] = told.reason
    send(owner, Sent(flow, len(refs), undelivered))


def caller(flow: str, sink: Any, owner: Pid, channel: str | None) -> None:
    """Calls, one after the other; one at least, also where it is told to stop before it has had its first turn."""
    begun = answered = 0
    failed: list[str] = []
    while begun == 0 or until_told(0.005):
        begun += 1
        try:
            answered += call(sink, ("echo", begun), CALL_TIMEOUT, channel=channel) == begun
        except ActorError as error:
            failed.append(type(error).__name__)
    send(owner, Called(flow, begun, answered, failed))


def watcher(flow: str, target: Pid, owner: Pid) -> None:
    """A link and a monitor."""
    trap_exits()
    ref = monitor(target)
    link(target)
    told: list[tuple[str, Any]] = []
    while True:
        match receive():
            case "stop":
                break
            case Down(r, item, reason):
                told.append(("Down" if (r, item) == (ref, target) else "Down of another", reason))
            case Exit(pid, reason):
                told.append(("Exit" if pid == target else "Exit of another", reason))
            case other:
                told.append(("odd", repr(other)))
    send(owner, Watched(flow, told))


def spawner(flow: str, sink: Pid, owner: Pid) -> None:
    """Processes on the other node that end at once, linked and monitored."""
    trap_exits()
    refs: dict[Ref, Pid] = {}
    downs: Counter[Pid] = Counter()
    exits: Counter[Pid] = Counter()
    reasons: list[Any] = []

    def take(told: Any) -> None:
        if isinstance(told, Down):
            downs[refs[told.ref]] += 1
        else:
            exits[told.sender] += 1
        if told.reason not in reasons:
            reasons.append(told.reason)

    while until_told(0.02):
        try:
            pid, ref = spawn_opt(end_with, (DONE,), node=sink.node, link=True, monitor=True)
            refs[ref] = pid
        except ActorError:
            pass  # the node is down
        while (told := receive((Down, Exit), timeout=0, default=None)) is not None:
            take(told)
    while len(downs) < len(refs) or len(exits.keys() & downs.keys()) < len(refs):
        take(receive((Down, Exit)))
    while (told := receive((Down, Exit), timeout=0.05, default=None)) is not None:
        take(told)
    # A start that failed with its connection may have begun there: its link tells of one that we have not met.
    exits = Counter({pid: count for pid, count in exits.items() if pid in downs})
    send(owner, Spawned(flow, len(refs), list(downs.values()), list(exits.values()), reasons))


TALKERS: dict[str, tuple[Callable[..., None], tuple[Any, ...]]] = {
    "casts": (caster, ()),
    **{f"ordered {number}": (orderly, ()) for number in range(8)},
    "packed": (packer, ()),
    "of one key": (key_talker, ()),
    "large": (carrier, (None,)),
    "large on bulk": (carrier, (BULK,)),
    "acknowledged": (poster, (None,)),
    "acknowledged on bulk": (poster, (BULK,)),
    "calls": (caller, (None,)),
    "calls on bulk": (caller, (BULK,)),
    "spawns": (spawner, ()),
}
"""What talks to a sink: function and its arguments after flow, sink and owner."""
