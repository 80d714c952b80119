"""The processes of one node: its table, its names, and the queue of ends.

Everything that belongs to a node and not to one process is here. It knows no network; what
lies elsewhere it asks of its `router` (ports.py).
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

import structlog
from greenlet import getcurrent

from partisan_actors.errors import NameTaken, NotAProcess
from partisan_actors.processes.clock import Clock
from partisan_actors.processes.crash_report import crash_of
from partisan_actors.processes.identity import Global, Life, Pid, Ref, Remote, Via
from partisan_actors.processes.messages import NodeDown, NodeUp
from partisan_actors.processes.plain import FunctionProcess
from partisan_actors.processes.ports import Alone, Router
from partisan_actors.processes.process import Monitor, Process
from partisan_actors.processes.requests import Request
from partisan_actors.processes.scheduler import EXITED, QUEUED, Scheduler
from partisan_actors.processes.timers import DeadlineWheel

__all__ = ["Runtime", "current_process", "process_of_greenlet"]


class Runtime:
    """The processes of one life of one node.

    Args:
        home: the node life that its pids name.
        clock: where time comes from.
    """

    def __init__(self, home: Life, clock: Clock) -> None:
        self.home = home
        self.root = Pid(home, 0)  # who signs the exit signals of the node itself
        self.clock = clock
        self.scheduler = Scheduler(clock)
        self.deadlines = DeadlineWheel(clock)
        self.processes: dict[int, Process] = {}
        self.names: dict[str, Process] = {}
        self.requests: dict[int, Request] = {}  # those whose handles are known outside, by number
        self.node_watchers: dict[Process, None] = {}
        self.causal_labels: tuple[str, ...] = ()  # those that this node declares
        self.channels: dict[str, bool] = {"default": False}  # those of this node, and whether they are monotonic
        self.router: Router = Alone(home.node, self.is_alive)
        self.check_message: Callable[[Any], None] | None = None  # set by strict_messages
        self.closed: str | None = None  # why no process may be made any more
        self.places = itertools.count(1)  # for those who wait for room in a mailbox
        self._serial = 0
        self._ends: deque[tuple[Process, Any]] = deque()
        self._ending = False
        # For good: the interpreter takes no such function back. It keeps no runtime alive.
        os.register_at_fork(after_in_child=partial(_close_in_child, weakref.ref(self)))

    # Making processes.

    def new_serial(self) -> int:
        """A number that this node life has not given before."""
        self._serial += 1
        return self._serial

    def new_ref(self) -> Ref:
        """A reference that is unique in the cluster."""
        return Ref(self.home, self.new_serial())

    def enter(self, process: Process) -> Pid:
        """Give a new process its pid and its place in the table."""
        if self.closed is not None:
            raise NotAProcess(self.closed)
        self._serial = serial = self._serial + 1
        self.processes[serial] = process
        return Pid(self.home, serial)

    def spawn(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        parent: Process | None = None,
        max_mailbox: int | None = None,
    ) -> FunctionProcess:
        """Make a process that runs `function`; it has not run when this returns."""
        process = self.make(function, args, kwargs, parent=parent, max_mailbox=max_mailbox)
        process.make_ready()
        return process

    def make(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        parent: Process | None = None,
        max_mailbox: int | None = None,
    ) -> FunctionProcess:
        """As `spawn`, but it runs only after `make_ready`."""
        if not callable(function):
            raise TypeError(f"a process runs a function, not {function!r}")
        pid = parent.pid if parent is not None else None
        process = FunctionProcess(self, pid, copy_context(), function, args, kwargs)
        process.max_mailbox = max_mailbox
        process.status = QUEUED  # as good as: a message does not start it, an exit signal ends it
        return process

    def is_alive(self, pid: Pid) -> bool:
        """Whether `pid` is a live process of this node life."""
        return pid.home == self.home and pid.serial in self.processes

    def process(self, pid: Pid) -> Process | None:
        """The live process of this node that `pid` names."""
        if pid.home is self.home or pid.home == self.home:
            return self.processes.get(pid.serial)
        return None

    # Where a message goes.

    def resolve(self, dest: Any) -> Process | Pid | Remote | None:
        """Turn what a user addresses into a local process, or into what the router takes; None: nobody.

        Raises:
            TypeError: `dest` is nothing that a message can be addressed to.
        """
        kind = type(dest)
        if kind is Pid:
            home = dest.home
            if home is self.home:
                return self.processes.get(dest.serial)
            if home.node != self.home.node:
                return dest  # type: ignore[no-any-return]
            # Else an earlier life of this node: nobody lives there any more.
            return self.processes.get(dest.serial) if home == self.home else None
        if kind is str:
            return self.names.get(dest)
        if kind is Remote:
            return self.names.get(dest.name) if dest.node == self.home.node else dest
        if kind is Global:
            pid = self.router.whereis_global(dest.name, False)
            return None if pid is None else self.resolve(pid)
        if kind is Via:
            found = dest.registry.whereis(dest.key)
            return None if found is None else self.resolve(found)
        if isinstance(dest, str):
            return self.names.get(dest)  # a member of a StrEnum, say
        raise TypeError(
            f"a message cannot be addressed to {dest!r}: give a Pid, a registered name (str), "
            "Remote(name, node), Global(name) or Via(registry, key)"
        )

    # Local names.

    def register(self, name: str, process: Process) -> None:
        """Register `process` under `name` on this node. Raises NameTaken; ValueError for no name."""
        if not name:
            raise ValueError("a process cannot be registered under an empty name")
        holder = self.names.get(name)
        if holder is not None:
            raise NameTaken(f"{name!r} is registered to {holder.pid} on {self.home.node}", holder.pid)
        if process.name is not None:
            raise NameTaken(f"{process.pid} is registered already, as {process.name!r}")
        self.names[name] = process
        process.name = name

    def unregister(self, name: str) -> None:
        """Free a local name."""
        process = self.names.pop(name, None)
        if process is None:
            return
        process.name = None
        # Who waits for room in its mailbox under that name has nothing to wait for any more.
        process.announce_room()

    # Links and monitors between two processes of this node; the router has those to others.

    def link(self, process: Process, pid: Pid) -> None:
        """Link `process` and `pid`; nobody there is an exit signal `"noproc"` (Erlang: `link/1`)."""
        target = self.resolve(pid)
        if target is process:
            return
        if isinstance(target, Process):
            process.add_link(target)
            target.add_link(process)
        elif target is None:
            process.signal_link(pid, "noproc")
        elif process.links is None or pid not in process.links:
            process.add_link(pid)
            self.router.link(process, pid)

    def unlink(self, process: Process, pid: Pid) -> None:
        """Take a link down on both sides; no signal of it arrives afterwards."""
        target = self.resolve(pid)
        if isinstance(target, Process):
            process.remove_link(target)
            target.remove_link(process)
        elif process.remove_link(pid):
            self.router.unlink(process, pid)

    def monitor(self, watcher: Process, dest: Any) -> Ref:
        """Let `watcher` get a `Down` when `dest` ends, or at once when it is not there."""
        target = self.resolve(dest)
        ref = self.new_ref()
        local = target if isinstance(target, Process) else None
        monitor = Monitor(watcher, local, ref, dest)
        if watcher.monitors is None:
            watcher.monitors = {}
        watcher.monitors[ref.serial] = monitor
        if local is not None:
            local.add_watch(monitor)
        elif target is None:
            monitor.down("noproc")
        else:
            self.router.monitor(monitor, target)  # type: ignore[arg-type]
        return ref

    def demonitor(self, watcher: Process, ref: Ref) -> bool:
        """Take a monitor off; whether there was one that had not fired."""
        monitor = watcher.monitors.get(ref.serial) if watcher.monitors is not None else None
        if monitor is None or monitor.ref != ref:
            return False
        del watcher.monitors[ref.serial]  # type: ignore[union-attr]
        self._release(monitor)
        return True

    def _release(self, monitor: Monitor) -> None:
        if monitor.target is not None:
            monitor.target.remove_watch(monitor)
        else:
            self.router.demonitor(monitor)

    # Ends.

    def end(self, process: Process, reason: Any) -> None:
        """Take `process` out of the world and tell those who are to know. Once."""
        if process.status == EXITED:
            return
        process.status = EXITED
        del self.processes[process.pid.serial]
        if process.name is not None:
            self.unregister(process.name)
        if process.armed_tick is not None:
            self.deadlines.disarm(process)
        if self._ending:
            # The end of one idle process may be the end of the next: a queue, so that a chain of a
            # hundred thousand links needs no stack.
            self._ends.append((process, reason))
            return
        self._ending = True
        try:
            self._tell_end(process, reason)
            while self._ends:
                self._tell_end(*self._ends.popleft())
        finally:
            self._ending = False

    def _tell_end(self, process: Process, reason: Any) -> None:
        # hot path: most processes have one of these, or none.
        process.mailbox = None
        if self.node_watchers:
            self.node_watchers.pop(process, None)
        if process.monitors is not None:
            monitors, process.monitors = process.monitors, None
            for monitor in monitors.values():
                self._tell(process, self._release, monitor)
        process.announce_room()
        if process.requests is not None:
            requests, process.requests = process.requests, None
            for request in requests:
                self._tell(process, request.abandon)
        if process.starting is not None:
            starting, process.starting = process.starting, None
            self._tell(process, starting.down, reason)
        if process.watches is not None:
            watches, process.watches = process.watches, None
            for watch in watches:
                self._tell(process, watch.down, reason)
        if process.links is not None:
            self._tell_links(process, reason)

    def _tell_links(self, process: Process, reason: Any) -> None:
        links, process.links = process.links, None
        # Both ends of a link are gone before the signal over it has any effect.
        for other in links or ():
            if isinstance(other, Process):
                if other.remove_link(process):
                    other.signal_link(process.pid, reason)
            else:
                self._tell(process, self.router.link_exit, process, other, reason)

    def _tell(self, process: Process, function: Callable[..., Any], *args: Any) -> None:
        """Call what is not of this folder: one that fails must not keep the others from being told."""
        try:
            function(*args)
        except Exception as error:
            crash = crash_of(error)
            structlog.get_logger("partisan_actors").error(
                "end_not_told",
                node=self.home.node,
                pid=str(process.pid),
                reason=f"{crash.type}: {crash.message}",
                exception=crash.traceback.rstrip(),
            )

    # Nodes.

    def tell_node_watchers(self, event: NodeUp | NodeDown) -> None:
        """Deliver a node event to the processes that asked for them."""
        for process in list(self.node_watchers):
            process.deliver(event)


def _close_in_child(reference: weakref.ref[Runtime]) -> None:
    """In the child of a fork: its copies of the processes never run, or each would do its work twice."""
    runtime = reference()
    if runtime is not None:
        runtime.closed = (
            f"this OS process is a fork of the one that runs {runtime.home.node}, where its processes live on; "
            "start a Node of another name here, or use a spawned OS process instead of a forked one"
        )
        runtime.scheduler.stop()


def process_of_greenlet() -> Process | None:
    """The process that the current greenlet runs, or None."""
    return getattr(getcurrent(), "partisan_process", None)


def current_process() -> Process:
    """The process that is running. Raises NotAProcess outside of one."""
    # hot path: one attribute of the current greenlet, 80 ns; on every primitive.
    try:
        process: Process | None = getcurrent().partisan_process
    except AttributeError:
        process = None
    if process is None:
        raise NotAProcess(
            "this greenlet or thread is not a process. Run the code in a process: inside `with Node(...)`, "
            "with `node.attached()`, or by `node.run(function)`; a greenlet made with gevent.spawn is none - "
            "use partisan_actors.spawn. From a native thread: node.run, node.spawn, node.send_from_thread"
        )
    if process.runtime.closed is not None:
        raise NotAProcess(process.runtime.closed)
    return process
