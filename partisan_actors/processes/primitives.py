"""What a process can do: the functions that act on the process that calls them.

Outside a process they raise `NotAProcess`. Once a process is exiting, those that could wait,
or would tie it to others, raise `ProcessExit` again; `send`, `self_pid` and the look-ups do
not, so that a `finally` block can say goodbye.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gevent import get_hub

from partisan_actors.errors import ActorError
from partisan_actors.processes.clock import checked_seconds
from partisan_actors.processes.identity import Global, Pid, Ref, Remote, Via
from partisan_actors.processes.messages import Down
from partisan_actors.processes.process import Process
from partisan_actors.processes.runtime import Runtime, current_process
from partisan_actors.processes.scheduler import QUEUED
from partisan_actors.processes.selective import RAISE, discard, let_others_run, take_message
from partisan_actors.processes.sending import send
from partisan_actors.processes.timers import TimerRef

__all__ = [
    "RAISE",
    "cancel_timer",
    "current_node",
    "demonitor",
    "global_names",
    "link",
    "monitor",
    "monitor_nodes",
    "pause",
    "receive",
    "register",
    "registered",
    "run_blocking",
    "self_pid",
    "send",
    "send_after",
    "send_exit",
    "sleep",
    "spawn",
    "spawn_link",
    "spawn_monitor",
    "spawn_opt",
    "trap_exits",
    "unlink",
    "unregister",
    "whereis",
]

T = TypeVar("T")


def self_pid() -> Pid:
    """The pid of the process that calls (Erlang: `self/0`)."""
    return current_process().pid


def current_node() -> str:
    """The name of the node that the calling process runs on (Erlang: `node/0`)."""
    return current_process().runtime.home.node


# Making processes.


def spawn(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Pid:
    """Start a process that runs `function(*args, **kwargs)` (Erlang: `spawn/3`)."""
    process = current_process()
    process.check_exiting()
    return process.runtime.spawn(function, args, kwargs, parent=process).pid


def spawn_link(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Pid:
    """Start a process and link to it, in one step (Erlang: `spawn_link/3`)."""
    pid: Pid = spawn_opt(function, args, kwargs, link=True)
    return pid


def spawn_monitor(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Pid, Ref]:
    """Start a process and monitor it, in one step (Erlang: `spawn_monitor/3`)."""
    result: tuple[Pid, Ref] = spawn_opt(function, args, kwargs, monitor=True)
    return result


def spawn_opt(
    function: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    *,
    link: bool = False,
    monitor: bool = False,
    name: str | Global | None = None,
    node: str | None = None,
    max_mailbox: int | None = None,
) -> Any:
    """Start a process with options (Erlang: `spawn_opt/4`).

    Args:
        function: what it runs; for another node a module-level function that its `spawnable` allows.
        args: positional arguments.
        kwargs: keyword arguments.
        link: link to it before its first step.
        monitor: monitor it before its first step.
        name: register it before its first step.
        node: the node to start it on; this one by default.
        max_mailbox: messages its mailbox holds; a local sender then waits for room.

    Returns:
        The pid, or `(pid, ref)` with `monitor=True`.

    Raises:
        NameTaken: the name is in use; nothing was started.
        ActorError: the other node does not allow it, or does not know the function.
        NoConnection: the other node is not there.
    """
    process = current_process()
    process.check_exiting()
    runtime = process.runtime
    if max_mailbox is not None and (type(max_mailbox) is not int or max_mailbox < 1):
        raise ValueError(f"max_mailbox is a number of messages, 1 or more, not {max_mailbox!r}")
    if node is not None and node != runtime.home.node:
        start = {
            "args": tuple(args),
            "kwargs": dict(kwargs or {}),
            "link": link,
            "monitor": monitor,
            "name": name,
            "max_mailbox": max_mailbox,
        }
        return runtime.router.spawn(process, node, function, start)
    if name is not None and not isinstance(name, str | Global):
        raise TypeError(f"a name is a str or Global(name), not {name!r}")
    child = runtime.make(function, tuple(args), dict(kwargs or {}), parent=process, max_mailbox=max_mailbox)
    if link:
        runtime.link(process, child.pid)
    ref = runtime.monitor(process, child.pid) if monitor else None
    if name is not None:
        _register_child(runtime, process, name, child, ref)
    if child.status == QUEUED:
        child.make_ready()
    return child.pid if ref is None else (child.pid, ref)


def _register_child(runtime: Runtime, process: Process, name: str | Global, child: Process, ref: Ref | None) -> None:
    try:
        if isinstance(name, Global):
            runtime.router.register_global(process, name.name, child.pid)
        else:
            runtime.register(name, child)
    except BaseException:
        let_others_run(process)
        # It never started: nobody hears of it.
        runtime.unlink(process, child.pid)
        if ref is not None:
            runtime.demonitor(process, ref)
        child.kill()
        raise


# Messages.


def receive(match: Any = None, *, timeout: float | None = None, default: Any = RAISE) -> Any:
    """Take the oldest message that matches out of the mailbox, waiting for one if need be (Erlang: `receive`).

    Args:
        match: a predicate, a class, or a tuple of classes; everything matches by default.
            A predicate that raises leaves the mailbox as it was.
        timeout: seconds to wait; for ever by default, 0 only looks.
        default: what to return when the time is up, instead of raising.

    Raises:
        ReceiveTimeout: no message matched in time.
    """
    process = current_process()
    process.check_exiting()
    return take_message(process, match, timeout, default)


def send_exit(pid: Pid, reason: Any) -> None:
    """Send an exit signal (Erlang: `exit/2`). Only `"kill"` cannot be trapped; others see it as `"killed"`."""
    process = current_process()
    target = process.runtime.resolve(_pid(pid, "send_exit"))
    if isinstance(target, Process):
        target.signal_exit(process.pid, reason)
        if target is process:
            process.check_exiting()
    elif target is not None:
        process.runtime.router.exit(process.pid, target, reason)  # type: ignore[arg-type]


def send_after(seconds: float, dest: Any, message: Any) -> TimerRef:
    """Send `message` to `dest` in `seconds` (Erlang: `erlang:send_after/3`). A dead receiver gets nothing."""
    process = current_process()
    if checked_seconds(seconds, "the delay of send_after") < 0:
        raise ValueError(f"cannot send {seconds} seconds from now: the past is over")
    runtime = process.runtime
    # What is wrong with the destination or the message is told now, rather than to nobody later.
    if isinstance(runtime.resolve(dest), Pid | Remote):
        runtime.router.check(message)
    elif runtime.check_message is not None:
        runtime.check_message(message)
    timer = TimerRef(runtime.clock, seconds)
    timer.start(seconds, _send_later, runtime, process, dest, message)
    return timer


def _send_later(runtime: Runtime, sender: Process, dest: Any, message: Any) -> None:
    """In the hub, which must not wait: what may wait, or runs a user's code, gets a process."""
    if runtime.closed is not None:
        return
    target = None if isinstance(dest, Via) else runtime.resolve(dest)
    if isinstance(target, Process):
        target.deliver(message)
    elif target is not None or isinstance(dest, Via):
        runtime.spawn(send, (dest, message), {}, parent=sender)


def cancel_timer(ref: TimerRef) -> float | None:
    """Stop a timer; the seconds that were left, or None when it fired or was cancelled (Erlang: `cancel_timer/1`)."""
    if not isinstance(ref, TimerRef):
        raise TypeError(f"cancel_timer takes the TimerRef that send_after gave, not {ref!r}")
    return ref.cancel()


# Links, monitors, exits.


def link(pid: Pid) -> None:
    """Link to a process (Erlang: `link/1`). A dead one is an exit signal `"noproc"`."""
    process = current_process()
    process.check_exiting()
    process.runtime.link(process, _pid(pid, "link"))
    process.check_exiting()


def unlink(pid: Pid) -> None:
    """Take a link down; its signal does not arrive any more (Erlang: `unlink/1`)."""
    process = current_process()
    process.runtime.unlink(process, _pid(pid, "unlink"))


def monitor(dest: Any) -> Ref:
    """Get one `Down` message when `dest` ends; at once when it is not there (Erlang: `monitor/2`)."""
    process = current_process()
    process.check_exiting()
    return process.runtime.monitor(process, dest)


def demonitor(ref: Ref, *, flush: bool = False) -> bool:
    """Take a monitor off (Erlang: `demonitor/2`).

    Args:
        ref: what `monitor` gave.
        flush: remove its `Down` too, if it is in the mailbox.

    Returns:
        Whether the monitor was there and had not fired.
    """
    process = current_process()
    if not isinstance(ref, Ref):
        raise TypeError(f"demonitor takes the Ref that monitor gave, not {ref!r}")
    there = process.runtime.demonitor(process, ref)
    if flush and not there:
        discard(process, lambda message: type(message) is Down and message.ref == ref)
    return there


def trap_exits(flag: bool = True) -> bool:
    """Get exit signals as `Exit` messages (Erlang: `process_flag(trap_exit, Flag)`); gives the flag before."""
    process = current_process()
    before, process.trapping = process.trapping, bool(flag)
    return before


# Names.


def register(name: str | Global, pid: Pid) -> None:
    """Register a process: on this node by a `str`, in the cluster by `Global(name)` (Erlang: `register/2`).

    Raises:
        NameTaken: another process has the name.
        ActorError: the process is not alive, or a local name is wanted for a process elsewhere.
    """
    process = current_process()
    runtime = process.runtime
    if isinstance(name, Global):
        process.check_exiting()
        runtime.router.register_global(process, name.name, _pid(pid, "register"))
        return
    if not isinstance(name, str):
        raise TypeError(f"a name is a str or Global(name), not {name!r}")
    target = runtime.process(_pid(pid, "register"))
    if target is None:
        where = "it is not alive" if pid.home == runtime.home else f"it is not a process of {runtime.home.node}"
        raise ActorError(f"cannot register {pid} as {name!r}: {where}")
    runtime.register(name, target)


def unregister(name: str | Global) -> None:
    """Free a name (Erlang: `unregister/1`). Raises ActorError when a local name is not registered."""
    runtime = current_process().runtime
    if isinstance(name, Global):
        runtime.router.unregister_global(name.name)
        return
    if name not in runtime.names:
        raise ActorError(f"cannot unregister {name!r}: no process has this name on {runtime.home.node}")
    runtime.unregister(name)


def whereis(name: str | Global, consistent: bool = False) -> Pid | None:
    """Who has a name, or None (Erlang: `whereis/1`).

    Args:
        name: a local name, or `Global(name)`.
        consistent: for a global name: ask the node that decides, rather than this node's copy.
    """
    runtime = current_process().runtime
    if isinstance(name, Global):
        return runtime.router.whereis_global(name.name, consistent)
    if not isinstance(name, str):
        raise TypeError(f"a name is a str or Global(name), not {name!r}")
    process = runtime.names.get(name)
    return None if process is None else process.pid


def registered() -> list[str]:
    """The names registered on this node (Erlang: `registered/0`)."""
    return sorted(current_process().runtime.names)


def global_names() -> list[str]:
    """The global names that are taken (Erlang: `global:registered_names/0`)."""
    return current_process().runtime.router.global_names()


# Time.


def sleep(seconds: float) -> None:
    """Wait; other processes run (Erlang: `timer:sleep/1`)."""
    process = current_process()
    if checked_seconds(seconds, "what sleep takes") <= 0:
        pause()
        return
    clock = process.runtime.clock
    until = clock.now() + seconds
    while True:
        process.wait(until)
        if clock.now() >= until:
            return


def pause() -> None:
    """Let others run, then go on; for long computations (Erlang does this by itself)."""
    current_process().give_way()


def run_blocking(function: Callable[..., T], *args: Any) -> T:
    """Run blocking code on a native thread and wait for it, without stalling the node.

    Gives its value or raises its error. The function is no process: it can use
    `node.send_from_thread`, and none of the functions here. If this process ends first the
    thread still runs to its end.
    """
    process = current_process()
    process.check_exiting()
    result = get_hub().threadpool.spawn(_outcome_of, function, args)
    result.rawlink(lambda _: process.wake())
    while not result.ready():
        process.wait()
    value, error = result.get()
    if error is not None:
        raise error
    return value  # type: ignore[no-any-return]


def _outcome_of(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """On the native thread. gevent's pool would print an error, and end the program for a SystemExit."""
    try:
        return function(*args), None
    except BaseException as error:
        return None, error


# Nodes.


def monitor_nodes(flag: bool = True) -> None:
    """Get a `NodeUp` or `NodeDown` message for each node that comes or goes (Erlang: `net_kernel:monitor_nodes/1`)."""
    process = current_process()
    if flag:
        process.check_exiting()
        process.runtime.node_watchers[process] = None
    else:
        process.runtime.node_watchers.pop(process, None)


def _pid(value: Any, function: str) -> Pid:
    if type(value) is not Pid:
        hint = "; look it up with whereis" if isinstance(value, str | Global | Remote) else ""
        raise TypeError(f"{function} takes a Pid, not {value!r}{hint}")
    return value
