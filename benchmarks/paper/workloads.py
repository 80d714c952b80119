"""The paper's three workloads with our processes. Actors ask from this node; who answers them lives on the other one.

- micro: a sender and a receiver of its own. The latency is from before the send to the arrival, as in the paper: the
  two OS processes share the machine's monotonic clock.
- echo: an actor and an echo process of its own, the value there and back.
- kvs: an actor starts a coordinator for each request; that asks three vnodes and is content with two answers, as the
  paper's N = 3 and W = R = 2. Every tenth request of an actor is a put. There are 10,000 keys, drawn from the normal
  distribution of the paper, and every key has a value from the beginning: else what a get carries would depend on how
  much a system had put by then. Of large values memory holds only some: the vnodes keep 256 MiB in all, in as many
  slots as that has room for, and the keys share the slots.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from partisan_actors import Pid, receive, self_pid, send, spawn, spawn_opt

__all__ = ["PREPARE", "Request", "Setting", "acknowledge", "echo", "key_of", "slots_of", "value_of", "vnode"]

VNODES = 3
QUORUM = 2
KEYS = 10_000
STORED = 256 << 20
"""Bytes of values in all vnodes together."""

Options = dict[str, Any]  # of `send`: the channel and the key
Request = Callable[[int], float]
"""The request of a number, to its end; gives its latency in seconds."""


class Setting(NamedTuple):
    """What the actors of a cell share."""

    other: str  # the other node
    size: int
    vnodes: tuple[Pid, ...]
    settled: list[int]  # how many coordinators have had all their answers


def value_of(number: int, size: int) -> bytes:
    """A value; those of different numbers differ."""
    return number.to_bytes(16, "big") * (size // 16)


def slots_of(size: int) -> int:
    """How many values of a size a vnode keeps."""
    return max(1, min(KEYS, STORED // VNODES // size))


def key_of(chance: random.Random) -> int:
    """A key. Some lie outside of the 10,000, as in the paper."""
    return int((chance.gauss(0, 1) + 1) * KEYS / 2)


# On the other node.


def acknowledge(options: Options) -> None:
    """Tell each sender how long its message took."""
    while True:
        sender, sent, _ = receive()
        send(sender, monotonic() - sent, **options)


def echo(options: Options) -> None:
    """Send each value back."""
    while True:
        sender, value = receive()
        send(sender, value, **options)


def vnode(owner: Pid, size: int) -> None:
    """Answer a get with the value, and a put by True; the owner is told when there is a value of every key."""
    slots = slots_of(size)
    store = {slot: value_of(slot, size) for slot in range(slots)}
    send(owner, "ready")
    while True:
        coordinator, key, value, options = receive()
        answer: Any = True
        if value is None:
            answer = store[key % slots]
        else:
            store[key % slots] = value
        send(coordinator, answer, **options)


# On this one: each prepares the requests of an actor, and names who is to be ended with it.


def _prepare_micro(setting: Setting, number: int, options: Options) -> tuple[Request, Pid | None]:
    own, value = self_pid(), value_of(number, setting.size)
    receiver = spawn_opt(acknowledge, (options,), node=setting.other)

    def request(_: int) -> float:
        send(receiver, (own, monotonic(), value), **options)
        return float(receive())

    return request, receiver


def _prepare_echo(setting: Setting, number: int, options: Options) -> tuple[Request, Pid | None]:
    own, value = self_pid(), value_of(number, setting.size)
    server = spawn_opt(echo, (options,), node=setting.other)

    def request(_: int) -> float:
        began = monotonic()
        send(server, (own, value), **options)
        receive()
        return monotonic() - began

    return request, server


def _prepare_kvs(setting: Setting, number: int, options: Options) -> tuple[Request, Pid | None]:
    own, value, chance = self_pid(), value_of(number, setting.size), random.Random(number)

    def request(count: int) -> float:
        began = monotonic()
        put = value if (count + number) % 10 == 0 else None
        spawn(_coordinate, own, setting, key_of(chance), put, options)
        receive()
        return monotonic() - began

    return request, None


def _coordinate(client: Pid, setting: Setting, key: int, value: bytes | None, options: Options) -> None:
    """One request to all vnodes; who lags behind is waited for, but not by the client."""
    question = (self_pid(), key, value, options)
    for pid in setting.vnodes:
        send(pid, question, **options)
    for _ in range(QUORUM):
        receive()
    send(client, "done")
    for _ in range(VNODES - QUORUM):
        receive()
    setting.settled[0] += 1


PREPARE: dict[str, Callable[[Setting, int, Options], tuple[Request, Pid | None]]] = {
    "micro": _prepare_micro,
    "echo": _prepare_echo,
    "kvs": _prepare_kvs,
}
"""By the name of a workload: gives the requests of an actor of a number."""
