"""What runs virtual time in gevent's hub, in place of sockets and timers.

Promised: an event of virtual time runs only when the hub has no callback left to run, so all that one event brings is
over before the next. Where the program waits, time goes on; where it computes, time stands still. What waits for the
real world while a driver is in place raises NotSimulated where the wait begins: gevent's sleep, timeouts, sockets,
native threads and signals. (`time.sleep` is not seen: it stops everything, and time stands still.)

An error in an event is raised in the greenlet that the driver was made in: here nothing is only logged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from gevent import sleep as gevent_sleep
from greenlet import getcurrent

from partisan_actors.errors import NotSimulated
from partisan_actors.testing.virtual_time import VirtualTime

__all__ = ["Driver"]


class Driver:
    """Runs `time` whenever the current greenlet, and everybody else of this thread, waits.

    Args:
        time: where the events are.
        limit: virtual seconds after which a program that still waits is told so, by a TimeoutError.
    """

    def __init__(self, time: VirtualTime, limit: float) -> None:
        self.time = time
        self._limit = limit
        self._hub: Any = get_hub()
        self._program = getcurrent()
        self._until: float | None = None
        self._still = 0  # events since time went on last
        self._closed = False
        if getattr(self._hub, _MARK, None) is not None:
            raise RuntimeError("there is a simulation in this thread already: leave its `with` first")
        gevent_sleep(0)  # the hub runs, and has done what was asked of it before
        self._loop = self._hub.loop
        setattr(self._hub, _MARK, self)
        self._hub.loop = _SimulatedLoop(self._loop)
        self._loop.run_callback(self._pump)

    def close(self) -> None:
        """Give the hub its own loop back."""
        self._closed = True
        self._hub.loop = self._loop
        setattr(self._hub, _MARK, None)
        gevent_sleep(0)  # the pump comes to its end

    def run(self, seconds: float) -> None:
        """Let so many seconds pass; what is due at the very end happens."""
        self._wait(self.time.now + seconds)

    def run_until(self, condition: Callable[[], Any], limit: float, every: float) -> float:
        """See `VirtualTime.run_until`."""
        time = self.time
        start = time.now
        end = start + limit
        # In the program's own greenlet, where a condition may wait: for what a process says, perhaps.
        while not condition():
            if time.now >= end:
                name = getattr(condition, "__qualname__", None) or repr(condition)
                raise TimeoutError(f"not within {limit} s of virtual time: {name}")
            due = time.events[0][0] if time.events else end
            self._wait(min(max(time.now + every, due), end))
        return time.now - start

    def _wait(self, until: float) -> None:
        if getcurrent() is not self._program:
            raise RuntimeError("only the greenlet that made the simulation lets its time pass; a process sleeps")
        self._until = until
        try:
            while self._until is not None:
                self._hub.switch()
        finally:
            self._until = None

    def _pump(self) -> None:
        """In the hub; always either on its stack or the last in its queue of callbacks."""
        loop, time = self._loop, self.time
        while not self._closed:
            if loop._callbacks:
                loop.run_callback(self._pump)
                return
            try:
                go_on = self._step(time)
            except BaseException as error:
                self._program.throw(error)
                continue
            if not go_on:
                self._until = None
                self._program.switch()  # and back, when it waits again

    def _step(self, time: VirtualTime) -> bool:
        """Let the next event happen, unless the program's wait is over."""
        due = time.events[0][0] if time.events else math.inf
        if self._until is None:
            if due == math.inf:
                raise TimeoutError("everybody waits, and nothing is left to happen")
            if due > self._limit:
                raise TimeoutError(f"still waiting after {self._limit} s of virtual time")
        elif due > self._until:
            time.now = self._until
            return False
        before = time.now
        time.step()
        self._still = self._still + 1 if time.now == before else 0
        if self._still > _MOST_AT_ONCE:
            raise RuntimeError(f"{_MOST_AT_ONCE} events in a row at the same moment: somebody goes round in circles")
        return True


_MOST_AT_ONCE = 1_000_000
_MARK = "partisan_actors_simulation"


class _SimulatedLoop:
    """The hub's loop without what waits for the real world."""

    def __init__(self, loop: Any) -> None:
        object.__setattr__(self, "_real", loop)

    def __getattr__(self, name: str) -> Any:
        if name in _REAL_WAITS:
            raise NotSimulated(_REAL_WAITS[name])
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


def _waits_for(what: str, instead: str) -> str:
    return f"{what} waits for the real world, and this is a simulation: {instead}"


_TIMER = _waits_for(
    "a timer of gevent (its sleep, Timeout, or a timeout argument)", "use partisan_actors.sleep or receive"
)
_SOCKET = _waits_for("a socket", "let processes send each other messages")
_THREAD = _waits_for(
    "a native thread (of run_blocking, an outbox on disk, a name's look-up)", "call the function itself"
)
_REAL_WAITS = {
    "timer": _TIMER,
    "io": _SOCKET,
    "async_": _THREAD,
    "async": _THREAD,
    "fork": _THREAD,  # what a thread pool asks for first
    "child": _waits_for("a child process", "leave it out"),
    "stat": _waits_for("a watcher of files", "leave it out"),
    "signal": _waits_for("a watcher of signals", "leave it out"),
}
