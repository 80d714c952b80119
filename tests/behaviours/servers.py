"""Servers that do what their messages say, and ways to look at what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from partisan_actors.behaviours import GenServer, call, enter_loop
from partisan_actors.behaviours.gen_server import Continue, Hibernate, Timeout
from partisan_actors.processes.identity import Pid
from partisan_actors.processes.messages import Crash, Down
from partisan_actors.processes.primitives import monitor, receive, self_pid, send_after, spawn_opt
from partisan_actors.processes.process import Process
from partisan_actors.processes.runtime import current_process
from tests.conditions import wait_until

__all__ = [
    "OwnGreenlet",
    "Scripted",
    "died_of",
    "end_of",
    "let_pass",
    "loop_of",
    "process_of",
    "seen",
    "server_of",
    "start_entered",
]


class Scripted(GenServer):
    """Each call and cast is a function of the server; what it returns is what the callback returns.

    Messages are functions too, or are kept in `seen`. `on_terminate` is what `terminate` does.
    """

    seen: list[Any]
    on_terminate: Callable[[Any], Any] | None = None

    def init(self, script: Callable[[Scripted], Any] | None = None) -> Any:
        self.seen = []
        self.on_terminate = None
        return None if script is None else script(self)

    def handle_call(self, request: Any, caller: Any) -> Any:
        return request(self, caller)

    def handle_cast(self, request: Any) -> Any:
        return request(self)

    def handle_info(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.seen.append(message)
        return None

    def handle_continue(self, term: Any) -> Any:
        return term(self)

    def terminate(self, reason: Any) -> Any:
        return None if self.on_terminate is None else self.on_terminate(reason)


class OwnGreenlet(Scripted):
    """The same on a greenlet of its own."""

    own_greenlet = True


def start_entered(script: Callable[[Scripted], Any] | None = None, **options: Any) -> Pid:
    """The same as a plain process that has entered the loop."""

    def run() -> None:
        server = Scripted()
        then = server.init(script)
        enter_loop(server, then if isinstance(then, Continue | Timeout | Hibernate) else None)

    pid: Pid = spawn_opt(run, **options)
    process: Any = process_of(pid)
    wait_until(lambda: process.role, what="in the loop")
    return pid


def seen(server: Any) -> list[Any]:
    """What a Scripted has got in `handle_info`."""
    messages: list[Any] = call(server, lambda self, _: list(self.seen))
    return messages


def end_of(pid: Pid, timeout: float = 5.0) -> Any:
    """Wait for the end of a process; its reason ("noproc" when it is over)."""
    ref = monitor(pid)
    return receive(lambda m: isinstance(m, Down) and m.ref == ref, timeout=timeout).reason


def died_of(reason: Any, error: type[BaseException]) -> bool:
    """Whether an exit reason is the crash with this exception."""
    return isinstance(reason, Crash) and reason.type == error.__qualname__


def process_of(pid: Pid) -> Process:
    """The process object of a local pid."""
    process = current_process().runtime.process(pid)
    assert process is not None
    return process


def server_of(pid: Pid) -> Any:
    """The server object behind a local pid; looking at it is no message."""
    return loop_of(pid).server


def loop_of(pid: Pid) -> Any:
    """The loop that serves a local pid: its process, or what a plain process has entered."""
    process: Any = process_of(pid)
    return process if hasattr(process, "server") else process.role


def let_pass(seconds: float) -> None:
    """Wait until a timer that was set after all others, and for longer, has fired."""
    send_after(seconds, self_pid(), let_pass)
    receive(lambda message: message is let_pass)
