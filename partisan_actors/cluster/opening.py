"""What is sent to members that there is no session with: it waits, in order, while one is opened.

Promised: what waits for a node goes on in the order in which it was done here, before anything that is done later, as
if the session had been there all the time; or, if none can be had, it fails as it does where there is no such member.
What waits is bounded by operations and by bytes: a process that sends more is to wait. What must not wait (the
runtime's own signals) may go on to `hard_factor` times as much; then all fails, as a session that runs over does.

Expected of who opens sessions: for each `open` one `decided`, later, and never from within.

Not known here: what the operations are. Each is done again, by who gave it, when it is its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from partisan_actors.errors import WouldBlock
from partisan_actors.processes.identity import Pid, Remote
from partisan_actors.processes.process import NOT_EXITING, Process
from partisan_actors.processes.runtime import Runtime, process_of_greenlet

__all__ = ["Opening", "OpeningParameters"]

_log = structlog.get_logger("partisan_actors")


@dataclass(frozen=True, slots=True)
class OpeningParameters:
    """The limits for each node."""

    operations: int = 10_000
    size: int = 8 << 20
    """Operations, and bytes of what they are to send, from which on processes wait."""

    hard_factor: int = 8
    """How many times as much the runtime's own signals may come to."""

    retry: float = 5.0
    """Seconds from one attempt that came to nothing to the next, while an outbox has something for that node."""

    def __post_init__(self) -> None:
        if self.operations < 1 or self.size < 1 or self.hard_factor < 1:
            raise ValueError(
                f"operations ({self.operations}), size ({self.size}) and hard_factor ({self.hard_factor}) "
                "must be above 0"
            )
        if self.retry <= 0:
            raise ValueError(f"retry ({self.retry}) must be above 0")


class _Waiting:
    """What waits for one node."""

    __slots__ = ("operations", "processes", "size")

    def __init__(self) -> None:
        self.operations: deque[Callable[[], None]] = deque()
        self.size = 0
        self.processes: dict[Process, None] = {}  # for room, or for the session; the longest wait first


def _nobody(node: str, bits: int | None) -> bool:
    return False


def _cannot(node: str) -> None:
    pass


class Opening:
    """The queues of one node.

    The three functions are the cluster's, which sets them when it can open sessions.
    """

    def __init__(self, runtime: Runtime, has_session: Callable[[str], bool], parameters: OpeningParameters) -> None:
        """Begin, with nobody a member.

        Args:
            has_session: whether there is a session with a node, so that nothing waits.
        """
        self.is_member: Callable[[str, int | None], bool] = _nobody
        """Whether there is a member of that name; with bits: whether it is of that life."""
        self.open: Callable[[str], None] = _cannot
        """Open a session with a node; `decided` follows."""
        self.parameters = parameters
        self._runtime = runtime
        self._has_session = has_session
        self._queues: dict[str, _Waiting] = {}
        self._opened = self._overflowed = 0  # sessions that were wanted; queues that ran over
        self._deciding: str | None = None  # the node whose operations are being done, for good or ill

    def __len__(self) -> int:
        return len(self._queues)

    def counted(self) -> dict[str, int]:
        """What was asked for so far, and what waits now."""
        queues = self._queues.values()
        return {
            "opened": self._opened,
            "overflowed": self._overflowed,
            "nodes": len(queues),
            "operations": sum(len(queue.operations) for queue in queues),
            "bytes": sum(queue.size for queue in queues),
            "processes": sum(len(queue.processes) for queue in queues),
        }

    # From who sends

    def want(self, node: str, bits: int | None = None) -> bool:
        """See that there is a session with a member, or will be; whether one is being opened."""
        return self._queue(node, bits) is not None

    def hold(
        self,
        sender: Process | None,
        dest: Pid | Remote,
        size: int,
        operation: Callable[[], None],
        nosuspend: bool = False,
        deadline: float | None = None,
    ) -> bool:
        """Let an operation wait for a session, and see that one is opened.

        Args:
            sender: who is to wait when too much does; None for what must not.
            size: bytes that the operation is to send.
            operation: done later: with a session, or without one if none could be had.
            nosuspend: raise WouldBlock rather than let the sender wait.
            deadline: when the sender waits no more, and the operation is not done.

        Returns: False where it is to be done at once: nobody is opened a session with, or there is one now.
        """
        node, bits = _node_of(dest)
        queue = self._queue(node, bits)
        while queue is not None and sender is not None and self._is_full(queue):
            if nosuspend:
                raise WouldBlock(f"a session with {node} is being opened, and too much waits for it already")
            if not _may_wait(sender):
                break
            if not self._wait(sender, queue, deadline):
                return True
            queue = self._queue(node, bits)
        if queue is None:
            return False
        self._put(node, queue, size, operation)
        return True

    def follow(self, node: str, size: int, operation: Callable[[], None]) -> bool:
        """As `hold` for what only matters after something that waits already; False where nothing does."""
        queue = self._queues.get(node)
        if queue is None:
            return False
        self._put(node, queue, size, operation)
        return True

    def wait(self, sender: Process, node: str, bits: int | None = None) -> None:
        """Let a process wait until a session with a member is there, or is not to be had."""
        queue = self._queue(node, bits)
        while queue is not None and self._queues.get(node) is queue and _may_wait(sender):
            self._wait(sender, queue, None)

    # From who opens sessions

    def decided(self, node: str) -> None:
        """There is a session with `node`, or none can be had."""
        queue = self._queues.pop(node, None)
        if queue is None:
            return
        before, self._deciding = self._deciding, node
        try:
            for operation in queue.operations:
                self._do(operation)
        finally:
            self._deciding = before
        for process in queue.processes:
            process.wake()

    def close(self) -> None:
        """No session can be had any more."""
        self.is_member = _nobody
        for node in list(self._queues):
            self.decided(node)

    # Private

    def _queue(self, node: str, bits: int | None) -> _Waiting | None:
        queue = self._queues.get(node)
        if queue is not None or self._has_session(node) or node == self._deciding or not self.is_member(node, bits):
            return queue
        queue = self._queues[node] = _Waiting()
        self._opened += 1
        self.open(node)
        return queue

    def _is_full(self, queue: _Waiting, factor: int = 1) -> bool:
        parameters = self.parameters
        return len(queue.operations) >= parameters.operations * factor or queue.size >= parameters.size * factor

    def _put(self, node: str, queue: _Waiting, size: int, operation: Callable[[], None]) -> None:
        queue.operations.append(operation)
        queue.size += size
        if self._is_full(queue, self.parameters.hard_factor):
            self._overflowed += 1
            _log.warning(
                "opening_overflowed", node=self._runtime.home.node, peer=node, operations=len(queue.operations)
            )
            self.decided(node)

    def _wait(self, sender: Process, queue: _Waiting, deadline: float | None) -> bool:
        if deadline is not None and self._runtime.clock.now() >= deadline:
            return False
        queue.processes[sender] = None
        try:
            sender.wait(deadline)
        finally:
            queue.processes.pop(sender, None)
        return True

    def _do(self, operation: Callable[[], None]) -> None:
        try:
            operation()
        except Exception as error:
            _log.error(
                "waiting_operation_failed", node=self._runtime.home.node, reason=repr(error)[:200], exc_info=error
            )


def _node_of(dest: Pid | Remote) -> tuple[str, int | None]:
    return (dest.home.node, dest.home.bits) if type(dest) is Pid else (dest.node, None)


def _may_wait(sender: Process) -> bool:
    """A last word from a `finally` block is not held up, nor is a timer."""
    return sender.exiting is NOT_EXITING and process_of_greenlet() is sender
