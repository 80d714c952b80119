"""Looking into a running server, and changing it (OTP: `sys`)."""

from __future__ import annotations

from typing import Any

from partisan_actors.behaviours.calls import system_call

__all__ = ["get_state", "get_status", "replace_state", "resume", "suspend"]


def get_state(dest: Any, timeout: float | None = 5.0) -> Any:
    """The attributes of a server, as a dict; on this node the values are the server's own objects."""
    return system_call(dest, ("get_state",), timeout)


def replace_state(dest: Any, change: Any, timeout: float | None = 5.0) -> Any:
    """Change the attributes of a server, and get them as they are then.

    Args:
        dest: the server.
        change: a dict of all attributes, or, for a server on this node, a function from the
            old dict to the new; it runs in the server.
        timeout: seconds.
    """
    return system_call(dest, ("replace_state", change), timeout)


def get_status(dest: Any, timeout: float | None = 5.0) -> dict[str, Any]:
    """Pid, name, parent, whether it is suspended, mailbox length, and the state as `format_status` shows it."""
    status: dict[str, Any] = system_call(dest, ("get_status",), timeout)
    return status


def suspend(dest: Any, timeout: float | None = 5.0) -> None:
    """Let a server handle nothing but system messages until `resume`; what comes meanwhile waits."""
    system_call(dest, ("suspend",), timeout)


def resume(dest: Any, timeout: float | None = 5.0) -> None:
    """Let a suspended server go on."""
    system_call(dest, ("resume",), timeout)
