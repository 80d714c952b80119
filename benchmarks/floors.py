"""What gevent does with nothing on top, in one OS process: queues and greenlets."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial

import gevent
from gevent.event import Event
from gevent.queue import Queue

from benchmarks.local import CASTS, HOPS
from benchmarks.measuring import Scale, rate, resident, time_of

__all__ = ["BENCHES", "measure"]

GREENLETS = 20_000


def _call(scale: Scale) -> float:
    requests: Queue[int] = Queue()
    replies: Queue[int] = Queue()

    def serve() -> None:
        while True:
            replies.put(requests.get())

    def run(count: int) -> None:
        for _ in range(count):
            requests.put(1)
            replies.get()

    server = gevent.spawn(serve)
    result = rate(run, scale, batch=1000)
    server.kill()
    return result


def _cast(scale: Scale) -> float:
    queue: Queue[int] = Queue()
    count = scale.count(CASTS)

    def handle() -> None:
        for _ in range(count):
            queue.get()

    handler = gevent.spawn(handle)
    gevent.sleep(0)  # so that it waits

    def run() -> None:
        for _ in range(count):
            queue.put(1)
        handler.join()

    return count / time_of(run)


def _nothing() -> None:
    pass


def _spawn_one(scale: Scale) -> float:
    def run(count: int) -> None:
        for _ in range(count):
            gevent.spawn(_nothing).join()

    return rate(run, scale, batch=500)


def _spawn(scale: Scale) -> float:
    def run(count: int) -> None:
        for _ in range(count - 1):
            gevent.spawn(_nothing)
        gevent.spawn(_nothing).join()

    return rate(run, scale, batch=1000)


def _idle_memory(scale: Scale) -> float:
    gc.collect()
    before = resident()
    greenlets = [gevent.spawn(Queue().get) for _ in range(scale.count(GREENLETS))]
    gevent.sleep(0)
    gc.collect()
    each = (resident() - before) / len(greenlets)
    gevent.killall(greenlets)
    return each


def _ring(size: int, scale: Scale) -> float:
    queues: list[Queue[int]] = [Queue() for _ in range(scale.count(size))]
    done = Event()

    def pass_on(own: Queue[int], following: Queue[int]) -> None:
        while True:
            left = own.get()
            if left:
                following.put(left - 1)
            else:
                done.set()

    def run(hops: int) -> None:
        done.clear()
        queues[0].put(hops)
        done.wait()

    members = [gevent.spawn(pass_on, *pair) for pair in zip(queues, queues[1:] + queues[:1], strict=True)]
    run(len(members))
    hops = scale.count(HOPS)
    seconds = time_of(partial(run, hops))
    gevent.killall(members)
    return hops / seconds


BENCHES: dict[str, Callable[[Scale], float]] = {
    "call": _call,
    "cast": _cast,
    "start_stop": _spawn_one,
    "start_end": _spawn_one,
    "spawn": _spawn,
    "idle_memory": _idle_memory,
    "ring_100": partial(_ring, 100),
    "ring_10000": partial(_ring, 10_000),
}


def measure(names: list[str], scale: Scale) -> dict[str, float]:
    """Measure these, one after the other."""
    return {name: BENCHES[name](scale) for name in names}
