"""A node that sends with acknowledgements, one that receives, and a bad network between them, in virtual time.

`Sender` and `Receiver` are what a node makes of the machines, and what they send goes as real signals. A `Line` is a
session: its two ends learn of its end at different times. It is in order and loses nothing while it lasts, as sessions
are; or, `hostile`, it does what a hook, or a frame that could not be handled, may do to it, and more: no answer of a
session ever passes another one, but nothing that is promised hangs on that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from partisan_actors.distribution.inbox import Acknowledge, Arrivals, Inboxes, InboxParameters, Verdict
from partisan_actors.distribution.log_batches import LogBatches, LogRecord, time_left
from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.distribution.outbox_events import Append, Failed, Forget, OutboxParameters, Restored, Send
from partisan_actors.distribution.outboxes import Outboxes
from partisan_actors.processes.identity import Life
from partisan_actors.wire.signals import (
    ACKNOWLEDGE,
    SEND,
    Acknowledged,
    Outcome,
    decode_acknowledgement,
    encode_acknowledgement,
    encode_signal,
    signals_of,
)

__all__ = ["INBOX", "NODE", "OUTBOX", "Line", "Message", "Receiver", "Sender", "World"]

NODE = "b@h"
OUTBOX = OutboxParameters(max_messages=8, max_bytes=400, window_bytes=60, resend_after=5.0, resend_cap=20.0)
INBOX = InboxParameters(margin=10.0, identities=2, fading=2, above=6, refusals=5)
DEAD = 666  # the serial of a process that is no more


@dataclass
class Message:
    """What is to be known of one message in the end."""

    number: int
    life: Life | None  # the only one that it is for
    dead: bool  # its receiver is not there
    deadline: float
    accepted: bool = False
    gone: bool = False  # its sender has ended without a log, or before it was logged
    failed: list[str] = field(default_factory=list)
    told: bool = False  # that it failed, by a life of its sender that was killed before it had forgotten it
    delivered: list[Life] = field(default_factory=list)
    refused: bool = False


def bytes_of(signal: bytes | tuple[bytes, bytes]) -> bytes:
    return signal if isinstance(signal, bytes) else b"".join(signal)


class Line:
    """One session."""

    def __init__(self) -> None:
        self.out: list[bytes] = []  # on its way to the receiver
        self.back: list[bytes] = []
        self.sender_open = self.receiver_open = True


class Disk:
    """What survives the sender."""

    def __init__(self, identity: int) -> None:
        self.identity = identity
        self.last = 0
        self.records: dict[int, LogRecord] = {}

    def commit(self, batch) -> None:
        for record in batch.records:
            assert record.number > self.last, "the number was given before"
            self.last = record.number
            self.records[record.number] = record
        for _, number in batch.forgotten:
            self.records.pop(number, None)


class Timers:
    """Those of one node."""

    def __init__(self) -> None:
        self.due: dict = {}

    def perform(self, effect, now: float) -> None:
        if isinstance(effect, SetTimer):
            self.due[effect.key] = now + effect.seconds
        elif isinstance(effect, CancelTimer):
            self.due.pop(effect.key, None)


class Sender:
    """The driver of outboxes in one life of the sending node."""

    def __init__(self, world: World, disk: Disk | None) -> None:
        self.world = world
        self.disk = disk
        identity = disk.identity if disk is not None else world.random.getrandbits(64)
        self.boxes = Outboxes(identity, OUTBOX, durable=disk is not None)
        self.timers = Timers()
        self.batches = LogBatches()
        if disk is not None:
            self.boxes.continue_from(NODE, disk.last)
            records = [disk.records[number] for number in sorted(disk.records)]
            left = [time_left(record.accepted, world.wall, OUTBOX.time_limit) for record in records]
            restored = [
                Restored(record.number, (record.to, record.payload), len(record.payload), record.life, seconds)
                for record, seconds in zip(records, left, strict=True)
            ]
            for record, so_far in zip(records, range(len(left)), strict=True):
                message = world.message_of(identity, record.number)
                message.deadline = world.now + max(left[: so_far + 1])
                # It may have failed, and have been killed before that was written: it is tried again.
                # Then nobody knows of it but who was told: to its receiver it is closed, and settled by any answer.
                message.told |= bool(message.failed)
                message.failed.clear()
            self.perform(self.boxes.of(NODE).restore(restored, world.now))

    def send(self, message: Message, to: int, size: int) -> None:
        box = self.boxes.of(NODE)
        payload = message.number.to_bytes(4, "big").ljust(size, b".")
        before = box.number
        effects = box.accept((to, payload), size, message, message.life, self.world.now)
        if box.number > before:
            self.world.numbers[box.identity, box.number] = message
            message.accepted = self.disk is None
        self.perform(effects)

    def commit(self) -> None:
        batch = self.batches.take()
        if batch is None:
            return
        self.disk.commit(batch)
        self.batches.done(batch, failed=False)
        for record in batch.records:
            self.world.message_of(self.boxes.identity, record.number).accepted = True
        if batch.records:
            self.perform(self.boxes.of(NODE).logged(batch.records[-1].number, self.world.now))

    def perform(self, effects) -> None:
        world, box = self.world, self.boxes.of(NODE)
        for effect in effects:
            match effect:
                case Send((to, payload), acknowledged):
                    world.line.out.append(bytes_of(encode_signal(SEND, to, payload=payload, acknowledged=acknowledged)))
                case Append(number, (to, payload), life):
                    self.batches.append(LogRecord(NODE, number, world.wall, life, SEND, to, None, payload))
                case Forget(numbers):
                    self.batches.forget(NODE, numbers)
                case Failed(owner, number, reason):
                    message = owner if owner is not None else world.message_of(box.identity, number)
                    message.failed.append(reason)
                case _:
                    self.timers.perform(effect, world.now)

    def received(self, body: bytes) -> None:
        for signal in signals_of(body):
            assert signal.kind == ACKNOWLEDGE
            told = decode_acknowledgement(signal)
            self.perform(self.boxes.of(NODE).acknowledged(told, self.world.now))

    def fire(self, key) -> None:
        clear = not self.world.line.out
        self.perform(self.boxes.of(NODE).timer(key, self.world.now, self.world.random, clear))


class Receiver:
    """The driver of inboxes in one life of the receiving node."""

    def __init__(self, world: World, life: Life) -> None:
        self.world = world
        self.life = life
        self.inboxes = Inboxes(INBOX)
        self.arrivals: Arrivals | None = None
        self.timers = Timers()
        self.order: list[int] = []

    def received(self, body: bytes) -> None:
        for signal in signals_of(body):
            assert signal.acknowledged is not None
            message = self.world.messages[int.from_bytes(bytes(signal.payload[:4]), "big")]
            if self.arrivals.accept(signal.acknowledged, len(signal.payload), self.world.now) is Verdict.DELIVER:
                assert message.life is None or message.life == self.life
                if signal.to == DEAD:
                    message.refused = True
                    self.arrivals.refuse(signal.acknowledged.number, Outcome.NO_PROCESS)
                    continue
                assert self.life not in message.delivered, f"message {message.number} came twice"
                message.delivered.append(self.life)
                self.order.append(message.number)
        self.perform(self.arrivals.settle())

    def perform(self, effects) -> None:
        for effect in effects:
            if isinstance(effect, Acknowledge):
                if self.world.line.sender_open:
                    self.world.line.back.append(bytes_of(encode_acknowledgement(effect.acknowledgement)))
            else:
                self.timers.perform(effect, self.world.now)

    def fire(self, key) -> None:
        self.perform(self.inboxes.timer(key, self.world.now))

    def crowd(self, count: int) -> None:
        """Outboxes of other nodes come and go."""
        for number in range(count):
            other = self.inboxes.session_started(f"other{number}@h")
            identity = self.world.random.getrandbits(64)
            other.accept(Acknowledged(identity, 1, 1, 1.0, False), 1, self.world.now)
            self.perform([effect for effect in other.ended(self.world.now) if isinstance(effect, SetTimer)])


class World:
    """Both nodes and the line between them."""

    def __init__(self, seed: int, durable: bool) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.wall = 1e9
        self.messages: list[Message] = []
        self.numbers: dict[tuple[int, int], Message] = {}
        self.disk = Disk(self.random.getrandbits(64)) if durable else None
        self.line = Line()
        self.line.sender_open = self.line.receiver_open = False
        self.sender = Sender(self, self.disk)
        self.receiver = Receiver(self, Life(NODE, 1, 1))

    def message_of(self, identity: int, number: int) -> Message:
        return self.numbers[identity, number]

    def send(self, life: Life | None, dead: bool, size: int) -> None:
        message = Message(len(self.messages), life, dead, self.now + OUTBOX.time_limit)
        self.messages.append(message)
        self.sender.send(message, DEAD if dead else 7, size)

    # Sessions.

    def connect(self, understood: bool = True) -> None:
        self.end_at_sender()
        self.end_at_receiver()
        self.line = Line()
        self.receiver.arrivals = self.receiver.inboxes.session_started("a@h")
        self.sender.perform(self.sender.boxes.of(NODE).connected(self.receiver.life, understood, self.now))

    def end_at_sender(self) -> None:
        if self.line.sender_open:
            self.line.sender_open = False
            self.line.back.clear()
            self.sender.perform(self.sender.boxes.of(NODE).disconnected())

    def end_at_receiver(self) -> None:
        if self.line.receiver_open:
            self.line.receiver_open = False
            self.line.out.clear()
            self.receiver.perform(self.receiver.arrivals.ended(self.now))
            self.receiver.arrivals = None

    def carry_out(self, place: int = 0) -> None:
        if self.line.receiver_open and self.line.out:
            self.receiver.received(self.line.out.pop(place % len(self.line.out)))

    def carry_back(self, place: int = 0) -> None:
        if self.line.sender_open and self.line.back:
            self.sender.received(self.line.back.pop(place % len(self.line.back)))

    # Lives.

    def restart_receiver(self) -> None:
        self.end_at_receiver()
        life = self.receiver.life
        self.end_at_sender()
        self.receiver = Receiver(self, Life(NODE, life.epoch + 1, life.bits + 1))

    def restart_sender(self, committed: bool, wall: float) -> None:
        """Kill it; a commit that was under way may be done or not. The next one finds the clock at `wall`."""
        if committed and self.disk is not None:
            batch = self.sender.batches.take()
            if batch is not None:
                self.disk.commit(batch)
                for record in batch.records:
                    self.message_of(self.disk.identity, record.number).accepted = True
        kept = self.disk.records if self.disk is not None else {}
        open_numbers = {id(self.numbers[self.disk.identity, number]) for number in kept} if self.disk else set()
        for message in self.messages:
            message.gone |= not message.failed and id(message) not in open_numbers
        self.wall = wall
        self.line.sender_open = False
        self.line.back.clear()
        self.sender = Sender(self, self.disk)

    # Time.

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            nodes = enumerate(self.nodes())
            timers = [(due, index, key) for index, node in nodes for key, due in node.timers.due.items() if due <= end]
            if not timers:
                break
            due, index, key = min(timers, key=lambda timer: timer[:2])
            self._go_to(due)
            node = self.nodes()[index]
            del node.timers.due[key]
            node.fire(key)
        self._go_to(end)

    def nodes(self):
        return (self.sender, self.receiver)

    def _go_to(self, now: float) -> None:
        self.wall += max(now - self.now, 0.0)
        self.now = max(now, self.now)

    def come_to_rest(self) -> None:
        """A good network, and a receiver that stays."""
        if not (self.line.sender_open and self.line.receiver_open):
            self.connect()
        for _ in range(1000):
            self.sender.commit() if self.disk is not None else None
            while self.line.out or self.line.back:
                self.carry_out()
                self.carry_back()
            if not self.sender.boxes.of(NODE) and not self.sender.batches.records:
                return
            self.advance(1.0)
        raise AssertionError("it does not come to rest")
