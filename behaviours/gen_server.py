"""GenServer: a process that keeps state and serves requests (OTP: `gen_server`).

Subclass it, and write the callbacks that you need. What a callback returns is what happens
next: a plain value, or one of the directives below. State lives on `self`, which the runtime
leaves alone. An uncaught exception ends the server with a `Crash`; its callers get `ServerExit`.
"""

from __future__ import annotations

import inspect
from typing import Any, NoReturn

import structlog

from partisan_actors.behaviours.calls import (
    NO_RESPONSE,
    abcast,
    call,
    cast,
    check_response,
    multi_call,
    receive_response,
    reply,
    send_request,
    stop,
    wait_response,
)
from partisan_actors.behaviours.directives import (
    Continue,
    Directive,
    Hibernate,
    Ignore,
    NoReply,
    Reply,
    Stop,
    TimedOut,
    Timeout,
    check_then,
)
from partisan_actors.behaviours.server_loop import EnteredLoop, run_to_the_end
from partisan_actors.behaviours.starting import start_server, start_server_for
from partisan_actors.errors import ActorError, ProcessExit, UnknownRequest
from partisan_actors.processes.crash_report import shortened
from partisan_actors.processes.identity import Global, Pid
from partisan_actors.processes.plain import FunctionProcess
from partisan_actors.processes.process import Process
from partisan_actors.processes.requests import Caller, RequestId
from partisan_actors.processes.runtime import current_process
from partisan_actors.processes.scheduler import EXITED

__all__ = [
    "NO_RESPONSE",
    "Caller",
    "Continue",
    "Directive",
    "GenServer",
    "Hibernate",
    "Ignore",
    "NoReply",
    "Reply",
    "RequestId",
    "Stop",
    "TimedOut",
    "Timeout",
    "abcast",
    "call",
    "cast",
    "check_response",
    "enter_loop",
    "multi_call",
    "receive_response",
    "reply",
    "send_request",
    "stop",
    "wait_response",
]

_START_OPTIONS = ("name", "node", "timeout")


class GenServer:
    """The base of every server. All callbacks run in the server's own process."""

    own_greenlet = False
    """Keep one greenlet for the server's whole life, for code that uses `gevent.local`; costs some 6 KB."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__init__ is not object.__init__:
            raise TypeError(
                f"{cls.__qualname__} defines __init__: a server is made in its own process; "
                "put the code into init(self, ...), which runs there"
            )
        _check_init(cls)

    # Callbacks.

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Set up the state. May return Continue, Stop, Ignore, Timeout or Hibernate; other values are ignored."""

    def handle_call(self, request: Any, caller: Caller) -> Any:
        """Answer a request: return the reply, or Reply, NoReply or Stop."""
        raise UnknownRequest(f"{type(self).__qualname__} does not know the request {shortened(request)}")

    def handle_cast(self, request: Any) -> Any:
        """Handle a cast. May return Continue, Stop, Timeout or Hibernate; other values are ignored."""
        raise UnknownRequest(f"{type(self).__qualname__} does not know the cast {shortened(request)}")

    def handle_info(self, message: Any) -> Any:
        """Handle any other message. Returns as `handle_cast`. By default it is logged, as OTP does."""
        structlog.get_logger("partisan_actors").warning(
            "unexpected_message",
            pid=str(current_process().pid),
            behaviour=type(self).__qualname__,
            message=shortened(message),
        )

    def handle_continue(self, term: Any) -> Any:
        """Handle what a `Continue` asked for. Returns as `handle_cast`."""
        raise UnknownRequest(f"{type(self).__qualname__} does not know how to continue with {shortened(term)}")

    def terminate(self, reason: Any) -> Any:
        """Clean up. Runs at every end but a signal's to a server that does not trap exits, and a kill."""

    terminate.does_nothing = True  # type: ignore[attr-defined]  # to the loop, which need not run it

    def code_change(self, old_version: Any, extra: Any) -> Any:
        """Bring the state of an older version of the class up to date."""

    def format_status(self, status: dict[str, Any]) -> Any:
        """Change what logs and `sys.get_status` show: the `"state"` of what it gives (OTP: `format_status/1`)."""
        return status

    # Starting.

    @classmethod
    def start(
        cls,
        *args: Any,
        name: str | Global | None = None,
        node: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Start a server and wait for its `init` (OTP: `gen_server:start/4`).

        Args:
            args: positional arguments of `init`.
            name: a local name, or `Global(name)`, taken before `init` runs.
            node: the node to start it on, which must allow it (`spawnable`); this one by default.
            timeout: seconds that `init` may take; past it the server is killed.
            kwargs: keyword arguments of `init`.

        Returns:
            Its pid; None when `init` returned `Ignore`.

        Raises:
            StartError: it did not start; `reason` is what `init` failed with, or `"timeout"`, or
                `("already_started", pid)` when the name is taken.
        """
        return start_server(cls, args, kwargs, name=name, node=node, timeout=timeout, link=False)

    @classmethod
    def start_link(
        cls,
        *args: Any,
        name: str | Global | None = None,
        node: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Start a server linked to the process that starts it, as part of a supervised tree; see `start`."""
        return start_server(cls, args, kwargs, name=name, node=node, timeout=timeout, link=True)

    @classmethod
    def start_monitor(
        cls,
        *args: Any,
        name: str | Global | None = None,
        node: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Start a server and monitor it; gives `(pid, ref)`; see `start`."""
        return start_server(cls, args, kwargs, name=name, node=node, timeout=timeout, link=False, monitor=True)

    @classmethod
    def start_for(
        cls,
        starter: Process,
        parent: Pid,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        name: str | Global | None,
        timeout: float | None,
        link: bool,
    ) -> Pid | None:
        """Start a server here for a `parent` on another node; what that node's `start(node=...)` comes down to."""
        pid: Pid | None = start_server_for(cls, starter, parent, args, kwargs, name=name, timeout=timeout, link=link)
        return pid

    # For the loop, and the behaviours that stand on this one.

    __sendable_start__ = True  # its arguments are held to the rules of remote ones (`strict_messages`)

    def __call_init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.init(*args, **kwargs)

    def __getstate_for_sys__(self) -> Any:
        state = dict(getattr(self, "__dict__", {}))
        for klass in type(self).__mro__:
            slots = klass.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if slot != "__dict__" and hasattr(self, slot):
                    state[slot] = getattr(self, slot)
        return state

    def __setstate_by_sys__(self, change: Any) -> Any:
        before = self.__getstate_for_sys__()
        after = change(dict(before)) if callable(change) else change
        if not isinstance(after, dict):
            raise TypeError(f"replace_state takes a dict of attributes, or a function that gives one, not {after!r}")
        try:
            self.__become__(before, after)
        except BaseException:
            self.__become__(self.__getstate_for_sys__(), before)  # all of it, or nothing
            raise
        return self.__getstate_for_sys__()

    def __become__(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        for gone in before.keys() - after.keys():
            delattr(self, gone)
        for key, value in after.items():
            setattr(self, key, value)


def _check_init(cls: type[GenServer]) -> None:
    try:
        parameters = inspect.signature(cls.init).parameters
    except (TypeError, ValueError):
        return
    for option in _START_OPTIONS:
        if option in parameters:
            raise TypeError(
                f"{cls.__qualname__}.init has a parameter called {option!r}, "
                "which start takes for itself; call it something else"
            )


def enter_loop(server: GenServer, then: Continue | Timeout | Hibernate | None = None) -> NoReturn:
    """Make the calling plain process a server, for the rest of its life (OTP: `gen_server:enter_loop/3`).

    Args:
        server: an instance with its state set; its `init` is not called.
        then: what to do first.

    Raises:
        ActorError: the caller was not made by `spawn`.
        ProcessExit: at the end of the server; let it pass.
    """
    process = current_process()
    if not isinstance(process, FunctionProcess):
        raise ActorError("only a process made by spawn can enter a server's loop")
    if not isinstance(server, GenServer):
        raise TypeError(f"enter_loop takes an instance of a GenServer, not {server!r}")
    check_then(then, "enter_loop")
    loop = EnteredLoop(process, server)
    process.role = loop
    loop.begin(then)
    run_to_the_end(loop, process)
    assert process.status == EXITED
    raise ProcessExit("normal")
