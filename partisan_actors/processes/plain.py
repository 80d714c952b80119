"""The two kinds of process that own their greenlet: a function's, and a greenlet attached from outside."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from partisan_actors.errors import NotAProcess, ProcessExit
from partisan_actors.processes.crash_report import crash_of, report_crash, shortened
from partisan_actors.processes.identity import Pid
from partisan_actors.processes.process import NOT_EXITING, Process
from partisan_actors.processes.scheduler import EXITED, QUEUED, RUNNING

if TYPE_CHECKING:
    from partisan_actors.processes.runtime import Runtime

__all__ = ["AttachedProcess", "FunctionProcess", "is_normal", "name_of"]


def name_of(function: Callable[..., Any]) -> str:
    """`module.qualname` of a function or class, or its repr."""
    name = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if name is None:
        return shortened(function)  # a functools.partial, say
    return f"{module}.{name}" if module is not None else str(name)


def is_normal(reason: Any) -> bool:
    """Whether an exit reason is an orderly end: `"normal"`, `"shutdown"`, `("shutdown", detail)`."""
    if type(reason) is tuple:
        return len(reason) == 2 and type(reason[0]) is str and reason[0] == "shutdown"
    return type(reason) is str and reason in ("normal", "shutdown")


class FunctionProcess(Process):
    """Runs one function from its first step to its end, on one greenlet."""

    __slots__ = ("args", "error", "function", "keep_error", "kwargs", "role", "value")

    def __init__(
        self,
        runtime: Runtime,
        parent: Pid | None,
        context: Context,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(runtime, parent, context)
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.value: Any = None
        self.keep_error = False  # somebody waits for the value, and gets the error instead of a report
        self.error: BaseException | None = None
        self.role: Any = None  # what it has become (`enter_loop`)

    def make_ready(self) -> None:
        """Queue its first and only turn."""
        self.status = QUEUED
        self.scheduler.enqueue(self)

    def describe(self) -> str:
        """The function's name."""
        return name_of(self.function)

    def hides(self, message: Any) -> bool:
        """What its role hides, if it has one."""
        return self.role is not None and self.role.hides(message)

    def run_turn(self) -> None:
        """Run the function to its end."""
        self.status = RUNNING
        self.reductions += 1
        try:
            self.value = self.function(*self.args, **self.kwargs)
            reason: Any = "normal" if self.exiting is NOT_EXITING else self.exiting
        except ProcessExit as exit_:
            # A signal's reason stands, whatever user code raised while it unwound.
            reason = exit_.reason if self.exiting is NOT_EXITING else self.exiting
            if self.status != EXITED and self.exiting is NOT_EXITING and not is_normal(reason):
                report_crash(self, reason)
        except BaseException as error:
            reason = self._crashed(error)
            if isinstance(error, KeyboardInterrupt):
                self.scheduler.interrupt_main(error)
        self.args = ()
        self.kwargs = {}
        self.runtime.end(self, reason)

    def _crashed(self, error: BaseException) -> Any:
        if self.exiting is not NOT_EXITING:
            return self.exiting
        crash = crash_of(error)
        if self.keep_error:
            self.error = error
            return crash
        report_crash(self, crash)
        return crash


class AttachedProcess(Process):
    """A greenlet from outside that is a process for a while. It runs its own code; there are no turns.

    Signals reach it only at the runtime's own waits: nothing is thrown into a greenlet that
    somebody else made.
    """

    __slots__ = ("_before",)

    is_attached = True

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, None, None)
        self._before: Any = None

    def describe(self) -> str:
        """What it is."""
        return "attached greenlet"

    def attach(self) -> None:
        """Make the current greenlet this process.

        Raises:
            NotAProcess: this is not the thread of the node; the process is gone.
        """
        greenlet = getcurrent()
        if _root_of(greenlet) is not _root_of(self.scheduler.hub):
            self.runtime.end(self, "normal")
            raise NotAProcess(
                f"{self.pid.node} runs in another thread, and only a greenlet of that thread can be attached. "
                "From a native thread: node.run, node.spawn, node.send_from_thread"
            )
        self.greenlet = greenlet
        self._before = getattr(greenlet, "partisan_process", None)
        greenlet.partisan_process = self
        self.status = RUNNING

    def detach(self, error: BaseException | None) -> None:
        """Give the greenlet back what it was, and end the process."""
        self._leave_greenlet()
        if self.exiting is not NOT_EXITING:
            reason = self.exiting
        elif isinstance(error, ProcessExit):
            reason = error.reason
        else:
            reason = "normal" if error is None else crash_of(error)
        self.runtime.end(self, reason)

    def _leave_greenlet(self) -> None:
        greenlet, self.greenlet = self.greenlet, None
        if greenlet is None:
            return
        current = greenlet.partisan_process
        if current is self:
            greenlet.partisan_process = self._before
            return
        # Another node was attached to it since, and this one stops first.
        while isinstance(current, AttachedProcess):
            if current._before is self:
                current._before = self._before
                return
            current = current._before


def _root_of(greenlet: Any) -> Any:
    """The main greenlet of the greenlet's thread. (A patched `threading.get_ident` does not tell threads apart.)"""
    while greenlet.parent is not None:
        greenlet = greenlet.parent
    return greenlet
