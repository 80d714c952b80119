"""Sending a message: to a process of this node by reference, to others by the router."""

from __future__ import annotations

from typing import Any

from partisan_actors.errors import ActorError, WouldBlock
from partisan_actors.processes.identity import Pid, Ref
from partisan_actors.processes.messages import Undelivered
from partisan_actors.processes.ports import DEFAULT_OPTIONS, SendOptions
from partisan_actors.processes.process import NOT_EXITING, Process
from partisan_actors.processes.runtime import Runtime, current_process
from partisan_actors.processes.scheduler import EXITED
from partisan_actors.processes.selective import let_others_run

__all__ = ["check_delivery", "check_hashable", "send"]


def send(
    dest: Any,
    message: Any,
    *,
    channel: str | None = None,
    partition_key: Any = None,
    ack: bool = False,
    causal: str | None = None,
    nosuspend: bool = False,
) -> Ref | None:
    """Send a message; never waits for the receiver, never fails for a dead pid or unknown name (Erlang: `send/3`).

    Args:
        dest: a Pid, a local name (str), Remote, Global or Via.
        message: passed by reference on this node, copied to others.
        channel: the named channel to travel on.
        partition_key: what picks the connection, instead of the pair of pids.
        ack: see that it is delivered: it outlives sessions, is sent again until it is acknowledged, and delivered
            once. If that cannot be, the sender gets `Undelivered(ref, dest, reason)`.
        causal: a label: after everything of that label that this message depends on; implies `ack`.
            `Remote(name, "*")` is the process of that name on every member of the label.
        nosuspend: raise WouldBlock rather than wait while the way is full.

    Returns:
        With `ack=True` the Ref that an `Undelivered` would bear; else None.

    Raises:
        NotSendable: another node is meant, and the message cannot cross.
        WouldBlock: see `nosuspend`.
        ActorError: a channel that this node does not have, or that cannot do what is asked.
        TypeError: a partition key that is not hashable, whoever is there.
    """
    # hot path: a local pid with no options takes the first branch.
    process = current_process()
    runtime = process.runtime
    if ack or causal is not None or channel is not None:
        check_delivery(runtime, channel, ack, causal)
    if causal is not None:
        check_hashable("partition_key", partition_key)
        ref = runtime.new_ref()
        options = SendOptions(channel, partition_key, causal=causal, nosuspend=nosuspend)
        runtime.router.send_causal(process, dest, message, ref, options)
        return ref
    if ack:
        check_hashable("partition_key", partition_key)
        options = SendOptions(channel, partition_key, ack=True, nosuspend=nosuspend)
        return _send_acknowledged(process, dest, message, options)
    if type(dest) is Pid and dest.home is runtime.home:
        target: Any = runtime.processes.get(dest.serial)
    elif type(dest) is Pid and dest.home.node != runtime.home.node:
        target = dest  # as `resolve` says, without the call
    else:
        target = runtime.resolve(dest)
    if target is None:
        if partition_key is not None:
            check_hashable("partition_key", partition_key)
        return None
    if isinstance(target, Process):
        if partition_key is not None:
            check_hashable("partition_key", partition_key)
        if runtime.check_message is not None:
            runtime.check_message(message)
        if target.max_mailbox is not None:
            _wait_for_room(process, target, nosuspend)
        target.deliver(message)
        return None
    options = DEFAULT_OPTIONS
    if channel is not None or partition_key is not None or nosuspend:
        check_hashable("partition_key", partition_key)  # whether or not there is a session
        options = SendOptions(channel, partition_key, nosuspend=nosuspend)
    runtime.router.send(process, target, message, options)
    return None


def _send_acknowledged(process: Process, dest: Any, message: Any, options: SendOptions) -> Ref:
    runtime = process.runtime
    target = runtime.resolve(dest)
    ref = runtime.new_ref()
    if target is None:
        process.deliver(Undelivered(ref, dest, "noproc"))
    elif isinstance(target, Process):
        send(target.pid, message, partition_key=options.partition_key, nosuspend=options.nosuspend)
    else:
        runtime.router.send_acknowledged(process, target, dest, message, ref, options)
    return ref


def check_hashable(argument: str, value: Any) -> None:
    """Raise the same TypeError for what cannot be looked up, wherever the receiver is."""
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(f"{argument}: {error}") from None


def check_delivery(runtime: Runtime, channel: str | None, ack: bool = False, causal: str | None = None) -> None:
    """Refuse what this node cannot promise, rather than promise it in silence.

    Raises:
        ActorError: acknowledged or causal delivery, or a channel that the node does not have.
        TypeError: what can be the name of none.
    """
    if type(channel) is not str:
        check_hashable("channel", channel)
    if causal is not None and causal not in runtime.causal_labels:
        declared = ", ".join(map(repr, runtime.causal_labels)) or "none"
        raise ActorError(
            f"{runtime.home.node} has no causal label {causal!r}, only {declared}: "
            f"declare it, Node(..., causal_labels=(CausalLabel({causal!r}, members), ...))"
        )
    if channel is not None and channel not in runtime.channels:
        raise ActorError(
            f"{runtime.home.node} has no channel {channel!r}, only {', '.join(map(repr, runtime.channels))}: "
            f"declare it, Node(..., channels=(Channel({channel!r}), ...))"
        )
    if (ack or causal is not None) and channel is not None and runtime.channels[channel]:
        raise ActorError(f"channel {channel!r} is monotonic and acknowledges nothing: it may drop any message")


def _wait_for_room(process: Process, target: Process, nosuspend: bool) -> None:
    limit, place = target.max_mailbox, 0
    while target is not process and limit is not None and len(target.mailbox or ()) >= limit:
        if nosuspend:
            let_others_run(process)  # or who tries again and again would keep the receiver from running
            raise WouldBlock(f"the mailbox of {target.pid} holds {limit} messages, its max_mailbox")
        if target.status == EXITED:
            return
        if process.exiting is not NOT_EXITING:
            return  # a last word from a `finally` block is not held up
        if target.room is None:
            target.room = {}
        place = target.room[process] = place or next(process.runtime.places)
        try:
            process.wait()
        finally:
            if target.room is not None:
                target.room.pop(process, None)
