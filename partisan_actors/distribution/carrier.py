"""What one connection of a session carries: which streams write to it, and what is owed for what it brought.

Promised: the frames of a stream leave over one connection at a time, in order, beginning with the first that the
peer has not; a stream that stands before another in `carried` is written first whenever both have something, so
system traffic passes whatever bulk is queued behind it; what arrives is taken whatever connection brings it, once
and in order; an acknowledgement goes back over the connection that brought the frames.

Why a stream may move from one connection to another at any time: each connection brings a run of numbers that begins
at most one above what the receiver has, so no two of them together can leave a gap, and what comes twice is dropped.

Not known here: heartbeats, the end of a session, sockets, signals. Pure.

Effects: `Deliver`, `Room`, `Write`, `SetTimer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from partisan_actors.distribution.machine import SetTimer
from partisan_actors.distribution.stream import (
    Arrival,
    Buffer,
    ReceivingStream,
    SendingStream,
    StreamParameters,
)
from partisan_actors.wire.frames import ACK, BrokenFrame, Frame, acknowledged, encode_ack, encode_frame

__all__ = ["ACKNOWLEDGE", "DELIVER", "Carrier", "Deliver", "Room", "Stream", "StreamId", "Write"]

ACKNOWLEDGE = "acknowledge"
"""The key of the timer that pays what is owed."""

StreamId: TypeAlias = tuple[int, int]
"""The number of a channel, and the index of the stream in it."""


class Stream:
    """Both ends that this node has of one stream: what it sends, and what it gets."""

    __slots__ = ("channel", "index", "receiving", "sending")

    def __init__(self, parameters: StreamParameters, channel: int = 0, index: int = 0) -> None:
        self.channel = channel
        self.index = index
        self.sending = SendingStream(parameters, channel, index)
        self.receiving = ReceivingStream(parameters)

    @property
    def id(self) -> StreamId:
        """What tells it from the others of its session."""
        return self.channel, self.index


class Deliver(NamedTuple):
    """Hand up the body of the frame that was just taken."""


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


Effect: TypeAlias = Deliver | Room | Write | SetTimer

_NOTHING: Sequence[Effect] = ()

DELIVER: Sequence[Effect] = (Deliver(),)
"""What nearly every frame leads to, so that a driver can tell by identity."""


class Carrier:
    """The streams of one connection after another; a new one takes the place of the one before."""

    __slots__ = ("_acknowledge_after", "_owing", "_streams", "_timed", "carried")

    def __init__(
        self, streams: Mapping[StreamId, Stream], carried: Sequence[Stream], acknowledge_after: float
    ) -> None:
        """Begin without a connection.

        Args:
            streams: all of the session, as frames of any may arrive.
            carried: those that write here, the most urgent first.
            acknowledge_after: seconds that an acknowledgement waits for a frame that can carry it.
        """
        self.carried = list(carried)
        self._streams = streams
        self._acknowledge_after = acknowledge_after
        self._owing: list[Stream] = []  # those of which this connection brought frames that nothing acknowledges yet
        self._timed = False  # the timer that pays what is owed runs

    def connected(self, received: Mapping[StreamId, int]) -> list[Effect]:
        """Begin on a new connection, whose other end has what `received` says of each stream.

        Raises: BadAcknowledgement when that cannot be.
        """
        rooms: list[Effect] = []
        for stream in self.carried:
            if stream.sending.rewind(received.get(stream.id, 0)):
                rooms.append(Room(stream))
        # Of what an earlier one brought, too: the acknowledgement may have been lost with it.
        self._owing = [stream for stream in self._streams.values() if stream.receiving.owed]
        return rooms

    def disconnected(self) -> None:
        """The connection is gone."""
        self._timed = False

    def carry(self, stream: Stream) -> None:
        """Let `stream` write here from now on, after all others."""
        if stream not in self.carried:
            self.carried.append(stream)

    @property
    def frame_waits(self) -> bool:
        """Whether `next_frame` has anything to give."""
        return any(stream.sending.frame_waits for stream in self.carried)

    def hold(self, held: bool) -> None:
        """While held there is no room to write: see `SendingStream.hold`."""
        for stream in self.carried:
            stream.sending.hold(held)

    def next_frame(self) -> Sequence[Buffer] | None:
        """The bytes of the next frame to write, with what is owed to the peer; None when nothing waits."""
        # hot path: once per joined write, so no effects but what is to be written.
        for stream in self.carried:
            sending = stream.sending
            if sending.frame_waits:
                receiving = stream.receiving
                if (receiving.owed_frames or receiving.due) and not sending.rewinding:
                    return sending.next_frame(encode_ack(receiving.acknowledgement()))
                return sending.next_frame()
        return None

    def data(self, frame: Frame) -> Sequence[Effect]:
        """Take a DATA frame. Raises BrokenFrame, BadAcknowledgement."""
        # hot path: once per joined write of the peer.
        _, _, channel, index, _, _, size, number = frame.header
        stream = self._streams.get((channel, index))
        if stream is None:
            raise BrokenFrame(f"data on channel {channel}, stream {index}")
        room = False
        if frame.extensions:
            acknowledgement = acknowledged(frame.extensions)
            room = acknowledgement is not None and stream.sending.acknowledge(acknowledgement)
        arrival = stream.receiving.accept(number, size)
        if arrival is Arrival.GAP:
            raise BrokenFrame(f"frame {number} came after {stream.receiving.received}")
        if stream not in self._owing:
            self._owing.append(stream)
        effects = DELIVER if arrival is Arrival.NEW else _NOTHING
        return (Room(stream), *effects) if room else effects

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
        return self._pay_soon()

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
                number = receiving.acknowledgement()
                written.append(
                    Write(encode_frame(ACK, channel=stream.channel, stream=stream.index, number=number))
                )
        return [*written, *self._pay_soon()]
