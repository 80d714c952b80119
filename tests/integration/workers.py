"""What the tests start on other nodes: servers and functions that both sides can import."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from partisan_actors import (
    ProcessExit,
    current_node,
    message,
    receive,
    register,
    self_pid,
    send,
    sleep,
    trap_exits,
    whereis,
)
from partisan_actors.behaviours import GenServer, call, cast, reply
from partisan_actors.behaviours.gen_server import Ignore, NoReply, Stop

__all__ = [
    "Collector",
    "Echo",
    "NotStarting",
    "Order",
    "Trapping",
    "crash",
    "end_with",
    "greet",
    "report_start",
    "say_name",
    "wait_for_ever",
]


@message
@dataclass(frozen=True)
class Order:
    """A message class that both sides know."""

    id: int
    items: tuple[str, ...] = ()


class Echo(GenServer):
    """Gives back what it is asked, and more."""

    def init(self, *args: Any, **kwargs: Any) -> None:
        self.given = (args, kwargs)
        self.notes: list[Any] = []
        self.callers: list[Any] = []

    def handle_call(self, request: Any, caller: Any) -> Any:
        match request:
            case ("echo", value):
                return value
            case "where":
                return current_node()
            case "given":
                return self.given
            case "notes":
                return tuple(self.notes)
            case "count":
                return len(self.notes)
            case "caller":
                return caller.pid
            case "sleep", seconds:
                sleep(seconds)
                return "slept"
            case "keep":
                self.callers.append(caller)
                return NoReply()
            case "answer kept", value:
                for kept in self.callers:
                    reply(kept, value)
                self.callers.clear()
                return None
            case "hand on", dest:
                cast(dest, ("answer", caller, current_node()))
                return NoReply()
            case "nested", dest, inner:
                return call(dest, inner)
            case "fail":
                raise ZeroDivisionError("as asked")
            case "exit", reason:
                raise ProcessExit(reason)
            case "stop", reason:
                return Stop(reason, reply="stopping")
            case "unsendable":
                return threading.Lock()
        return ("unknown", request)

    def handle_cast(self, request: Any) -> None:
        match request:
            case ("answer", caller, value):
                reply(caller, (value, current_node()))
            case "fail":
                raise ZeroDivisionError("as asked")
            case _:
                self.notes.append(request)

    def handle_info(self, message: Any) -> None:
        self.notes.append(message)


class Trapping(Echo):
    """An `Echo` that traps exits."""

    def init(self, *args: Any, **kwargs: Any) -> None:
        super().init(*args, **kwargs)
        trap_exits()


class Collector(GenServer):
    """Keeps (flow, number) in the order in which they come, flow by flow."""

    def init(self) -> None:
        self.flows: dict[int, list[int]] = {}

    def handle_call(self, request: Any, caller: Any) -> Any:
        return self.flows

    def handle_cast(self, request: Any) -> None:
        flow, number = request
        self.flows.setdefault(flow, []).append(number)

    def handle_info(self, message: Any) -> None:
        self.handle_cast(message)


class NotStarting(GenServer):
    """Does in `init` what it is told."""

    def init(self, how: str, detail: Any = None) -> Any:
        match how:
            case "raise":
                raise ValueError("no start")
            case "stop":
                return Stop(detail)
            case "ignore":
                return Ignore()
            case "sleep":
                sleep(detail)
            case "wait for ever":
                register("in its init", self_pid())
                receive(lambda message: False)
        return None


def wait_for_ever() -> None:
    """A process that does nothing until it is ended."""
    receive(lambda message: False)


def crash() -> None:
    """A process that fails at once."""
    raise ZeroDivisionError("as asked")


def end_with(reason: Any) -> None:
    """A process that ends at once."""
    raise ProcessExit(reason)


def greet(dest: Any, *words: Any, **more: Any) -> None:
    """Send what it was given, and who it is."""
    send(dest, (self_pid(), words, more))


def report_start(dest: Any) -> None:
    """Say who it is, then wait."""
    send(dest, ("started", self_pid()))
    wait_for_ever()


def say_name(dest: Any, name: str) -> None:
    """Say, in its first step, whom the name belongs to."""
    send(dest, (whereis(name), self_pid()))
    wait_for_ever()
