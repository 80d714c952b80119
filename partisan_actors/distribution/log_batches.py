"""What waits to be written to the disk log of an outbox, and in which groups: the part of it that needs no disk.

Promised: what was appended is committed in the order appended, in groups that are bounded, one group at a time; what
was forgotten goes along with whatever is committed next, and never before the append that it takes back.

Also how much of its time limit a message has left after a restart, for which there is nothing but the wall clock, and
that may have jumped: see `time_left`.

Not known here: files, threads, clocks. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from partisan_actors.processes.identity import Life

__all__ = ["Batch", "BatchLimits", "LogBatches", "LogRecord", "time_left"]


class LogRecord(NamedTuple):
    """One message as the log keeps it."""

    node: str  # its destination
    number: int
    accepted: float  # seconds since 1970, by the wall clock
    life: Life | None  # the only life of the destination that it is for
    kind: int  # of the signal
    to: int  # the serial of the receiver
    name: str | None  # or its registered name
    payload: bytes


class Batch(NamedTuple):
    """What is committed together."""

    records: Sequence[LogRecord]
    forgotten: Sequence[tuple[str, int]]  # nodes and numbers

    def last_numbers(self) -> dict[str, int]:
        """The highest number that it has for each node."""
        return {record.node: record.number for record in self.records}


class BatchLimits(NamedTuple):
    """How much one commit takes at most, unless one message alone is larger."""

    messages: int = 4096
    size: int = 8 << 20  # bytes of payload
    forgotten: int = 16_384


class LogBatches:
    """The queue before the log."""

    __slots__ = ("_forgotten", "_limits", "_records", "busy")

    def __init__(self, limits: BatchLimits | None = None) -> None:
        self.busy = False  # a batch was taken and is not done
        self._limits = limits if limits is not None else BatchLimits()
        self._records: deque[LogRecord] = deque()
        self._forgotten: deque[tuple[str, int]] = deque()

    def append(self, record: LogRecord) -> None:
        """Log this message."""
        self._records.append(record)

    def forget(self, node: str, numbers: Sequence[int]) -> None:
        """Take these messages out of the log."""
        self._forgotten.extend((node, number) for number in numbers)

    @property
    def records(self) -> int:
        """Messages that wait."""
        return len(self._records)

    @property
    def forgotten(self) -> int:
        """Numbers to forget that wait."""
        return len(self._forgotten)

    def take(self) -> Batch | None:
        """The next group to commit; None while there is one under way, or when nothing waits."""
        if self.busy or not (self._records or self._forgotten):
            return None
        limits = self._limits
        records: list[LogRecord] = []
        size = 0
        while self._records and len(records) < limits.messages:
            size += len(self._records[0].payload)
            if records and size > limits.size:
                break
            records.append(self._records.popleft())
        forgotten: list[tuple[str, int]] = []
        # A batch is written before it is deleted from, so what is forgotten must not come before what is written.
        waiting = {(record.node, record.number) for record in self._records}
        while self._forgotten and len(forgotten) < limits.forgotten and self._forgotten[0] not in waiting:
            forgotten.append(self._forgotten.popleft())
        self.busy = True
        return Batch(records, forgotten)

    def done(self, batch: Batch, failed: bool) -> None:
        """This batch was committed, or could not be: then its messages are out, and what it forgot waits again."""
        self.busy = False
        if failed:
            self._forgotten.extendleft(reversed(batch.forgotten))


def time_left(accepted: float, wall: float, limit: float) -> float:
    """How many seconds a message still has that was accepted at `accepted`, when the log is opened at `wall`.

    Both are of a wall clock that may have jumped either way, or shows how long the node was down: nobody can tell.
    So it is half of `limit` at least, however late it seems, for a fair try; and `limit` at most, however early.
    """
    age = wall - accepted
    if not age > 0:  # not a number, too: the file may have come from anywhere
        return limit
    return max(limit - age, limit / 2)
