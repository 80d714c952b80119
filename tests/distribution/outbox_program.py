"""A node's outbox with its log, to be killed: `python -m tests.distribution.outbox_program PATH LIFE MODE`.

Its session is its standard input and output: a line of hexadecimal for each signal. "accepted" lines say which
payloads were accepted, as `send` would by returning. It sends without end, or with MODE "rest" nothing new, and says
"quiet" when nothing is open.
"""

from __future__ import annotations

import os
import sys

import gevent
from gevent.fileobject import FileObjectPosix

from partisan_actors.distribution.disk_log import DiskLog
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.log_batches import LogRecord, time_left
from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.distribution.outbox_events import Append, Failed, Forget, OutboxParameters, Restored, Send
from partisan_actors.distribution.outboxes import Outboxes
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life
from partisan_actors.wire.signals import SEND, decode_acknowledgement, encode_signal, signals_of

NODE = "b@h"
RECEIVER = Life(NODE, 1, 1)


def say(word: str, data: bytes = b"") -> None:
    os.write(1, f"{word} {data.hex()}\n".encode())


class Node:
    """The driver."""

    def __init__(self, path: str) -> None:
        clock = self.clock = GeventClock()
        self.log, contents = DiskLog.open(path, clock, self.committed)
        boxes = Outboxes(contents.identity, OutboxParameters(), durable=True)
        for node, number in contents.numbers.items():
            boxes.continue_from(node, number)
        self.box = boxes.of(NODE)
        self.timers = KeyedTimers(
            clock, lambda event: self.perform(self.box.timer(event.key, clock.now(), clock.random))
        )
        limit = OutboxParameters().time_limit
        kept = [
            Restored(one.number, one.payload, len(one.payload), one.life, time_left(one.accepted, clock.wall(), limit))
            for one in contents.records
        ]
        self.perform(self.box.restore(kept, clock.now()))
        self.perform(self.box.connected(RECEIVER, True, clock.now()))
        gevent.spawn(self.read)

    def send(self, payload: bytes) -> None:
        self.perform(self.box.accept(payload, len(payload), payload, RECEIVER, self.clock.now()))

    def committed(self, batch, error) -> None:
        assert error is None, error
        for record in batch.records:
            say("accepted", record.payload)
        self.perform(self.box.logged(batch.records[-1].number, self.clock.now()))

    def perform(self, effects) -> None:
        for effect in effects:
            match effect:
                case Send(payload, told):
                    signal = encode_signal(SEND, 1, payload=payload, acknowledged=told)
                    assert isinstance(signal, bytes)
                    say("signal", signal)
                case Append(number, payload, life):
                    self.log.append(LogRecord(NODE, number, self.clock.wall(), life, SEND, 1, None, payload))
                case Forget(numbers):
                    self.log.forget(NODE, numbers)
                case Failed():
                    raise AssertionError(effect)
                case SetTimer(key, seconds):
                    self.timers.set(key, seconds)
                case CancelTimer(key):
                    self.timers.cancel(key)

    def read(self) -> None:
        for line in FileObjectPosix(0, "rb", close=False):
            for signal in signals_of(bytes.fromhex(line.decode())):
                told = decode_acknowledgement(signal)
                self.perform(self.box.acknowledged(told, self.clock.now()))


def main() -> None:
    path, life, mode = sys.argv[1:]
    node = Node(path)
    count = 0
    while mode != "rest" or len(node.box):
        for _ in range(node.clock.random.randrange(20) if mode != "rest" and not node.box.congested else 0):
            count += 1
            node.send(f"{life} {count:09}".encode())
        gevent.sleep(0.001)
    node.log.close()
    say("quiet")


if __name__ == "__main__":
    main()
