"""Pykka, which runs an actor on a thread of its own. It has no remoting."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pykka

from benchmarks.local import CASTS, HOPS
from benchmarks.measuring import Scale, rate, resident, time_of

__all__ = ["BENCHES", "measure"]

ACTORS = 1_000


class Echo(pykka.ThreadingActor):
    """Answers with what it is asked, and counts what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.handled = 0

    def on_receive(self, message: Any) -> Any:
        if message == "count":
            self.handled += 1
            return None
        return self.handled if message == "handled" else message


class Member(pykka.ThreadingActor):
    """Passes a token on."""

    def __init__(self, done: threading.Event) -> None:
        super().__init__()
        self.done = done
        self.following: Any = None

    def on_receive(self, message: Any) -> None:
        if not isinstance(message, int):
            self.following = message
        elif message:
            self.following.tell(message - 1)
        else:
            self.done.set()


def _call(scale: Scale) -> float:
    actor = Echo.start()

    def run(count: int) -> None:
        for _ in range(count):
            actor.ask(1)

    return rate(run, scale, batch=500)


def _cast(scale: Scale) -> float:
    actor = Echo.start()
    count = scale.count(CASTS) // 3

    def run() -> None:
        for _ in range(count):
            actor.tell("count")
        if actor.ask("handled") != count:
            raise RuntimeError("messages were lost")

    return count / time_of(run)


def _start_stop(scale: Scale) -> float:
    def run(count: int) -> None:
        for _ in range(count):
            Echo.start().stop()

    return rate(run, scale, batch=100)


def _idle_memory(scale: Scale) -> float:
    Echo.start()
    gc.collect()
    before = resident()
    count = scale.count(ACTORS)
    for _ in range(count):
        Echo.start().ask(1)  # so that its thread has its stack
    gc.collect()
    return (resident() - before) / count


def _ring(size: int, scale: Scale) -> float:
    done = threading.Event()
    members = [Member.start(done) for _ in range(scale.count(size))]
    for member, following in zip(members, members[1:] + members[:1], strict=True):
        member.tell(following)

    def run(hops: int) -> None:
        done.clear()
        members[0].tell(hops)
        done.wait()

    run(len(members))
    hops = scale.count(HOPS) // 4
    seconds = time_of(partial(run, hops))
    for member in members:
        member.stop(block=False)
    return hops / seconds


BENCHES: dict[str, Callable[[Scale], float]] = {
    "call": _call,
    "cast": _cast,
    "start_stop": _start_stop,
    "idle_memory": _idle_memory,
    "ring_100": partial(_ring, 100),
    "ring_10000": partial(_ring, 10_000),
}


def measure(names: list[str], scale: Scale) -> dict[str, float]:
    """Measure these, one after the other, and stop all actors."""
    try:
        return {name: BENCHES[name](scale) for name in names}
    finally:
        pykka.ActorRegistry.stop_all(block=False)
