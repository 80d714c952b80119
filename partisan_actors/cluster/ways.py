"""The ways to one life of another node: which stream a flow of signals travels on.

A flow is the messages of one partition key on one channel, without a key those of one pair of processes; it stays on
one stream, so its order holds. Numbers of flows mean the same at both ends: what answers a signal goes back on the
stream that brought it, and is in order with everything else of that flow.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple
from zlib import crc32

from partisan_actors.distribution.channels import DEFAULT_CHANNEL, AgreedChannel, Channel
from partisan_actors.distribution.flows import Signal
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.errors import ActorError
from partisan_actors.processes.identity import Pid, Remote
from partisan_actors.processes.ports import SendOptions

__all__ = ["Way", "Ways", "address_of", "flow_of", "name_flow", "way_of"]

# Fibonacci hashing: pids are numbers in a row, and so are the sums of those that talk.
_SPREAD = 2654435769
_MASK = 0xFFFFFFFF


def name_flow(name: str) -> int:
    """What stands for the receiver in a flow to a registered name."""
    return crc32(name.encode("utf-8", "surrogatepass"))


def flow_of(process: int, serial: int, name: str | None) -> int:
    """The flow of a process and another one, or a name; the same for both directions."""
    return process + (serial if name is None else name_flow(name))


class Way(NamedTuple):
    """A flow, and the stream that it travels on."""

    outgoing: Outgoing
    flow: Hashable  # in a monotonic channel: the key of which only the newest is kept

    def send(self, signal: Signal) -> bool:
        """Queue a signal; False when the session has ended."""
        return self.outgoing.send(signal, self.flow)


class Ways:
    """The streams of one session, by channel and flow."""

    __slots__ = ("_declared", "_default", "_session", "only")

    def __init__(self, session: Session, declared: Mapping[str, Channel]) -> None:
        """Make it.

        Args:
            declared: this node's channels, by name.
        """
        self._session = session
        self._declared = declared
        self._default = session.channels.get(DEFAULT_CHANNEL)
        single = self._default is None or self._default.used == 1
        self.only = session.default if single else None  # the only stream of the default channel

    def usual(self, flow: int) -> Way:
        """The way on the default channel."""
        # hot path: once per message.
        only = self.only
        return Way(only if only is not None else self._of(self._default, flow), flow)

    def on(self, name: str, flow: int, key: Hashable) -> Way:
        """The way on a channel of this node; `key` is what a monotonic one keeps the newest of.

        Raises: ActorError for a channel that the peer lacks, and that is not to fall back on the default one.
        """
        agreed = self._session.channels.get(name)
        if agreed is not None:
            return Way(self._of(agreed, flow), key if agreed.channel.monotonic else flow)
        if self._declared[name].fallback:
            return self.usual(flow)
        raise ActorError(
            f"{self._session.node} has no channel {name!r}, and this node's says fallback=False: "
            f"declare it there too, or let it fall back on the default channel"
        )

    def _of(self, agreed: AgreedChannel | None, flow: int) -> Outgoing:
        assert agreed is not None
        count = agreed.used
        index = ((flow * _SPREAD & _MASK) * count) >> 32 if count > 1 else 0
        return self._session.outgoing((agreed.number, index))


def address_of(dest: Pid | Remote) -> tuple[int, str | None]:
    """A receiver as signals name it: a serial, or a registered name."""
    return (dest.serial, None) if type(dest) is Pid else (0, dest.name)  # type: ignore[union-attr]


def way_of(ways: Ways, flow: int, to: int, name: str | None, options: SendOptions) -> Way:
    """The stream of a session that a message takes. Raises ActorError."""
    if options.channel is None:
        return ways.usual(flow)
    key = (to, name) if options.partition_key is None else options.partition_key
    return ways.on(options.channel, flow, key)
