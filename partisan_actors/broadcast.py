"""Broadcast: a message to a handler on every node of the cluster, this one included.

    class Prices(BroadcastHandler):
        def handle(self, message):
            prices.update(message)

    register_handler(Prices)                      # on every node that is to get them
    broadcast({"tea": 3.20}, Prices)              # on any

Promised: every node that was a member when the message was sent, and lives until all is quiet, takes it in once, over
crashes of others, broken links and partitions of up to two minutes. After a longer one the handler's `on_gap` says
which it has lost. A node that joins gets what is broadcast from then on. There is no order.

A handler is known by its class's name and module, which have to be the same on all nodes; what comes for one that is
not registered waits, for up to two minutes. Called in a process; what it calls belongs to that process's node.
"""

from __future__ import annotations

from typing import Any

from partisan_actors.cluster.broadcast_events import Root
from partisan_actors.cluster.broadcast_handler import BroadcastHandler, BroadcastId, checked_handler, handler_name
from partisan_actors.cluster.broadcasting import Broadcasting
from partisan_actors.cluster.router import ClusterRouter
from partisan_actors.errors import ActorError
from partisan_actors.processes.runtime import current_process

__all__ = [
    "BroadcastHandler",
    "BroadcastId",
    "Root",
    "broadcast",
    "eager_peers",
    "lazy_peers",
    "register_handler",
    "statistics",
    "unregister_handler",
]


def broadcast(message: Any, handler: BroadcastHandler | type[BroadcastHandler]) -> None:
    """Send a message to every node; the handler is registered here if none of its class is.

    Waits while the way to a neighbour is full, and for no node's handler.

    Args:
        message: anything that can be sent.
        handler: its class, or the instance that takes it in here.

    Raises:
        NotSendable: the message cannot cross.
        TypeError: no handler.
        ValueError: another instance of its class is registered here, its channel, or more than 16 MiB.
    """
    broadcasting = _broadcasting()
    if not isinstance(handler, type) or broadcasting.handler(_name_of(handler)) is None:
        broadcasting.register(checked_handler(handler))
    broadcasting.broadcast(current_process(), message, _name_of(handler))


def register_handler(handler: BroadcastHandler | type[BroadcastHandler]) -> BroadcastHandler:
    """Let a handler take broadcasts in on this node; gives it.

    Args:
        handler: an instance, or a class, of which one is made without arguments if there is none.

    Raises:
        TypeError: no handler.
        ValueError: another instance of its class is registered here; a channel that this node lacks, or a monotonic
            one.
    """
    broadcasting = _broadcasting()
    if isinstance(handler, type):
        before = broadcasting.handler(_name_of(handler))
        if before is not None:
            return before
    checked = checked_handler(handler)
    broadcasting.register(checked)
    return checked


def unregister_handler(handler: BroadcastHandler | type[BroadcastHandler]) -> bool:
    """Let it take in no more on this node; whether there was one."""
    return _broadcasting().unregister(_name_of(handler))


def eager_peers(root: Root | None = None) -> list[str]:
    """The neighbours to which broadcasts go on at once: those of a root with its own tree, or of all others."""
    return _broadcasting().machine.eager_peers(root)


def lazy_peers(root: Root | None = None) -> list[str]:
    """The neighbours that are only told of them."""
    return _broadcasting().machine.lazy_peers(root)


def statistics() -> dict[str, Any]:
    """What this node has counted of its broadcasts, and how much its tables hold: plain values."""
    return _broadcasting().statistics()


def _name_of(handler: Any) -> str:
    kind = handler if isinstance(handler, type) else type(handler)
    if not issubclass(kind, BroadcastHandler):
        raise TypeError(f"a broadcast is for a BroadcastHandler, its class or an instance, not for {handler!r}")
    return handler_name(kind)


def _broadcasting() -> Broadcasting:
    router = current_process().runtime.router
    if not isinstance(router, ClusterRouter):
        raise ActorError("this process is on no node of a cluster")
    return router.broadcasting
