"""The streams of one session: which there are, and both ends that this node has of each.

Not known here: what carries them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from partisan_actors.distribution.assembly import Assembly, SessionBytes
from partisan_actors.distribution.channels import DEFAULT_CHANNEL, AgreedChannel
from partisan_actors.distribution.compression import Compressor, Expander
from partisan_actors.distribution.newest import NewestQueue
from partisan_actors.distribution.spare_buffers import SpareBuffers
from partisan_actors.distribution.stream import ReceivingStream, SendingStream, StreamParameters
from partisan_actors.wire.frames import BrokenFrame, Header, fragment_of

if TYPE_CHECKING:
    from partisan_actors.distribution.carrier import Carrier

__all__ = ["DEFAULT", "ONLY", "SYSTEM", "Stream", "StreamId", "Streams"]

StreamId: TypeAlias = tuple[int, int]
"""The number of a channel, and the index of the stream in it."""

SYSTEM: StreamId = (0, 0)
DEFAULT: StreamId = (1, 0)
ONLY: StreamId = (0, 0)
"""The one stream with a peer of before channels."""


class Stream:
    """What this node sends on one stream, and what it gets."""

    __slots__ = ("_dictionary", "_expander", "assembly", "brought_by", "id", "monotonic", "receiving", "sending")

    def __init__(
        self,
        parameters: StreamParameters,
        stream_id: StreamId,
        assembly: Assembly,
        agreed: AgreedChannel | None = None,
    ) -> None:
        self.id = stream_id
        self.monotonic = agreed is not None and agreed.channel.monotonic
        self.sending = _sending(parameters, stream_id, agreed)
        self.receiving = ReceivingStream(parameters)
        self.assembly = assembly
        self.brought_by: Carrier | None = None  # the last piece of a large signal
        self._dictionary = agreed.dictionary if agreed is not None else None
        self._expander: Expander | None = None  # made when the first compressed body comes

    def expand(self, body: bytes | memoryview) -> bytes:
        """The body that was compressed. Raises BrokenFrame."""
        if self._expander is None:
            self._expander = Expander(self._dictionary)
        return self._expander.expand(body)

    def __repr__(self) -> str:
        return f"<Stream {self.id[0]}.{self.id[1]}>"


def _sending(parameters: StreamParameters, stream_id: StreamId, agreed: AgreedChannel | None) -> SendingStream:
    if agreed is None:
        return SendingStream(parameters, *stream_id)
    channel = agreed.channel
    queue = NewestQueue() if channel.monotonic else None
    compressor = Compressor(channel.compression, agreed.dictionary) if channel.compression is not None else None
    return SendingStream(parameters, *stream_id, queue, compressor)


class Streams:
    """Those of one session, made when they are first asked for: a channel may have hundreds, and use none."""

    __slots__ = ("_begun", "_channels", "_made", "_spares", "default", "system")

    def __init__(
        self, channels: Mapping[str, AgreedChannel], default: StreamParameters, spares: SpareBuffers | None = None
    ) -> None:
        """Begin with those that the first connection carries.

        Args:
            channels: what the two nodes agreed on; none with a peer of before channels.
            default: the limits of the default stream.
            spares: the node's buffers for large signals; fresh ones by default.
        """
        self._spares = spares if spares is not None else SpareBuffers()
        self._begun = SessionBytes(sum(channel.streams for channel in channels.values()))
        self._channels = {channel.number: channel for channel in channels.values()}
        # What knows no channels knows no pieces either.
        limits = default if channels else replace(default, fragment=None)
        default_id = DEFAULT if channels else ONLY
        self.default = Stream(limits, default_id, self._assembly(), channels.get(DEFAULT_CHANNEL))
        # With a peer of before channels, everything is on one stream.
        self.system = Stream(StreamParameters(), SYSTEM, self._assembly()) if channels else self.default
        self._made = {stream.id: stream for stream in (self.system, self.default)}

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._made.values()))

    def get(self, stream_id: StreamId) -> Stream | None:
        """That stream, or None when the two nodes have none of that number."""
        stream = self._made.get(stream_id)
        if stream is not None:
            return stream
        channel = self._channels.get(stream_id[0])
        if channel is None or not 0 <= stream_id[1] < channel.streams:
            return None
        limits = channel.channel.stream_parameters
        stream = self._made[stream_id] = Stream(limits, stream_id, self._assembly(), channel)
        return stream

    def _assembly(self) -> Assembly:
        return Assembly(self._spares, self._begun)

    def received(self, stream_id: StreamId) -> int:
        """The last frame that came of a stream; what a stranger asks makes none."""
        stream = self._made.get(stream_id)
        return stream.receiving.received if stream is not None else 0

    def place(self, header: Header, extensions: bytes, carrier: Carrier) -> memoryview | None:
        """Where the body of a fragment that `carrier` brings is to be received; None where that is of no use."""
        stream = self.get((header.channel, header.stream))
        if stream is None or header.number <= stream.receiving.received:
            return None
        try:
            piece = fragment_of(extensions)
        except BrokenFrame:
            return None
        stream.brought_by = carrier
        return stream.assembly.place(piece, header.body_length, header.number)

    @property
    def assembling(self) -> bool:
        """Whether some signal has come in part."""
        return self._begun.bytes > 0

    @property
    def superseded(self) -> int:
        """Signals of monotonic channels that were dropped for a newer one."""
        return sum(stream.sending.superseded for stream in self._made.values())

    def channel_name(self, stream_id: StreamId) -> str:
        """The name of the channel of a stream that has, or may have, a connection of its own."""
        return self._channels[stream_id[0]].name

    def priority(self, stream_id: StreamId) -> int:
        """That of the stream's channel."""
        channel = self._channels.get(stream_id[0])
        return channel.channel.priority if channel is not None else 0
