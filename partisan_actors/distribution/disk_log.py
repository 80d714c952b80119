"""The disk log of an outbox, as the node's thread sees it: appends that are committed in groups on a native thread.

Promised: nothing here waits for the disk but `open` and `close`, and these suspend only the greenlet that calls them;
all that was appended in one turn of the hub, and while the commit before ran, is committed together; `committed` is
called in the hub once for each group, in order, with the error when it could not be written. What was forgotten goes
along with the next group, or after `FORGET_AFTER` seconds.

sqlite3 holds its caller up for as long as the disk takes, monkey-patched or not, so every call of it is made on the
native thread. One call at a time: a log file is no thread's own.

Not known here: what is in a message, outboxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import structlog
from gevent.event import Event
from gevent.threadpool import ThreadPool

from partisan_actors.distribution.log_batches import Batch, BatchLimits, LogBatches, LogRecord
from partisan_actors.distribution.log_file import DiskLogError, LogContents, LogFile
from partisan_actors.processes.clock import Clock, Timer

__all__ = ["DiskLog", "NativeThread", "Thread"]

T = TypeVar("T")

FORGET_AFTER = 1.0
FORGET_AT_ONCE = 4096
"""So many numbers to forget do not wait."""
RETRY_AFTER = 5.0
"""After a failure; only what is to be forgotten is tried again."""

_log = structlog.get_logger("partisan_actors")


class Thread(Protocol):
    """Where blocking calls are made. One at a time is asked for."""

    def start(self, function: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run it there, then call `done` in the hub with its value or its error. Does not wait."""

    def close(self) -> None:
        """Nothing more comes."""


class NativeThread:
    """A native thread for this alone: in the pool of the hub, other code that blocks for long would hold it up."""

    def __init__(self) -> None:
        self._pool = ThreadPool(1)

    def start(self, function: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run it there."""
        result = self._pool.spawn(_outcome_of, function)
        result.rawlink(lambda ready: done(*ready.get()))

    def close(self) -> None:
        """End the thread."""
        self._pool.kill()


def _outcome_of(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """On the native thread; gevent's pool would print an error."""
    try:
        return function(), None
    except BaseException as error:
        return None, error


def _wait_for(thread: Thread, function: Callable[[], T]) -> T:
    """Run it there and wait for it, in the calling greenlet."""
    ready = Event()
    outcome: list[tuple[T | None, BaseException | None]] = []

    def done(value: T | None, error: BaseException | None) -> None:
        outcome.append((value, error))
        ready.set()

    thread.start(function, done)
    ready.wait()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


class DiskLog:
    """An open log. Made by `open`."""

    def __init__(
        self,
        file: LogFile,
        clock: Clock,
        thread: Thread,
        committed: Callable[[Batch, DiskLogError | None], None],
        limits: BatchLimits | None = None,
    ) -> None:
        self.failed = 0  # commits that could not be written
        self.commits = 0
        self._file = file
        self._clock = clock
        self._thread = thread
        self._committed = committed
        self._batches = LogBatches(limits)
        self._soon = False  # a start is due in this turn of the hub
        self._timer: Timer | None = None
        self._rested: Event | None = None  # set when nothing waits any more, once `close` asks for it
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str,
        clock: Clock,
        committed: Callable[[Batch, DiskLogError | None], None],
        thread: Thread | None = None,
    ) -> tuple[DiskLog, LogContents]:
        """Open the log at `path`, or make one; waits.

        Args:
            path: of the file, on a disk of this machine.
            clock: draws the identity of a new one.
            committed: called in the hub with each batch, and the error when it could not be written.
            thread: for the blocking calls; a `NativeThread` by default.

        Raises:
            LogInUse, LogDamaged, DiskLogError: see `LogFile.open`.
        """
        thread = thread if thread is not None else NativeThread()
        identity = clock.random.getrandbits(64)
        try:
            file, contents = _wait_for(thread, lambda: LogFile.open(path, identity))
        except BaseException:
            thread.close()
            raise
        return cls(file, clock, thread, committed), contents

    @property
    def waiting(self) -> int:
        """Messages that wait for a commit, those of the one under way not counted."""
        return self._batches.records

    def append(self, record: LogRecord) -> None:
        """Log a message: `committed` tells when it is safe. Raises DiskLogError when the log is closed."""
        if self._closed:
            raise DiskLogError(f"the disk log {self._file.path} is closed")
        self._batches.append(record)
        self._start_soon()

    def forget(self, node: str, numbers: Sequence[int]) -> None:
        """Take messages out, some time soon. If it comes to nothing, they are sent again after a restart."""
        if self._closed:
            return
        self._batches.forget(node, numbers)
        if self._batches.forgotten >= FORGET_AT_ONCE:
            self._start_soon()
        elif self._timer is None:
            self._timer = self._clock.call_later(FORGET_AFTER, self._timer_fired)

    def close(self) -> None:
        """Commit what waits, and close the file; waits."""
        if self._closed:
            return
        self._closed = True
        self._cancel_timer()
        self._rested = Event()
        self._start()
        self._rested.wait()
        _wait_for(self._thread, self._file.close)
        self._thread.close()

    def _start_soon(self) -> None:
        if not self._soon and not self._batches.busy:
            self._soon = True
            self._clock.call_soon(self._start)

    def _timer_fired(self) -> None:
        self._timer = None
        self._start()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _start(self) -> None:
        self._soon = False
        batch = self._batches.take()
        if batch is not None:
            self._thread.start(lambda: self._file.commit(batch), lambda _, error: self._done(batch, error))
        elif self._rested is not None and not self._batches.busy:
            self._rested.set()

    def _done(self, batch: Batch, error: BaseException | None) -> None:
        self.commits += 1
        self._batches.done(batch, failed=error is not None)
        failure = None
        if error is not None:
            failure = error if isinstance(error, DiskLogError) else DiskLogError(f"the disk log failed: {error!r}")
            self.failed += 1
            _log.error("disk_log_failed", path=self._file.path, reason=str(failure), messages=len(batch.records))
        try:
            if batch.records:
                self._committed(batch, failure)
        finally:
            self._go_on(failure is not None)

    def _go_on(self, failed: bool) -> None:
        if self._batches.records or (self._closed and not failed):
            self._start()
        elif self._closed:
            assert self._rested is not None
            self._rested.set()
        elif self._batches.forgotten and self._timer is None:
            self._timer = self._clock.call_later(RETRY_AFTER if failed else FORGET_AFTER, self._timer_fired)
