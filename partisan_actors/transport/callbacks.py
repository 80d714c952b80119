"""Callbacks of those who use a connection, which may raise, and harm nobody else by that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import structlog

from partisan_actors.transport.ports import Connection, Receiver

__all__ = ["call_back", "report_callback_failure", "tell_of_room"]

Given = TypeVarTuple("Given")
Result = TypeVar("Result")

_log = structlog.get_logger("partisan_actors")


def call_back(name: str, address: str, callback: Callable[[*Given], Result], *arguments: *Given) -> Result | None:
    """Call a callback that is not to harm its caller: what it gives, or None when it raised, which is logged."""
    try:
        return callback(*arguments)
    except BaseException as error:
        report_callback_failure(error, name, address)
        return None


def tell_of_room(connection: Connection, receiver: Receiver) -> None:
    """Tell who uses a connection that there is room again. One that raises loses the connection."""
    try:
        receiver.writable()
    except BaseException as error:
        connection.close("callback failed")
        report_callback_failure(error, "writable", connection.peer_address)


def report_callback_failure(error: BaseException, callback: str, address: str) -> None:
    """Log what a callback raised. An interrupt or an exit of the whole program goes on to the hub."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error
    _log.error(
        "transport_callback_failed", callback=callback, address=address, reason=type(error).__name__, exc_info=error
    )
