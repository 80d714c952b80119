"""Who runs next: the ready queue of one node, the workers that serve it, and waits.

A process borrows a worker greenlet for a *turn* (a bounded batch of messages). When it has
to wait in the middle of a turn it keeps that worker, and another carries on with the queue.

What is promised:

* While the queue is not empty a hub callback is pending (`_dispatch`). Whatever a turn does -
  block in a socket, be killed, die of a bug - the queue goes on at the hub's next round. A bug
  of the runtime ends the process whose turn it was, and the worker; both are logged.
* A greenlet that gives up control passes it straight to the next in the queue, without a
  round through the hub, but only until the slice ends. So the hub looks at I/O and timers
  every `SLICE` seconds at the latest. (Measured: 1.6 us for a wake-up through the hub, 0.35 us
  for a switch from greenlet to greenlet; a local call goes from 200,000/s to over 400,000/s.)
* A wait is a one-shot `Waiter`. It is dropped when the wait is over, however it ends, so a
  wake-up that comes too late finds nobody, rather than whatever that greenlet does next.
* Before control goes to the hub, `flush` is called if anything is `dirty`: what turns have
  written to other nodes leaves then, joined.

Who runs now is a fact of the current greenlet (its `partisan_process`), never a global.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from gevent import get_hub
from greenlet import GreenletExit, getcurrent, greenlet

from partisan_actors.processes.clock import Clock
from partisan_actors.processes.crash_report import crash_of, report_crash

if TYPE_CHECKING:
    from partisan_actors.processes.process import Process

__all__ = ["EXITED", "IDLE", "QUEUED", "RUNNING", "SLICE", "Scheduler", "Waiter", "Worker"]

SLICE = 0.0003
"""Seconds that turns may follow each other before the hub gets its round."""

IDLE_WORKERS = 256
"""Workers kept for the next turn; an idle one holds a stack of some 6 KB."""

# The life of a process as the scheduler sees it.
IDLE = 0
QUEUED = 1
RUNNING = 2
EXITED = 3


class Waiter:
    """One wait of one greenlet. `greenlet` is None once the wait is over."""

    __slots__ = ("fired", "for_message", "greenlet")

    def __init__(self, for_message: bool = False) -> None:
        self.greenlet: Any = getcurrent()
        self.fired = False
        self.for_message = for_message


class Worker(greenlet):  # type: ignore[misc]
    """A greenlet that runs one process's turn after another."""

    __slots__ = ("assigned", "partisan_process", "scheduler")

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(parent=scheduler.hub)
        self.scheduler = scheduler
        self.assigned: Process | None = None
        self.partisan_process: Process | None = None

    def run(self) -> None:
        """Serve turns until this worker is one too many, or something is thrown into it."""
        try:
            self._serve()
        except GreenletExit:
            self._retire(None)
        except BaseException as error:
            # A bug of the runtime, or an exception that user code left behind for this greenlet: a
            # `gevent.Timeout` that nobody closed fires in whatever its greenlet does by then.
            self._retire(error)

    def _serve(self) -> None:
        scheduler = self.scheduler
        while True:
            process, self.assigned = self.assigned, None
            if process is not None:
                self.partisan_process = process
                self.gr_context = process.context  # type: ignore[misc]
                process.greenlet = self
                process.run_turn()
                process.greenlet = None
                # A turn holds many objects alive through the frame; an idle worker must hold none.
                process = self.partisan_process = None
                self.gr_context = None  # type: ignore[misc]
            if not scheduler.next_for_worker(self):
                return

    def _retire(self, error: BaseException | None) -> None:
        """Tell what ended this worker, and end the process that ran on it: nobody else will."""
        process, self.partisan_process = self.partisan_process, None
        if process is not None:
            process.greenlet = None
            reason = crash_of(error if error is not None else GreenletExit())
            report_crash(process, reason)
            process.runtime.end(process, reason)
        elif error is not None:
            reason = crash_of(error)
            structlog.get_logger("partisan_actors").error(
                "worker_retired", reason=f"{reason.type}: {reason.message}", exception=reason.traceback.rstrip()
            )
        if isinstance(error, KeyboardInterrupt):
            self.scheduler.interrupt_main(error)


class Scheduler:
    """The ready queue of one node. Lives in one thread, on that thread's hub."""

    __slots__ = (
        "_abandoned",
        "_call_later",
        "_call_soon",
        "_closed",
        "_effort",
        "_idle",
        "dirty",
        "flush",
        "hub",
        "pending",
        "ready",
        "slice_end",
    )

    def __init__(self, clock: Clock) -> None:
        self.hub: Any = get_hub()
        self.ready: deque[Process | Waiter] = deque()
        self.slice_end = 0.0
        self.dirty: list[Any] = []
        self.flush: Callable[[], None] = _nothing_to_flush
        self._idle: list[Worker] = []
        self._abandoned: list[Any] = []
        self.pending = False
        self._closed = False
        self._call_soon = clock.call_soon
        self._call_later = clock.call_later
        self._effort = clock.effort

    def enqueue(self, item: Process | Waiter) -> None:
        """Let `item` run, or its wait end, after all that is in the queue now."""
        self.ready.append(item)
        if not self.pending:
            self.ask_for_dispatch()

    def ask_for_dispatch(self) -> None:
        """See to it that the queue is served at the hub's next round."""
        self.pending = True
        self._call_soon(self._dispatch)

    def wake(self, waiter: Waiter) -> None:
        """End the wait of `waiter`; a second wake-up of the same wait does nothing."""
        if not waiter.fired:
            waiter.fired = True
            self.ready.append(waiter)
            if not self.pending:
                self.ask_for_dispatch()

    def stop(self) -> None:
        """Run no turn any more, and end no wait; what is queued later is dropped."""
        self.ready.clear()
        self.ready = deque(maxlen=0)
        self.slice_end = 0.0

    def close(self) -> None:
        """Keep no worker that has nothing to do. What still unwinds may go on to its end."""
        # A parked greenlet's frame is invisible to the collector: it would keep the whole node alive, for ever.
        self._closed = True
        self._call_soon(self._end_idle_workers)

    def _end_idle_workers(self) -> None:
        """In the hub, which is the workers' parent: an end passes control to it."""
        idle, self._idle = self._idle, []
        for worker in idle:
            if not worker.dead and worker.partisan_process is None and worker.assigned is None:
                worker.throw(GreenletExit)

    def interrupt_main(self, error: KeyboardInterrupt) -> None:
        """Ctrl-C is the program's, not that of the process that happened to run: raise it in the main greenlet."""
        self._call_soon(self.hub.handle_system_error, KeyboardInterrupt, error)

    def park(self) -> None:
        """Give up control until something switches back to this greenlet.

        The caller has left a `Waiter` where it will be found, and checks afterwards what it
        was woken for: a wait may end for no reason, or by an exception thrown in.
        """
        # hot path: passing control on directly is worth 1.2 us a wake-up, see above.
        ready = self.ready
        while ready and self._effort() < self.slice_end:
            item = ready.popleft()
            if type(item) is Waiter:
                target = item.greenlet
                if target is None:
                    continue
                if target is getcurrent():
                    return
                target.switch()
                return
            if item.status == QUEUED:  # type: ignore[union-attr]
                self._worker_for(item).switch()  # type: ignore[arg-type]
                return
        if self.dirty:
            self._write_out()
        self.hub.switch()

    def abandon(self) -> None:
        """Leave the current greenlet, for good, where it is: its process has ended and its stack will not."""
        # Kept: a greenlet that nobody refers to is unwound by the interpreter, and this one refuses that too.
        self._abandoned.append(getcurrent())
        while True:
            self.park()

    def next_for_worker(self, worker: Worker) -> bool:
        """Find the next turn for `worker`, or leave it idle until there is one; False ends it."""
        ready = self.ready
        one_too_many = self._closed or len(self._idle) >= IDLE_WORKERS
        while ready and self._effort() < self.slice_end:
            item = ready.popleft()
            if type(item) is Waiter:
                target = item.greenlet
                if target is None:
                    continue
                if one_too_many:
                    # Its end passes control to the hub, which is in the middle of `_dispatch`.
                    ready.appendleft(item)
                    return False
                self._idle.append(worker)
                target.switch()
                return True
            if item.status == QUEUED:  # type: ignore[union-attr]
                worker.assigned = item  # type: ignore[assignment]
                return True
        if self.dirty:
            self._write_out()
        if one_too_many:
            return False
        self._idle.append(worker)
        self.hub.switch()
        return True

    def _worker_for(self, process: Process) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            # User code can kill, or switch to, any greenlet it can reach. One that was switched to
            # while it was idle stands here twice, and may be busy by now.
            if not worker.dead and worker.partisan_process is None and worker.assigned is None:
                worker.assigned = process
                return worker
        worker = Worker(self)
        worker.assigned = process
        return worker

    def _dispatch(self) -> None:
        """Run the queue for a slice; in the hub. `pending` stays set meanwhile: it is this very callback."""
        ready = self.ready
        effort = self._effort
        self.slice_end = slice_end = effort() + SLICE
        try:
            while ready:
                item = ready.popleft()
                if type(item) is Waiter:
                    if item.greenlet is not None:
                        item.greenlet.switch()
                elif item.status == QUEUED:  # type: ignore[union-attr]
                    self._worker_for(item).switch()  # type: ignore[arg-type]
                if effort() >= slice_end:
                    break
            if self.dirty:
                self._write_out()
        finally:
            self.slice_end = 0.0
            if ready:
                # By a timer that is due: gevent runs a hundred callbacks before it looks at sockets again,
                # and a slice each is 30 ms. (Measured: a socket's round trip beside full load took 60 ms.)
                self._call_later(0.0, self._dispatch)
            else:
                self.pending = False

    def _write_out(self) -> None:
        try:
            self.flush()
        except Exception as error:
            # Whoever happens to give up control here has nothing to do with it.
            reason = crash_of(error)
            structlog.get_logger("partisan_actors").error(
                "flush_failed", reason=f"{reason.type}: {reason.message}", exception=reason.traceback.rstrip()
            )


def _nothing_to_flush() -> None:
    """A node without a network has nothing to write."""
