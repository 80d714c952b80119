"""The sending end of acknowledged delivery: what one node has sent to another with `ack=True` and knows no outcome of.

Promised, for each message that was accepted:

- it is sent in the order of its number, again in each new session, until the other node acknowledges or refuses it,
  until its time limit, or until there is a new life of the node where it was meant for a pid of the old one;
- it ends in exactly one way: acknowledged (nothing is said), or one `Failed`. `Failed` says that no delivery is known
  of: a message whose acknowledgement was lost at the very end may have been delivered all the same;
- with a disk log (`durable`) it is not sent before it is logged, so that a number which was seen by anybody is never
  given a second time after a restart. What it forgets, it forgets lazily: a message that had ended so shortly before
  the node was killed is tried again. The receiver knows it if it had it; one that had failed may be delivered yet,
  or be taken for one that was, as its failure was told.

Numbers are 1, 2, 3 ... for each destination node and go on over its lives, as messages for names do. A session is a
reliable stream, so within one nothing is sent again but after a long time (`resend_after`, doubled each time), when a
hook or a fault has swallowed it. At most `window_bytes` are on their way: all of a full outbox, sent at once into a
new session, would break that session's own limit.

What a receiver may rely on, see `inbox`: `repeated` is false in the first sending ever of a number and true in each
later one, and after a restart; numbers are sent for the first time in their order; those below `lowest` are closed.

All times are seconds of `now`, which only goes forward; what the wall clock says takes no part.
Not known here: sessions, pids, how a message is encoded, the disk. Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.distribution.outbox_events import (
    Append,
    Effect,
    Failed,
    Forget,
    OutboxParameters,
    Restored,
    Room,
    Send,
)
from partisan_actors.processes.identity import Life
from partisan_actors.wire.signals import Acknowledged, Acknowledgement, Outcome

__all__ = ["Outbox"]

_EXPIRE = "expire"
_RESEND = "resend"

_NOTHING: Sequence[Effect] = ()

_REASONS = {
    Outcome.EXPIRED.value: "expired",
    Outcome.NO_PROCESS.value: "noproc",
    Outcome.UNDECODABLE.value: "undecodable",
    Outcome.DROPPED.value: "dropped",
}


class _Entry:
    """An open message."""

    __slots__ = (
        "deadline",
        "earlier",
        "flying",
        "life",
        "logged",
        "message",
        "number",
        "open",
        "owner",
        "repeated",
        "size",
    )

    def __init__(self, number: int, message: Any, size: int, owner: Any, life: Life | None, deadline: float) -> None:
        self.number = number
        self.message = message
        self.size = size
        self.owner = owner
        self.life = life  # None: for whatever life there is
        self.deadline = deadline
        self.open = True
        self.logged = True
        self.repeated = False  # it was sent before, or may have been
        self.earlier = False  # in an earlier session than the present one
        self.flying = False  # it was sent in the present session


class Outbox:
    """What is open for one destination node.

    Timers: each `SetTimer` of it has a key `(kind, node)`; the driver gives it to `timer` when it fires.
    """

    __slots__ = (
        "_attempt",
        "_connected",
        "_durable",
        "_expiry_timed",
        "_flying",
        "_open",
        "_parameters",
        "_resend_due",
        "_resend_timed",
        "_understood",
        "_unsent",
        "congested",
        "identity",
        "life",
        "node",
        "number",
        "resent",
        "resent_bytes",
        "size",
        "strange",
        "taken",
    )

    def __init__(
        self, node: str, identity: int, parameters: OutboxParameters, number: int = 0, durable: bool = False
    ) -> None:
        self.node = node
        self.identity = identity
        self.number = number  # the last one given
        self.life: Life | None = None  # the newest life of the node that we know
        self.size = 0  # bytes of what is open
        self.congested = False  # senders are to wait for `Room`
        self.resent = self.resent_bytes = 0  # messages that were sent again
        self.taken = 0  # messages that the node has acknowledged
        self.strange = 0  # acknowledgements that cannot be ours
        self._parameters = parameters
        self._durable = durable
        self._open: OrderedDict[int, _Entry] = OrderedDict()  # by number, in order
        self._unsent: deque[_Entry] = deque()  # what the present session has not carried yet; closed ones are skipped
        self._connected = False
        self._understood = True  # the node knows acknowledged delivery, for all we know
        self._flying = 0  # bytes on their way
        self._expiry_timed = self._resend_timed = False
        self._resend_due = 0.0  # when nothing was acknowledged for too long
        self._attempt = 0  # how often it was so, in a row

    def __len__(self) -> int:
        return len(self._open)

    @property
    def quiet(self) -> bool:
        """Whether nothing but the last number is worth remembering."""
        return not self._open and not self._connected

    # From processes and the log.

    def accept(self, message: Any, size: int, owner: Any, life: Life | None, now: float) -> Sequence[Effect]:
        """Take a message; its number is `number` then, unless it failed at once.

        Senders are to wait while the outbox is congested. One that cannot may go on up to the hard limit.

        Args:
            message: given back in `Send` and `Append`; must not change.
            size: its bytes.
            owner: given back in `Failed`.
            life: the only life of the node that it is for; None for whatever life is there.
            now: seconds.
        """
        parameters = self._parameters
        reason = self._refusal(life)
        if reason is not None:
            return (Failed(owner, 0, reason),)
        self.number += 1
        entry = _Entry(self.number, message, size, owner, life, now + parameters.time_limit)
        effects: list[Effect] = []
        self._add(entry, now, effects)
        if self._durable:
            entry.logged = False
            effects.append(Append(entry.number, message, life))
        if self._connected:
            self._unsent.append(entry)
            self._send_more(now, effects)
        return effects

    def _refusal(self, life: Life | None) -> str | None:
        parameters = self._parameters
        if not self._understood:
            return "unsupported"
        if life is not None and self._is_over(life):
            return "noproc"
        hard = parameters.hard_factor
        if len(self._open) >= hard * parameters.max_messages or self.size >= hard * parameters.max_bytes:
            return "full"
        return None

    def _is_over(self, life: Life) -> bool:
        """Whether no message can get to that life any more. A newer one than we have met may come yet."""
        known = self.life
        return known is not None and life != known and (self._connected or life.epoch <= known.epoch)

    def _add(self, entry: _Entry, now: float, effects: list[Effect]) -> None:
        parameters = self._parameters
        self._open[entry.number] = entry
        self.size += entry.size
        if len(self._open) >= parameters.max_messages or self.size >= parameters.max_bytes:
            self.congested = True
        if not self._expiry_timed:
            self._expiry_timed = True
            effects.append(SetTimer((_EXPIRE, self.node), entry.deadline - now))

    def restore(self, messages: Iterable[Restored], now: float) -> Sequence[Effect]:
        """Take back what a log has kept, in the order of numbers, before anything else is accepted."""
        effects: list[Effect] = []
        deadline = now
        for number, message, size, life, remaining in messages:
            # What is earlier in the queue never ends later: the front alone is looked at.
            deadline = max(deadline, now + min(remaining, self._parameters.time_limit))
            entry = _Entry(number, message, size, None, life, deadline)
            entry.repeated = True  # nobody knows
            self._add(entry, now, effects)
            self.number = max(self.number, number)
        return effects

    def logged(self, up_to: int, now: float) -> Sequence[Effect]:
        """The log has everything up to this number."""
        for number in reversed(self._open):
            entry = self._open[number]
            # The rest was logged before. Only a tail of it all is not.
            if entry.logged and number <= up_to:
                break
            if number <= up_to:
                entry.logged = True
        effects: list[Effect] = []
        self._send_more(now, effects)
        return effects

    def withdraw(self, number: int, now: float) -> Sequence[Effect]:
        """The log could not take it: whoever sent it is told otherwise."""
        effects: list[Effect] = []
        entry = self._open.get(number)
        if entry is not None and not entry.logged:
            self._close(entry)
            self._closed([], now, effects)
        return effects

    # From sessions and the cluster view.

    def connected(self, life: Life, understood: bool, now: float) -> Sequence[Effect]:
        """A session with this life has begun.

        Args:
            life: of the node.
            understood: whether it has the feature of acknowledged delivery.
            now: seconds.
        """
        self._land()
        self._connected = True
        self._understood = understood
        self._attempt = 0
        self._resend_due = now
        effects: list[Effect] = []
        self._life_is(life, effects)
        if not understood:
            self._fail(list(self._open.values()), "unsupported", effects)
        for entry in self._open.values():
            entry.earlier = entry.repeated
        self._unsent = deque(self._open.values())
        self._send_more(now, effects)
        return effects

    def disconnected(self) -> Sequence[Effect]:
        """That session is over."""
        self._connected = False
        # Another life of the node may understand.
        self._understood = True
        self._unsent.clear()
        self._land()
        if not self._resend_timed:
            return _NOTHING
        self._resend_timed = False
        return (CancelTimer((_RESEND, self.node)),)

    def life_changed(self, life: Life, now: float) -> Sequence[Effect]:
        """The node has this life now, whether or not there is a session: what was for pids of an earlier one fails."""
        known = self.life
        if known is not None and (self._connected or life.epoch < known.epoch):
            return _NOTHING  # news may be late; with a session, its end and the next one's start tell
        effects: list[Effect] = []
        self._life_is(life, effects)
        return effects

    def _life_is(self, life: Life, effects: list[Effect]) -> None:
        if life == self.life:
            return
        self.life = life
        lost = [entry for entry in self._open.values() if entry.life is not None and self._is_over(entry.life)]
        self._fail(lost, "noproc", effects)

    def acknowledged(self, acknowledgement: Acknowledgement, now: float) -> Sequence[Effect]:
        """The node tells what became of messages, over the present session."""
        identity, up_to, uncertain, outcomes, since = acknowledgement
        if identity != self.identity or up_to > self.number or not self._connected:
            self.strange += 1
            return _NOTHING
        effects: list[Effect] = []
        numbers: list[int] = []
        entries = self._open
        # Before the cumulative number: it covers those that were refused, too.
        for number, code in outcomes:
            entry = entries.get(number)
            # What was never sent cannot have been seen.
            if entry is not None and entry.repeated:
                self._close(entry)
                numbers.append(number)
                if code != Outcome.TAKEN:
                    effects.append(Failed(entry.owner, number, _REASONS.get(code, "refused")))
        told, missed = self._covered(since, up_to)
        for entry in told:
            self._close(entry)
            numbers.append(entry.number)
            # What this session brought first, its answers tell all about.
            if entry.earlier and entry.number <= uncertain:
                effects.append(Failed(entry.owner, entry.number, "expired"))
        self.taken += len(numbers) - len(effects)
        if numbers:
            if not missed:
                self._attempt = 0
                self._resend_due = now + self._parameters.resend_after
            self._closed(numbers, now, effects)
        return effects

    def _covered(self, since: int, up_to: int) -> tuple[list[_Entry], bool]:
        """What a cumulative number tells of, and whether an earlier answer is missing.

        That one told of what is up to `since`, and perhaps that it was refused. It is late, or its frame was passed
        over: what it told of stays open then, is sent again when that is due, and gets an answer of its own.
        """
        told: list[_Entry] = []
        missed = False
        for entry in self._open.values():
            if entry.number > up_to or not entry.repeated:
                break
            if entry.number > since:
                told.append(entry)
            else:
                missed = True
        return told, missed

    def abandon(self, which: Callable[[Any], bool], reason: str) -> Sequence[Effect]:
        """Give up every message that has an owner of which `which` is true."""
        effects: list[Effect] = []
        self._fail([entry for entry in self._open.values() if which(entry.owner)], reason, effects)
        return effects

    def timer(self, key: Any, now: float, random: Random, clear: bool = True) -> Sequence[Effect]:
        """A timer has fired.

        Args:
            key: of the timer.
            now: seconds.
            clear: whether all that was sent over the session so far has arrived at the node. While it has not, a
                message is late, not lost, and sending it again makes it later.
        """
        effects: list[Effect] = []
        if key[0] == _EXPIRE:
            self._expire(now, effects)
        elif self._resend_timed:
            self._resend_timed = False
            if self._flying and now >= self._resend_due:
                if clear:
                    self._attempt += 1
                    self._send_again()
                self._resend_due = now + self._patience(random)
            self._send_more(now, effects)
        return effects

    def close(self, reason: str) -> Sequence[Effect]:
        """Let go of everything, for good: what is logged is the log's, the rest fails."""
        effects: list[Effect] = [CancelTimer((_EXPIRE, self.node)), CancelTimer((_RESEND, self.node))]
        for entry in list(self._open.values()):
            self._close(entry)
            if not self._durable:
                effects.append(Failed(entry.owner, entry.number, reason))
        self._unsent.clear()
        self._connected = self._expiry_timed = self._resend_timed = False
        return effects

    # Within.

    def _expire(self, now: float, effects: list[Effect]) -> None:
        self._expiry_timed = False
        late = []
        for entry in self._open.values():
            if entry.deadline > now:
                self._expiry_timed = True
                effects.append(SetTimer((_EXPIRE, self.node), entry.deadline - now))
                break
            late.append(entry)
        self._fail(late, "timeout" if self._connected else "noconnection", effects)
        self._send_more(now, effects)

    def _send_again(self) -> None:
        flying = self._land()
        self._unsent.extendleft(reversed(flying))
        self.resent += len(flying)
        self.resent_bytes += sum(entry.size for entry in flying)

    def _land(self) -> list[_Entry]:
        """Nothing is on its way any more; what was, in order."""
        flying = [entry for entry in self._open.values() if entry.flying] if self._flying else []
        for entry in flying:
            entry.flying = False
        self._flying = 0
        return flying

    def _patience(self, random: Random) -> float:
        parameters = self._parameters
        seconds = min(parameters.resend_after * 2.0 ** min(self._attempt, 32), parameters.resend_cap)
        return seconds * random.uniform(1 - parameters.jitter, 1 + parameters.jitter)

    def _send_more(self, now: float, effects: list[Effect]) -> None:
        # hot path: once for each message, and for each acknowledgement.
        unsent, window = self._unsent, self._parameters.window_bytes
        if not self._flying:
            self._resend_due = max(self._resend_due, now + self._parameters.resend_after)
        while unsent:
            entry = unsent[0]
            if entry.open:
                if not entry.logged or (self._flying and self._flying + entry.size > window):
                    break
                lowest = next(iter(self._open))
                told = Acknowledged(self.identity, entry.number, lowest, entry.deadline - now, entry.repeated)
                effects.append(Send(entry.message, told))
                entry.repeated = entry.flying = True
                self._flying += entry.size
            unsent.popleft()
        if self._flying and not self._resend_timed:
            self._resend_timed = True
            # One that fires too early, as there was an acknowledgement since, is only set again.
            effects.append(SetTimer((_RESEND, self.node), self._resend_due - now))

    def _fail(self, entries: Sequence[_Entry], reason: str, effects: list[Effect]) -> None:
        for entry in entries:
            self._close(entry)
            effects.append(Failed(entry.owner, entry.number, reason))
        if entries:
            self._forget([entry.number for entry in entries], effects)

    def _close(self, entry: _Entry) -> None:
        entry.open = False
        del self._open[entry.number]
        self.size -= entry.size
        if entry.flying:
            self._flying -= entry.size

    def _closed(self, numbers: Sequence[int], now: float, effects: list[Effect]) -> None:
        self._forget(numbers, effects)
        self._send_more(now, effects)

    def _forget(self, numbers: Sequence[int], effects: list[Effect]) -> None:
        if self._durable and numbers:
            effects.append(Forget(numbers))
        parameters = self._parameters
        room = len(self._open) <= parameters.max_messages // 2 and self.size <= parameters.max_bytes // 2
        if self.congested and room:
            self.congested = False
            effects.append(Room())
