"""What a program subclasses to take broadcasts in; see `partisan_actors.broadcast`."""

from __future__ import annotations

from typing import Any, NamedTuple

import structlog

from partisan_actors.cluster.broadcast_events import Root
from partisan_actors.wire.message_types import qualified_name

__all__ = ["BroadcastHandler", "BroadcastId", "checked_handler", "handler_name"]


class BroadcastId(NamedTuple):
    """Tells one broadcast from all others: the life that it began at, and which one of that life it was."""

    root: Root
    number: int


class BroadcastHandler:
    """Takes broadcasts in, on every node that has registered it. Override `handle`, and what else is wanted.

    Everything here is called in a process of its own, one call after the other; what it raises is logged, and the next
    one comes. Each broadcast comes once; in what order says only `id`, and only for those of one root.
    """

    channel: str | None = None
    """The channel that its messages travel on; by default the default one."""

    def handle(self, message: Any) -> Any:
        """Take a message in."""
        raise NotImplementedError

    def merge(self, id: BroadcastId, message: Any) -> bool:
        """Take a message in; whether it has told anything new. By default it is given to `handle`."""
        self.handle(message)
        return True

    def is_stale(self, id: BroadcastId) -> bool:
        """Whether what is known here makes that message pointless: it is not merged then. By default none is."""
        return False

    def graft(self, id: BroadcastId) -> Any:
        """A message that another node lacks, and that is kept no more; None if it is not known here, either."""
        return None

    def exchange(self, peer: str) -> Any:
        """This node is comparing what it has seen with `peer`: the time to compare more."""

    def on_gap(self, root: Root, first: int, last: int) -> Any:
        """The broadcasts `first` to `last` of a root will not come, for whatever handlers they were. By default, a log.

        Comes after this node was apart for longer than messages are kept, or took them in too slowly.
        """
        structlog.get_logger("partisan_actors").warning(
            "broadcasts_lost", handler=handler_name(type(self)), root=root.node, first=first, last=last
        )


def handler_name(handler: type[BroadcastHandler]) -> str:
    """The name that a handler's messages bear: module and class, the same on every node."""
    return qualified_name(handler)


def checked_handler(handler: Any) -> BroadcastHandler:
    """The handler that is meant by an instance or a class, which is made then. Raises TypeError."""
    if isinstance(handler, type):
        if not issubclass(handler, BroadcastHandler):
            raise TypeError(f"{handler.__qualname__} is no BroadcastHandler")
        handler = handler()
    if not isinstance(handler, BroadcastHandler):
        raise TypeError(f"a broadcast is for a BroadcastHandler, its class or an instance, not for {handler!r}")
    kind = type(handler)
    if kind.handle is BroadcastHandler.handle and kind.merge is BroadcastHandler.merge:
        raise TypeError(f"{kind.__qualname__} takes nothing in: override handle, or merge")
    if len(handler_name(kind)) > 255:
        raise TypeError(f"the name of {kind.__qualname__} is longer than 255 characters with its module")
    return handler
