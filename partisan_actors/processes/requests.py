"""Requests: the one-round-trip call that `gen_server` and everything like it stands on.

A request carries its own monitor: until it is answered it stands among the callee's watches,
so the callee's end answers it too. There is no monitor to set up and none to take down, and no
mailbox is searched for the reply: the cost of a call does not depend on what waits there
(OTP makes both true with aliases, EEP 53). A reply after the caller gave up is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from partisan_actors.processes.identity import Pid

if TYPE_CHECKING:
    from partisan_actors.processes.process import Process

__all__ = [
    "ABANDONED",
    "FAILED",
    "PENDING",
    "REPLIED",
    "TOO_MANY_REQUESTS",
    "Caller",
    "Cast",
    "RemoteCaller",
    "RemoteSystemCaller",
    "Request",
    "RequestId",
    "Response",
    "SystemRequest",
]

PENDING = 0
REPLIED = 1
FAILED = 2
ABANDONED = 3

TOO_MANY_REQUESTS = ("system_limit", "far too many requests of this node are unanswered there")
"""Why another node takes no request: a server may end with the word alone as its reason."""


class Watched(Protocol):
    """Something that a request stands among the watches of."""

    def remove_watch(self, watch: Any) -> None:
        """It is answered, or nobody waits for it any more."""


class Cast:
    """A message that a behaviour gets by its `handle_cast`, and a plain process as it is."""

    __match_args__ = ("request",)
    __slots__ = ("request",)

    def __init__(self, request: Any) -> None:
        self.request = request

    def __repr__(self) -> str:
        return f"Cast({self.request!r})"


class Caller:
    """Who made a request: an opaque handle for `reply`, which may be sent to other processes and nodes."""

    __slots__ = ()

    pid: Pid

    def reply(self, value: Any) -> None:
        """Answer; only the first answer counts."""
        raise NotImplementedError

    def down(self, reason: Any) -> None:
        """The callee ended without an answer."""
        raise NotImplementedError


class Request(Caller):
    """A request made by a process of this node. It is also its caller's handle."""

    __slots__ = ("caller", "deadline", "dest", "number", "payload", "state", "target", "value")

    __match_args__ = ("payload",)

    def __init__(self, caller: Process, dest: Any, payload: Any) -> None:
        self.caller = caller
        self.dest = dest  # as the user gave it, for errors
        self.payload = payload
        self.deadline: float | None = None  # when the caller gives up (clock seconds), if it does
        self.state = PENDING
        self.value: Any = None
        self.target: Watched | None = None  # where it stands among the watches: the callee, or the ties to its node
        self.number: int | None = None  # given when the request, or its handle, leaves the node

    @property
    def pid(self) -> Pid:  # type: ignore[override]
        """The process that waits for the reply."""
        return self.caller.pid

    def reply(self, value: Any) -> None:
        """Answer it with `value`."""
        if self.state == PENDING:
            check = self.caller.runtime.check_message
            if check is not None:
                check(value)
            self.state = REPLIED
            self.value = value
            if self.target is not None:
                self.target.remove_watch(self)  # by its own way: a request to another node has to be told off there
            self._finished()

    def down(self, reason: Any) -> None:
        """Fail it with `reason`: the callee ended, or is not there."""
        if self.state == PENDING:
            self.state = FAILED
            self.value = reason
            self._finished()

    def fail(self, reason: Any) -> None:
        """Fail it with `reason`, from elsewhere than its callee's end."""
        if self.state == PENDING:
            if self.target is not None:
                self.target.remove_watch(self)
            self.down(reason)

    def abandon(self) -> None:
        """The caller does not wait any more: whatever comes is dropped."""
        if self.state == PENDING:
            self.state = ABANDONED
            if self.target is not None:
                self.target.remove_watch(self)
        if self.number is not None:
            self.caller.runtime.requests.pop(self.number, None)

    def _finished(self) -> None:
        waiter = self.caller.waiter
        if waiter is not None:
            self.caller.scheduler.wake(waiter)

    def numbered(self) -> int:
        """The number under which this node finds the request again when an answer comes from outside."""
        if self.number is None:
            self.number = self.caller.runtime.new_serial()
            self.caller.runtime.requests[self.number] = self
        return self.number

    def __repr__(self) -> str:
        return f"<caller {self.pid}>"


class Response:
    """The mailbox message by which the answer to a `send_request` arrives; give it to `check_response`."""

    __slots__ = ("request",)

    def __init__(self, request: Request) -> None:
        self.request = request

    def __repr__(self) -> str:
        return f"<response from {self.request.dest!r}>"


class SystemRequest(Request):
    """A request to the behaviour itself and not to its callbacks (`sys`, `stop`)."""

    __slots__ = ()


class RequestId(Request):
    """A request whose answer arrives as a message (`send_request`). It ends with its caller."""

    __slots__ = ()

    def __init__(self, caller: Process, dest: Any, payload: Any) -> None:
        super().__init__(caller, dest, payload)
        if caller.requests is None:
            caller.requests = {}
        caller.requests[self] = None

    def _finished(self) -> None:
        self._close()
        self.caller.deliver(Response(self))

    def abandon(self) -> None:
        """The caller does not wait any more, or is no more."""
        self._close()
        super().abandon()

    def _close(self) -> None:
        if self.caller.requests is not None:
            self.caller.requests.pop(self, None)


class Answers(Protocol):
    """The way back to the callers of other nodes."""

    def reply(self, caller: RemoteCaller, value: Any) -> None:
        """Send an answer. Raises NotSendable."""

    def fail(self, caller: RemoteCaller, reason: Any) -> None:
        """Say that there will be no answer."""

    def settled(self, caller: RemoteCaller) -> None:
        """It has been answered, one way or the other."""


class RemoteCaller(Caller):
    """The handle of a request that another node made: (pid, number) is all that is known here."""

    __match_args__ = ("payload",)
    __slots__ = ("_answers", "answered", "number", "payload", "pid", "target", "way")

    def __init__(self, answers: Answers, pid: Pid, number: int, payload: Any = None, way: Any = None) -> None:
        self._answers = answers
        self.way = way  # which of its ways to the caller's node the answer is to take; `answers` knows what it means
        self.pid = pid
        self.number = number
        self.payload = payload
        self.target: Process | None = None
        self.answered = False

    def reply(self, value: Any) -> None:
        """Send the answer to the caller's node. A value that cannot be sent leaves it unanswered."""
        if not self.answered:
            self._answers.reply(self, value)
            self.settle()

    def down(self, reason: Any) -> None:
        """Tell the caller's node that nobody will answer."""
        if not self.answered:
            self._answers.fail(self, reason)
            self.settle()

    def settle(self) -> None:
        """Take it off the list of the callee, and of what its node waits for."""
        self.answered = True
        if self.target is not None:
            self.target.remove_watch(self)
        self._answers.settled(self)

    def __repr__(self) -> str:
        return f"<caller {self.pid}>"


class RemoteSystemCaller(RemoteCaller):
    """A system request that another node made."""

    __slots__ = ()
