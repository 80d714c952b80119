"""A conduit: a reliable, ordered pipe of bytes between two nodes over frames that others relay. One end of it.

Frames may be lost, doubled and reordered on their way. Promised: what one end writes the other reads, each byte once
and in order, while frames get through at all; an end that has something on its way, and hears of none of it for
`give_up` seconds, gives up; one that has nothing on its way sends nothing and keeps no timer. A peer that was begun
anew does not know the conduit's number and says RESET, so bytes of an earlier life are never read as those of a later.

It is TCP's, with what later RFCs have taught: segments are acknowledged cumulatively and selectively (RFC 2018), round
trips are measured on every transmission that is echoed, and the time to repeat comes from them (RFC 6298, with a
shorter minimum, as the peer's acknowledgements wait for no more than `acknowledge_after`). What is passed by three
later transmissions is lost and goes again at once (RFC 5681, RFC 9002: by the order sent, so that a repeated segment
can be found lost again); where nothing later could pass it, the last one is sent again as a probe (RFC 8985). The
window begins small, doubles each round trip until a loss, and is halved by one.

A relay drops what it has no room for, and says nothing; the window is how a sender finds out how much there is.

Not known here: routes, sessions, who is at the other end. Pure.

Effects: `Transmit`, `Doubt`, `Deliver`, `Opened`, `Writable`, `Ended`, `SetTimer`, `CancelTimer`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from partisan_actors.distribution.conduit_events import Deliver, Doubt, Effect, Ended, Opened, Transmit, Writable
from partisan_actors.distribution.conduit_pace import PASSED_BY, ConduitParameters, Pace
from partisan_actors.distribution.conduit_reading import Reading
from partisan_actors.distribution.conduit_wire import (
    DATA,
    LAST,
    OPEN,
    OPENED,
    RESET,
    Buffer,
    Segment,
    encode_ack,
    encode_control,
    encode_data,
)
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired

__all__ = [
    "ACKNOWLEDGE",
    "REPEAT",
    "Conduit",
    "ConduitParameters",
    "Deliver",
    "Doubt",
    "Effect",
    "Ended",
    "Opened",
    "Transmit",
    "Writable",
]

REPEAT = "repeat"
ACKNOWLEDGE = "acknowledge"

# Seconds: a timer that runs for so much longer than it is to is set anew.
_TOO_LATE = 0.02


class _Flying:
    """A segment that was sent and is not covered by the cumulative acknowledgement."""

    __slots__ = ("buffers", "end", "kind", "lost", "offset", "order", "repeated", "sent", "size", "there")

    def __init__(self, kind: int, offset: int, size: int, buffers: Sequence[Buffer]) -> None:
        self.kind = kind
        self.offset = offset
        self.size = size  # bytes
        self.end = offset + size + (kind == LAST)
        self.buffers = buffers
        self.order = 0  # of its last transmission
        self.sent = 0.0  # when that was
        self.repeated = False
        self.lost = False  # and is to be sent again
        self.there = False  # the other end has it, though not all before it


class Conduit:
    """One end."""

    __slots__ = (
        "_closing",
        "_deadline",
        "_ended",
        "_flying",
        "_flying_bytes",
        "_highest",
        "_highest_sent",
        "_last",
        "_lost",
        "_opener",
        "_order",
        "_parameters",
        "_probed",
        "_progress",
        "_queue",
        "_reading",
        "_recovery",
        "_timed",
        "_timer_due",
        "_written",
        "bad",
        "number",
        "opened",
        "pace",
        "repeated",
        "unsent",
    )

    def __init__(self, number: int, opener: bool, parameters: ConduitParameters) -> None:
        """Begin.

        Args:
            number: 64 bits that no other conduit of the two nodes had: drawn by chance by the opener.
            opener: it is this end that asks for it.
        """
        self.number = number
        self.opened = not opener
        self.unsent = 0  # bytes written that were not sent once yet
        self.pace = Pace(parameters)
        self.repeated = 0  # segments sent again
        self.bad = 0  # segments that no peer sends
        self._parameters = parameters
        self._opener = opener
        self._ended = False
        self._queue: deque[Buffer] = deque()  # `unsent` bytes
        self._written = 0  # the offset of the next byte to be sent for the first time
        self._closing = False  # LAST is to follow what is queued
        self._last = False  # and has been sent once
        self._flying: dict[int, _Flying] = {}  # by offset, in order
        self._flying_bytes = 0  # of them, those neither lost nor there
        self._lost: deque[_Flying] = deque()
        self._order = 0  # the last one given
        self._highest = 0  # the highest that is known to have arrived
        self._highest_sent = 0.0  # and when that was sent
        self._recovery = 0  # until this order has arrived, losses belong to one that was answered
        self._progress = 0.0  # when something was last acknowledged, or the first of what flies was sent
        self._probed = False  # since then, the last segment was sent again
        self._deadline = 0.0  # when the time to probe, or to repeat, is over
        self._timed = False  # its timer runs; it may be due earlier than that
        self._timer_due = 0.0
        self._reading = Reading(parameters.largest_window, parameters.owed)

    def __repr__(self) -> str:
        return f"<Conduit {self.number:016x}>"

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way or waits to be."""
        return not self._flying and not self.unsent

    # What its owner asks

    def start(self, now: float) -> Sequence[Effect]:
        """Ask for it, or answer who asked."""
        self._progress = now
        if not self._opener:
            return (Transmit((encode_control(OPENED, self.number),)),)
        self._order = 1
        effects: list[Effect] = [Transmit((encode_control(OPEN, self.number),))]
        self._expect(now, effects)
        return effects

    def write(self, buffers: Sequence[Buffer], now: float) -> Sequence[Effect]:
        """Send these bytes, now as far as the window goes. They must not change any more."""
        if self._ended or self._closing:
            return ()
        for buffer in buffers:
            if buffer:
                self._queue.append(buffer)
                self.unsent += len(buffer)
        effects: list[Effect] = []
        self._send(now, effects)
        return effects

    def close(self, now: float) -> Sequence[Effect]:
        """Let what was written get there, then end it; what still arrives is dropped. `Ended("closed")` follows."""
        if self._ended or self._closing:
            return ()
        self._closing = True
        effects: list[Effect] = []
        self._send(now, effects)
        return effects

    def reset(self) -> Sequence[Effect]:
        """End it now, and tell the other end once; if that is lost it is told when it next sends."""
        if self._ended:
            return ()
        return (Transmit((encode_control(RESET, self.number),)), *self._end("reset"))

    # What arrives

    def take(self, segment: Segment, now: float) -> Sequence[Effect]:
        """Take a segment of the other end; `read_done` is to follow once what it brought was handed up."""
        kind = segment.kind
        if self._ended:
            return ()
        if kind == RESET:
            return self._end("reset")
        if kind == OPEN:
            if self._opener:
                self.bad += 1
                return ()
            # Again: the first answer was lost, if nothing else has come since.
            lost = () if self._reading.position else (Doubt(now - self._progress),)
            return (*lost, Transmit((encode_control(OPENED, self.number),)))
        if segment.ack > self._written + self._last or segment.echo > self._order:
            self.bad += 1
            return ()
        effects: list[Effect] = []
        if not self.opened:
            self._opened(kind, now, effects)
        if kind in (DATA, LAST):
            self._data(segment, effects)
        if kind != OPENED and not self._ended:
            self._acknowledged(segment, now, effects)
        return effects

    def _opened(self, kind: int, now: float, effects: list[Effect]) -> None:
        self.opened = True
        if kind == OPENED and not self.pace.repeats:
            self.pace.measure(now - self._progress)
        self.pace.repeats = 0
        effects.append(Opened())
        self._send(now, effects)

    def _data(self, segment: Segment, effects: list[Effect]) -> None:
        reading = self._reading
        effects += map(Deliver, reading.take(segment.offset, segment.data, segment.kind == LAST, segment.order))
        if reading.done:
            # The other end waits for this acknowledgement, and for nothing else of ours.
            effects.append(Transmit((self._encode_ack(),)))
            effects += self._end("eof")

    def read_done(self, now: float) -> Sequence[Effect]:
        """What the last segment brought was handed up: see whether it is to be acknowledged now, or soon."""
        if self._ended or not self._reading.owing:
            return ()
        if self._reading.due:
            return (Transmit((self._encode_ack(),)),)
        if self._reading.timed:
            return ()
        # Not re-set by the next segment: the first that is owed for is the one that waits longest.
        self._reading.timed = True
        return (SetTimer(ACKNOWLEDGE, self._parameters.acknowledge_after),)

    def _encode_ack(self) -> bytes:
        ack, echo = self._reading.acknowledge()
        return encode_ack(self.number, ack, echo, self._reading.ranges())

    # Acknowledgements

    def _acknowledged(self, segment: Segment, now: float, effects: list[Effect]) -> None:
        flying = self._flying
        if not flying:
            return
        before = self._flying_bytes
        taken = 0
        while flying:
            first = next(iter(flying.values()))
            if first.end > segment.ack:
                break
            del flying[first.offset]
            taken += self._arrived(first, segment.echo, now)
        for start, end in segment.ranges:
            for flier in flying.values():
                if flier.offset >= end:
                    break
                if start <= flier.offset and flier.end <= end and not flier.there:
                    taken += self._arrived(flier, segment.echo, now)
        if taken:
            self.pace.repeats = 0
            self._probed = False
            self._progress = now
            if flying:
                self._expect_until(now + self._patience(), now, effects)
            self._look_for_lost()
            # What a window holds is not known while it is not used (RFC 7661); and a loss is dealt with first.
            if self._highest >= self._recovery and before >= self.pace.window // 2:
                self.pace.grow(taken)
        if self._last and not flying:
            effects += self._end("closed")
            return
        had_unsent = self.unsent > 0
        self._send(now, effects)
        if had_unsent and not self.unsent:
            effects.append(Writable())

    def _arrived(self, flier: _Flying, echo: int, now: float) -> int:
        """A segment is there; how much that is of what is counted: LAST without bytes counts as one."""
        if flier.there:
            return 0
        flier.there = True
        if not flier.lost:
            self._flying_bytes -= flier.size
        flier.lost = False
        if flier.order == echo:
            self.pace.measure(now - flier.sent)
        # Of one that was repeated it is not known which transmission arrived, but for the one that is echoed.
        if (flier.order == echo or not flier.repeated) and flier.order > self._highest:
            self._highest, self._highest_sent = flier.order, flier.sent
        return max(flier.size, 1)

    def _look_for_lost(self) -> None:
        limit = self._highest - PASSED_BY
        # What was sent a round trip before one that arrived, and did not, is lost too (RFC 8985): so is what a probe
        # at the end shows, which no three can have passed.
        long_ago = self._highest_sent - (self.pace.round_trip or 0.0)
        congested = False
        for flier in self._flying.values():
            if flier.order > self._highest:
                if flier.repeated:
                    continue
                break  # those behind it were sent later
            if not flier.there and not flier.lost and (flier.order <= limit or flier.sent < long_ago):
                congested = congested or flier.order > self._recovery
                self._lose(flier)
        if congested:
            # Once for all that was under way at that time: RFC 5681, section 3.2; RFC 6582.
            self._recovery = self._order
            self.pace.lost()

    def _lose(self, flier: _Flying) -> None:
        flier.lost = True
        self._flying_bytes -= flier.size
        self._lost.append(flier)

    # Sending

    def _send(self, now: float, effects: list[Effect]) -> None:
        if not self.opened or self._ended:
            return
        parameters, flying = self._parameters, self._flying
        # Not all that the window holds in one burst, which no relay has room for: as what was sent is acknowledged.
        window = min(self.pace.window, self._flying_bytes + parameters.first_window)
        while self._lost and self._flying_bytes < window:
            flier = self._lost.popleft()
            if flier.lost and not flier.there:
                flier.lost, flier.repeated = False, True
                self.repeated += 1
                self._transmit(flier, now, effects)
        if self._lost:
            return
        while self._flying_bytes < window and len(flying) < parameters.most_segments:
            if self._queue:
                flier = self._next_segment()
            elif self._closing and not self._last:
                self._last = True
                flier = _Flying(LAST, self._written, 0, ())
            else:
                break
            if not flying:
                self._progress = now
            flying[flier.offset] = flier
            self._transmit(flier, now, effects)

    def _next_segment(self) -> _Flying:
        queue, room = self._queue, self._parameters.segment
        parts: list[Buffer] = []
        size = 0
        while queue and size < room:
            part = queue.popleft()
            if size + len(part) > room:
                view, cut = memoryview(part), room - size
                queue.appendleft(view[cut:])
                part = view[:cut]
            parts.append(part)
            size += len(part)
        self.unsent -= size
        flier = _Flying(DATA, self._written, size, parts)
        self._written += size
        return flier

    def _transmit(self, flier: _Flying, now: float, effects: list[Effect]) -> None:
        self._order += 1
        flier.order, flier.sent = self._order, now
        self._flying_bytes += flier.size
        ack, echo = self._reading.acknowledged_with_data()
        head = encode_data(flier.kind, self.number, flier.offset, flier.order, ack, echo)
        effects.append(Transmit((head, *flier.buffers)))
        self._expect(now, effects)

    # Time

    def _expect(self, now: float, effects: list[Effect]) -> None:
        """Something was sent: look after the time to repeat whether it arrived."""
        if not self._timed or len(self._flying) == 1:
            self._expect_until(now + self._patience(), now, effects)

    def _patience(self) -> float:
        return self.pace.time_to_repeat() if self._probed else self.pace.time_to_probe()

    def _expect_until(self, deadline: float, now: float, effects: list[Effect]) -> None:
        self._deadline = deadline = min(deadline, max(self._progress + self._parameters.give_up, now + 0.01))
        # The timer is not re-set with each segment: when it fires it sees how long is left.
        if not self._timed or self._timer_due > deadline + _TOO_LATE:
            self._timed = True
            self._look_in(deadline - now, now, effects)

    def _look_in(self, seconds: float, now: float, effects: list[Effect]) -> None:
        self._timer_due = now + seconds
        effects.append(SetTimer(REPEAT, seconds))

    def step(self, event: TimerFired, now: float) -> Sequence[Effect]:
        """Take a timer that is due."""
        if self._ended:
            return ()
        if event.key == ACKNOWLEDGE:
            self._reading.timed = False
            return (Transmit((self._encode_ack(),)),) if self._reading.owing else ()
        return self._look(now)

    def _look(self, now: float) -> Sequence[Effect]:
        parameters = self._parameters
        if now - self._timer_due >= parameters.stall:
            self._progress = now  # what came meanwhile has not been read yet
        self._timed = False
        if self.opened and not self._flying:
            return ()
        effects: list[Effect] = []
        left = self._deadline - now
        if left > 0.001:
            self._timed = True
            self._look_in(left, now, effects)
            return effects
        if now - self._progress >= parameters.give_up:
            return (Transmit((encode_control(RESET, self.number),)), *self._end("timeout"))
        if self.opened and not self._probed:
            self._probe(now, effects)
            return effects
        self.pace.repeats += 1
        self._expect_until(now + self.pace.time_to_repeat(), now, effects)
        effects.append(Doubt(now - self._progress))
        if not self.opened:
            effects.append(Transmit((encode_control(OPEN, self.number),)))
            return effects
        self._all_lost()
        self._send(now, effects)
        return effects

    def _probe(self, now: float, effects: list[Effect]) -> None:
        """Send the last one again: its acknowledgement shows what is missing, long before all would go again."""
        self._probed = True
        last = next(flier for flier in reversed(self._flying.values()) if not flier.there)
        if not last.lost:
            self._flying_bytes -= last.size
        last.lost, last.repeated = False, True
        self.repeated += 1
        self._transmit(last, now, effects)
        self._expect_until(now + self.pace.time_to_repeat(), now, effects)

    def _all_lost(self) -> None:
        """Nothing was acknowledged for long: begin again with a small window (RFC 5681, section 3.1, equation 4)."""
        self._recovery = self._order
        self.pace.all_lost(self._flying_bytes)
        self._lost.clear()
        for flier in self._flying.values():
            if not flier.there:
                flier.lost = True
                self._lost.append(flier)
        self._flying_bytes = 0

    def _end(self, reason: str) -> Sequence[Effect]:
        self._ended = True
        self._queue.clear()
        self._flying.clear()
        self._lost.clear()
        self.unsent = self._flying_bytes = 0
        return (CancelTimer(REPEAT), CancelTimer(ACKNOWLEDGE), Ended(reason))
