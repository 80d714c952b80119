"""What send hooks delay, on its way to other nodes.

Promised: what is delayed goes by the way that was chosen for it, when its time has come. It is bounded by bytes, as
what waits for a connection is: from there on the sender waits.
"""

from __future__ import annotations

from partisan_actors.cluster.ways import Way
from partisan_actors.distribution.flows import Signal, size_of
from partisan_actors.processes.clock import Clock
from partisan_actors.processes.process import Process
from partisan_actors.processes.runtime import process_of_greenlet
from partisan_actors.processes.scheduler import RUNNING

__all__ = ["Delaying", "wait_until"]

MOST_DELAYED = 1 << 20
"""Bytes that hooks may delay at once; from there on the sender waits."""


class Delaying:
    """That of one node."""

    def __init__(self, clock: Clock) -> None:
        self.size = 0  # bytes that are delayed
        self._clock = clock

    def send(self, way: Way, signal: Signal, delay: float) -> None:
        """Send a signal, in so many seconds; waits for as long where too much is delayed already."""
        if not delay:
            way.send(signal)
            return
        size = size_of(signal)
        sender = process_of_greenlet()
        waits = self.size + size > MOST_DELAYED and sender is not None and sender.status == RUNNING
        self.size += size
        if not waits or sender is None:
            self._clock.call_later(delay, self._send_now, way, signal, size)
            return
        try:
            wait_until(sender, self._clock, self._clock.now() + delay)
            way.send(signal)
        finally:
            self.size -= size

    def _send_now(self, way: Way, signal: Signal, size: int) -> None:
        self.size -= size
        way.send(signal)


def wait_until(sender: Process, clock: Clock, until: float) -> None:
    """Let time pass for a process."""
    while clock.now() < until:
        sender.wait(until)
