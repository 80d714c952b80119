"""How a process waits for room: on a stream of a session, or in the mailbox of who it sends to."""

from __future__ import annotations

from partisan_actors.cluster.credit import Receiver
from partisan_actors.cluster.ties import Ties
from partisan_actors.cluster.ways import Way
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.errors import WouldBlock
from partisan_actors.processes.clock import Clock
from partisan_actors.processes.process import NOT_EXITING, Process

__all__ = ["Room"]


class Room:
    """Lets processes of one node wait."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def wait_for(
        self,
        sender: Process,
        way: Way,
        ties: Ties,
        nosuspend: bool,
        deadline: float | None,
        receiver: Receiver | None = None,
    ) -> bool:
        """Wait while the stream, or the mailbox of the receiver, is full; False when the time is up."""
        outgoing, credit = way.outgoing, ties.credit
        while outgoing.congested or receiver in credit.full:
            congested = outgoing.congested
            if nosuspend:
                raise WouldBlock(_why_not_now(ties, congested, receiver))
            if sender.exiting is not NOT_EXITING:
                return True  # a last word from a `finally` block is not held up
            if congested:
                in_time = self._wait_for_turn(sender, outgoing, deadline)
            else:
                in_time = self._wait_for_mailbox(sender, credit.full[receiver], deadline)  # type: ignore[index]
            if not in_time:
                return False
            if congested and receiver not in credit.full:
                return True  # it is this one's turn, whoever else waits
        return True

    def _wait_for_turn(self, sender: Process, outgoing: Outgoing, deadline: float | None) -> bool:
        """Wait until it is the sender's turn on the stream; False when the time is up before."""
        place = outgoing.when_room(sender.wake)
        try:
            while outgoing.keeps_waiting(place):
                if not self._wait_once(sender, deadline):
                    return False
                if outgoing.keeps_waiting(place):
                    outgoing.when_room(sender.wake, place)
        finally:
            outgoing.forget(place)
        return True

    def _wait_for_mailbox(self, sender: Process, waiting: dict[Process, None], deadline: float | None) -> bool:
        """Wait among those who wait for a mailbox, once; False when the time is up."""
        waiting[sender] = None
        try:
            return self._wait_once(sender, deadline)
        finally:
            waiting.pop(sender, None)

    def _wait_once(self, sender: Process, deadline: float | None) -> bool:
        if deadline is not None and self._clock.now() >= deadline:
            return False
        sender.wait(deadline)
        return True


def _why_not_now(ties: Ties, congested: bool, receiver: Receiver | None) -> str:
    if congested:
        return f"what is unsent to {ties.peer.node} is above the high watermark, or it is the turn of others"
    return f"the mailbox of {receiver!r} on {ties.peer.node} is at its max_mailbox"
