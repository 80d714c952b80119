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
from partisan_actors.errors import ProcessExit, UnknownRequest
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
    from partisan_actors.processes.clock import Timer
    from partisan_actors.processes.runtime import Runtime

__all__ = ["EnteredLoop", "OwnGreenletServerProcess", "ServerLoop", "ServerProcess"]

CALLS = frozenset({Request, RequestId, RemoteCaller})
SYSTEM = frozenset({SystemRequest, RemoteSystemCaller})
HIDDEN = CALLS | SYSTEM | {Cast}


class ServerLoop:
    """What a GenServer's loop does. `process` is the process that runs it."""

    if not TYPE_CHECKING:  # the slots are those of the classes that this is mixed into, which mypy cannot know
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
                kind = type(message)
                if self.timer is not None and kind not in SYSTEM:
                    self._stop_timer()
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
                elif kind in SYSTEM:
                    self._handle_system(message)
                else:
                    self._handle_other(message)
                if process.exiting is not NOT_EXITING or not mailbox or now() >= scheduler.slice_end:
                    break
        except BaseException as error:
            process.last_message = _for_the_log(message)
            self.failed(error)
        process.reductions += handled
        if process.room is not None:
            process.announce_room()
        if process.exiting is not NOT_EXITING:
            process.runtime.end(process, process.exiting)

    def _handle_other(self, message: Any) -> None:
        kind = type(message)
        if kind in SYSTEM:
            self._handle_system(message)
        elif kind is Exit and self._ends_with(message.sender):
            # OTP: a server that traps exits ends with its parent, whatever the reason.
            self.terminate(message.reason)
        else:
            result = self.server.handle_info(message)
            if result is not None:
                self._after("handle_info", result)

    def _ends_with(self, sender: Pid) -> bool:
        """Whether this server ends with `sender`: its parent, or the node itself."""
        return sender == self.ends_with or sender == self.process.runtime.root

    # What callbacks return.

    def outcome_of_init(self, result: Any) -> Stop | Ignore | None:
        """Why there is to be no server, if `init` said so. Raises TypeError when it may not return this."""
        if not isinstance(result, Directive) or isinstance(result, Continue | Timeout | Hibernate):
            return None
        if isinstance(result, Ignore) or (isinstance(result, Stop) and result.reply is NO_REPLY):
            return result
        raise self._wrong("init", result, "Continue, Stop(reason), Ignore, Timeout or Hibernate")

    def begin(self, result: Any) -> None:
        """Do what `init` returned, after the starter has been told (OTP: a `continue` does not hold it up)."""
        try:
            self._after("init", result)
        except BaseException as error:
            self.process.last_message = _for_the_log(result)
            self.failed(error)

    def _after(self, callback: str, result: Any) -> None:
        if not isinstance(result, Directive):
            return
        while type(result) is Continue:
            callback = "handle_continue"
            self._give_way()
            result = self.server.handle_continue(result.term)
        if type(result) is Stop and result.reply is NO_REPLY:
            self.terminate(result.reason)
        elif type(result) is Timeout:
            self._start_timer(result.seconds)
        elif isinstance(result, Directive) and type(result) is not Hibernate:
            raise self._wrong(callback, result, "Continue, Stop(reason), Timeout or Hibernate")

    def _give_way(self) -> None:
        """A chain of `Continue` may have no end; others get their turn between its steps."""
        process = self.process
        if process.runtime.clock.now() >= process.scheduler.slice_end:
            process.give_way()

    def _after_call(self, caller: Caller, result: Directive) -> None:
        if type(result) is Reply:
            caller.reply(result.value)
            self._after("handle_call", result.then)
        elif type(result) is NoReply:
            self._after("handle_call", result.then)
        elif type(result) is Stop:
            self.terminate(result.reason, caller, result.reply)
        else:
            raise self._wrong("handle_call", result, "a reply, Reply, NoReply or Stop")

    def _wrong(self, callback: str, result: Directive, allowed: str) -> TypeError:
        name = f"{type(self.server).__qualname__}.{callback}"
        return TypeError(f"{name} returned {shortened(result)}; what it may return is {allowed}")

    # Ends.

    def failed(self, error: BaseException) -> None:
        """A callback raised: end the server, unless a signal has already decided how."""
        process = self.process
        if isinstance(error, KeyboardInterrupt):
            process.scheduler.interrupt_main(error)
        if process.exiting is NOT_EXITING:
            self.terminate(_reason_of(error))

    def terminate(self, reason: Any, caller: Caller | None = None, value: Any = NO_REPLY) -> None:
        """Run `terminate`, report, reply if asked to, and end."""
        process = self.process
        if self.timer is not None:
            self._stop_timer()
        if process.exiting is not NOT_EXITING:
            return  # a signal was first, and user code caught it: the end that it decided stands
        try:
            result = self.server.terminate(reason)
            if isinstance(result, Directive):
                raise self._wrong("terminate", result, "nothing")
        except BaseException as error:
            reason = _reason_of(error)
        if caller is not None and value is not NO_REPLY:
            try:
                caller.reply(value)
            except BaseException as error:
                reason = _reason_of(error)
        if process.exiting is not NOT_EXITING:
            reason = process.exiting
        elif not is_normal(reason):
            report_crash(process, reason, state=shortened(_status_of(self.server, reason)))
        process.runtime.end(process, reason)

    # Timeouts.

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        mailbox = self.process.mailbox
        # A message that waits already is in time: no timer to start and stop again in a busy server.
        if not mailbox or type(mailbox[0]) in SYSTEM:
            self.timer = self.process.runtime.clock.call_later(seconds, self._timed_out)

    def _stop_timer(self) -> None:
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()

    def _timed_out(self) -> None:
        self.timer = None
        process = self.process
        # A message that waits already came in time, and its handling decides anew; one to the loop does not count.
        if process.status != EXITED and all(type(message) in SYSTEM for message in process.mailbox or ()):
            process.deliver(TimedOut())

    # System messages: to the loop, not to the callbacks.

    def hides(self, message: Any) -> bool:
        """Calls, casts, system messages and the parent's exit are not for `receive` in a callback."""
        kind = type(message)
        return kind in HIDDEN or (kind is Exit and self._ends_with(message.sender))

    def _take_system_message(self, process: Process) -> bool:
        """While suspended: handle the next message that is not for the callbacks; whether there was one."""
        mailbox = process.mailbox
        assert mailbox is not None
        for index, message in enumerate(mailbox):
            kind = type(message)
            if kind in SYSTEM or (kind is Exit and self._ends_with(message.sender)):
                del mailbox[index]
                self._handle_other(message)
                return True
        return False

    def _handle_system(self, message: Any) -> None:
        match message.payload:
            case ("terminate", reason):
                self.terminate(reason)
            case payload:
                try:
                    message.reply(("ok", self._answer(payload)))
                except Exception as error:
                    # A `change` that fails, a state that cannot cross: the server is none the worse for it.
                    message.reply(("error", crash_of(error)))

    def _answer(self, payload: Any) -> Any:
        match payload:
            case ("get_state",):
                return self.server.__getstate_for_sys__()
            case ("replace_state", change):
                return self.server.__setstate_by_sys__(change)
            case ("get_status",):
                return self._status()
            case ("suspend",):
                self.suspended = True
                return None
            case ("resume",):
                self.suspended = False
                return None
        raise UnknownRequest(f"unknown system message {shortened(payload)}")

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


def _reason_of(error: BaseException) -> Any:
    return error.reason if isinstance(error, ProcessExit) else crash_of(error)


def _for_the_log(message: Any) -> Any:
    """The last message as a reader of the log wants it: what was asked, and by whom."""
    kind = type(message)
    if kind in CALLS:
        return ("call", message.pid, message.payload)
    return ("cast", message.request) if kind is Cast else message


def _status_of(server: GenServer, reason: Any) -> Any:
    """The state as the server wants it seen; a `format_status` that fails costs only itself."""
    try:
        shown = server.format_status({"state": server.__getstate_for_sys__(), "reason": reason})
        return shown["state"] if isinstance(shown, dict) and "state" in shown else shown
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

    def end_at_once(self, reason: Any) -> bool:
        """End it, as a signal does, if it is idle and has no `terminate` of its own: a turn for that is 4 us."""
        terminate = type(self.server).terminate
        if self.status != IDLE or not is_normal(reason) or getattr(terminate, "does_nothing", None) is not True:
            return False
        self._stop_timer()
        self.runtime.end(self, reason)
        return True

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
            if process.mailbox and not loop.suspended:
                loop.serve(process)
                # The slice may be over with messages left: others first.
                if process.mailbox and process.status == RUNNING:
                    process.give_way()
                continue
            if loop.suspended and process.mailbox:
                loop.serve(process)
            if process.status == RUNNING and (loop.suspended or not process.mailbox):
                process.wait(for_message=True)
    except BaseException as error:
        loop.failed(error)
        if process.exiting is not NOT_EXITING:
            process.runtime.end(process, process.exiting)
