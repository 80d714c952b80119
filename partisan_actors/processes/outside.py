"""For code that is no process: waiting on a greenlet of one's own, calls from a native thread, subscribers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from gevent.monkey import get_original

from partisan_actors.errors import NotAProcess, ProcessExit
from partisan_actors.processes.messages import NodeDown, NodeUp
from partisan_actors.processes.plain import FunctionProcess
from partisan_actors.processes.primitives import receive, send
from partisan_actors.processes.process import NOT_EXITING, Process, is_reason
from partisan_actors.processes.runtime import Runtime
from partisan_actors.processes.scheduler import Waiter

__all__ = ["Outcome", "call_from_thread", "send_for_threads", "start_run", "start_subscriber", "wait_for"]

T = TypeVar("T")


class Outcome:
    """Something that will be known later; one greenlet may wait for it."""

    __slots__ = ("_process", "_runtime", "_waiter", "done", "error", "value")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiter: Waiter | None = None
        self._process: Process | None = None
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def set(self, value: Any = None, error: BaseException | None = None) -> None:
        """It is known now; the first time counts."""
        if self.done:
            return
        self.done = True
        self.value = value
        self.error = error
        if self._waiter is not None:
            self._runtime.scheduler.wake(self._waiter)
        if self._process is not None:
            self._process.wake()

    def wait_in(self, process: Process | None, timeout: float | None = None) -> bool:
        """Wait as `wait` does; in a process, exit signals end the wait."""
        if process is None:
            return self.wait(timeout)
        clock = self._runtime.clock
        deadline = None if timeout is None else clock.now() + timeout
        self._process = process
        try:
            while not self.done and (deadline is None or clock.now() < deadline):
                process.wait(deadline)
        finally:
            self._process = None
        return self.done

    def wait(self, timeout: float | None = None) -> bool:
        """Wait on the current greenlet, a process or not, at most `timeout` seconds; whether it is known."""
        if not self.done:
            wait_for(self._runtime, lambda: self.done, timeout, self._wait_with)
        return self.done

    def _wait_with(self, waiter: Waiter | None) -> None:
        self._waiter = waiter

    def get(self) -> Any:
        """Its value; raises its error."""
        if self.error is not None:
            raise self.error
        return self.value


def wait_for(
    runtime: Runtime, done: Callable[[], bool], timeout: float | None, hand_out: Callable[[Waiter | None], None]
) -> None:
    """Park the current greenlet until `done`, or for `timeout` seconds; `hand_out` gets what is to be woken."""
    clock = runtime.clock
    deadline = None if timeout is None else clock.now() + timeout
    while not done() and (deadline is None or clock.now() < deadline):
        waiter = Waiter()
        hand_out(waiter)
        timer = None if deadline is None else clock.call_later(deadline - clock.now(), runtime.scheduler.wake, waiter)
        try:
            runtime.scheduler.park()
        finally:
            waiter.greenlet = None
            hand_out(None)
            if timer is not None:
                timer.cancel()


def call_from_thread(
    loop: Any, alive: Callable[[], bool], function: Callable[[Callable[[Any, BaseException | None], None]], None]
) -> Any:
    """From a native thread: let `function(finish)` run in the hub of the node, and wait until it calls `finish`.

    Uses the locks of the threading module as it was before any patching: this really is another
    thread. Raises NotAProcess if the node stops first.
    """
    lock = get_original("_thread", "allocate_lock")()
    lock.acquire()
    outcome: list[Any] = [None, None]

    def finish(value: Any, error: BaseException | None = None) -> None:
        outcome[:] = [value, error]
        lock.release()

    loop.run_callback_threadsafe(function, finish)
    # A hub that is gone runs no callback: look now and then whether it still can.
    while not lock.acquire(timeout=1.0):
        if not alive():
            raise NotAProcess("the node stopped while a native thread waited for it")
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


class _RunWatch:
    """Waits for the end of a process that `run` started."""

    def __init__(self, process: FunctionProcess, finish: Callable[[Any, BaseException | None], None]) -> None:
        self._process = process
        self._finish = finish

    def down(self, reason: Any) -> None:
        """Hand over its value, its error, or its exit."""
        process = self._process
        if process.error is not None:
            self._finish(None, process.error)
        elif process.exiting is NOT_EXITING and is_reason(reason, "normal"):
            self._finish(process.value, None)
        else:
            self._finish(None, ProcessExit(reason))


def start_run(
    runtime: Runtime,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    finish: Callable[[Any, BaseException | None], None],
) -> FunctionProcess:
    """Start a process that runs `function`; its value, its error or its exit is given to `finish`."""
    process = runtime.spawn(function, args, kwargs)
    process.keep_error = True
    process.add_watch(_RunWatch(process, finish))
    return process


def send_for_threads() -> None:
    """The body of the process that sends what native threads hand over: messages `(dest, message)`."""
    while True:
        dest, message = receive()
        try:
            send(dest, message)
        except Exception:
            structlog.get_logger("partisan_actors").exception("send_from_thread_failed", dest=repr(dest))


def start_subscriber(
    runtime: Runtime, callback: Callable[[NodeUp | NodeDown], Any], parent: Process | None = None
) -> Process:
    """Start a process that calls `callback(event)` for each NodeUp and NodeDown from now on."""
    process = runtime.spawn(_tell_subscriber, (callback,), {}, parent=parent)
    runtime.node_watchers[process] = None  # not by itself: until it runs for the first time, a node may go
    return process


def _tell_subscriber(callback: Callable[[NodeUp | NodeDown], Any]) -> None:
    while True:
        event = receive((NodeUp, NodeDown))
        try:
            callback(event)
        except Exception:
            structlog.get_logger("partisan_actors").exception("subscriber_failed", callback=repr(callback))
