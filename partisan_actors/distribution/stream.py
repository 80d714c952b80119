"""One stream, its sending and its receiving end: numbered frames, kept by the sender until acknowledged.

Promised: what was offered arrives in the order offered, each signal once, over any number of connections that
break at any byte, for as long as the session lasts (design, decision 6). All of it rests on four rules:

- A number is given when a frame is put together for a connection, not earlier, so what waits is joined: one number,
  one header and one write for all of it (measured: 11 us a write whatever its size, 0.8 us a signal when joined).
- A frame is kept, as the bytes that were written, until a cumulative acknowledgement covers it.
- A new connection begins with the number that the receiver has; what it has not is written again, the same bytes.
- The receiver takes number n + 1 after n. Lower ones it has had: the connection broke after it took them and before
  its acknowledgement got through, or the old connection still delivered while the new one was made. A higher one
  cannot come over a connection that keeps its order, so it is a broken envelope.

Not known here: connections, time, what a signal is. The receiving end counts what it owes; its session knows when
to pay. Pure.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from partisan_actors.distribution.compression import Compressor
from partisan_actors.distribution.flows import Buffer, FlowQueue, Signal, size_of
from partisan_actors.distribution.newest import NewestQueue
from partisan_actors.errors import NotSendable
from partisan_actors.wire.frames import COMPRESSED, DATA, FRAGMENT, MAX_BODY, encode_frame

__all__ = [
    "Arrival",
    "BadAcknowledgement",
    "Buffer",
    "ReceivingStream",
    "SendingStream",
    "Signal",
    "StreamParameters",
]


@dataclass(frozen=True, slots=True)
class StreamParameters:
    """The limits of one stream. All sizes are bytes of signals, frame headers not counted."""

    joined: int = 256 << 10
    """What one frame joins."""

    fragment: int | None = 65 << 10
    """A larger signal travels in pieces, of so much while smaller ones wait; None for a peer that does not know them:
    in a frame of its own."""

    alone: int = 512 << 10
    """Bytes of a piece while nothing smaller waits. Of 1 MiB signals, pieces of 256 KiB cost a fifth more."""

    fragmented: int = 16
    """Large signals that take turns; the receiver has memory for all of them."""

    low_watermark: int = 4 << 20
    high_watermark: int = 8 << 20
    """Senders are to wait from `high_watermark` on, unsent and unacknowledged together, until `low_watermark`."""

    hard_limit: int = 64 << 20
    """From here on nothing more is taken, and the session ends. One large signal alone never gets there."""

    turn: int = 256 << 10
    """What one sender may offer while others wait for room, or one signal."""

    largest: int = MAX_BODY
    """A bigger signal fits into no frame."""

    owed_frames: int = 32
    owed_bytes: int = 512 << 10
    """An acknowledgement is due at once when it covers so many frames, or so many bytes."""

    def __post_init__(self) -> None:
        if not 0 < self.joined <= self.high_watermark:
            raise ValueError(f"joined ({self.joined}) must be above 0 and at most high_watermark")
        if not 0 <= self.low_watermark < self.high_watermark < self.hard_limit:
            raise ValueError(
                f"low_watermark ({self.low_watermark}), high_watermark ({self.high_watermark}) and "
                f"hard_limit ({self.hard_limit}) must be in that order"
            )
        if self.fragment is not None and not 0 < self.fragment <= self.joined:
            raise ValueError(f"fragment ({self.fragment}) must be above 0 and at most joined ({self.joined})")
        if self.alone < self.joined:
            raise ValueError(f"alone ({self.alone}) must be at least joined ({self.joined})")
        if self.fragmented < 1:
            raise ValueError(f"fragmented ({self.fragmented}) must be above 0")
        if self.turn < 1:
            raise ValueError(f"turn ({self.turn}) must be above 0")
        if self.largest < self.joined:
            raise ValueError(f"largest ({self.largest}) must be at least joined ({self.joined})")
        if self.owed_frames < 1 or self.owed_bytes < 1:
            raise ValueError(f"owed_frames ({self.owed_frames}) and owed_bytes ({self.owed_bytes}) must be above 0")


class BadAcknowledgement(Exception):
    """The peer acknowledged what was never sent."""


class _Kept(NamedTuple):
    number: int
    size: int
    buffers: Sequence[Buffer]


class SendingStream:
    """The sending end."""

    __slots__ = (
        "_attention",
        "_calm",
        "_channel",
        "_compressor",
        "_held",
        "_kept",
        "_number",
        "_parameters",
        "_stream",
        "acknowledged",
        "congested",
        "overflowed",
        "queue",
        "resent",
        "rewound",
        "unacknowledged",
    )

    def __init__(
        self,
        parameters: StreamParameters,
        channel: int = 0,
        stream: int = 0,
        queue: FlowQueue | NewestQueue | None = None,
        compressor: Compressor | None = None,
    ) -> None:
        """Begin.

        Args:
            channel, stream: the numbers that its frames bear.
            queue: where signals wait, where that is no plain `FlowQueue`.
            compressor: for the bodies of its frames, if they are to be compressed.
        """
        self.unacknowledged = 0  # bytes in frames that are kept
        self.acknowledged = 0  # the highest number known to have arrived
        self.congested = False  # at the high watermark, and not back at the low one
        self.overflowed = False  # an offer was turned away; the stream has a hole now and must end
        self.resent = 0  # frames written again over a later connection
        self._parameters = parameters
        self._channel = channel
        self._stream = stream
        if queue is None:
            queue = FlowQueue(parameters.fragment, parameters.fragmented, parameters.largest, parameters.alone)
        self.queue: Any = queue  # as mypy knows no slot that is a method in one class and none in another
        self._compressor = compressor
        self._number = 0  # the last one given
        self._kept: deque[_Kept] = deque()  # given and not acknowledged, in order
        self.rewound: deque[_Kept] = deque()  # the tail of `_kept` that the present connection has not carried yet
        # What `unsent` must stay below for `offer` to have nothing to say. Kept up to date per frame, so that the
        # path of each signal has one comparison in place of three sums.
        self._attention = parameters.joined
        self._calm = parameters.high_watermark - parameters.joined  # below it `_attention` is `joined`
        self._held = False

    def hold(self, held: bool) -> None:
        """While held, a whole frame that is ready is nothing to look up for: there is no room to write it anyway."""
        if held is not self._held:
            self._held = held
            self._look_again()

    def offer(self, signal: Signal, flow: Hashable = 0) -> bool:
        """Queue a signal; True when the caller should look up: a whole frame is ready, or `overflowed` or `congested`.

        The buffers of a tuple are one signal; none of them may change afterwards. Signals of one flow arrive in the
        order offered; a large one of another flow may be passed.

        Raises: NotSendable for one that is larger than `largest`.
        """
        # hot path: once per message; 0.2 us.
        queue = self.queue
        if type(signal) is bytes and (size := len(signal)) <= queue.plain:
            queue.append(signal)
            size = queue.size = queue.size + size
        else:
            size = self._put(signal, flow)
        return size >= self._attention and self._offered(signal, flow)

    def _put(self, signal: Signal, flow: Hashable) -> int:
        size = size_of(signal)
        if size > self._parameters.largest:
            raise NotSendable(f"a message of {size} bytes; the limit is {self._parameters.largest}")
        queue = self.queue
        queue.put(signal, size, flow)
        return queue.size  # type: ignore[no-any-return]

    def _offered(self, signal: Signal, flow: Hashable) -> bool:
        # The limit is looked at without this signal: a large one alone must not end a session that is idle.
        if self.buffered - size_of(signal) >= self._parameters.hard_limit:
            self.queue.take_back(flow)
            self.overflowed = True
        elif self.buffered >= self._parameters.high_watermark:
            self.congested = True
        return True

    @property
    def unsent(self) -> int:
        """Bytes that were offered and are in no frame yet."""
        size: int = self.queue.size
        return size

    @property
    def superseded(self) -> int:
        """Signals that were dropped for a newer one of their key; only in a monotonic channel."""
        superseded: int = self.queue.superseded
        return superseded

    @property
    def buffered(self) -> int:
        """Bytes unsent and unacknowledged."""
        return self.unsent + self.unacknowledged

    @property
    def turn(self) -> int:
        """What one sender may offer while others wait for room."""
        return self._parameters.turn

    @property
    def frame_waits(self) -> bool:
        """Whether `next_frame` has anything to give."""
        # By the size, as no signal is empty: a third of what a truth value costs, and this is asked for each write.
        return self.queue.size > 0 or bool(self.rewound)

    @property
    def sent(self) -> int:
        """The last number given to a frame."""
        return self._number

    def next_frame(self, extensions: bytes = b"") -> Sequence[Buffer] | None:
        """The bytes of the next frame for the present connection, as buffers to write; None when nothing waits.

        Args:
            extensions: to go with it, such as an acknowledgement. A frame that is written again goes as it
                went: what it acknowledged then is true still.
        """
        if self.rewound:
            self.resent += 1
            return self.rewound.popleft().buffers
        if not self.queue.size:
            return None
        size, parts, where = self.queue.take(self._parameters.joined)
        flags = FRAGMENT if where else 0
        compressor = self._compressor
        if compressor is not None and (body := compressor.compress(parts, size)) is not None:
            flags |= COMPRESSED
            parts = [body]
        self._number += 1
        buffers: Sequence[Buffer] = encode_frame(
            DATA,
            flags=flags,
            channel=self._channel,
            stream=self._stream,
            number=self._number,
            extensions=extensions + where,
            body_buffers=parts,
        )
        self._kept.append(_Kept(self._number, size, buffers))
        self.unacknowledged += size
        if self._held or self.unacknowledged > self._calm:
            self._look_again()
        return buffers

    @property
    def rewinding(self) -> bool:
        """Whether the next frame is one written before."""
        return bool(self.rewound)

    def acknowledge(self, number: int) -> bool:
        """Forget what the receiver has, up to `number`; True when that ends a congestion.

        A number lower than one before is old news: acknowledgements of two connections may cross.

        Raises: BadAcknowledgement for a number that was not given yet.
        """
        if number <= self.acknowledged:
            return False
        self.check(number)
        self.acknowledged = number
        kept, rewound = self._kept, self.rewound
        while kept and kept[0].number <= number:
            self.unacknowledged -= kept.popleft().size
        # The old connection delivered them while the new one was made: no need to write them again.
        while rewound and rewound[0].number <= number:
            rewound.popleft()
        if self._attention != self._parameters.joined:
            self._look_again()
        if self.congested and self.buffered <= self._parameters.low_watermark:
            self.congested = False
            return True
        return False

    def check(self, number: int) -> None:
        """Raise BadAcknowledgement for a number that was not given yet."""
        if number > self._number:
            raise BadAcknowledgement(f"frame {number} was acknowledged, {self._number} was the last one sent")

    def rewind(self, received: int) -> bool:
        """Begin on a new connection, whose other end has everything up to `received`; True when a congestion ended.

        `received` may be lower than what is known here to have arrived: it was true when the handshake began.

        Raises: BadAcknowledgement.
        """
        room = self.acknowledge(received)
        self.rewound = deque(self._kept)
        return room

    def _look_again(self) -> None:
        parameters = self._parameters
        room = max(parameters.high_watermark - self.unacknowledged, 0)
        self._attention = room if self._held else min(parameters.joined, room)


class Arrival(enum.Enum):
    """What a frame's number says."""

    NEW = "the next one"
    DUPLICATE = "had before"
    GAP = "one before it is missing"


class ReceivingStream:
    """The receiving end: what has arrived, and what is owed for it."""

    __slots__ = ("_parameters", "due", "duplicates", "owed_bytes", "owed_frames", "received")

    def __init__(self, parameters: StreamParameters) -> None:
        self.received = 0  # everything up to this number
        self.owed_frames = 0  # frames that no acknowledgement covers
        self.owed_bytes = 0
        self.due = False  # an acknowledgement should go now rather than wait for a frame that can carry it
        self.duplicates = 0
        self._parameters = parameters

    def accept(self, number: int, size: int) -> Arrival:
        """Take the number of a frame with a body of `size` bytes."""
        if number == self.received + 1:
            self.received = number
            self.owed_frames += 1
            self.owed_bytes += size
            if self.owed_frames >= self._parameters.owed_frames or self.owed_bytes >= self._parameters.owed_bytes:
                self.due = True
            return Arrival.NEW
        if number <= self.received:
            # The sender does not know that it arrived, or it would not have written it again.
            self.duplicates += 1
            self.due = True
            return Arrival.DUPLICATE
        return Arrival.GAP

    @property
    def owed(self) -> bool:
        """Whether an acknowledgement would tell the sender anything."""
        return self.owed_frames > 0 or self.due

    def acknowledgement(self) -> int:
        """The number to acknowledge; nothing is owed after this."""
        self.owed_frames = self.owed_bytes = 0
        self.due = False
        return self.received
