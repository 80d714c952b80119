"""The report of a process that ended with an error: one log event with all that is known."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any

import structlog

from partisan_actors.processes.messages import Crash

if TYPE_CHECKING:
    from partisan_actors.processes.process import Process

__all__ = ["crash_of", "report_crash", "shortened"]

_REPR_LIMIT = 1000


def shortened(value: Any) -> str:
    """A repr for logs, at most 1,000 characters; a repr that fails is said, not raised."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= _REPR_LIMIT else f"{text[:_REPR_LIMIT]}... ({len(text)} characters)"


def crash_of(error: BaseException) -> Crash:
    """The exit reason for an uncaught exception: text only, so that it crosses nodes."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Crash(name, _text_of(error), "".join(traceback.format_exception(error)))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "<an exception whose text cannot be made>"


def report_crash(process: Process, reason: Any, **details: Any) -> None:
    """Log the end of `process`: traceback, pid, parent, last message, mailbox length, and `details`."""
    try:
        structlog.get_logger("partisan_actors").error("process_crashed", **_fields(process, reason), **details)
    except Exception:
        # A broken log set-up must not take the scheduler with it.
        traceback.print_exc(file=sys.stderr)


def _fields(process: Process, reason: Any) -> dict[str, Any]:
    mailbox = process.mailbox
    fields = {
        "node": process.pid.node,
        "pid": str(process.pid),
        "parent": str(process.parent) if process.parent is not None else None,
        "name": process.name,
        "initial_call": process.describe(),
        "last_message": shortened(process.last_message),
        "mailbox_length": len(mailbox) if mailbox else 0,
    }
    if isinstance(reason, Crash):
        fields["reason"] = f"{reason.type}: {reason.message}"
        fields["exception"] = reason.traceback.rstrip()  # the key under which structlog prints line by line
    else:
        fields["reason"] = shortened(reason)
    return fields
