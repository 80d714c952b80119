"""Fills a disk log until it is killed: `python -m tests.distribution.log_program PATH BYTES [patched]`.

Its output is a line for each thing it knows for sure: "open N" (the last number when it was opened), "had N" for each
message found then, "committed N" once `committed` was called, and "forget N" before that number is forgotten.
"""

from __future__ import annotations

import os
import sys

if "patched" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import gevent

from partisan_actors.distribution.disk_log import DiskLog
from partisan_actors.distribution.log_batches import LogRecord
from partisan_actors.processes.clock import GeventClock

NODE = "b@h"


def say(word: str, number: int) -> None:
    """One write for each line, so that a kill cuts none."""
    os.write(1, f"{word} {number}\n".encode())


def payload_of(number: int, size: int) -> bytes:
    """What each message carries, so that a wrong one is seen."""
    return number.to_bytes(8, "big") * (size // 8)


def main() -> None:
    """Append, a random number at a time, and forget a third of what was committed."""
    path, size = sys.argv[1], int(sys.argv[2])
    clock = GeventClock()

    def committed(batch, error):
        assert error is None, error
        for record in batch.records:
            say("committed", record.number)
        gone = [record.number for record in batch.records if record.number % 3 == 0]
        for number in gone:
            say("forget", number)
        if gone:
            log.forget(NODE, gone)

    log, contents = DiskLog.open(path, clock, committed)
    number = contents.numbers.get(NODE, 0)
    say("open", number)
    for record in contents.records:
        assert record.payload == payload_of(record.number, size)
        say("had", record.number)
    log.forget(NODE, [record.number for record in contents.records if record.number % 3 == 0])
    while True:
        for _ in range(clock.random.randrange(1, 40)):
            number += 1
            log.append(LogRecord(NODE, number, clock.wall(), None, 1, 0, "name", payload_of(number, size)))
        gevent.sleep(clock.random.choice((0, 0, 0.001)))


if __name__ == "__main__":
    main()
