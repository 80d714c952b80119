"""The client side of a GenServer: calls, casts and requests of the process that runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from greenlet import getcurrent

from partisan_actors.errors import ActorError, CallError, CallTimeout, NoConnection, NoProcess, ServerExit
from partisan_actors.processes.clock import checked_seconds, deadline_after
from partisan_actors.processes.crash_report import shortened
from partisan_actors.processes.identity import Pid, Remote
from partisan_actors.processes.messages import Crash
from partisan_actors.processes.ports import DEFAULT_OPTIONS, SendOptions
from partisan_actors.processes.process import NOT_EXITING, Process
from partisan_actors.processes.requests import (
    ABANDONED,
    FAILED,
    PENDING,
    REPLIED,
    TOO_MANY_REQUESTS,
    Caller,
    Cast,
    Request,
    RequestId,
    Response,
    SystemRequest,
)
from partisan_actors.processes.runtime import current_process
from partisan_actors.processes.scheduler import QUEUED
from partisan_actors.processes.selective import discard_youngest, let_others_run
from partisan_actors.processes.sending import check_delivery, check_hashable, send
from partisan_actors.processes.timers import EXACT_BELOW

__all__ = [
    "NO_RESPONSE",
    "abcast",
    "call",
    "cast",
    "check_response",
    "multi_call",
    "receive_response",
    "reply",
    "send_request",
    "stop",
    "system_call",
    "wait_response",
]


class _NoResponse:
    def __repr__(self) -> str:
        return "NO_RESPONSE"


NO_RESPONSE: Any = _NoResponse()
"""What `check_response` gives for a message that is no response to the request."""


def call(
    dest: Any,
    request: Any,
    timeout: float | None = 5.0,
    *,
    channel: str | None = None,
    partition_key: Any = None,
) -> Any:
    """Make a request and wait for the reply (OTP: `gen_server:call/3`). One round trip; it always ends.

    Args:
        dest: a Pid, a local name, Remote, Global or Via.
        request: what `handle_call` gets.
        timeout: seconds; None waits for ever. A late reply is dropped, it never reaches the mailbox.
        channel: the named channel to travel on.
        partition_key: what picks the connection.

    Raises:
        CallTimeout: no reply in time; the server may still work on it.
        NoProcess: nobody is there.
        NoConnection: its node is unknown, or went down.
        ServerExit: it ended before it replied.
        CallError: `"calling_self"`, or the request could not be decoded there.
        NotSendable: the server is on another node and the request cannot cross.
    """
    process = current_process()
    made = Request(process, dest, request)
    options = DEFAULT_OPTIONS
    if channel is not None or partition_key is not None:
        _check_options(process, channel, partition_key)
        options = SendOptions(channel, partition_key)
    _exchange(process, made, timeout, options)
    if made.state == REPLIED:
        return made.value
    raise error_of(made)


def _check_options(process: Process, channel: str | None, partition_key: Any) -> None:
    if partition_key is not None:
        check_hashable("partition_key", partition_key)
    check_delivery(process.runtime, channel)
    if channel is not None and process.runtime.channels[channel]:
        raise ActorError(f"channel {channel!r} is monotonic and takes no calls: it may drop a request for a newer one")


def system_call(dest: Any, request: tuple[Any, ...], timeout: float | None = 5.0) -> Any:
    """A request to the behaviour of `dest` itself (OTP: `sys`). Raises as `call`, and CallError when it was refused."""
    process = current_process()
    made = SystemRequest(process, dest, request)
    _exchange(process, made, timeout, DEFAULT_OPTIONS)
    if made.state != REPLIED:
        raise error_of(made)
    outcome, value = made.value
    if outcome == "error":
        raise CallError(value, f"{_text(made)}: it answered {value.type}: {value.message}\n{value.traceback}")
    return value


def _exchange(process: Process, request: Request, timeout: float | None, options: SendOptions) -> None:
    """Send a request and wait until it is answered or has failed. Raises CallTimeout."""
    # hot path: 2 us, of which the switch to the server and back is 0.7.
    if process.exiting is not NOT_EXITING:
        process.check_exiting()
    if timeout is not None and (type(timeout) is not float or timeout != timeout):
        timeout = checked_seconds(timeout, "timeout")
    request.deadline = deadline = None if timeout is None else process.runtime.clock.now() + timeout
    coarse = timeout is not None and timeout >= EXACT_BELOW
    try:
        _send_request(process, request, options)
        if request.state == FAILED:
            # It did not wait. A loop that tries until somebody is there must not keep everybody else from running.
            let_others_run(process)
        while request.state == PENDING:
            process.wait(deadline, coarse=coarse)
            if deadline is not None and request.state == PENDING and process.runtime.clock.now() >= deadline:
                raise CallTimeout("timeout", f"{_text(request)}: no reply within {timeout} s")
    finally:
        if request.state == PENDING or request.number is not None:
            request.abandon()


def _send_request(process: Process, request: Request, options: SendOptions) -> None:
    dest = request.dest
    runtime = process.runtime
    if type(dest) is Pid and dest.home is runtime.home:
        target: Any = runtime.processes.get(dest.serial)
    else:
        target = runtime.resolve(dest)
    if isinstance(target, Process):
        if target is process:
            raise CallError("calling_self", f"{_text(request)}: a process that calls itself would wait for ever")
        if runtime.check_message is not None and type(request) is not SystemRequest:
            runtime.check_message(request.payload)
        request.target = target
        target.add_watch(request)
        target.deliver(request)
    elif target is None:
        request.down("noproc")
    else:
        runtime.router.request(request, target, options)


def _same(one: Any, other: Any) -> bool:
    """Whether two exit reasons are equal; a user's may compare as it likes, or refuse to."""
    try:
        return one is other or bool(one == other)
    except Exception:
        return False


def error_of(request: Request) -> CallError:
    """The error for a request that failed."""
    reason = request.value
    text = _text(request)
    if reason == "noproc" and type(reason) is str:
        return NoProcess(reason, f"{text}: no such process")
    if reason == "noconnection" and type(reason) is str:
        return NoConnection(reason, f"{text}: there is no connection to its node, or it was lost")
    if type(reason) is tuple and len(reason) == 2 and reason[0] == "undecodable":
        return CallError(reason, f"{text}: a message could not be decoded: {reason[1]}")
    if type(reason) is tuple and _same(reason, TOO_MANY_REQUESTS):
        return CallError(reason, f"{text}: {reason[1]}")
    if isinstance(reason, Crash):
        return ServerExit(reason, f"{text}: the server crashed: {reason.type}: {reason.message}\n{reason.traceback}")
    return ServerExit(reason, f"{text}: the server ended with {shortened(reason)}")


def _text(request: Request) -> str:
    return f"{request.caller.pid} called {request.dest!r} with {shortened(request.payload)}"


def cast(
    dest: Any, request: Any, *, channel: str | None = None, partition_key: Any = None, nosuspend: bool = False
) -> None:
    """Send a request that is not answered; like `send`, whether or not anybody is there (OTP: `gen_server:cast/2`)."""
    # hot path: `send`'s first branch with `current_process` and `deliver` written out: 0.53 us, else 0.60.
    try:
        process = getcurrent().partisan_process
        runtime = process.runtime
    except AttributeError:
        process = current_process()  # tells what is wrong
        runtime = process.runtime
    if channel is not None:
        check_delivery(runtime, channel)
    home = dest.home if type(dest) is Pid and runtime.closed is None else None
    if home is None:
        pass
    elif home is not runtime.home:
        if channel is None and partition_key is None and not nosuspend and home.node != runtime.home.node:
            # As `send` would; 0.6 us less.
            runtime.router.send(process, dest, Cast(request), DEFAULT_OPTIONS)
            return
    elif runtime.check_message is None and partition_key is None:
        target = runtime.processes.get(dest.serial)
        if target is None:
            return
        if target.max_mailbox is None:
            if target.status == QUEUED and target.mailbox:
                target.mailbox.append(Cast(request))  # it runs anyway
            else:
                target.deliver(Cast(request))
            return
    send(dest, Cast(request), channel=channel, partition_key=partition_key, nosuspend=nosuspend)


def reply(caller: Caller, value: Any) -> None:
    """Answer a request; from any process, once (OTP: `gen_server:reply/2`)."""
    if not isinstance(caller, Caller):
        raise TypeError(f"reply takes the caller that handle_call got, not {caller!r}")
    caller.reply(value)


def send_request(dest: Any, request: Any, *, channel: str | None = None, partition_key: Any = None) -> RequestId:
    """Make a request and go on; the answer comes as a message (OTP: `gen_server:send_request/2`)."""
    process = current_process()
    process.check_exiting()
    _check_options(process, channel, partition_key)
    made = RequestId(process, dest, request)
    _send_request(process, made, SendOptions(channel, partition_key))
    return made


def _request_until(process: Process, dest: Any, request: Any, deadline: float | None) -> RequestId:
    """As `send_request`; also what waits for room on the way gives up then."""
    made = RequestId(process, dest, request)
    made.deadline = deadline
    _send_request(process, made, DEFAULT_OPTIONS)
    return made


def wait_response(request: RequestId, timeout: float | None = None) -> Any:
    """Wait for the answer; after a timeout the request goes on, and can be waited for again.

    Raises:
        CallError: as `call`; CallTimeout when the time is up.
    """
    return _response(request, timeout)


def receive_response(request: RequestId, timeout: float | None = None) -> Any:
    """Wait for the answer; after a timeout the request is abandoned, and its answer dropped. Raises as `call`."""
    try:
        return _response(request, timeout)
    except CallTimeout:
        request.abandon()
        raise


def _response(request: RequestId, timeout: float | None) -> Any:
    process = current_process()
    if not isinstance(request, RequestId) or request.caller is not process:
        raise TypeError(f"this takes a RequestId that send_request gave to this process, not {request!r}")
    clock = process.runtime.clock
    deadline = deadline_after(clock, timeout)
    while request.state == PENDING:
        if deadline is not None and clock.now() >= deadline:
            let_others_run(process)
            if request.state == PENDING:
                raise CallTimeout("timeout", f"{_text(request)}: no reply within {timeout} s")
            break
        process.wait(deadline, for_message=True)
    # From the young end: what the answer costs must not depend on how much waits before it.
    discard_youngest(process, lambda message: type(message) is Response and message.request is request)
    return _settled(request)


def check_response(message: Any, request: RequestId) -> Any:
    """The value if `message` is the answer to `request`, `NO_RESPONSE` if it is something else.

    Raises:
        CallError: it is the answer, and an error.
    """
    if type(message) is not Response or message.request is not request:
        return NO_RESPONSE
    return _settled(request)


def _settled(request: RequestId) -> Any:
    if request.number is not None:
        request.abandon()
    if request.state == REPLIED:
        return request.value
    if request.state == ABANDONED:
        raise CallError("abandoned", f"{_text(request)}: it was given up before, and its answer is dropped")
    raise error_of(request)


def _check_nodes(nodes: Iterable[str] | None) -> None:
    if isinstance(nodes, str):
        raise TypeError(f"nodes is a list of node names, not one str: give [{nodes!r}]")


def multi_call(
    nodes: Iterable[str] | None, name: str, request: Any, timeout: float | None = 5.0
) -> tuple[list[tuple[str, Any]], list[str]]:
    """Call the server registered as `name` on each node (OTP: `gen_server:multi_call/4`).

    Args:
        nodes: their names; None means all members.
        name: the local name there.
        request: what each gets.
        timeout: seconds for all together.

    Returns:
        `(replies, bad_nodes)`: (node, reply) in the order of `nodes`, and the nodes that gave none.
    """
    process = current_process()
    clock = process.runtime.clock
    deadline = deadline_after(clock, timeout)
    _check_nodes(nodes)
    wanted = list(process.runtime.router.members() if nodes is None else nodes)
    bad_nodes: list[str] = []
    requests = []
    for node in wanted:
        try:
            requests.append((node, _request_until(process, Remote(name, node), request, deadline)))
        except CallError:
            bad_nodes.append(node)  # the name there is the caller's own: it cannot answer, and the others can
    replies: list[tuple[str, Any]] = []
    for node, made in requests:
        left = None if deadline is None else max(deadline - clock.now(), 0.0)
        try:
            replies.append((node, receive_response(made, left)))
        except CallError:
            bad_nodes.append(node)
    return replies, bad_nodes


def abcast(nodes: Iterable[str] | None, name: str, request: Any) -> None:
    """Cast to the server registered as `name` on each node; None means all members (OTP: `gen_server:abcast/3`)."""
    _check_nodes(nodes)
    process = current_process()
    for node in list(process.runtime.router.members() if nodes is None else nodes):
        cast(Remote(name, node), request)


def stop(dest: Any, reason: Any = "normal", timeout: float | None = None) -> None:
    """End a server in order: `terminate(reason)` runs; waits until it has ended (OTP: `gen_server:stop/3`).

    Raises:
        NoProcess: it is not there.
        CallTimeout: it has not ended in time.
        ServerExit: it ended with another reason.
    """
    process = current_process()
    runtime = process.runtime
    if type(dest) is Pid and dest.home is runtime.home and process.exiting is NOT_EXITING:
        target = runtime.processes.get(dest.serial)
        if target is not None and target.end_at_once(reason):
            process.check_exiting()  # it may have been linked
            return
    request = SystemRequest(process, dest, ("terminate", reason))
    _exchange(process, request, timeout, DEFAULT_OPTIONS)
    if request.state == REPLIED:
        raise ActorError(f"{dest!r} answered a stop instead of ending")
    if not _same(request.value, reason):
        raise error_of(request)
