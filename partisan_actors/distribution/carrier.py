"""What one connection of a session carries: which streams write to it, and what is owed for what it brought.

Promised: the frames of a stream leave over one connection at a time, in order, beginning with the first that the
peer has not; the urgent stream is written first whenever it has something, so system traffic passes whatever bulk is
queued, and the others take turns; what arrives is taken whatever connection brings it, once
and in order; an acknowledgement goes back over the connection that brought the frames.

Why a stream may move from one connection to another at any time: each connection brings a run of numbers that begins
at most one above what the receiver has, so no two of them together can leave a gap, and what comes twice is dropped.

Not known here: heartbeats, the end of a session, sockets, signals. Pure.

Effects: `Deliver`, `Room`, `Write`, `SetTimer`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from partisan_actors.distribution.machine import SetTimer
from partisan_actors.distribution.stream import Arrival, Buffer
from partisan_actors.distribution.streams import Stream, Streams
from partisan_actors.wire.frames import (
    ACK,
    COMPRESSED,
    DATA,
    FRAGMENT,
    BrokenFrame,
    Frame,
    Header,
    acknowledged,
    encode_ack,
    encode_frame,
    fragment_of,
)

__all__ = ["ACKNOWLEDGE", "DELIVER", "Carrier", "Deliver", "DeliverWhole", "Room", "Write"]

ACKNOWLEDGE = "acknowledge"
"""The key of the timer that pays what is owed."""


class Deliver(NamedTuple):
    """Hand up the body of the frame that was just taken."""


class DeliverWhole(NamedTuple):
    """Hand up this body: of a signal whose last piece has come, or one that was compressed."""

    stream: Stream
    body: bytes | memoryview


class Room(NamedTuple):
    """That stream is no longer congested: let its senders go on."""

    stream: Stream


class Write(NamedTuple):
    """Write these buffers to the connection.

    `droppable`: not when it is backlogged. The peer will hear enough of us when it reads, and one that does not must
    not make the backlog grow.
    """

    buffers: Sequence[Buffer]
    droppable: bool = False


Effect: TypeAlias = Deliver | DeliverWhole | Room | Write | SetTimer

_NOTHING: Sequence[Effect] = ()

DELIVER: Sequence[Effect] = (Deliver(),)
"""What nearly every frame leads to, so that a driver can tell by identity."""


class Carrier:
    """The streams of one connection after another; a new one takes the place of the one before."""

    __slots__ = (
        "_acknowledge_after",
        "_held",
        "_named",
        "_owing",
        "_priority",
        "_streams",
        "_timed",
        "_turns",
        "_urgent",
        "bytes_sent",
        "carries",
        "duplicates",
        "last_frame",
        "last_heard",
        "last_sent",
        "resent",
    )

    def __init__(self, streams: Streams, named: Stream, acknowledge_after: float, urgent: Stream | None = None) -> None:
        """Begin without a connection.

        Args:
            streams: all of the session, as frames of any may arrive.
            named: the stream that writes here, and whose number the hello of a connection says.
            acknowledge_after: seconds that an acknowledgement waits for a frame that can carry it.
            urgent: another that writes here, before all others.
        """
        self.carries = False  # there is a connection
        self.last_heard = 0.0  # when the last byte came; the driver sets it with every read
        self.last_frame = 0.0  # when a frame was last whole
        self.last_sent = 0.0  # when something was last written; the driver sets it with every flush
        self.bytes_sent = self.resent = self.duplicates = 0  # bytes, and frames; the driver takes them away
        self._streams = streams
        self._named = named
        self._urgent = urgent
        self._held = False
        self._priority = streams.priority(named.id)
        self._turns = deque((named,))  # those that are equally urgent, the next one first
        self._acknowledge_after = acknowledge_after
        self._owing: list[Stream] = []  # those of which this connection brought frames that nothing acknowledges yet
        self._timed = False  # the timer that pays what is owed runs

    def __iter__(self) -> Iterator[Stream]:
        """Those that write here."""
        if self._urgent is not None:
            yield self._urgent
        yield from self._turns

    def connected(self, received: int, now: float) -> list[Effect]:
        """Begin on a new connection, whose other end has the named stream up to number `received`.

        Of the others, what is not known to have arrived is written again.

        Raises: BadAcknowledgement when that cannot be.
        """
        self.last_heard = self.last_frame = self.last_sent = now
        self.carries = True
        rooms: list[Effect] = []
        for stream in self:
            stream.sending.hold(self._held)  # another carrier may have had it
            if stream.sending.rewind(received if stream is self._named else 0):
                rooms.append(Room(stream))
        # Of what an earlier one brought, too: the acknowledgement may have been lost with it.
        self._owing = [stream for stream in self if stream.receiving.owed]
        return rooms

    def disconnected(self) -> None:
        """The connection is gone."""
        self._timed = self.carries = False

    def is_idle_with(self, stream: Stream) -> bool:
        """Whether the next piece of a signal of `stream` could be here by now: nothing is on its way before it."""
        if self.last_heard != self.last_frame:
            return False  # the next piece may have moved here, and stand behind what is under way
        carrier = stream.brought_by
        if carrier is None or not carrier.carries:
            # Its connection is to be made anew, and may take as long as it likes, until this one stands in for it.
            return stream in self
        return carrier.last_heard == carrier.last_frame

    def carry(self, stream: Stream) -> None:
        """Let `stream` write here too, from its first frame that is not known to have arrived."""
        if stream not in self._turns:
            self._turns.append(stream)
            stream.sending.rewind(0)
            stream.sending.hold(self._held)

    def drop(self, stream: Stream) -> None:
        """Let `stream` write here no more; a connection of its own takes it over."""
        if stream in self._turns:
            self._turns.remove(stream)

    @property
    def frame_waits(self) -> bool:
        """Whether `next_frame` has anything to give."""
        return any(stream.sending.frame_waits for stream in self)

    @property
    def priority(self) -> float:
        """Which of several connections is to be written to first: the highest of what waits; above all the urgent."""
        urgent = self._urgent
        if urgent is not None and urgent.sending.frame_waits:
            return math.inf
        if len(self._turns) == 1:
            return self._priority
        priority = self._streams.priority
        return max((priority(stream.id) for stream in self._turns if stream.sending.frame_waits), default=0)

    def hold(self, held: bool) -> None:
        """While held there is no room to write: see `SendingStream.hold`."""
        if held is not self._held:
            self._held = held
            for stream in self:
                stream.sending.hold(held)

    def next_frame(self) -> Sequence[Buffer] | None:
        """The bytes of the next frame to write, with what is owed to the peer; None when nothing waits."""
        # hot path: twice per joined write, so no effects but what is to be written, and no calls to look.
        urgent = self._urgent
        if urgent is not None:
            sending = urgent.sending
            if sending.queue.size or sending.rewound:
                return self._frame_of(urgent)
        turns = self._turns
        if len(turns) == 1:
            sending = turns[0].sending
            return self._frame_of(turns[0]) if sending.queue.size or sending.rewound else None
        for _ in range(len(turns)):
            stream = turns[0]
            turns.rotate(-1)
            if stream.sending.frame_waits:
                return self._frame_of(stream)
        return None

    def _frame_of(self, stream: Stream) -> Sequence[Buffer] | None:
        sending, receiving = stream.sending, stream.receiving
        if sending.rewound:
            self.resent += 1
            return sending.next_frame()
        unsent = sending.queue.size
        owed = receiving.owed_frames or receiving.due
        buffers = sending.next_frame(encode_ack(receiving.acknowledgement()) if owed else b"")
        self.bytes_sent += unsent - sending.queue.size
        return buffers

    def frame(self, frame: Frame, now: float) -> Sequence[Effect]:
        """Take a frame of a stream's own connection. Raises BrokenFrame, BadAcknowledgement."""
        kind = frame.header.kind
        if kind == DATA:
            return self.data(frame)
        if kind == ACK:
            return self.acknowledged(frame)
        raise BrokenFrame(f"a frame of kind {kind} on a stream's own connection")

    def data(self, frame: Frame) -> Sequence[Effect]:
        """Take a DATA frame. Raises BrokenFrame, BadAcknowledgement."""
        # hot path: once per joined write of the peer.
        _, flags, channel, index, _, _, size, number = frame.header
        named = self._named
        stream = named if named.id == (channel, index) else self._streams.get((channel, index))
        if stream is None:
            raise BrokenFrame(f"data on channel {channel}, stream {index}")
        received = stream.receiving.received
        if number > received + 1:
            raise BrokenFrame(f"frame {number} came after {received}")
        acknowledgement = acknowledged(frame.extensions) if frame.extensions else None
        if acknowledgement is not None:
            stream.sending.check(acknowledgement)
        effects = DELIVER
        if flags and number == received + 1:
            # Before it counts as received: else one that is broken would be acknowledged, and leave a hole. What it
            # acknowledges was looked at before, so that no frame breaks after its piece was taken, and counts after: a
            # broken one would take with it that there is room.
            effects = self._special(stream, frame)
        room = acknowledgement is not None and stream.sending.acknowledge(acknowledgement)
        arrival = stream.receiving.accept(number, size)
        if stream not in self._owing:
            self._owing.append(stream)
        if arrival is Arrival.DUPLICATE:
            self.duplicates += 1
            stream.brought_by = self
            effects = _NOTHING
        return (Room(stream), *effects) if room else effects

    def _special(self, stream: Stream, frame: Frame) -> Sequence[Effect]:
        """A body that is compressed, or a piece of something, or both."""
        body: bytes | memoryview | None = frame.body
        flags = frame.header.flags
        if flags & COMPRESSED:
            body = stream.expand(frame.body)
        if flags & FRAGMENT:
            assert body is not None
            stream.brought_by = self
            body = stream.assembly.add(fragment_of(frame.extensions), body, frame.header.number)
        if body is None:
            return _NOTHING
        return DELIVER if body is frame.body else (DeliverWhole(stream, body),)

    def place(self, header: Header, extensions: bytes) -> memoryview | None:
        """Where the body of a fragment is to be received; see `FrameReader.place_fragments`."""
        return self._streams.place(header, extensions, self)

    def acknowledged(self, frame: Frame) -> Sequence[Effect]:
        """Take an ACK frame. Raises BrokenFrame, BadAcknowledgement."""
        header = frame.header
        stream = self._streams.get((header.channel, header.stream))
        if stream is None:
            raise BrokenFrame(f"acknowledgement on channel {header.channel}, stream {header.stream}")
        return (Room(stream),) if stream.sending.acknowledge(header.number) else _NOTHING

    def read_done(self) -> Sequence[Effect]:
        """All frames of one read were taken: see whether the peer must be told now, or soon.

        Not to be called while the connection is backlogged, but once it is no more; the debt waits.
        """
        # hot path: once per read.
        owing = self._owing
        if not owing:
            return _NOTHING
        for stream in owing:
            if stream.receiving.due:
                return self._acknowledgements(only_due=True)
        return _NOTHING if self._timed else self._pay_soon()

    def _pay_soon(self) -> Sequence[Effect]:
        self._owing = [stream for stream in self._owing if stream.receiving.owed]
        # Not re-set by the next frame: the first one that is owed for is the one that waits longest.
        if self._timed or not self._owing:
            return _NOTHING
        self._timed = True
        return (SetTimer(ACKNOWLEDGE, self._acknowledge_after),)

    def pay(self) -> Sequence[Effect]:
        """The timer is due: acknowledge what no frame of ours could."""
        self._timed = False
        return self._acknowledgements(only_due=False)

    def _acknowledgements(self, only_due: bool) -> Sequence[Effect]:
        written: list[Effect] = []
        for stream in self._owing:
            receiving = stream.receiving
            if receiving.due or (receiving.owed and not only_due):
                channel, index = stream.id
                number = receiving.acknowledgement()
                written.append(Write(encode_frame(ACK, channel=channel, stream=index, number=number)))
        return [*written, *self._pay_soon()]
