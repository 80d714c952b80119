"""Looking at processes from outside: `process_info` and `processes`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from greenlet import getcurrent

from partisan_actors.processes.identity import Pid
from partisan_actors.processes.process import Process
from partisan_actors.processes.runtime import current_process

__all__ = ["ProcessInfo", "info_of", "process_info", "processes"]


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What is known of a live process (Erlang: `process_info/1`)."""

    pid: Pid
    mailbox_length: int
    links: list[Pid]
    monitors: list[Any]
    monitored_by: list[Pid]
    current_function: str | None
    reductions: int
    parent: Pid | None
    initial_call: str
    registered_name: str | None
    trapping_exits: bool


def process_info(pid: Pid) -> ProcessInfo | None:
    """What is known of a process of this node, None when it is dead.

    Raises:
        ValueError: the pid is of another node.
    """
    runtime = current_process().runtime
    if type(pid) is not Pid:
        raise TypeError(f"process_info takes a Pid, not {pid!r}")
    if pid.node != runtime.home.node:
        raise ValueError(f"process_info looks at processes of {runtime.home.node}; {pid} lives on another node")
    process = runtime.process(pid)
    return None if process is None else info_of(process)


def processes() -> list[Pid]:
    """The pids of all processes of this node, in the order they were made (Erlang: `processes/0`)."""
    return [process.pid for process in current_process().runtime.processes.values()]


def info_of(process: Process) -> ProcessInfo:
    """See `process_info`."""
    watches = list(process.watches or ())
    return ProcessInfo(
        pid=process.pid,
        mailbox_length=len(process.mailbox or ()),
        links=[other.pid if isinstance(other, Process) else other for other in process.links or ()],
        monitors=[monitor.item for monitor in (process.monitors or {}).values()],
        monitored_by=[watch.watcher_pid for watch in watches if hasattr(watch, "watcher_pid")],
        current_function=_current_function(process),
        reductions=process.reductions,
        parent=process.parent,
        initial_call=process.describe(),
        registered_name=process.name,
        trapping_exits=process.trapping,
    )


def _current_function(process: Process) -> str | None:
    """The innermost function of the program's own that it is in; None for one that waits for messages."""
    if process.greenlet is None:
        return None
    frame = sys._getframe(1) if process.greenlet is getcurrent() else process.greenlet.gr_frame
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("partisan_actors.processes", "partisan_actors.behaviours.", "gevent.", "greenlet")):
            return f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return None
