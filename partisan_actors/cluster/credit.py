"""Mailboxes with a limit, and senders on other nodes.

A mailbox at its `max_mailbox` withdraws the credit of who sends to it from another node: that node is told FULL, and
its senders wait, or get WouldBlock, as those of the mailbox's own node do; until half of it is taken, which is ROOM.
What is under way comes all the same, so a mailbox may hold more than its limit by what a stream's watermark lets
through. Only that receiver's senders wait; the stream and the connection are anybody's.

A receiver is named as its senders name it: by its number, or its registered name.
"""

from __future__ import annotations

from typing import TypeAlias

from partisan_actors.cluster.ways import Way
from partisan_actors.processes.process import Process
from partisan_actors.wire.signals import FULL, OPTIONAL, ROOM, Signal, encode_signal

__all__ = ["MOST_FULL", "Credit", "Receiver", "receiver_of"]

MOST_FULL = 1 << 14
"""Mailboxes of the other node that are known to be full. Those beyond hold nobody up, and get more than they want."""

Receiver: TypeAlias = int | str
"""The serial of a process, or its registered name."""


def receiver_of(serial: int, name: str | None) -> Receiver:
    """What a signal is for."""
    return serial if name is None else name


class _WaitsForRoom:
    """Stands among the senders that wait for room in a mailbox of this node."""

    __slots__ = ("_credit", "_process", "_receiver")

    def __init__(self, credit: Credit, process: Process, receiver: Receiver) -> None:
        self._credit = credit
        self._process = process
        self._receiver = receiver
        self._stand()

    def wake(self) -> None:
        """Something was taken out of the mailbox, or its process has ended, or has its name no more."""
        process, receiver = self._process, self._receiver
        named = isinstance(receiver, int) or process.name == receiver
        if named and process.mailbox is not None and len(process.mailbox) > (process.max_mailbox or 0) // 2:
            self._stand()
        else:
            self._credit.give(receiver)

    def leave(self) -> None:
        """Stand there no more."""
        if self._process.room is not None:
            self._process.room.pop(self, None)

    def _stand(self) -> None:
        if self._process.room is None:
            self._process.room = {}
        self._process.room[self] = 0


class Credit:
    """What one node tells another of full mailboxes, and what it was told."""

    __slots__ = ("_held", "_over", "_told", "_way", "full", "ignored")

    def __init__(self, way: Way) -> None:
        """Begin.

        Args:
            way: always the same one, so that what is told keeps its order; and of no monotonic channel, which might
                drop it.
        """
        self._way = way
        self.full: dict[Receiver, dict[Process, None]] = {}  # those of the other node, and who waits here
        self.ignored = 0  # times that it named one mailbox too many
        self._over = False  # the session has ended
        self._held: dict[Receiver, None] = {}  # told to wait for another reason than a mailbox
        # Those of this node that the other one knows to be full, but for those that are held.
        self._told: dict[Receiver, _WaitsForRoom] = {}

    @property
    def holds_up(self) -> bool:
        """Whether the other node waits to be told of room."""
        return bool(self._told or self._held)

    def delivered(self, process: Process, signal: Signal) -> None:
        """A message of the other node is in a mailbox that has a limit."""
        receiver = receiver_of(signal.to, signal.name)
        if self._over or receiver in self._told or len(process.mailbox or ()) < (process.max_mailbox or 0):
            return
        self._tell(FULL, receiver)
        self._told[receiver] = _WaitsForRoom(self, process, receiver)

    def hold(self, receiver: Receiver) -> None:
        """Let the senders of the other node wait, until `give_held`."""
        if receiver not in self._held:
            self._held[receiver] = None
            self._tell(FULL, receiver)

    def give_held(self) -> None:
        """Let them go on; a mailbox that is full says so again."""
        held, self._held = self._held, {}
        for receiver in held:
            self.give(receiver)

    def give(self, receiver: Receiver) -> None:
        """A mailbox of this node has room."""
        told = self._told.pop(receiver, None)
        if told is not None:
            told.leave()
        self._tell(ROOM, receiver)

    def withdrawn(self, signal: Signal) -> None:
        """A mailbox of the other node is full."""
        if len(self.full) < MOST_FULL:
            self.full.setdefault(receiver_of(signal.to, signal.name), {})
        else:
            self.ignored += 1

    def given(self, signal: Signal) -> None:
        """It is no more."""
        for process in self.full.pop(receiver_of(signal.to, signal.name), ()):
            process.wake()

    def cut(self) -> None:
        """The session has ended: nobody waits any more."""
        self._over = True
        full, self.full = self.full, {}
        for waiting in full.values():
            for process in waiting:
                process.wake()
        told, self._told = self._told, {}
        for standing in told.values():
            standing.leave()

    def _tell(self, kind: int, receiver: Receiver) -> None:
        serial, name = (0, receiver) if isinstance(receiver, str) else (receiver, None)
        self._way.send(encode_signal(kind, serial, name=name, flags=OPTIONAL))
