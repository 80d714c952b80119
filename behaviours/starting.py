"""Starting a server: the starter waits for `init`, and learns of every way in which it can fail.

`Starting` is the first to be told when the new process ends, so whatever ends it - a failing
`init`, a signal, a kill - reaches the starter by the same door. When it fails the link is taken down
first: the starter gets the error and no exit signal.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from partisan_actors.behaviours.directives import Directive, Ignore
from partisan_actors.behaviours.server_loop import OwnGreenletServerProcess, ServerProcess
from partisan_actors.errors import NameTaken, ProcessExit, StartError
from partisan_actors.processes.clock import checked_seconds
from partisan_actors.processes.crash_report import crash_of, report_crash, shortened
from partisan_actors.processes.identity import Global, Pid, Ref
from partisan_actors.processes.messages import Crash
from partisan_actors.processes.process import NOT_EXITING, Process
from partisan_actors.processes.runtime import current_process
from partisan_actors.processes.scheduler import QUEUED

if TYPE_CHECKING:
    from partisan_actors.behaviours.gen_server import GenServer

__all__ = ["Starting", "start_server", "start_server_for"]


class Starting:
    """A start under way."""

    __slots__ = (
        "args",
        "done",
        "failed",
        "ignored",
        "kwargs",
        "monitor",
        "name",
        "process",
        "reason",
        "ref",
        "starter",
    )

    def __init__(
        self,
        starter: Process,
        process: ServerProcess,
        name: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        monitor: bool,
    ) -> None:
        self.starter = starter
        self.process = process
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.monitor = monitor
        self.done = False
        self.failed = False
        self.ignored = False
        self.reason: Any = None
        self.ref: Ref | None = None

    def run(self, process: ServerProcess) -> bool:
        """In the new process: take the name and call `init`; whether there is a server now."""
        try:
            if self.name is not None:
                self._take_name(process)
            result = process.server.__call_init__(self.args, self.kwargs)
            outcome = process.outcome_of_init(result) if isinstance(result, Directive) else None
        except BaseException as error:
            self._failed(process, error)
            return False
        if process.exiting is not NOT_EXITING:
            process.runtime.end(process, process.exiting)
            return False
        if outcome is not None:
            self.ignored = isinstance(outcome, Ignore)
            process.runtime.end(process, "normal" if isinstance(outcome, Ignore) else outcome.reason)
            return False
        process.starting = None
        if self.monitor:
            self.ref = process.runtime.monitor(self.starter, process.pid)
        self._tell()
        if isinstance(result, Directive):
            process.begin(result)
        return True

    def _take_name(self, process: ServerProcess) -> None:
        runtime = process.runtime
        try:
            if isinstance(self.name, Global):
                runtime.router.register_global(process, self.name.name, process.pid)
            else:
                runtime.register(self.name, process)
        except NameTaken as error:
            raise ProcessExit(("already_started", error.holder)) from None

    def _failed(self, process: ServerProcess, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            process.scheduler.interrupt_main(error)
        if process.exiting is not NOT_EXITING:
            process.runtime.end(process, process.exiting)
        elif isinstance(error, ProcessExit):
            process.runtime.end(process, error.reason)
        else:
            crash = crash_of(error)
            process.last_message = ("init", self.args, self.kwargs)
            report_crash(process, crash)
            process.runtime.end(process, crash)

    def down(self, reason: Any) -> None:
        """The process ended before it was a server. Watches are told before links, so no signal follows."""
        process = self.process
        if process.ends_with is not None:
            process.runtime.unlink(process, process.ends_with)
        self.failed = not self.ignored
        self.reason = reason
        self._tell()

    def _tell(self) -> None:
        self.done = True
        self.starter.wake()


def start_server(
    cls: type[GenServer],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    name: str | Global | None,
    node: str | None,
    timeout: float | None,
    link: bool,
    monitor: bool = False,
) -> Any:
    """Start a server for the current process; see `GenServer.start`."""
    process = current_process()
    if process.exiting is not NOT_EXITING:
        process.check_exiting()
    runtime = process.runtime
    if name is not None and not isinstance(name, str | Global):
        raise TypeError(f"a name is a str or Global(name), not {name!r}")
    if node is not None and node != runtime.home.node:
        start = {"args": args, "kwargs": kwargs, "name": name, "timeout": timeout, "link": link, "monitor": monitor}
        return runtime.router.spawn(process, node, cls, start)
    return start_server_for(cls, process, process.pid, args, kwargs, name, timeout, link, monitor)


def start_server_for(
    cls: type[GenServer],
    starter: Process,
    parent: Pid,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    name: str | Global | None = None,
    timeout: float | None = None,
    link: bool = False,
    monitor: bool = False,
) -> Any:
    """Start a server whose parent is `parent`, here or on another node; `starter`, which runs this, waits.

    Raises:
        StartError: it did not start; it is gone, with its link and its name.
    """
    runtime = starter.runtime
    if runtime.check_message is not None and cls.__sendable_start__:
        runtime.check_message((args, kwargs))
    if cls.__init__ is not object.__init__:
        # Given after the class was made, by @dataclass for one: nobody would call it.
        raise TypeError(f"{cls.__qualname__} has an __init__; put it into init(self, ...), which runs in the server")
    kind = OwnGreenletServerProcess if cls.own_greenlet else ServerProcess
    child = kind(runtime, parent, copy_context(), cls.__new__(cls), link)
    starting = Starting(starter, child, name, args, kwargs, monitor)
    child.starting = starting
    child.status = QUEUED  # before the link: a parent that is gone already ends it here and now
    if link:
        # From the child's side: for a parent on another node the link is on its way before any answer.
        runtime.link(child, parent)
    child.scheduler.enqueue(child)
    if timeout is not None:
        _wait_for(starting, timeout)
    while not starting.done:
        starter.wait()
    if starting.ignored:
        return None
    if starting.failed:
        raise StartError(starting.reason, _text(cls, name, starting.reason))
    return (child.pid, starting.ref) if monitor else child.pid


def _wait_for(starting: Starting, timeout: float) -> None:
    starter = starting.starter
    clock = starter.runtime.clock
    deadline = clock.now() + checked_seconds(timeout, "timeout")
    while not starting.done:
        if clock.now() >= deadline:
            starting.process.kill()
            starting.reason = "timeout"
            return
        starter.wait(deadline)


def _text(cls: type[GenServer], name: Any, reason: Any) -> str:
    what = f"{cls.__qualname__} as {name!r}" if name is not None else cls.__qualname__
    if isinstance(reason, Crash):
        return f"could not start {what}: {reason.type}: {reason.message}\n{reason.traceback}"
    if type(reason) is tuple and len(reason) == 2 and reason[0] == "already_started":
        return f"could not start {what}: the name is taken by {reason[1]}"
    return f"could not start {what}: {shortened(reason)}"
