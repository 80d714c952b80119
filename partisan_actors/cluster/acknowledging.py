"""Acknowledged delivery between nodes: drives the outboxes, the inboxes and the disk log over the sessions.

A message goes into the outbox of its node, and from there over every session with it until it is acknowledged or
given up; whoever owns it is told only of the latter. With a disk log, `wait_for_log` returns when it is safe there.

Not known here: the rules of outboxes and inboxes, and what a file is. Local messages never come here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from partisan_actors.cluster.ties import Ties
from partisan_actors.cluster.ways import Way, flow_of
from partisan_actors.distribution.disk_log import DiskLog
from partisan_actors.distribution.inbox import Acknowledge, Arrivals, Inboxes, InboxParameters, Verdict
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.log_batches import Batch, LogRecord, time_left
from partisan_actors.distribution.log_file import DiskLogError
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.outbox import Outbox
from partisan_actors.distribution.outbox_events import Append, Failed, Forget, OutboxParameters, Restored, Room, Send
from partisan_actors.distribution.outboxes import Outboxes
from partisan_actors.errors import ActorError, WouldBlock
from partisan_actors.processes.identity import Life
from partisan_actors.processes.process import NOT_EXITING, Process
from partisan_actors.processes.runtime import Runtime
from partisan_actors.wire.signals import (
    ACKNOWLEDGE_FEATURE,
    Acknowledged,
    Acknowledgement,
    Outcome,
    Signal,
    encode_acknowledgement,
    encode_signal,
)

__all__ = ["Acknowledging", "Letter"]


class Letter(NamedTuple):
    """A message in an outbox."""

    kind: int
    to: int
    name: str | None
    sender: int
    payload: bytes
    way: Callable[[Ties], Way]  # which stream it takes, of the session that there is


class Acknowledging:
    """What this node sends and gets with acknowledgements."""

    def __init__(
        self,
        runtime: Runtime,
        ties_to: Callable[[str], Ties | str],
        parameters: OutboxParameters,
        failed: Callable[[str, Any, int, str], None],
        want: Callable[[str], object] = lambda node: None,
    ) -> None:
        """Begin, without a log.

        Args:
            ties_to: the ties to a node, or why there are none.
            parameters: the limits of each outbox.
            failed: told of each message that was given up: its node, its owner (None: an earlier life of this node),
                its number, and why.
            want: called with a node that there is something for, and no session with.
        """
        self._runtime = runtime
        self._ties_to = ties_to
        self._parameters = parameters
        self._tell_failed = failed
        self._want = want
        self._boxes = Outboxes(runtime.clock.random.getrandbits(64), self._parameters)
        self._box_timers = KeyedTimers(runtime.clock, self._box_timer)
        self._inboxes = Inboxes(InboxParameters())
        self._arrivals: dict[Ties, Arrivals] = {}
        self._inbox_timers = KeyedTimers(runtime.clock, self._inbox_timer)
        self._waiting: dict[str, dict[Process, int]] = {}  # for room, by node; and since when, as a place
        self._places = 0  # the last one given
        self._log: DiskLog | None = None
        self._safe: dict[tuple[str, int], DiskLogError | None] = {}  # outcomes of appends that somebody waits for
        self._appending: dict[tuple[str, int], Process] = {}
        self.undelivered = 0  # messages that were given up
        self.delivered = self.delivered_bytes = 0  # messages of others that were delivered
        self.duplicates = 0  # and that came again

    # The log.

    def open_log(self, path: str) -> None:
        """Keep what is accepted in the file at `path`, and go on with what it holds; waits. Raises DiskLogError."""
        clock = self._runtime.clock
        self._log, contents = DiskLog.open(path, clock, self._committed)
        self._boxes = Outboxes(contents.identity, self._parameters, durable=True)
        for node, number in contents.numbers.items():
            self._boxes.continue_from(node, number)
        self._boxes.continue_above(contents.forgotten)
        by_node: dict[str, list[LogRecord]] = {}
        for record in contents.records:
            by_node.setdefault(record.node, []).append(record)
        for node, records in by_node.items():
            box = self._boxes.of(node)
            self._perform(box, box.restore([self._restored(record) for record in records], clock.now()))

    def _restored(self, record: LogRecord) -> Restored:
        flow = flow_of(0, record.to, record.name)
        letter = Letter(record.kind, record.to, record.name, 0, record.payload, lambda ties: ties.ways.usual(flow))
        left = time_left(record.accepted, self._runtime.clock.wall(), self._parameters.time_limit)
        return Restored(record.number, letter, len(record.payload), record.life, left)

    def _committed(self, batch: Batch, error: DiskLogError | None) -> None:
        now = self._runtime.clock.now()
        for record in batch.records:
            key = record.node, record.number
            waiting = self._appending.pop(key, None)
            if waiting is not None:
                self._safe[key] = error
                waiting.wake()
        if error is None:
            for node, number in batch.last_numbers().items():
                box = self._boxes.get(node)
                if box is not None:
                    self._perform(box, box.logged(number, now))
            return
        for record in batch.records:
            box = self._boxes.get(record.node)
            if box is not None:
                self._perform(box, box.withdraw(record.number, now))

    def close(self) -> None:
        """The node stops; waits for the log. What is logged goes on with the next life."""
        for box in self._boxes:
            self._perform(box, box.close("stopping"))
        self._box_timers.close()
        self._inbox_timers.close()
        if self._log is not None:
            self._log.close()

    def let_go(self) -> None:
        """In the child of a fork: it is all the parent's."""
        self._box_timers.close()
        self._inbox_timers.close()

    # Out.

    @property
    def commits(self) -> tuple[int, int]:
        """Commits of the disk log so far, and those of them that failed."""
        return (self._log.commits, self._log.failed) if self._log is not None else (0, 0)

    @property
    def outboxes(self) -> Outboxes:
        """Those that there are."""
        return self._boxes

    @property
    def identity(self) -> int:
        """That of the outboxes."""
        return self._boxes.identity

    def has_open(self, node: str) -> bool:
        """Whether anything waits for that node, or to be acknowledged by it."""
        box = self._boxes.get(node)
        return box is not None and len(box) > 0

    def wait_for_room(self, sender: Process, node: str, nosuspend: bool) -> bool:
        """Wait while the outbox for a node is full; whether it had to. Raises WouldBlock."""
        box = self._boxes.get(node)
        place = 0
        while box is not None and box.congested and sender.exiting is NOT_EXITING:
            if nosuspend:
                raise WouldBlock(f"the outbox for {node} is full: {len(box)} messages of {box.size} bytes")
            if not place:
                self._places += 1
                place = self._places
            waiting = self._waiting.setdefault(node, {})
            waiting[sender] = place
            try:
                sender.wait()
            finally:
                waiting.pop(sender, None)
                if not waiting and self._waiting.get(node) is waiting:
                    del self._waiting[node]
            box = self._boxes.get(node)
        return place > 0

    def put(self, node: str, life: Life | None, letter: Letter, owner: Any) -> tuple[str, int] | None:
        """Accept a message for a node, or for one life of it; what `wait_for_log` takes, where there is a log."""
        box = self._box_for(node)
        if box is None:
            self.undelivered += 1
            self._tell_failed(node, owner, 0, "full")
            return None
        effects = box.accept(letter, len(letter.payload), owner, life, self._runtime.clock.now())
        key = node, box.number
        self._perform(box, effects)
        if isinstance(self._ties_to(node), str):
            self._want(node)
        return key if any(type(effect) is Append for effect in effects) else None

    def abandon(self, node: str, which: Callable[[Any], bool], reason: str) -> None:
        """Give up what is open for a node and has an owner that `which` is true of."""
        box = self._boxes.get(node)
        if box is not None:
            self._perform(box, box.abandon(which, reason))

    def _box_for(self, node: str) -> Outbox | None:
        """The outbox for a node; None when there are too many to make one."""
        box = self._boxes.get(node)
        if box is None and len(self._boxes) < self._parameters.destinations:
            box = self._boxes.of(node)
            ties = self._ties_to(node)
            if isinstance(ties, Ties):
                self._perform(box, self._connect(box, ties))
        return box

    def _connect(self, box: Outbox, ties: Ties) -> Sequence[Any]:
        understood = bool(ties.session.hello.features & ACKNOWLEDGE_FEATURE)
        return box.connected(ties.peer, understood, self._runtime.clock.now())

    def wait_for_log(self, sender: Process, key: tuple[str, int]) -> None:
        """Wait until a message is safe. Raises DiskLogError: it is not, and was withdrawn."""
        self._appending[key] = sender
        try:
            while key in self._appending:
                sender.wait()
        finally:
            self._appending.pop(key, None)
            error = self._safe.pop(key, None)
        if error is not None:
            raise error

    # What the other parts tell.

    def session_started(self, ties: Ties) -> None:
        """There is a session: send what is open."""
        self._arrivals[ties] = self._inboxes.session_started(ties.session.node, owner=ties)
        self.resumed(ties)

    def session_ended(self, ties: Ties) -> None:
        """It is over."""
        arrivals = self._arrivals.pop(ties, None)
        if arrivals is not None:
            self._perform_inbox(ties, arrivals.ended(self._runtime.clock.now()))
        self.resting(ties)

    def resting(self, ties: Ties) -> None:
        """Nothing can be sent over it now."""
        box = self._boxes.get(ties.session.node)
        if box is not None:
            self._perform(box, box.disconnected())
            self._drop_if_quiet(box.node)

    def resumed(self, ties: Ties) -> None:
        """It can again: send what is open."""
        box = self._boxes.get(ties.session.node)
        if box is not None:
            self._perform(box, self._connect(box, ties))

    def life_changed(self, life: Life) -> None:
        """A node has a life, whether or not there is a session with it."""
        box = self._boxes.get(life.node)
        if box is not None:
            self._perform(box, box.life_changed(life, self._runtime.clock.now()))
            if len(box) and isinstance(self._ties_to(life.node), str):
                self._want(life.node)

    # In.

    def accept(self, ties: Ties, signal: Signal) -> bool:
        """Whether to deliver a message of an outbox. Raises BrokenFrame."""
        arrivals = self._arrivals.get(ties)
        if signal.acknowledged is None or arrivals is None:
            return arrivals is not None
        verdict = arrivals.accept(signal.acknowledged, len(signal.payload), self._runtime.clock.now())
        if verdict is Verdict.DELIVER:
            self.delivered += 1
            self.delivered_bytes += len(signal.payload)
        elif verdict is Verdict.DUPLICATE:
            self.duplicates += 1
        return verdict is Verdict.DELIVER

    def refuse(self, ties: Ties, signal: Signal, outcome: Outcome) -> None:
        """One that was to be delivered could not be."""
        assert signal.acknowledged is not None
        self.delivered -= 1
        self.delivered_bytes -= len(signal.payload)
        self._arrivals[ties].refuse(signal.acknowledged.number, outcome)

    def settle(self, ties: Ties) -> None:
        """All of a frame was taken: acknowledge now, or soon."""
        arrivals = self._arrivals.get(ties)
        if arrivals is not None:
            effects = arrivals.settle()
            if effects:
                self._perform_inbox(ties, effects)

    def acknowledged(self, ties: Ties, acknowledgement: Acknowledgement) -> None:
        """The other node tells what became of messages."""
        box = self._boxes.get(ties.session.node)
        if box is not None:
            self._perform(box, box.acknowledged(acknowledgement, self._runtime.clock.now()))

    # Effects and timers.

    def _perform(self, box: Outbox, effects: Sequence[Any]) -> None:
        for effect in effects:
            match effect:
                case Send(letter, acknowledged):
                    self._post(box.node, letter, acknowledged)
                case Failed(owner, number, reason):
                    self.undelivered += 1
                    self._tell_failed(box.node, owner, number, reason)
                case Append(number, letter, life):
                    self._append(box.node, number, letter, life)
                case Forget(numbers):
                    if self._log is not None:
                        self._log.forget(box.node, numbers)
                case Room():
                    waiting = self._waiting.pop(box.node, {})
                    # Who has waited longest first: one that fills the box again and again must not keep others out.
                    for process in sorted(waiting, key=waiting.__getitem__):
                        process.wake()
                case SetTimer(key, seconds):
                    self._box_timers.set(key, seconds)
                case CancelTimer(key):
                    self._box_timers.cancel(key)

    def _post(self, node: str, letter: Letter, acknowledged: Acknowledged) -> None:
        ties = self._ties_to(node)
        if isinstance(ties, str):
            return
        kind, to, name, sender, payload, way = letter
        try:
            taken = way(ties)
        except ActorError:
            # The node of the next life may lack the channel that the first had; better another way than none.
            taken = ties.ways.usual(flow_of(sender, to, name))
        taken.send(encode_signal(kind, to, sender, 0, payload, name, acknowledged=acknowledged))

    def _append(self, node: str, number: int, letter: Letter, life: Life | None) -> None:
        assert self._log is not None
        accepted = self._runtime.clock.wall()
        self._log.append(LogRecord(node, number, accepted, life, letter.kind, letter.to, letter.name, letter.payload))

    def _box_timer(self, event: TimerFired) -> None:
        key: Any = event.key
        kind, node = key
        box = self._boxes.get(node)
        if box is None:
            return
        ties = self._ties_to(node)
        clear = isinstance(ties, str) or not ties.session.machine.sending.buffered
        clock = self._runtime.clock
        self._perform(box, box.timer((kind, node), clock.now(), clock.random, clear))
        self._drop_if_quiet(node)

    def _drop_if_quiet(self, node: str) -> None:
        box = self._boxes.get(node)
        if box is not None:
            self._perform(box, self._boxes.drop_if_quiet(node))

    def _perform_inbox(self, ties: Ties, effects: Sequence[Any]) -> None:
        for effect in effects:
            match effect:
                case Acknowledge(acknowledgement):
                    ties.session.system.send(encode_acknowledgement(acknowledgement))
                case SetTimer(key, seconds):
                    self._inbox_timers.set(key, seconds)
                case CancelTimer(key):
                    self._inbox_timers.cancel(key)

    def _inbox_timer(self, event: TimerFired) -> None:
        key: Any = event.key
        arrivals = self._inboxes.timed.get(key)
        effects = self._inboxes.timer(key, self._runtime.clock.now())
        if effects:
            self._perform_inbox(arrivals.owner if arrivals is not None else None, effects)  # type: ignore[arg-type]
