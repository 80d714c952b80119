"""A sending node that is killed again and again, with its log, and a receiver that stays up: every accepted message
is delivered exactly once, and in order."""

from __future__ import annotations

import os
from random import Random

import gevent
from gevent.fileobject import FileObjectPosix

from partisan_actors.distribution.inbox import Acknowledge, Inboxes, InboxParameters, Verdict
from partisan_actors.wire.signals import encode_acknowledgement, signals_of
from tests.forking import Forked


class Receiver:
    """What a node that stays up has seen."""

    def __init__(self) -> None:
        self.inboxes = Inboxes(InboxParameters())
        self.delivered: list[bytes] = []
        self.accepted: list[bytes] = []
        self.duplicates = 0

    def run(self, path: str, life: int, mode: str, lines: int, heard: float) -> bool:
        """Have a session with one life of the sender until it is quiet, or is killed after so many lines.

        `heard` is the part of what it had sent by then that still arrives.
        """
        program = Forked("tests.distribution.outbox_program", path, f"{life:03}", mode)
        os.set_blocking(program.stdin.fileno(), False)
        output = FileObjectPosix(program.stdout.fileno(), "rb", close=False)
        arrivals = self.inboxes.session_started("a@h")
        quiet = False
        try:
            for line in output:
                quiet = self.line(arrivals, line, program)
                lines -= 1
                if quiet or lines <= 0:
                    break
            program.kill()
            rest = list(output)
            known = int(len(rest) * heard)
            for line in rest[:known]:
                self.line(arrivals, line, None)
            # It was accepted, whether or not the line that says so was read in time.
            self.accepted += [bytes.fromhex(one.split()[1].decode()) for one in rest[known:] if one[:8] == b"accepted"]
        finally:
            program.kill()
            program.wait()
            program.stdin.close()
            program.stdout.close()
            arrivals.ended(0.0)
        return quiet

    def line(self, arrivals, line: bytes, program) -> bool:
        word, _, data = line.decode().rstrip("\n").partition(" ")
        if word == "accepted":
            self.accepted.append(bytes.fromhex(data))
        for signal in signals_of(bytes.fromhex(data)) if word == "signal" else ():
            verdict = arrivals.accept(signal.acknowledged, len(signal.payload), 0.0)
            assert verdict in (Verdict.DELIVER, Verdict.DUPLICATE)
            if verdict is Verdict.DELIVER:
                self.delivered.append(bytes(signal.payload))
            else:
                self.duplicates += 1
            settled = arrivals.settle()
            for effect in settled if program is not None else ():
                # A timer is as good as due: there is no clock here.
                effects = (effect,) if isinstance(effect, Acknowledge) else self.inboxes.timer(effect.key, 0.0)
                for acknowledge in effects:
                    assert isinstance(acknowledge, Acknowledge)
                    self.answer(program, acknowledge)
        gevent.sleep(0)
        return word == "quiet"

    @staticmethod
    def answer(program, acknowledge: Acknowledge) -> None:
        told = encode_acknowledgement(acknowledge.acknowledgement)
        assert isinstance(told, bytes)
        try:
            os.write(program.stdin.fileno(), told.hex().encode() + b"\n")
        except BlockingIOError:
            pass  # it does not read now, as it writes; later answers say as much


def test_every_accepted_message_is_delivered_once_though_the_sender_is_killed(tmp_path):
    receiver, random = Receiver(), Random(3)
    for life in range(8):
        receiver.run(str(tmp_path / "log"), life, "send", random.randrange(20, 600), random.choice((0.0, 0.5, 1.0)))
    assert receiver.run(str(tmp_path / "log"), 8, "rest", 1 << 30, 1.0), "something stays open"
    assert len(receiver.accepted) > 200 and receiver.duplicates > 0
    assert receiver.delivered == sorted(set(receiver.delivered)), "once, and in order"
    # One whose commit was done and could not be told any more is delivered as well.
    assert set(receiver.accepted) <= set(receiver.delivered)
