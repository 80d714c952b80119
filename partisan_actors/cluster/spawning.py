"""Starting processes on other nodes, and letting other nodes start them here.

What may be started here is a list of dotted-name patterns (`spawnable`), empty by default.
Nothing else that arrives from a node can make this one import or run code of its choice.

A start is a request like a call: it always ends, and a link or monitor that was asked for is
set up from the far side, on the same stream as the answer and ahead of it, so that neither a
fast end of the new process nor an end of the one that asked falls between the two.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from partisan_actors.cluster.remote import RemoteProcesses
from partisan_actors.cluster.ties import Ties
from partisan_actors.errors import ActorError, NameTaken, NoConnection, StartError
from partisan_actors.processes.crash_report import shortened
from partisan_actors.processes.identity import Global, Pid, Ref
from partisan_actors.processes.messages import Down
from partisan_actors.processes.process import Monitor, Process
from partisan_actors.processes.requests import PENDING, REPLIED, RemoteCaller, Request
from partisan_actors.processes.runtime import Runtime, current_process
from partisan_actors.processes.scheduler import QUEUED
from partisan_actors.processes.selective import discard
from partisan_actors.wire import signals

__all__ = ["Spawning"]


class Spawning:
    """Both sides of a start on another node."""

    def __init__(self, runtime: Runtime, remote: RemoteProcesses, spawnable: Sequence[str]) -> None:
        self._runtime = runtime
        self._remote = remote
        self._spawnable = tuple(spawnable)
        remote.incoming.spawn_requested = self._requested

    # The node that asks.

    def spawn(self, process: Process, node: str, target: Any, start: dict[str, Any]) -> Any:
        """Start `target` on `node` and wait; gives the pid, or (pid, ref) when a monitor was asked for.

        Raises:
            ActorError: the node does not allow or know the target; NameTaken; StartError as a local start.
            NoConnection: the node is not there, or went down before it answered.
            NotSendable: the arguments cannot cross.
        """
        dotted = dotted_name(target)
        if isinstance(self._remote.ties_to(node), str):
            self._remote.opening.wait(process, node)
        ties = self._remote.ties_to(node)
        if isinstance(ties, str):
            raise NoConnection("noconnection", f"cannot start {dotted} on {node!r}: there is no connection to it")
        monitor = self._expect_monitor(process, ties) if start.get("monitor") else None
        wanted = start | {"target": dotted, "monitor": None if monitor is None else monitor.ref.serial}
        request = Request(process, node, wanted)
        try:
            payload = self._remote.codec.encode(wanted)
            way = ties.ways.usual(process.pid.serial)
            self._remote.send_request(ties, way, request, signals.SPAWN, payload)
            while request.state == PENDING:
                process.wait()
            pid = _outcome(request, node, dotted)
        except BaseException:
            if monitor is not None:
                _withdraw(process, ties, monitor)
            raise
        finally:
            request.abandon()
        if monitor is None:
            return pid
        if pid is None:
            _withdraw(process, ties, monitor)
            return None
        return pid, self._expected(monitor, pid)

    def _expect_monitor(self, process: Process, ties: Ties) -> Monitor:
        # Before the request leaves: the Down of a process that ends at once may come before the answer.
        ref = self._runtime.new_ref()
        monitor = Monitor(process, None, ref, None)
        monitor.tied = ties
        if process.monitors is None:
            process.monitors = {}
        process.monitors[ref.serial] = monitor
        ties.monitors[ref.serial] = monitor
        if ties.watches is not None:
            ties.watches[monitor] = ties.ways.usual(process.pid.serial)
        return monitor

    def _expected(self, monitor: Monitor, pid: Pid) -> Ref:
        monitor.item = pid
        return monitor.ref

    # The node that is asked.

    def _requested(self, ties: Ties, caller: RemoteCaller) -> None:
        # In a process of its own: it imports, waits for `init`, registers names.
        starter = self._runtime.spawn(self._start, (ties, caller), {})
        caller.target = starter
        starter.add_watch(caller)

    def _start(self, ties: Ties, caller: RemoteCaller) -> None:
        wanted = caller.payload
        try:
            target = self._resolve(wanted["target"])
            pid = self._start_target(ties, caller, target, wanted)
        except StartError as error:
            _answer(caller, ("start_error", error.reason, str(error)))
        except NameTaken as error:
            _answer(caller, ("name_taken", str(error)))
        except Exception as error:
            _answer(caller, ("error", f"{type(error).__name__}: {error}"))
        else:
            _answer(caller, ("ok", pid))

    def _start_target(self, ties: Ties, caller: RemoteCaller, target: Any, wanted: dict[str, Any]) -> Pid | None:
        starter = current_process()
        args, kwargs, name = tuple(wanted["args"]), dict(wanted["kwargs"]), wanted["name"]
        if isinstance(target, type):
            timeout, link = wanted.get("timeout"), wanted["link"]
            start_for: Callable[..., Pid | None] = target.start_for  # type: ignore[attr-defined]  # see `_resolve`
            pid = start_for(starter, caller.pid, args, kwargs, name=name, timeout=timeout, link=link)
        else:
            made = self._runtime.make(target, args, kwargs, max_mailbox=wanted.get("max_mailbox"))
            made.parent = caller.pid
            self._name(starter, made, name)
            if wanted["link"]:
                self._runtime.link(made, caller.pid)
            pid = made.pid
        if wanted["monitor"] is not None and pid is not None:
            way = ties.ways.usual(caller.pid.serial + pid.serial)
            started = self._runtime.process(pid)
            if started is None:
                ties.send_reason(way, signals.DOWN, caller.pid.serial, pid.serial, wanted["monitor"], "noproc")
            else:
                self._remote.incoming.watch(ties, started, caller.pid.serial, wanted["monitor"], way)
        if not isinstance(target, type) and made.status == QUEUED:
            made.make_ready()  # not before: its first step finds its name, and its end is told
        return pid

    def _name(self, starter: Process, started: Process, name: Any) -> None:
        try:
            if isinstance(name, Global):
                self._runtime.router.register_global(starter, name.name, started.pid)
            elif name is not None:
                self._runtime.register(name, started)
        except BaseException:
            started.kill()
            raise

    def _resolve(self, dotted: str) -> Any:
        module_name, _, qualname = dotted.partition(":")
        plain = f"{module_name}.{qualname}"
        if not any(fnmatchcase(plain, pattern) for pattern in self._spawnable):
            raise ActorError(
                f"{self._runtime.home.node} does not let other nodes start {plain}: "
                f"its spawnable is {self._spawnable!r}; add a pattern that matches"
            )
        target: Any = importlib.import_module(module_name)
        for part in qualname.split("."):
            target = getattr(target, part)
        # What the module merely imported is not its own: "shop.workers.*" must not reach shop.workers.os.system.
        if getattr(target, "__module__", None) != module_name or getattr(target, "__qualname__", None) != qualname:
            raise ActorError(
                f"{plain} is not defined in {module_name}; only what a module itself defines can be started"
            )
        # A behaviour's class can be started; any other class would be called like a function.
        if isinstance(target, type) and not hasattr(target, "start_for"):
            raise ActorError(f"{plain} is neither a function nor a behaviour's class")
        return target


def dotted_name(target: Callable[..., Any]) -> str:
    """`module:qualname` of something that another node can import.

    Raises:
        ActorError: it is a lambda, a local function, or lives in `__main__`.
    """
    module, qualname = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if module is None or qualname is None or "<" in qualname:
        raise ActorError(f"{target!r} cannot be started on another node: only module-level functions and classes can")
    if module == "__main__":
        raise ActorError(
            f"{qualname} cannot be started on another node: it is defined in __main__, which is another "
            "module there; move it into a module that both nodes can import"
        )
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is not target:
        raise ActorError(f"{module}.{qualname} cannot be started on another node: that name is not this object")
    return f"{module}:{qualname}"


def _answer(caller: RemoteCaller, outcome: tuple[Any, ...]) -> None:
    try:
        caller.reply(outcome)
    except ActorError:
        # A reason that cannot cross, as its repr; texts are texts already, but may be long.
        caller.reply(
            (outcome[0], *(shortened(part) if not isinstance(part, str) else part[:10_000] for part in outcome[1:]))
        )


def _outcome(request: Request, node: str, dotted: str) -> Pid | None:
    if request.state != REPLIED:
        reason = request.value
        if reason == "noconnection":
            raise NoConnection(reason, f"{node!r} went down while it was starting {dotted}")
        raise StartError(reason, f"could not start {dotted} on {node!r}: {shortened(reason)}")
    match request.value:
        case ("ok", pid):
            return pid  # type: ignore[no-any-return]
        case ("start_error", reason, text):
            raise StartError(reason, f"on {node!r}: {text}")
        case ("name_taken", text):
            raise NameTaken(text)
        case (_, text):
            raise ActorError(f"could not start {dotted} on {node!r}: {text}")
        case other:
            raise ActorError(f"{node!r} gave an answer that is none: {other!r}")


def _withdraw(process: Process, ties: Ties, monitor: Monitor) -> None:
    if process.monitors is not None:
        process.monitors.pop(monitor.ref.serial, None)
    ties.monitors.pop(monitor.ref.serial, None)
    if ties.watches is not None:
        ties.watches.pop(monitor, None)
    # The end of the session fires it before it fails the start: a Down of a monitor that nobody was ever given.
    discard(process, lambda message: type(message) is Down and message.ref == monitor.ref)
