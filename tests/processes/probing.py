"""What the tests of this folder share: looking at processes, and waiting for what they do."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import gevent
from gevent.event import Event

from partisan_actors.errors import ProcessExit
from partisan_actors.processes.crash_report import crash_of
from partisan_actors.processes.identity import Pid, Ref
from partisan_actors.processes.messages import Down
from partisan_actors.processes.primitives import receive, spawn_monitor
from partisan_actors.processes.process import NOT_EXITING, Process
from partisan_actors.processes.runtime import Runtime, current_process
from partisan_actors.processes.scheduler import IDLE, QUEUED, RUNNING
from tests.conditions import wait_until

__all__ = [
    "ForeignWait",
    "ManualClock",
    "TurnProcess",
    "alive",
    "down_reason",
    "end_of",
    "messages",
    "process_of",
    "settle",
    "until_waiting",
]


def process_of(pid: Pid) -> Process:
    """The live process that `pid` names."""
    process = current_process().runtime.process(pid)
    assert process is not None, f"{pid} is dead"
    return process


def alive(pid: Pid) -> bool:
    return current_process().runtime.is_alive(pid)


def until_waiting(*pids: Pid) -> None:
    """Wait until each of the processes is in a wait of the runtime."""
    for pid in pids:
        process = process_of(pid)

        def waits(process: Process = process) -> bool:
            return process.waiter is not None

        wait_until(waits, what=f"{process} waits")


def down_reason(ref: Ref, timeout: float = 5.0) -> Any:
    """Wait for the end that `ref` monitors; its reason."""
    return receive(lambda message: type(message) is Down and message.ref == ref, timeout=timeout).reason


def end_of(function: Callable[..., Any], *args: Any) -> Any:
    """Run `function` in a process of its own; the reason with which that ends."""
    return down_reason(spawn_monitor(function, *args)[1])


def messages() -> list[Any]:
    """Everything that is in the mailbox of the test, taken out."""
    mailbox = current_process().mailbox or ()
    taken = list(mailbox)
    current_process().mailbox = None
    return taken


def settle(rounds: int = 5) -> None:
    """Let the hub make some rounds: everything that is due now has run afterwards."""
    hub = gevent.get_hub()
    for _ in range(rounds):
        # By a timer that is due: a sleep of 0 comes back before the hub has looked at timers and sockets.
        hub.wait(hub.loop.timer(0))


class ForeignWait:
    """A gevent wait that the runtime knows nothing of; a process calls it, the test looks at it."""

    def __init__(self) -> None:
        self.entered = 0
        self.outcome: Any = None
        self._event = Event()

    def __call__(self) -> None:
        self.entered += 1
        try:
            self.outcome = self._event.wait(10.0)
        except BaseException as error:
            self.outcome = error
            raise

    def until_entered(self) -> None:
        wait_until(lambda: self.entered, what="the process is in the foreign wait")

    def finish(self) -> None:
        self._event.set()


class TurnProcess(Process):
    """Borrows a greenlet for each batch of messages, as a behaviour's process does, and calls `handle` for each."""

    __slots__ = ("handle",)

    def __init__(self, runtime: Runtime, handle: Callable[[Any], Any]) -> None:
        super().__init__(runtime, None, copy_context())
        self.handle = handle

    def describe(self) -> str:
        return "turns"

    def run_turn(self) -> None:
        self.status = RUNNING
        self.reductions += 1
        try:
            while self.mailbox and self.exiting is NOT_EXITING:
                self.handle(self.mailbox.popleft())
                if self.runtime.clock.now() >= self.scheduler.slice_end:
                    break
        except ProcessExit as exit_:
            self.runtime.end(self, exit_.reason if self.exiting is NOT_EXITING else self.exiting)
        except BaseException as error:
            self.runtime.end(self, crash_of(error) if self.exiting is NOT_EXITING else self.exiting)
        if self.exiting is not NOT_EXITING:
            self.runtime.end(self, self.exiting)
        if self.status != RUNNING:
            return
        self.status = IDLE
        if self.mailbox:
            self.status = QUEUED
            self.scheduler.enqueue(self)


class ManualClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, start: float = 1000.0) -> None:
        self.random = random.Random(1)
        self.time = start
        self._timers: list[Any] = []
        self._made = 0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def effort(self) -> float:
        return self.time

    def lateness(self) -> float:
        return 0.0

    def entropy(self, count: int) -> bytes:
        return self.random.randbytes(count)

    def call_soon(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.call_later(0.0, function, *args)

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Any:
        self._made += 1
        timer = _ManualTimer()
        heapq.heappush(self._timers, (self.time + max(seconds, 0.0), self._made, timer, function, args))
        return timer

    def advance(self, seconds: float) -> None:
        """Go on, timer by timer."""
        end = self.time + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer, function, args = heapq.heappop(self._timers)
            self.time = max(due, self.time)
            if not timer.cancelled:
                function(*args)
        self.time = end

    def leap(self, seconds: float) -> None:
        """As a machine does that was asleep: the time has passed before anything runs."""
        self.time += seconds
        self.advance(0.0)

    @property
    def pending(self) -> int:
        return sum(not timer.cancelled for _, _, timer, _, _ in self._timers)


class _ManualTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
