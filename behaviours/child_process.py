"""Starting and ending the process of a child, from within its supervisor's process.

Ending follows OTP: monitor it, tell it, wait for its `Down` for the time it has, then kill it.
The waits are selective: calls and the exit of the supervisor's own parent stay in the mailbox,
in their order, until the supervisor is back in its loop.

A child that has ended before it is told leaves an `Exit` in the mailbox. It is taken out here,
with its reason; one that comes later still, from another node, is from an unknown pid then,
and ignored.
"""

from __future__ import annotations

from typing import Any

from partisan_actors.behaviours.child_spec import BRUTAL_KILL, ChildSpec
from partisan_actors.behaviours.directives import Ignore
from partisan_actors.processes.identity import Pid, Ref
from partisan_actors.processes.messages import Down, Exit
from partisan_actors.processes.plain import is_normal
from partisan_actors.processes.primitives import link, monitor, receive, send_exit, spawn_opt
from partisan_actors.processes.process import is_reason

__all__ = ["end_child", "ended_as_told", "start_child_process"]


def start_child_process(spec: ChildSpec, node: str | None) -> Pid | None:
    """Start a child's process, linked to the calling one.

    Args:
        spec: what to start.
        node: the node chosen for it; None for a child that does not ask for one.

    Returns:
        Its pid; None when it has no process to show (`Ignore`).

    Raises:
        TypeError: `start` gave something else.
        Exception: whatever `start` raises.
    """
    target = spec.target
    if isinstance(target, type):
        options = {} if node is None else {"node": node}
        started = target.start_link(*spec.args, **spec.kwargs, **options)  # type: ignore[attr-defined]
    elif node is None:
        started = target(*spec.args, **spec.kwargs)
    else:
        started = spawn_opt(target, spec.args, spec.kwargs, link=True, node=node)
    if started is None or isinstance(started, Ignore):
        return None
    if not isinstance(started, Pid):
        raise TypeError(f"the start of the child {spec.id!r} gave {started!r}; it must give a linked Pid, or None")
    # A function that forgot the link would leave a child whose end nobody notices. There already: nothing happens.
    link(started)
    return started


def end_child(pid: Pid, time_to_end: float | str) -> Any:
    """End a child's process and wait until it has ended.

    Args:
        pid: the child.
        time_to_end: seconds that it gets, "brutal_kill" or "infinity".

    Returns:
        The reason that it ended with; "noconnection" when its node is gone.
    """
    ref = monitor(pid)
    if time_to_end == BRUTAL_KILL:
        send_exit(pid, "kill")
        reason = _wait_for_end(ref, None)
    else:
        send_exit(pid, "shutdown")
        reason = _wait_for_end(ref, None if isinstance(time_to_end, str) else time_to_end)
        if reason is _STILL_RUNNING:
            send_exit(pid, "kill")
            reason = _wait_for_end(ref, None)
    signal = receive(lambda m: type(m) is Exit and m.sender == pid, timeout=0, default=None)
    # "noproc": it was gone before the monitor was there, and only the link knows why.
    return signal.reason if signal is not None and is_reason(reason, "noproc") else reason


_STILL_RUNNING = object()


def _wait_for_end(ref: Ref, seconds: float | None) -> Any:
    down = receive(lambda m: type(m) is Down and m.ref == ref, timeout=seconds, default=None)
    return _STILL_RUNNING if down is None else down.reason


def ended_as_told(spec: ChildSpec, reason: Any) -> bool:
    """Whether `reason` is what ending a child of this spec should give (OTP: else it is reported)."""
    if spec.time_to_end == BRUTAL_KILL and is_reason(reason, "killed"):
        return True
    return is_reason(reason, "shutdown") or (spec.restart != "permanent" and is_normal(reason))
