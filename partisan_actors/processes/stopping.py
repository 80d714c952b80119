"""The orderly end of all processes of a node: trees from their roots, then the rest, then a kill."""

from __future__ import annotations

from typing import Any

from partisan_actors.processes.outside import Outcome
from partisan_actors.processes.process import Process
from partisan_actors.processes.runtime import Runtime

__all__ = ["stop_processes"]


class _Countdown:
    """Waits for the ends of several processes."""

    def __init__(self, outcome: Outcome, count: int) -> None:
        self._outcome = outcome
        self._left = count

    def down(self, reason: Any) -> None:
        """One less."""
        self._left -= 1
        if self._left == 0:
            self._outcome.set()


def stop_processes(runtime: Runtime, timeout: float, spare: Process | None) -> None:
    """Send exit `"shutdown"` to every process, and kill what is left after `timeout` seconds.

    A process whose parent lives is its parent's to stop (a supervisor stops its children in
    reverse order): roots are told first, and what they leave behind next.

    Args:
        runtime: whose processes.
        timeout: seconds for all of it.
        spare: the process that this runs in, if any; attached greenlets are spared as well.
    """
    deadline = runtime.clock.now() + timeout
    told: set[Process] = set()
    while True:
        others = [process for process in _others(runtime, spare) if process not in told]
        roots = [process for process in others if _is_root(runtime, process, spare)]
        if not roots:
            break
        # A quarter of the time is kept for what a root that does not end leaves untold.
        _tell_and_wait(runtime, roots, deadline - timeout / 4, set())
        told.update(roots)
        if runtime.clock.now() >= deadline - timeout / 4:
            break
    _tell_and_wait(runtime, _others(runtime, spare), deadline, told)
    for process in _others(runtime, spare):
        process.kill()


def _others(runtime: Runtime, spare: Process | None) -> list[Process]:
    return [p for p in runtime.processes.values() if p is not spare and not p.is_attached]


def _is_root(runtime: Runtime, process: Process, spare: Process | None) -> bool:
    parent = None if process.parent is None else runtime.process(process.parent)
    return parent is None or parent.is_attached or parent is spare


def _tell_and_wait(runtime: Runtime, processes: list[Process], deadline: float, told: set[Process]) -> None:
    if not processes:
        return
    outcome = Outcome(runtime)
    countdown = _Countdown(outcome, len(processes))
    for process in processes:
        process.add_watch(_One(countdown))
    for process in processes:
        if process not in told:
            process.signal_exit(runtime.root, "shutdown")
    outcome.wait(max(deadline - runtime.clock.now(), 0.0))


class _One:
    """One process of a countdown; watches are told apart by identity."""

    def __init__(self, countdown: _Countdown) -> None:
        self.down = countdown.down
