"""Selective receive: the oldest message that matches, the others left in their order.

A wait looks only at what has come since it last looked (OTP's save pointer), so a process with
many messages waiting pays for them once per `receive`, not once per wake-up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from partisan_actors.errors import ProcessExit, ReceiveTimeout
from partisan_actors.processes.clock import deadline_after
from partisan_actors.processes.process import Process

__all__ = ["RAISE", "discard", "discard_youngest", "let_others_run", "take_message"]


class _Raise:
    def __repr__(self) -> str:
        return "RAISE"


RAISE: Any = _Raise()
"""The default of `default`: a timeout raises."""


def take_message(process: Process, match: Any, timeout: float | None, default: Any) -> Any:
    """See `receive`, which is this for the current process."""
    # hot path: everything matches, and a plain process hides nothing; before a wait, and after one.
    mailbox = process.mailbox
    if match is None and mailbox and not process.hides(mailbox[0]):
        let_others_run(process)
        return _taken(process, 0)
    predicate = _predicate(match)
    clock = process.runtime.clock
    deadline = deadline_after(clock, timeout)
    seen = 0
    while True:
        if mailbox:
            index, seen = _find(process, predicate, seen)
            if index is not None:
                let_others_run(process)
                return _taken(process, index)
        if deadline is not None and clock.now() >= deadline:
            let_others_run(process)
            if len(process.mailbox or ()) > seen:  # it came meanwhile
                mailbox = process.mailbox
                index, seen = _find(process, predicate, seen)
                if index is not None:
                    return _taken(process, index)
            if default is not RAISE:
                return default
            raise ReceiveTimeout(f"{process.pid} got no {_wanted(match)} within {timeout} s; {seen} others are waiting")
        if len(process.mailbox or ()) > seen:
            process.give_way()  # the predicate has sent to its own process, and may go on to do so
        else:
            process.wait(deadline, for_message=True)
        mailbox = process.mailbox
        if match is None and seen == 0 and mailbox and not process.hides(mailbox[0]):
            return _taken(process, 0)


def discard(process: Process, match: Callable[[Any], bool]) -> bool:
    """Remove the oldest message that matches, if there is one."""
    mailbox = process.mailbox or deque()
    return _discard_first(process, match, enumerate(mailbox))


def discard_youngest(process: Process, match: Callable[[Any], bool]) -> bool:
    """Remove the youngest message that matches, if there is one."""
    mailbox = process.mailbox or deque()
    return _discard_first(process, match, zip(range(len(mailbox) - 1, -1, -1), reversed(mailbox), strict=True))


def _discard_first(process: Process, match: Callable[[Any], bool], messages: Iterable[tuple[int, Any]]) -> bool:
    for index, message in messages:
        if match(message):
            assert process.mailbox is not None
            del process.mailbox[index]
            process.reductions += 1
            process.announce_room()
            return True
    return False


def _find(process: Process, predicate: Callable[[Any], Any] | None, seen: int) -> tuple[int | None, int]:
    """Look at what has come after the first `seen`: where the match is, and how many are seen now."""
    while True:
        fresh = _after(process.mailbox, seen)
        removed = process.reductions
        for index, message in enumerate(fresh, seen):
            matches = not process.hides(message) and (predicate is None or predicate(message))
            if process.reductions != removed:
                break
            if matches:
                return index, index
        else:
            return None, seen + len(fresh)
        # A predicate that itself receives has moved what was here: look again.
        seen = 0


def _after(mailbox: deque[Any] | None, seen: int) -> list[Any]:
    """The messages after the first `seen`; a copy, since a predicate may send to its own process."""
    if not mailbox:
        return []
    if len(mailbox) - seen < 64:  # from the right end, where that costs nothing
        return [mailbox[index] for index in range(seen - len(mailbox), 0)]
    return list(islice(mailbox, seen, None))


def _taken(process: Process, index: int) -> Any:
    mailbox = process.mailbox
    if mailbox is None:
        raise ProcessExit(process.exiting)  # killed by its own predicate
    process.reductions += 1
    if index == 0:
        message = mailbox.popleft()
    else:
        message = mailbox[index]
        del mailbox[index]
    process.last_message = message
    if process.room is not None:
        process.announce_room()
    return message


def let_others_run(process: Process) -> None:
    """Neither a long mailbox nor a loop that only looks is to keep everybody else from running."""
    if process.runtime.clock.effort() >= process.scheduler.slice_end:
        process.give_way()


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
