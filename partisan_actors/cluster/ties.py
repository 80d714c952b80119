"""What ties processes of this node to processes of one life of another node.

Links, monitors, and requests that wait, in both directions. All of them last as long as the
session with that life, and its end is `"noconnection"` for each. They are found here rather
than at every process, so that the end of a session costs what hangs on it and no more.

What the other node may tie to processes here is bounded, by kind; what comes beyond is answered at once with
`"system_limit"` in place of what it asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from partisan_actors.cluster.credit import Credit
from partisan_actors.cluster.hooks import About, Hooks
from partisan_actors.cluster.ways import Way, Ways, flow_of
from partisan_actors.distribution.live_session import Session
from partisan_actors.processes.identity import Life, Pid
from partisan_actors.processes.process import Monitor, Process
from partisan_actors.processes.requests import RemoteCaller, Request
from partisan_actors.wire.signals import CALL_FAILED, DEMONITOR, DOWN, REPLY, Signal, encode_signal

__all__ = ["MOST_TIES", "RemoteWatch", "Ties"]

MOST_TIES = 1 << 18
"""Requests, monitors and linked pairs, of each so many, that one life of another node may have at processes here."""

MOST_LINKS = 1024
"""Times that the other node may have linked one pair of processes: more than one is a race of link and unlink."""


class RemoteWatch:
    """A process of the other node that monitors one of ours."""

    __slots__ = ("_ties", "_way", "ref", "target", "watcher")

    def __init__(self, ties: Ties, target: Process, watcher: int, ref: int, way: Way) -> None:
        self._ties = ties
        self._way = way
        self.target = target
        self.watcher = watcher
        self.ref = ref

    @property
    def watcher_pid(self) -> Pid:
        """Who watches, for `process_info`."""
        return Pid(self._ties.peer, self.watcher)

    def down(self, reason: Any) -> None:
        """Send the DOWN."""
        self._ties.remote_watches.pop(self.ref, None)
        self._ties.send_reason(self._way, DOWN, self.watcher, self.target.pid.serial, self.ref, reason)


class Ties:
    """The ties over one session; also the way back for its callers (`Answers`)."""

    __slots__ = (
        "_encode",
        "_encode_reason",
        "_hooks",
        "_send",
        "_wait_for_room",
        "arrival",
        "callers",
        "credit",
        "links",
        "monitors",
        "peer",
        "remote_watches",
        "session",
        "watches",
        "ways",
    )

    def __init__(
        self,
        session: Session,
        peer: Life,
        ways: Ways,
        hooks: Hooks,
        encode: Callable[[Any], bytes | tuple[bytes, bytes]],
        encode_reason: Callable[[Any], bytes],
        wait_for_room: Callable[[Ties, Way], None],
        send: Callable[[Way, bytes | tuple[bytes, bytes], float], None],
    ) -> None:
        self.session = session
        self.ways = ways
        self.arrival = session.default  # the way back on the stream that what is handled now came on
        self.peer = peer
        self._hooks = hooks
        self._encode = encode
        self._encode_reason = encode_reason
        self._wait_for_room = wait_for_room
        self._send = send
        self.credit = Credit(ways.usual(0))
        # Monitors and requests of our processes on theirs, told "noconnection" at the end, and the way they went.
        self.watches: dict[Any, Way] | None = {}
        self.monitors: dict[int, Monitor] = {}  # the monitors among them, by ref
        # Ours and the serial of theirs, and the numbers under which they were linked: those that we gave, and below
        # zero those that they gave.
        self.links: dict[tuple[Process, int], set[int]] = {}
        self.remote_watches: dict[int, RemoteWatch] = {}  # their monitors on ours, by their ref
        self.callers: dict[int, RemoteCaller] = {}  # their requests to ours, unanswered, by their number

    @property
    def hold(self) -> bool:
        """Whether anything hangs on the session, at either of its ends, that its end would be the end of."""
        credit = self.credit
        ours = self.watches or self.links or credit.full
        return bool(ours or self.remote_watches or self.callers or credit.holds_up)

    def called(self, caller: RemoteCaller) -> bool:
        """Keep a request of theirs until it is answered; False for one too many."""
        callers = self.callers
        if len(callers) >= MOST_TIES:
            return False
        before = callers.get(caller.number)
        if before is not None:
            before.settle()  # no node gives a number twice; this one is not to pile up at the callee for that
        callers[caller.number] = caller
        return True

    def watched(self, watch: RemoteWatch) -> bool:
        """Keep a monitor of theirs, and let it watch; False for one too many."""
        watches = self.remote_watches
        if len(watches) >= MOST_TIES:
            return False
        before = watches.get(watch.ref)
        if before is not None:
            before.target.remove_watch(before)
        watches[watch.ref] = watch
        watch.target.add_watch(watch)
        return True

    def linked(self, process: Process, serial: int, number: int) -> bool:
        """Keep a link of theirs; False for one too many, of both sides together."""
        numbers = self.links.get((process, serial))
        if numbers is None:
            if len(self.links) >= MOST_TIES:
                return False
            numbers = self.links[process, serial] = set()
        if len(numbers) < MOST_LINKS:
            numbers.add(number)
        return True

    def back(self, signal: Signal, receiver: Process | None = None) -> Way:
        """The way of what answers a signal that is handled now: its own flow, on the stream that it came on.

        With the `receiver` that a name stood for, the flow is that of the two processes: what it says to the other one
        by its pid, and what answers this, keep their order.
        """
        if signal.flow is not None:
            flow = signal.flow
        elif receiver is not None:
            flow = flow_of(signal.sender, receiver.pid.serial, None)
        else:
            flow = flow_of(signal.sender, signal.to, signal.name)
        # What is no message of a program is not to be dropped for a newer one.
        return Way(self.arrival, flow) if not self.arrival.stream.monotonic else self.ways.usual(flow)

    def send(self, way: Way, kind: int, to: int, sender: int = 0, ref: int = 0, payload: bytes = b"") -> None:
        """Send one of the runtime's own signals: never suspended."""
        way.send(encode_signal(kind, to, sender, ref, payload))

    def send_reason(self, way: Way, kind: int, to: int, sender: int, ref: int, reason: Any) -> None:
        """Send a signal whose payload is an exit reason."""
        self.send(way, kind, to, sender, ref, self._encode_reason(reason))

    # Answers.

    def reply(self, caller: RemoteCaller, value: Any) -> None:
        """Send an answer, when there is room for it. Raises NotSendable."""
        self.answer(caller, value, caller.way, caller.target.pid if caller.target is not None else None)

    def answer(self, caller: RemoteCaller, value: Any, way: Way, callee: Pid | None) -> None:
        """Send an answer of any process, by a way of this session, when there is room for it. Raises NotSendable."""
        delay, about = 0.0, None
        if self._hooks.on_the_way_out:
            about = About("reply", self.peer.node, callee, caller.pid)
            value, delay, dropped = self._hooks.run(self._hooks.sending, value, about)
            if dropped:
                return
        payload = self._encode(value)
        if way.outgoing.congested:
            # A program's data as any other: a hundred answers of 1 MiB at once would be the session's end.
            self._wait_for_room(self, way)
        signal = encode_signal(REPLY, caller.pid.serial, 0, caller.number, payload)
        self._send(way, signal, delay)
        if about is not None:
            self._hooks.show(value, about)

    def fail(self, caller: RemoteCaller, reason: Any) -> None:
        """Say that there will be no answer."""
        self.send_reason(caller.way, CALL_FAILED, caller.pid.serial, 0, caller.number, reason)

    def settled(self, caller: RemoteCaller) -> None:
        """It has been answered."""
        self.callers.pop(caller.number, None)

    # Requests of our processes: the `Watched` that they stand at.

    def remove_watch(self, request: Request) -> None:
        """Somebody else answered it, or nobody waits any more: the other side need not keep it until its callee ends.

        A request carries its own monitor, so this takes that off.
        """
        if self.watches is not None and request in self.watches:
            self.send(self.watches.pop(request), DEMONITOR, 0, request.pid.serial, request.numbered())

    # The end.

    def cut(self) -> None:
        """The session has ended: tell everybody who hangs on it, once."""
        self.credit.cut()
        callers, self.callers = self.callers, {}
        for caller in callers.values():
            caller.settle()
        remote_watches, self.remote_watches = self.remote_watches, {}
        for remote in remote_watches.values():
            remote.target.remove_watch(remote)
        watches, self.watches = self.watches, None
        self.monitors = {}
        for watch in watches or ():
            watch.down("noconnection")
        links, self.links = self.links, {}
        for process, serial in links:
            pid = Pid(self.peer, serial)
            if process.remove_link(pid):
                process.signal_link(pid, "noconnection")
