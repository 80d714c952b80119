"""The loop of a GenServer: takes messages, calls the callbacks, does what they return.

A `ServerProcess` runs it in turns, on a borrowed greenlet; a plain process that called
`enter_loop`, and a server with `own_greenlet`, run it on a greenlet of their own. The state of
the loop is four fields; `ServerLoop` has the behaviour, whoever holds them.

Within a turn the clock is read after each message (40 ns): a batch of slow callbacks must not
delay the node by their sum.
"""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING, Any

from partisan_actors.behaviours.directives import (
    NO_REPLY,
    Continue,
    Directive,
    Hibernate,
    Ignore,
    NoReply,
    Reply,
    Stop,
    TimedOut,
    Timeout,
)
from partisan_actors.errors import ProcessExit
from partisan_actors.processes.crash_report import crash_of, report_crash, shortened
from partisan_actors.processes.identity import Pid
from partisan_actors.processes.messages import Exit
from partisan_actors.processes.plain import is_normal, name_of
from partisan_actors.processes.process import NOT_EXITING, Process
from partisan_actors.processes.requests import (
    Caller,
    Cast,
    RemoteCaller,
    RemoteSystemCaller,
    Request,
    RequestId,
    SystemRequest,
)
from partisan_actors.processes.scheduler import EXITED, IDLE, QUEUED, RUNNING

if TYPE_CHECKING:
    from partisan_actors.behaviours.gen_server import GenServer
    from partisan_actors.processes.runtime import Runtime
    from partisan_actors.processes.clock import Timer

__all__ = ["EnteredLoop", "OwnGreenletServerProcess", "ServerLoop", "ServerProcess"]

CALLS = frozenset({Request, RequestId, RemoteCaller})
SYSTEM = frozenset({SystemRequest, RemoteSystemCaller})
HIDDEN = CALLS | SYSTEM | {Cast}


class ServerLoop:
    """What a GenServer's loop does. `process` is the process that runs it."""

    __slots__ = ()

    server: GenServer
    process: Process
    ends_with: Pid | None  # the parent, of a server that was started with a link
    suspended: bool
    timer: Timer | None  # the `Timeout` that is running

    def serve(self, process: Process) -> None:
        """Handle messages until the mailbox is empty, the slice is over, or the process has ended."""
        # hot path: every local call and cast. Written out, one lookup each: 1.7 million casts/s.
        server = self.server
        mailbox = process.mailbox
        scheduler = process.scheduler
        now = process.runtime.clock.now
        handled = 0
        message: Any = None
        try:
            while mailbox and process.status == RUNNING:
                if self.suspended:
                    if not self._take_system_message(process):
                        break
                    continue
                message = mailbox.popleft()
                handled += 1
                if self.timer is not None:
                    self._stop_timer()
                kind = type(message)
                if kind is Cast:
                    result = server.handle_cast(message.request)
                    if result is not None:
                        self._after("handle_cast", result)
                elif kind in CALLS:
                    result = server.handle_call(message.payload, message)
                    if isinstance(result, Directive):
                        self._after_call(message, result)
                    else:
                        message.reply(result)
                else:
                    self._handle_other(message)
                if process.exiting is not NOT_EXITING:
                    break
                if now() >= scheduler.slice_end:
                    break
        except BaseException as error:
            process.last_message = message
            self.failed(error)
        process.reductions += handled
        if process.room is not None:
            self._announce_room(process)
        if process.exiting is not NOT_EXITING:
            process.runtime.end(process, process.exiting)

    def _handle_other(self, message: Any) -> None:
        kind = type(message)
        if kind in SYSTEM:
            self._handle_system(message)
        elif kind is Exit and message.sender == self.ends_with:
            # OTP: a server that traps exits ends with its parent, whatever the reason.
            self.terminate(message.reason)
        else:
            result = self.server.handle_info(message)
            if result is not None:
                self._after("handle_info", result)

    # What callbacks return.

    def begin(self, result: Any) -> Any:
        """Do what `init` returned; the reason with which the start fails, or None."""
        if not isinstance(result, Directive):
            return None
        if isinstance(result, Stop):
            return ("stop", result.reason)
        if isinstance(result, Ignore):
            return ("ignore", None)
        self._after("init", result)
        return None

    def _after(self, callback: str, result: Any) -> None:
        if not isinstance(result, Directive):
            return
        while type(result) is Continue:
            callback = "handle_continue"
            result = self.server.handle_continue(result.term)
        if type(result) is Stop:
            if result.reply is not NO_REPLY:
                raise TypeError(f"{self._name(callback)} returned Stop(reply=...): only handle_call has a caller to reply to")
            self.terminate(result.reason)
        elif type(result) is Timeout:
            self._start_timer(result.seconds)
        elif isinstance(result, Directive) and type(result) is not Hibernate:
            allowed = "Continue, Stop, Timeout or Hibernate"
            raise TypeError(f"{self._name(callback)} returned {result!r}; it may return {allowed}")

    def _after_call(self, caller: Caller, result: Directive) -> None:
        if type(result) is Reply:
            caller.reply(result.value)
            self._after("handle_call", result.then)
        elif type(result) is NoReply:
            self._after("handle_call", result.then)
        elif type(result) is Stop:
            self.terminate(result.reason, caller, result.reply)
        else:
            raise TypeError(f"{self._name('handle_call')} returned {result!r}; it may return a reply, Reply, NoReply or Stop")

    def _name(self, callback: str) -> str:
        return f"{type(self.server).__qualname__}.{callback}"

    # Ends.

    def failed(self, error: BaseException) -> None:
        """A callback raised: end the server, unless a signal has already decided how."""
        process = self.process
        if process.exiting is not NOT_EXITING:
            return
        if isinstance(error, ProcessExit):
            self.terminate(error.reason)
            return
        self.terminate(crash_of(error))
        if isinstance(error, KeyboardInterrupt):
            process.scheduler.hub.handle_system_error(type(error), error)

    def terminate(self, reason: Any, caller: Caller | None = None, value: Any = NO_REPLY) -> None:
        """Run `terminate`, report, reply if asked to, and end."""
        process = self.process
        self._stop_timer()
        try:
            self.server.terminate(reason)
        except ProcessExit as exit_:
            reason = exit_.reason
        except BaseException as error:
            reason = crash_of(error)
        if process.exiting is not NOT_EXITING:
            reason = process.exiting
        elif not is_normal(reason):
            report_crash(process, reason, state=shortened(_status_of(self.server, reason)))
        if caller is not None and value is not NO_REPLY:
            caller.reply(value)
        process.runtime.end(process, reason)

    # Timeouts.

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self.timer = self.process.runtime.clock.call_later(seconds, self._timed_out)

    def _stop_timer(self) -> None:
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()

    def _timed_out(self) -> None:
        self.timer = None
        # A message that waits already came in time, and its handling decides anew.
        if self.process.status != EXITED and not self.process.mailbox:
            self.process.deliver(TimedOut())

    # System messages: to the loop, not to the callbacks.

    def hides(self, message: Any) -> bool:
        """Calls, casts, system messages and the parent's exit are not for `receive` in a callback."""
        kind = type(message)
        return kind in HIDDEN or (kind is Exit and message.sender == self.ends_with)

    def _take_system_message(self, process: Process) -> bool:
        """While suspended: handle the next message that is not for the callbacks; whether there was one."""
        mailbox = process.mailbox
        assert mailbox is not None
        for index, message in enumerate(mailbox):
            kind = type(message)
            if kind in SYSTEM or (kind is Exit and message.sender == self.ends_with):
                del mailbox[index]
                self._handle_other(message)
                return True
        return False

    def _handle_system(self, message: Any) -> None:
        match message.payload:
            case ("get_state",):
                message.reply(self.server.__getstate_for_sys__())
            case ("replace_state", change):
                message.reply(self.server.__setstate_by_sys__(change))
            case ("get_status",):
                message.reply(self._status())
            case ("suspend",):
                self.suspended = True
                message.reply("ok")
            case ("resume",):
                self.suspended = False
                message.reply("ok")
            case ("terminate", reason):
                self.terminate(reason)
            case _:
                message.reply(("error", f"unknown system message {message.payload!r}"))

    def _status(self) -> dict[str, Any]:
        process = self.process
        return {
            "pid": process.pid,
            "name": process.name,
            "parent": process.parent,
            "status": "suspended" if self.suspended else "running",
            "mailbox_length": len(process.mailbox or ()),
            "behaviour": name_of(type(self.server)),
            "state": _status_of(self.server, None),
        }

    def _announce_room(self, process: Process) -> None:
        room, process.room = process.room, None
        for sender in room or ():
            sender.wake()


def _status_of(server: GenServer, reason: Any) -> Any:
    """The state as the server wants it seen; a `format_status` that fails costs only itself."""
    try:
        return server.format_status({"state": server.__getstate_for_sys__(), "reason": reason})
    except Exception as error:
        return f"<format_status raised {error!r}>"


class ServerProcess(ServerLoop, Process):
    """A GenServer's process: holds no greenlet and no stack while it has nothing to do."""

    __slots__ = ("ends_with", "server", "suspended", "timer")

    def __init__(self, runtime: Runtime, parent: Pid | None, context: Context, server: GenServer, linked: bool) -> None:
        Process.__init__(self, runtime, parent, context)
        self.server = server
        self.ends_with = parent if linked else None
        self.suspended = False
        self.timer = None

    @property
    def process(self) -> Process:  # type: ignore[override]
        """It runs its own loop."""
        return self

    def describe(self) -> str:
        """The server's class."""
        return name_of(type(self.server))

    def run_turn(self) -> None:
        """Start, if that has not been done, and serve for a slice."""
        self.status = RUNNING
        if self.starting is not None and not self.starting.run(self):
            return
        if self.mailbox:
            self.serve(self)
        if self.status != RUNNING:
            return
        if self.exiting is not NOT_EXITING:
            self.runtime.end(self, self.exiting)
        elif self.mailbox and not self.suspended:
            self.status = QUEUED
            self.scheduler.enqueue(self)
        else:
            self.status = IDLE
            # An empty deque is 600 bytes; an idle process keeps none of what it does not need.
            if not self.mailbox:
                self.mailbox = None
            if not self.watches:
                self.watches = None


class OwnGreenletServerProcess(ServerProcess):
    """A server that keeps one greenlet from its first step to its end (`own_greenlet = True`)."""

    __slots__ = ()

    def run_turn(self) -> None:
        """Start, and serve to the end."""
        self.status = RUNNING
        if self.starting is not None and not self.starting.run(self):
            return
        run_to_the_end(self, self)


class EnteredLoop(ServerLoop):
    """The loop of a plain process that became a server."""

    __slots__ = ("ends_with", "process", "server", "suspended", "timer")

    def __init__(self, process: Process, server: GenServer) -> None:
        self.process = process
        self.server = server
        self.ends_with = process.parent
        self.suspended = False
        self.timer = None


def run_to_the_end(loop: ServerLoop, process: Process) -> None:
    """Serve on this greenlet until the process has ended."""
    try:
        while process.status == RUNNING:
            seen = len(process.mailbox or ())
            if seen and not loop.suspended:
                loop.serve(process)
                # The slice may be over with messages left: others first.
                if process.mailbox and process.status == RUNNING:
                    process.runtime.clock.call_soon(process.wake)
                    process.wait()
                continue
            if loop.suspended and process.mailbox:
                loop.serve(process)
            if process.status == RUNNING and (loop.suspended or not process.mailbox):
                process.wait(for_message=True)
    except ProcessExit as exit_:
        reason = process.exiting if process.exiting is not NOT_EXITING else exit_.reason
        process.runtime.end(process, reason)
