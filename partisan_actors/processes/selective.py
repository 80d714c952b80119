"""Selective receive: the oldest message that matches, the others left in their order.

A wait looks only at what has come since it last looked (OTP's save pointer), so a process with
many messages waiting pays for them once per `receive`, not once per wake-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from partisan_actors.errors import ReceiveTimeout
from partisan_actors.processes.process import Process

__all__ = ["RAISE", "take_message"]


class _Raise:
    def __repr__(self) -> str:
        return "RAISE"


RAISE: Any = _Raise()
"""The default of `default`: a timeout raises."""


def take_message(process: Process, match: Any, timeout: float | None, default: Any) -> Any:
    """See `receive`, which is this for the current process."""
    # hot path: everything matches, and a plain process hides nothing.
    mailbox = process.mailbox
    if match is None and mailbox and not process.hides(mailbox[0]):
        return _taken(process, 0)
    predicate = _predicate(match)
    clock = process.runtime.clock
    deadline = None if timeout is None else clock.now() + timeout
    seen = 0
    while True:
        index = _find(process, predicate, seen)
        if index is not None:
            return _taken(process, index)
        seen = len(process.mailbox or ())
        if deadline is not None and clock.now() >= deadline:
            if default is not RAISE:
                return default
            raise ReceiveTimeout(f"{process.pid} got no {_wanted(match)} within {timeout} s; {seen} others are waiting")
        process.wait(deadline, for_message=True)


def _find(process: Process, predicate: Callable[[Any], Any] | None, seen: int) -> int | None:
    mailbox = process.mailbox
    if not mailbox:
        return None
    # A snapshot of the new ones, taken from the right end: a predicate may send to its own process.
    fresh = [mailbox[index] for index in range(seen - len(mailbox), 0)] if seen else list(mailbox)
    for offset, message in enumerate(fresh):
        if not process.hides(message) and (predicate is None or predicate(message)):
            index = seen + offset
            # A predicate that itself receives has moved what was here: look again.
            if index < len(mailbox) and mailbox[index] is message:
                return index
            return _find(process, predicate, 0)
    return None


def _taken(process: Process, index: int) -> Any:
    mailbox = process.mailbox
    assert mailbox is not None
    if index == 0:
        message = mailbox.popleft()
    else:
        message = mailbox[index]
        del mailbox[index]
    process.last_message = message
    if process.room is not None:
        room, process.room = process.room, None
        for sender in room:
            sender.wake()
    return message


def _predicate(match: Any) -> Callable[[Any], Any] | None:
    if match is None:
        return None
    if isinstance(match, type) or (isinstance(match, tuple) and match and all(isinstance(c, type) for c in match)):
        return lambda message: isinstance(message, match)
    if callable(match):
        return match  # type: ignore[no-any-return]
    raise TypeError(f"receive takes a predicate, a class, or a tuple of classes, not {match!r}")


def _wanted(match: Any) -> str:
    if match is None:
        return "message"
    if isinstance(match, tuple):
        return " or ".join(c.__name__ for c in match)
    return f"message matching {getattr(match, '__qualname__', match)!s}"
