"""What arrives from other nodes for processes of this one.

Signals are handled in the hub, in their order, and nothing here waits. A payload that cannot be decoded costs that
message only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from partisan_actors.cluster.acknowledging import Acknowledging
from partisan_actors.cluster.advice import advice_on
from partisan_actors.cluster.causality import Causality
from partisan_actors.cluster.hooks import Hooks
from partisan_actors.cluster.interposition import Interposition
from partisan_actors.cluster.ties import RemoteWatch, Ties
from partisan_actors.cluster.ways import Way
from partisan_actors.distribution.bad_input import BadInputLog
from partisan_actors.distribution.live_session import Session
from partisan_actors.processes.identity import Pid
from partisan_actors.processes.process import Process
from partisan_actors.processes.requests import TOO_MANY_REQUESTS, Cast, RemoteCaller, RemoteSystemCaller, Request
from partisan_actors.processes.runtime import Runtime
from partisan_actors.processes.scheduler import QUEUED
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec, DecodeError
from partisan_actors.wire.signals import Outcome, Signal, decode_acknowledgement, signals_of

__all__ = ["TOO_MANY", "Incoming"]

TOO_MANY = "system_limit"
"""Why a link, monitor or request ended that was one too many, as Erlang says it."""

# What is between the nodes themselves; a message of a causal label is, until it is due.
_NEVER_INTERPOSED = frozenset({signals.ACKNOWLEDGE, signals.FULL, signals.ROOM, signals.CAUSAL})


class Incoming:
    """Does what signals of other nodes say."""

    def __init__(self, runtime: Runtime, codec: Codec, hooks: Hooks, acknowledging: Acknowledging) -> None:
        self._runtime = runtime
        self._codec = codec
        self._hooks = hooks
        self._acknowledging = acknowledging
        self.causality: Causality  # set by who makes both
        self.interposition = Interposition(runtime, codec, hooks, self._handle, self._drop)
        self.spawn_requested: Callable[[Ties, RemoteCaller], None] | None = None
        self.undecodable = 0
        self.over_limit = 0  # links, monitors and requests of others that were too many
        self._to_acknowledge = False  # something came that its sender wants to hear of
        self.bad_input = BadInputLog(runtime.home.node, runtime.clock)  # a peer that sends nothing else fills no disk
        self._handlers: dict[int, Callable[[Ties, Signal], None]] = {
            signals.SEND: self._on_send,
            signals.CAST: self._on_cast,
            signals.CALL: self._on_call,
            signals.SYSTEM_CALL: self._on_call,
            signals.REPLY: self._on_reply,
            signals.CALL_FAILED: self._on_call_failed,
            signals.LINK: self._on_link,
            signals.UNLINK: self._on_unlink,
            signals.LINK_EXIT: self._on_link_exit,
            signals.EXIT: self._on_exit,
            signals.MONITOR: self._on_monitor,
            signals.DEMONITOR: self._on_demonitor,
            signals.DOWN: self._on_down,
            signals.SPAWN: self._on_spawn,
            signals.ACKNOWLEDGE: self._on_acknowledge,
            signals.CAUSAL: self._on_causal,
            signals.FULL: self._on_full,
            signals.ROOM: self._on_room,
        }

    def received(self, ties: Ties, body: memoryview | bytes, other: Callable[[Session, Signal], None]) -> None:
        """Handle the signals of a frame; those that are not for processes go to `other`.

        Raises:
            BrokenFrame: the envelope is broken; the connection is to end.
        """
        handlers = self._handlers
        interposed = self._hooks.on_the_way_in or self.interposition.busy
        for signal in signals_of(body):
            handler = handlers.get(signal.kind)
            try:
                if handler is None:
                    other(ties.session, signal)
                elif interposed and signal.kind not in _NEVER_INTERPOSED:
                    self.interposition.take(ties, signal)
                else:
                    handler(ties, signal)
            except DecodeError as error:
                self._undecodable(ties, signal, error)
        if self._to_acknowledge:
            self._settle(ties)

    def _settle(self, ties: Ties) -> None:
        """Acknowledge what came."""
        self._to_acknowledge = False
        self._acknowledging.settle(ties)
        self.causality.post.settle(ties)

    def take(self, ties: Ties, signal: Signal, label: str) -> bool:
        """Handle a message of a causal label, which is due; False when nobody is there to get it."""
        interposition = self.interposition
        if self._hooks.on_the_way_in or interposition.busy or interposition.holds(label):
            interposition.take(ties, signal, label)
            return True
        there = self._receiver(signal) is not None
        self._handle(ties, signal)
        return there

    def _handle(self, ties: Ties, signal: Signal) -> None:
        """What the hooks let pass."""
        try:
            self._handlers[signal.kind](ties, signal)
        except DecodeError as error:
            self._undecodable(ties, signal, error)
        if self._to_acknowledge:
            self._settle(ties)

    def _drop(self, ties: Ties, signal: Signal) -> None:
        """A hook dropped it. Its sender is told where it waits to hear of it, and else would send it again."""
        if signal.acknowledged is not None and self._acknowledging.accept(ties, signal):
            self._acknowledging.refuse(ties, signal, Outcome.DROPPED)
            self._settle(ties)

    def _undecodable(self, ties: Ties, signal: Signal, error: DecodeError) -> None:
        self._log_undecodable(ties, signal, error)
        reason = ("undecodable", str(error))
        if signal.kind in (signals.CALL, signals.SYSTEM_CALL, signals.SPAWN):
            ties.send_reason(ties.back(signal), signals.CALL_FAILED, signal.sender, 0, signal.ref, reason)
        elif signal.kind in (signals.REPLY, signals.CALL_FAILED):
            request = self._runtime.requests.pop(signal.ref, None)
            if request is not None:
                self._settled_there(ties, request)
                request.fail(reason)
        elif signal.kind in (signals.LINK_EXIT, signals.EXIT, signals.DOWN):
            # What happened matters more than why: the signal stands, with a reason that says so.
            self._handlers[signal.kind](ties, signal._replace(payload=self._codec.encode(reason)))

    def _log_undecodable(self, ties: Ties, signal: Signal, error: DecodeError) -> None:
        self.undecodable += 1
        event, reason = "undecodable_message", str(error)
        to = repr(signal.name)[:100] if signal.name is not None else signal.to
        about, advice = {"to": to, "kind": signal.kind}, advice_on(event, reason)
        self.bad_input.tell(event, ties.peer.node, reason, advice=advice, apart=str(about), about=about)

    def _receiver(self, signal: Signal) -> Process | None:
        if signal.name is not None:
            return self._runtime.names.get(signal.name)
        return self._runtime.processes.get(signal.to)

    def _on_send(self, ties: Ties, signal: Signal) -> None:
        if signal.acknowledged is not None:
            self._on_acknowledged(ties, signal)
            return
        self._put(ties, signal, self._codec.decode(signal.payload))

    def _put(self, ties: Ties, signal: Signal, message: Any) -> bool:
        """Put a message into its receiver's mailbox; False when there is nobody."""
        # hot path: once per message.
        runtime = self._runtime
        process = runtime.processes.get(signal.to) if signal.name is None else runtime.names.get(signal.name)
        if process is None:
            return False
        if process.status == QUEUED and process.mailbox:
            process.mailbox.append(message)  # as `deliver` would, 0.1 us less: it runs anyway
        else:
            process.deliver(message)
        if process.max_mailbox is not None:
            ties.credit.delivered(process, signal)
        return True

    def _on_acknowledged(self, ties: Ties, signal: Signal) -> None:
        """A message of the other node's outbox, which may have been here before."""
        self._to_acknowledge = True
        if not self._acknowledging.accept(ties, signal):
            return
        try:
            message = self._codec.decode(signal.payload)
        except DecodeError:
            self._acknowledging.refuse(ties, signal, Outcome.UNDECODABLE)
            raise
        if not self._put(ties, signal, message):
            self._acknowledging.refuse(ties, signal, Outcome.NO_PROCESS)

    def _on_acknowledge(self, ties: Ties, signal: Signal) -> None:
        acknowledgement = decode_acknowledgement(signal)
        for post in (self._acknowledging, self.causality.post):
            if acknowledgement.identity == post.identity:
                post.acknowledged(ties, acknowledgement)

    def _on_causal(self, ties: Ties, signal: Signal) -> None:
        self.causality.arrived(ties, signal)
        self._to_acknowledge = True  # not before: what was due by it has settled what came before

    def _on_cast(self, ties: Ties, signal: Signal) -> None:
        self._put(ties, signal, Cast(self._codec.decode(signal.payload)))

    def _on_call(self, ties: Ties, signal: Signal) -> None:
        payload = self._codec.decode(signal.payload)
        process = self._receiver(signal)
        if process is None:
            ties.send_reason(ties.back(signal), signals.CALL_FAILED, signal.sender, 0, signal.ref, "noproc")
            return
        kind = RemoteCaller if signal.kind == signals.CALL else RemoteSystemCaller
        caller = kind(ties, Pid(ties.peer, signal.sender), signal.ref, payload, ties.back(signal, process))
        if not ties.called(caller):
            self._over_limit(ties, signal, signals.CALL_FAILED)
            return
        caller.target = process
        process.add_watch(caller)
        process.deliver(caller)
        if process.max_mailbox is not None:
            ties.credit.delivered(process, signal)

    def _on_reply(self, ties: Ties, signal: Signal) -> None:
        value = self._codec.decode(signal.payload)
        request = self._runtime.requests.pop(signal.ref, None)
        # Gone: the caller gave up, or was answered. Nobody's mailbox gets it (partisan.md D43).
        if request is not None:
            self._settled_there(ties, request)
            request.reply(value)

    def _on_call_failed(self, ties: Ties, signal: Signal) -> None:
        reason = self._codec.decode(signal.payload)
        request = self._runtime.requests.pop(signal.ref, None)
        if request is not None:
            self._settled_there(ties, request)
            request.fail(reason)

    def _settled_there(self, ties: Ties, request: Request) -> None:
        """The node that it was made to has answered: it need not be told that it is over."""
        if request.target is ties and ties.watches is not None:
            ties.watches.pop(request, None)

    def _on_link(self, ties: Ties, signal: Signal) -> None:
        process = self._runtime.processes.get(signal.to)
        if process is None:
            ties.send_reason(ties.back(signal), signals.LINK_EXIT, signal.sender, signal.to, 0, "noproc")
            return
        pid = Pid(ties.peer, signal.sender)
        if ties.linked(process, pid.serial, -signal.ref):
            process.add_link(pid)
        else:
            self._over_limit(ties, signal, signals.LINK_EXIT)

    def _on_unlink(self, ties: Ties, signal: Signal) -> None:
        taken_down = self._codec.decode(signal.payload)
        process = self._runtime.processes.get(signal.to)
        numbers = ties.links.get((process, signal.sender)) if process is not None else None
        if process is None or numbers is None or not isinstance(taken_down, tuple):
            return
        # Those that it knew of. We may have unlinked, too, and linked anew, before we heard of it: that one stands.
        numbers.difference_update(-number for number in taken_down if type(number) is int)
        if not numbers:
            del ties.links[process, signal.sender]
            process.remove_link(Pid(ties.peer, signal.sender))

    def _on_link_exit(self, ties: Ties, signal: Signal) -> None:
        reason = self._codec.decode(signal.payload)
        process = self._runtime.processes.get(signal.to)
        if process is None:
            return
        pid = Pid(ties.peer, signal.sender)
        ties.links.pop((process, pid.serial), None)
        # Not linked any more: we took it down while this was on its way, so it has no effect.
        if process.remove_link(pid):
            process.signal_link(pid, reason)

    def _on_exit(self, ties: Ties, signal: Signal) -> None:
        reason = self._codec.decode(signal.payload)
        process = self._runtime.processes.get(signal.to)
        if process is not None:
            process.signal_exit(Pid(ties.peer, signal.sender), reason)

    def _on_monitor(self, ties: Ties, signal: Signal) -> None:
        process = self._receiver(signal)
        if process is None:
            ties.send_reason(ties.back(signal), signals.DOWN, signal.sender, signal.to, signal.ref, "noproc")
            return
        if not ties.watched(RemoteWatch(ties, process, signal.sender, signal.ref, ties.back(signal, process))):
            self._over_limit(ties, signal, signals.DOWN)

    def watch(self, ties: Ties, process: Process, watcher: int, ref: int, way: Way) -> None:
        """Let process `watcher` of the other node know, by `ref` and that way, when `process` ends."""
        if not ties.watched(RemoteWatch(ties, process, watcher, ref, way)):
            self.over_limit += 1
            ties.send_reason(way, signals.DOWN, watcher, process.pid.serial, ref, TOO_MANY)

    def _over_limit(self, ties: Ties, signal: Signal, answer: int) -> None:
        """What would have been a tie ends at once."""
        self.over_limit += 1
        # A server may end with "system_limit" of its own: what a call gets says that it was not that.
        reason = TOO_MANY_REQUESTS if answer == signals.CALL_FAILED else TOO_MANY
        ties.send_reason(ties.back(signal), answer, signal.sender, signal.to, signal.ref, reason)

    def _on_demonitor(self, ties: Ties, signal: Signal) -> None:
        remote = ties.remote_watches.pop(signal.ref, None)
        if remote is not None:
            remote.target.remove_watch(remote)
            return
        caller = ties.callers.get(signal.ref)  # a request carries its own monitor
        if caller is not None:
            caller.settle()

    def _on_down(self, ties: Ties, signal: Signal) -> None:
        reason = self._codec.decode(signal.payload)
        monitor = ties.monitors.pop(signal.ref, None)
        if monitor is not None:
            if ties.watches is not None:
                ties.watches.pop(monitor, None)
            if monitor.item is None:
                # A process being spawned: its end has overtaken the answer that says its pid.
                monitor.item = Pid(ties.peer, signal.sender)
            monitor.down(reason)

    def _on_full(self, ties: Ties, signal: Signal) -> None:
        ties.credit.withdrawn(signal)

    def _on_room(self, ties: Ties, signal: Signal) -> None:
        ties.credit.given(signal)

    def _on_spawn(self, ties: Ties, signal: Signal) -> None:
        payload = self._codec.decode(signal.payload)
        caller = RemoteCaller(ties, Pid(ties.peer, signal.sender), signal.ref, payload, ties.back(signal))
        if not ties.called(caller):
            self._over_limit(ties, signal, signals.CALL_FAILED)
        elif self.spawn_requested is None:
            caller.down("noproc")
        else:
            self.spawn_requested(ties, caller)
