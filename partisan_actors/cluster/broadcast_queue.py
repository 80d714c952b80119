"""What waits for a program's broadcast handler, and the process that calls it.

Promised: the handler never holds up the protocol, and what waits is bounded: beyond `LIMIT` calls or `LIMIT_BYTES` only
which message it is waits, and the message is looked up in the log when its turn comes; one that is gone by then is a
gap, and so is what comes beyond `LIMIT_NUMBERS`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from partisan_actors.cluster.broadcast_events import Root
from partisan_actors.cluster.broadcast_handler import BroadcastHandler, BroadcastId
from partisan_actors.processes.process import Process, is_reason
from partisan_actors.processes.runtime import Runtime
from partisan_actors.wire.codec import Codec, DecodeError

__all__ = ["LIMIT", "LIMIT_BYTES", "LIMIT_NUMBERS", "HandlerQueue"]

LIMIT = 10_000
LIMIT_BYTES = 16 << 20
LIMIT_NUMBERS = 100_000


class _Merge(NamedTuple):
    root: Root
    number: int
    payload: bytes | None  # None: look it up


class _Gap(NamedTuple):
    root: Root
    first: int
    last: int


class _Exchange(NamedTuple):
    peer: str


class _Graft(NamedTuple):
    peer: str
    root: Root
    number: int


class HandlerQueue:
    """The calls of one handler that are to be made, in order.

    Args:
        lookup: the payload of a message that is kept.
        fetched: takes what the handler's `graft` gave: the peer that wants it, the root, the number, the payload.
    """

    def __init__(
        self,
        runtime: Runtime,
        codec: Codec,
        handler: BroadcastHandler,
        lookup: Callable[[Root, int], bytes | None],
        fetched: Callable[[str, Root, int, bytes], None],
    ) -> None:
        self.handler = handler
        self.merged = self.stale = self.failed = self.undecodable = self.lost = 0
        self._runtime = runtime
        self._codec = codec
        self._lookup = lookup
        self._fetched = fetched
        self._calls: deque[_Merge | _Gap | _Exchange | _Graft] = deque()
        self._bytes = 0
        self._process: Process | None = None
        kind = type(handler)
        self.grafts = kind.graft is not BroadcastHandler.graft
        self.exchanges = kind.exchange is not BroadcastHandler.exchange

    @property
    def waiting(self) -> int:
        """Calls that are to be made."""
        return len(self._calls)

    def merge(self, root: Root, number: int, payload: bytes) -> None:
        """A message has come."""
        if len(self._calls) >= LIMIT_NUMBERS:
            self.gap(root, number, number)
        elif len(self._calls) >= LIMIT or self._bytes + len(payload) > LIMIT_BYTES:
            self._put(_Merge(root, number, None))
        else:
            self._bytes += len(payload)
            self._put(_Merge(root, number, payload))

    def gap(self, root: Root, first: int, last: int) -> None:
        """These will not come."""
        before = self._calls[-1] if self._calls else None
        if type(before) is _Gap and before.root == root and before.last + 1 == first:
            self._calls[-1] = before._replace(last=last)
        elif len(self._calls) < 2 * LIMIT_NUMBERS:
            self._put(_Gap(root, first, last))
        else:
            self.lost += last - first + 1

    def exchange(self, peer: str) -> None:
        """What is known is being compared with `peer`."""
        if self.exchanges and len(self._calls) < LIMIT:
            self._put(_Exchange(peer))

    def graft(self, peer: str, root: Root, number: int) -> None:
        """`peer` lacks a message."""
        if self.grafts and len(self._calls) < LIMIT:
            self._put(_Graft(peer, root, number))

    def _put(self, call: _Merge | _Gap | _Exchange | _Graft) -> None:
        self._calls.append(call)
        if self._process is None:
            self._start()

    def _start(self) -> None:
        if self._runtime.closed is None:
            self._process = self._runtime.spawn(self._run, (), {})
            self._process.add_watch(self)

    def down(self, reason: Any) -> None:
        """The process has ended; if somebody killed it, what waits is not theirs to lose."""
        self._process = None
        # A node that stops tells everybody "shutdown", until nobody is left.
        if self._calls and not is_reason(reason, "shutdown"):
            self._start()

    def _run(self) -> None:
        while self._calls:
            self._call(self._calls.popleft())

    def _call(self, call: _Merge | _Gap | _Exchange | _Graft) -> None:
        handler = self.handler
        try:
            match call:
                case _Merge(root, number, payload):
                    self._merge(BroadcastId(root, number), payload)
                case _Gap(root, first, last):
                    handler.on_gap(root, first, last)
                case _Exchange(peer):
                    handler.exchange(peer)
                case _Graft(peer, root, number):
                    message = handler.graft(BroadcastId(root, number))
                    if message is not None:
                        self._fetched(peer, root, number, self._codec.encode(message))
        except Exception as error:
            self.failed += 1
            self._log("broadcast_handler_failed", error, exc_info=error)

    def _merge(self, id: BroadcastId, payload: bytes | None) -> None:
        if payload is None:
            payload = self._lookup(*id)
            if payload is None:
                self.handler.on_gap(id.root, id.number, id.number)
                return
        else:
            self._bytes -= len(payload)
        try:
            message = self._codec.decode(payload)
        except DecodeError as error:
            self.undecodable += 1
            self._log("undecodable_broadcast", error, root=id.root.node, number=id.number)
            return
        if self.handler.is_stale(id) or not self.handler.merge(id, message):
            self.stale += 1
        else:
            self.merged += 1

    def _log(self, event: str, error: Exception, **about: Any) -> None:
        structlog.get_logger("partisan_actors").error(
            event,
            node=self._runtime.home.node,
            handler=type(self.handler).__qualname__,
            reason=repr(error),
            **about,
        )
