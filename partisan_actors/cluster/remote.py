"""A message's way from a process to another node.

The router of design decision 4: it turns what processes do with pids and names elsewhere into
signals on a session; `incoming` is the other half. Membership decides which sessions there are;
this only hangs ties on them.

Nothing here waits, but for a sender whose stream, or whose receiver's mailbox, is full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from partisan_actors.cluster.acknowledging import Acknowledging
from partisan_actors.cluster.causality import Causality, check_somebody
from partisan_actors.cluster.credit import receiver_of
from partisan_actors.cluster.delaying import Delaying
from partisan_actors.cluster.hooks import About, Hooks, Outcome
from partisan_actors.cluster.incoming import Incoming
from partisan_actors.cluster.opening import Opening, OpeningParameters
from partisan_actors.cluster.posting import Posting
from partisan_actors.cluster.room import Room
from partisan_actors.cluster.ties import Ties
from partisan_actors.cluster.ways import Way, Ways, address_of, flow_of, way_of
from partisan_actors.distribution.causal_label import CausalLabel
from partisan_actors.distribution.channels import DEFAULT_CHANNEL, Channel
from partisan_actors.distribution.flows import size_of
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.outbox_events import OutboxParameters
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.errors import ActorError, NotSendable
from partisan_actors.processes.crash_report import shortened
from partisan_actors.processes.identity import Life, Pid, Remote
from partisan_actors.processes.ports import DEFAULT_OPTIONS, SendOptions
from partisan_actors.processes.process import Process
from partisan_actors.processes.requests import PENDING, Cast, RemoteCaller, Request, SystemRequest
from partisan_actors.processes.runtime import Runtime, process_of_greenlet
from partisan_actors.processes.scheduler import RUNNING
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.partition import partition_number
from partisan_actors.wire.signals import LARGE, Signal, encode_plain, encode_signal

__all__ = ["RemoteProcesses"]

Payload: TypeAlias = bytes | tuple[bytes, bytes]

KEPT_KEYS = 4096
"""Partition keys of which the flow is remembered."""


class RemoteProcesses:
    """Processes of other nodes, as those of this one see them."""

    def __init__(
        self,
        runtime: Runtime,
        codec: Codec,
        channels: Sequence[Channel],
        hooks: Hooks,
        ack_timeout: float,
        labels: dict[str, CausalLabel],
    ) -> None:
        self.runtime = runtime
        self.codec = codec
        self._channels = {channel.name: channel for channel in channels}
        self.delaying = Delaying(runtime.clock)
        self._send = self.delaying.send
        self.full_ignored = 0  # of sessions that ended, as `Credit.ignored`
        self._key_flows: dict[Any, int] = {}  # partition keys used lately, and their flows
        self._ties: dict[Session, Ties] = {}
        self._ties_by_node: dict[str, Ties] = {}
        self.hooks = hooks
        window = self._channels[DEFAULT_CHANNEL].high_watermark
        usual = OutboxParameters()
        parameters = replace(usual, window_bytes=min(usual.window_bytes, window), time_limit=ack_timeout)
        self.wait_for_room = Room(runtime.clock).wait_for
        self.opening = Opening(
            runtime,
            lambda node: node in self._ties_by_node,
            OpeningParameters(size=min(OpeningParameters().size, window)),
        )
        self.posting = Posting(self)
        self.acknowledging = Acknowledging(
            runtime, self.ties_to, parameters, self.posting.undelivered, self.opening.want
        )
        self.incoming = Incoming(runtime, codec, hooks, self.acknowledging)
        incoming = self.incoming
        self.causality = Causality(
            runtime,
            codec,
            labels,
            self.ties_to,
            parameters,
            incoming.take,
            lambda: incoming.interposition.full,
            self.opening.want,
        )
        self.incoming.causality = self.causality

    # Sessions.

    def session_started(self, session: Session) -> None:
        """There may be ties over it from now on."""
        # The peer's life as decoded pids name it, so that one look tells whether they are of this life.
        peer = self.codec.intern(session.peer)
        ways = Ways(session, self._channels)
        ties = Ties(
            session,
            peer,
            ways,
            self.hooks,
            self.codec.encode_buffers,
            self.encode_reason,
            self._hold_answer,
            self._send,
        )
        self._ties[session] = self._ties_by_node[session.node] = ties
        self.acknowledging.session_started(ties)
        self.causality.post.session_started(ties)
        # After what was in the outboxes, which is older: who sends there now waits for the session first.
        self.opening.decided(session.node)

    def unreachable(self, node: str) -> None:
        """No session with that node can be had: what waits for one fails, but for what is in an outbox."""
        if node in self._ties_by_node:
            return  # it is told of a link that was wanted besides
        self.opening.decided(node)
        self._open_again(node, self.opening.parameters.retry)

    def _open_again(self, node: str, seconds: float) -> None:
        if self._has_open(node):
            self.runtime.clock.call_later(seconds, self._open_for_outboxes, node)

    def _open_for_outboxes(self, node: str) -> None:
        if self._has_open(node):
            self.opening.want(node)

    def _has_open(self, node: str) -> bool:
        return self.acknowledging.has_open(node) or self.causality.post.has_open(node)

    def resting(self, session: Session) -> None:
        """Nothing is to be sent on it: what is to go there waits, as if there were none. Nothing hangs on it."""
        ties = self._ties.get(session)
        if ties is not None and self._ties_by_node.get(session.node) is ties:
            del self._ties_by_node[session.node]
            self.acknowledging.resting(ties)
            self.causality.post.resting(ties)

    def resumed(self, session: Session) -> None:
        """It takes what is sent, and first of all what has waited."""
        ties = self._ties.get(session)
        if ties is not None:
            self._ties_by_node[session.node] = ties
            self.acknowledging.resumed(ties)
            self.causality.post.resumed(ties)
            self.opening.decided(session.node)

    def session_ended(self, session: Session) -> None:
        """Everything over it is `"noconnection"`."""
        ties = self._ties.pop(session, None)
        if ties is None:
            return
        if self._ties_by_node.get(session.node) is ties:
            del self._ties_by_node[session.node]
        self.full_ignored += ties.credit.ignored
        ties.cut()
        self.acknowledging.session_ended(ties)
        self.causality.post.session_ended(ties)
        self._open_again(session.node, 1.0)

    def keeps(self, session: Session) -> bool:
        """Whether anything hangs on a session: a link, a monitor, a request, a message in an outbox."""
        ties = self._ties.get(session)
        if ties is None:
            return False
        # What a hook delays may be for any of them, and has its way already.
        return ties.hold or bool(self.delaying.size) or self._has_open(session.node)

    def sessions(self) -> list[Session]:
        """Those that ties can hang on."""
        return list(self._ties)

    def ties(self) -> list[Ties]:
        """All of them."""
        return list(self._ties.values())

    def ties_to(self, dest: Pid | Remote | Life | str) -> Ties | str:
        """The ties to where `dest` lives, or why there are none: "noconnection", or "noproc" for an earlier life."""
        if type(dest) is Pid:
            home = dest.home
            ties = self._ties_by_node.get(home.node)
            if ties is not None and home is not ties.peer and home != ties.peer:
                return "noproc"
        else:
            ties = self._ties_by_node.get(dest if isinstance(dest, str) else dest.node)
        return ties if ties is not None else "noconnection"

    # Out: the `Router` of processes.

    def send(self, sender: Process, dest: Pid | Remote, message: Any, options: SendOptions) -> None:
        """Send a message or a cast."""
        kind, delay = signals.SEND, 0.0
        if type(message) is Cast:
            kind, message = signals.CAST, message.request
        if options is DEFAULT_OPTIONS and type(dest) is Pid and not self.hooks.on_the_way_out:
            # hot path: what nearly every message is; 1 us less of 5 than by what follows.
            payload = self.codec.encode_buffers(message)
            home = dest.home
            ties_there = self._ties_by_node.get(home.node)
            if ties_there is None:
                self._send_soon(sender, dest, kind, message, payload, options, delay)
                return
            if home is not ties_there.peer and home != ties_there.peer:
                return
            only, serial = ties_there.ways.only, sender.pid.serial
            if only is not None and not only.congested and not ties_there.credit.full:
                to = dest.serial
                if type(payload) is bytes and len(payload) < LARGE:
                    only.send(encode_plain(kind, to, serial, payload), serial + to)
                else:
                    only.send(encode_signal(kind, to, serial, 0, payload), serial + to)
                return
        if self.hooks.on_the_way_out:
            message, delay, dropped = self.interpose("send" if kind == signals.SEND else "cast", sender, dest, message)
            if dropped:
                return
        # Before anything else: an unsendable value raises whoever is there.
        payload = self.codec.encode_buffers(message)
        ties = self.ties_to(dest)
        if isinstance(ties, str):
            check_somebody(dest)
            self._send_soon(sender, dest, kind, message, payload, options, delay)
            return
        to, name = address_of(dest)
        way = self.way(ties, sender, to, name, options)
        if way.outgoing.congested or ties.credit.full:
            self.wait_for_room(sender, way, ties, options.nosuspend, None, receiver_of(to, name))
        self._send_now(way, sender, dest, kind, message, payload, delay)

    def _send_soon(
        self,
        sender: Process,
        dest: Pid | Remote,
        kind: int,
        message: Any,
        payload: Payload,
        options: SendOptions,
        delay: float,
    ) -> None:
        """Send a message that is encoded, once there is a session."""
        to, name = address_of(dest)

        def later() -> None:
            ties = self.ties_to(dest)
            if isinstance(ties, Ties):
                way = self._way_at_last(ties, sender, to, name, options)
                self._send_now(way, sender, dest, kind, message, payload, delay)

        if not self.opening.hold(sender, dest, size_of(payload), later, options.nosuspend):
            later()  # it has one by now, or nobody is there

    def _send_now(
        self, way: Way, sender: Process, dest: Pid | Remote, kind: int, message: Any, payload: Payload, delay: float
    ) -> None:
        to, name = address_of(dest)
        self._send(way, encode_signal(kind, to, sender.pid.serial, 0, payload, name), delay)
        if self.hooks.after:
            self.show("send" if kind == signals.SEND else "cast", sender, dest, message)

    def interpose(self, kind: str, sender: Process, dest: Pid | Remote, message: Any) -> Outcome:
        """Let the send hooks see a message."""
        return self.hooks.run(self.hooks.sending, message, About(kind, dest.node, sender.pid, dest))

    def show(self, kind: str, sender: Process, dest: Pid | Remote, message: Any) -> None:
        """Let the after hooks see one that was sent."""
        self.hooks.show(message, About(kind, dest.node, sender.pid, dest))

    def way(self, ties: Ties, sender: Process, to: int, name: str | None, options: SendOptions) -> Way:
        """The stream that the flow of a message travels on. Raises ActorError, TypeError, NotSendable."""
        return way_of(ties.ways, self.flow(sender, to, name, options), to, name, options)

    def _way_at_last(self, ties: Ties, sender: Process, to: int, name: str | None, options: SendOptions) -> Way:
        """As `way`, of what waited for a session, whose sender cannot be told any more that a channel is missing."""
        try:
            return self.way(ties, sender, to, name, options)
        except ActorError:
            return ties.ways.usual(flow_of(sender.pid.serial, to, name))

    def flow(self, sender: Process, to: int, name: str | None, options: SendOptions) -> int:
        """The flow of a message. Raises TypeError, NotSendable for a key that is none."""
        if options.partition_key is None:
            return flow_of(sender.pid.serial, to, name)
        return self._key_flow(options.partition_key)

    def _key_flow(self, key: Any) -> int:
        flow = self._key_flows.get(key)
        if flow is None:
            flow = partition_number(key, self.codec.encode)
            if len(self._key_flows) >= KEPT_KEYS:
                self._key_flows.clear()
            self._key_flows[key] = flow
        return flow

    def check(self, message: Any) -> None:
        """Raise NotSendable where `send` would."""
        self.codec.check(message.request if type(message) is Cast else message)

    def _hold_answer(self, ties: Ties, way: Way) -> None:
        process = process_of_greenlet()
        if process is None or process.runtime is not self.runtime or process.status != RUNNING:
            return
        self.wait_for_room(process, way, ties, nosuspend=False, deadline=None)

    def request(self, request: Request, dest: Pid | Remote, options: SendOptions) -> None:
        """Send a request; its outcome arrives through it."""
        message, caller, delay, dropped = request.payload, request.caller, 0.0, False
        if self.hooks.on_the_way_out:
            message, delay, dropped = self.interpose("call", caller, dest, message)
        payload = self.codec.encode_buffers(message)
        ties = self.ties_to(dest)
        if isinstance(ties, str):
            later = partial(self._request_later, request, dest, options, message, payload, delay, dropped)
            if not self.opening.hold(caller, dest, size_of(payload), later, options.nosuspend, request.deadline):
                later()
            return
        to, name = address_of(dest)
        way = self.way(ties, caller, to, name, options)
        if (way.outgoing.congested or ties.credit.full) and not self.wait_for_room(
            caller, way, ties, options.nosuspend, request.deadline, receiver_of(to, name)
        ):
            return  # its caller sees that the time is up
        self._request_now(ties, way, request, dest, options, message, payload, delay, dropped)

    def _request_later(
        self,
        request: Request,
        dest: Pid | Remote,
        options: SendOptions,
        message: Any,
        payload: Payload,
        delay: float,
        dropped: bool,
    ) -> None:
        if request.state != PENDING:
            return  # its caller waits no more
        ties = self.ties_to(dest)
        if isinstance(ties, str):
            request.down(ties)
            return
        way = self._way_at_last(ties, request.caller, *address_of(dest), options)
        self._request_now(ties, way, request, dest, options, message, payload, delay, dropped)

    def _request_now(
        self,
        ties: Ties,
        way: Way,
        request: Request,
        dest: Pid | Remote,
        options: SendOptions,
        message: Any,
        payload: Payload,
        delay: float,
        dropped: bool,
    ) -> None:
        to, name = address_of(dest)
        kind = signals.SYSTEM_CALL if isinstance(request, SystemRequest) else signals.CALL
        # Whose answer is to be in order with everything else of its key.
        flow = None if options.partition_key is None else self._key_flow(options.partition_key)
        signal = self._expect_answer(ties, way, request, kind, to, name, payload, flow)
        if signal is not None and not dropped:
            self._send(way, signal, delay)
            if self.hooks.after:
                self.show("call", request.caller, dest, message)

    def send_request(self, ties: Ties, way: Way, request: Request, kind: int, payload: bytes) -> None:
        """Send any kind of signal to the other node itself that is answered by REPLY or CALL_FAILED."""
        signal = self._expect_answer(ties, way, request, kind, 0, None, payload)
        if signal is not None:
            way.send(signal)

    def _expect_answer(
        self,
        ties: Ties,
        way: Way,
        request: Request,
        kind: int,
        to: int,
        name: str | None,
        payload: bytes | tuple[bytes, bytes],
        flow: int | None = None,
    ) -> bytes | tuple[bytes, bytes] | None:
        """Wait for what answers the signal that is given; None when nothing can any more."""
        if ties.watches is None:
            request.down("noconnection")  # the session ended while the sender waited for room
            return None
        request.target = ties
        ties.watches[request] = way
        return encode_signal(kind, to, request.caller.pid.serial, request.numbered(), payload, name, flow=flow)

    def encode_reason(self, reason: Any) -> bytes:
        """An exit reason as bytes; one that cannot be sent crosses as its repr (api: "Exit reasons")."""
        try:
            return self.codec.encode(reason)
        except NotSendable:
            return self.codec.encode(shortened(reason))

    # Answers to callers whose handles came by other ways than their own request.

    def reply(self, caller: RemoteCaller, value: Any) -> None:
        """Send an answer, when there is room for it. Raises NotSendable."""
        ties = self.ties_to(caller.pid)
        process = process_of_greenlet()
        if isinstance(ties, str):
            self._reply_soon(caller, value, process)
            return
        ties.answer(caller, value, _way_back(ties, caller, process), process.pid if process is not None else None)

    def _reply_soon(self, caller: RemoteCaller, value: Any, process: Process | None) -> None:
        delay = 0.0
        if self.hooks.on_the_way_out:
            about = About("reply", caller.pid.node, process.pid if process is not None else None, caller.pid)
            value, delay, dropped = self.hooks.run(self.hooks.sending, value, about)
            if dropped:
                return
        payload = self.codec.encode_buffers(value)

        def later() -> None:
            ties = self.ties_to(caller.pid)
            if isinstance(ties, Ties):
                way = _way_back(ties, caller, process)
                self._send(way, encode_signal(signals.REPLY, caller.pid.serial, 0, caller.number, payload), delay)

        if not self.opening.hold(process, caller.pid, size_of(payload), later):
            later()

    def fail(self, caller: RemoteCaller, reason: Any) -> None:
        """Say that there will be no answer."""
        process, payload = process_of_greenlet(), self.encode_reason(reason)

        def send() -> None:
            ties = self.ties_to(caller.pid)
            if isinstance(ties, Ties):
                way = _way_back(ties, caller, process)
                ties.send(way, signals.CALL_FAILED, caller.pid.serial, 0, caller.number, payload)

        if not self.opening.hold(None, caller.pid, len(payload), send):
            send()

    def settled(self, caller: RemoteCaller) -> None:
        """Nothing is kept for it here."""

    # In.

    def received(
        self,
        session: Session,
        body: memoryview | bytes,
        outgoing: Outgoing,
        other: Callable[[Session, Signal], None],
    ) -> None:
        """Handle the signals of a frame; those that are not for processes go to `other`.

        Args:
            outgoing: the other direction of the stream that they came on.

        Raises:
            BrokenFrame: the envelope is broken; the connection is to end.
        """
        ties = self._ties[session]
        ties.arrival = outgoing
        self.incoming.received(ties, body, other)


def _way_back(ties: Ties, caller: RemoteCaller, process: Process | None) -> Way:
    """The flow of who answers and who asked, so that this keeps its order with what else the one tells the other."""
    return ties.ways.usual(caller.pid.serial + (process.pid.serial if process is not None else 0))
