"""What other processes ask of a supervisor: thin functions, a call each.

Like OTP's they wait for as long as it takes: a supervisor that ends a child in order is not late.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from partisan_actors.behaviours.calls import call
from partisan_actors.behaviours.child_spec import ChildError, ChildInfo, ChildSpec
from partisan_actors.errors import StartError
from partisan_actors.processes.crash_report import shortened
from partisan_actors.processes.identity import Pid
from partisan_actors.processes.messages import Crash

__all__ = [
    "count_children",
    "delete_child",
    "get_childspec",
    "restart_child",
    "start_child",
    "terminate_child",
    "which_children",
]

_TEXTS = {
    "not_found": "has no child {id!r}",
    "running": "still runs its child {id!r}; terminate it first",
    "restarting": "is starting its child {id!r} again; terminate it first",
}


def which_children(supervisor: Any) -> list[ChildInfo]:
    """The children, in the order of their start; `pid` is None for one that is not running."""
    return [ChildInfo(*row) for row in _ask(supervisor, "which_children", None)]


def count_children(supervisor: Any) -> dict[str, int]:
    """How many "specs" there are, "active" children with a process, and "supervisors" and "workers" by spec."""
    counts: dict[str, int] = _ask(supervisor, "count_children", None)
    return counts


def start_child(supervisor: Any, spec: ChildSpec) -> Pid | None:
    """Add a child and start it.

    Returns:
        Its pid; None when it has no process: its start gave none, or no node for it is live yet.

    Raises:
        StartError: it did not start, and was not added; or `reason` is "already_present" or
            ("already_started", pid): there is a child of this id.
    """
    if not isinstance(spec, ChildSpec):
        raise TypeError(f"start_child takes a ChildSpec, not {spec!r}")
    pid: Pid | None = _ask(supervisor, "start_child", spec)
    return pid


def terminate_child(supervisor: Any, id: Hashable) -> None:
    """End a child; its spec stays, unless it is temporary. Raises ChildError ("not_found")."""
    _ask(supervisor, "terminate_child", id)


def restart_child(supervisor: Any, id: Hashable) -> Pid | None:
    """Start a child that was terminated, or has ended. Returns and raises as `start_child`, and ChildError."""
    pid: Pid | None = _ask(supervisor, "restart_child", id)
    return pid


def delete_child(supervisor: Any, id: Hashable) -> None:
    """Drop the spec of a child that does not run. Raises ChildError ("not_found", "running", "restarting")."""
    _ask(supervisor, "delete_child", id)


def get_childspec(supervisor: Any, id: Hashable) -> ChildSpec:
    """The spec of a child. Raises ChildError ("not_found")."""
    spec: ChildSpec = _ask(supervisor, "get_childspec", id)
    return spec


def _ask(supervisor: Any, operation: str, argument: Any) -> Any:
    outcome, value = call(supervisor, (operation, argument), None)
    if outcome == "ok":
        return value
    id = argument.id if isinstance(argument, ChildSpec) else argument
    if outcome == "start_error":
        raise StartError(value, f"{supervisor!r} could not start its child {id!r}: {_text(value)}")
    template = _TEXTS.get(value) if isinstance(value, str) else None
    text = template.format(id=id) if template is not None else f"refused {operation}: {_text(value)}"
    raise ChildError(value, f"{supervisor!r} {text}")


def _text(reason: Any) -> str:
    if reason == "already_present":
        return "it has one of this id already, which does not run; restart_child starts it"
    if type(reason) is tuple and len(reason) == 2 and reason[0] == "already_started":
        return f"it runs already, as {reason[1]}"
    if isinstance(reason, Crash):
        return f"{reason.type}: {reason.message}\n{reason.traceback}"
    return shortened(reason)
