"""The receiving end of acknowledged delivery: which numbers of which outboxes this node life has had.

Promised: of one outbox and number, `DELIVER` is said once at most in the life of this node, whatever is lost, sent
again, late, or restarted, however long anybody was stopped, and whatever any clock shows; memory is bounded; and a
sender is told of each number what became of it, or that nobody can say any more (`EXPIRED`).

Why it holds. An inbox has, of one outbox of one node: `up_to`, everything up to which is settled (had, refused, or
closed by the sender, who says which is its lowest open number); and a bounded set of those had above it. A number in
either is a DUPLICATE. So all danger is in forgetting, and three things are forgotten:

1. *The set above `up_to`*, when there has been no session with the node for the time limit and a margin. The highest
   number had stays, as `doubtful`. A later number was never had. One up to it, when it comes as *repeated*, may have
   been: EXPIRED. When it comes *for the first time ever*, it was not: an outbox sends a number as not repeated in one
   session only, and this session has just begun, for while there is one nothing is forgotten.
2. *A whole inbox*, when there are more than `identities` without a session; the one that has rested longest goes.
   Its identity goes into a filter of fixed size, which can tell with certainty only that an identity was never put
   in. For one that was not, there is nothing to remember. For one that may have been, all that is repeated is
   doubtful, until the first number n that is sent for the first time: an outbox sends for the first time in the order
   of numbers, so those above n were never sent before this session, and those below n stay doubtful.
3. *That a number was refused*, and why: as in 1, or the oldest above `refusals`, or when its sender has closed it,
   which one that was killed may not remember. The highest such number stays, as `uncertain`, and goes with each
   acknowledgement: the sender must not take its silence about a lower one, which an earlier session brought, for a
   good sign.

The answers of a session are in order, and mostly none is missing: only a frame that could not be handled is passed over
while its session goes on. No promise hangs on that. A cumulative number speaks for what it covers beyond the one of the
answer before, `since`, and the same answer names all of these that were refused; of what comes again, each is named.

No clock is compared with another one, and none has to be right: times decide how much is remembered, not what is
true. What has to hold is that a session delivers nothing after its end, nothing twice, and nothing of another life
(`session`), and that an outbox keeps the rules that `outbox` states. For a node that gives the identity of another
one, or breaks those rules, only its own messages suffer: an inbox is found by the name of the node, too.

At most once is meant for each life of this node: a message for a *name* goes on to the next life, which cannot know
whether the one before had it. Those for pids do not.

Not known here: what a message is, processes, sessions but that they begin and end. Pure.
"""

from __future__ import annotations

import enum
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.wire.frames import BrokenFrame
from partisan_actors.wire.signals import Acknowledged, Acknowledgement, Outcome

__all__ = ["Acknowledge", "Arrivals", "Effect", "InboxParameters", "Inboxes", "Verdict"]

_FORGET = "forget"
_ACKNOWLEDGE = "acknowledge"

# Bits, a power of two: 128 KiB, made with the first inbox that is dropped. With 50,000 in it one new identity in 600
# is taken for one of them, which costs it those messages that it sends again.
_FILTER_BITS = 1 << 20
_EVERYTHING = 1 << 64


@dataclass(frozen=True, slots=True)
class InboxParameters:
    """The limits of the receiving end; times are seconds. Raises ValueError for what cannot be."""

    margin: float = 15.0
    """How much longer than a message's time limit it is remembered exactly."""

    identities: int = 4096
    """Inboxes of nodes without a session, some 400 bytes each."""

    fading: int = 256
    """Of these, how many may have more to forget; the one that has rested longest forgets it early."""

    above: int = 4096
    """Numbers had above the cumulative one, for each outbox. More are not taken until the gap closes."""

    refusals: int = 4096
    """Refused numbers whose reason is remembered, for each outbox."""

    acknowledge_after: float = 0.02
    """How long an acknowledgement waits for more to acknowledge ..."""

    owed_messages: int = 64
    owed_bytes: int = 128 << 10
    """... but no longer than until it covers so many messages, or so many bytes."""

    def __post_init__(self) -> None:
        if min(self.margin, self.acknowledge_after) <= 0:
            raise ValueError("all times must be above 0")
        if (
            min(self.identities, self.fading, self.above, self.refusals) < 1
            or min(self.owed_messages, self.owed_bytes) < 1
        ):
            raise ValueError("all limits must be above 0")


class Verdict(enum.Enum):
    """What to do with a message of an outbox."""

    DELIVER = "the first time"
    DUPLICATE = "had before"
    EXPIRED = "nobody knows any more"
    LATER = "too far ahead: not taken, and not acknowledged"


class Acknowledge(NamedTuple):
    """Effect: send this over the session."""

    acknowledgement: Acknowledgement


Effect = Acknowledge | SetTimer | CancelTimer

_NOTHING: Sequence[Effect] = ()


class _Inbox:
    """What is remembered of one outbox."""

    __slots__ = (
        "above",
        "doubtful",
        "forget_at",
        "identity",
        "node",
        "refused",
        "sessions",
        "uncertain",
        "until",
        "up_to",
    )

    def __init__(self, node: str, identity: int, up_to: int, doubtful: int) -> None:
        self.node = node
        self.identity = identity
        self.up_to = up_to
        self.above: set[int] = set()
        self.doubtful = doubtful  # repeated numbers up to here may have been had
        self.refused: dict[int, int] = {}  # by number: why; oldest first
        self.uncertain = 0  # the highest number that is not in `refused` any more, though it was
        self.sessions = 0
        self.until = 0.0  # when the last time limit of all that came is over
        self.forget_at = 0.0

    def close_below(self, lowest: int) -> None:
        """The sender has closed everything below this number."""
        if lowest - 1 > self.up_to:
            self.up_to = lowest - 1
            self.above = {number for number in self.above if number >= lowest}
            self.absorb()
        refused = self.refused
        while refused and (oldest := next(iter(refused))) < lowest:
            del refused[oldest]
            self.uncertain = max(self.uncertain, oldest)

    def settle(self, number: int) -> None:
        """This number was had, or refused."""
        if number == self.up_to + 1:
            self.up_to = number
            if self.above:
                self.absorb()
        else:
            self.above.add(number)

    def absorb(self) -> None:
        """Close the gap between `up_to` and what is above it, if there is none."""
        while self.up_to + 1 in self.above:
            self.up_to += 1
            self.above.remove(self.up_to)

    def forget(self) -> None:
        """Keep what costs nothing: see 1 and 3 above."""
        self.doubtful = max(self.doubtful, self.up_to, *self.above)
        self.uncertain = max(self.uncertain, *self.refused, 0)
        self.above = set()
        self.refused = {}


class Arrivals:
    """What comes of one outbox over one session; made by `Inboxes`.

    For each message `accept`; for one that cannot be delivered after all `refuse`; `settle` after each frame. The
    key of its timer is given to `Inboxes.timer`.
    """

    __slots__ = (
        "_ahead",
        "_bytes",
        "_inbox",
        "_inboxes",
        "_key",
        "_messages",
        "_outcomes",
        "_since",
        "_timed",
        "_urgent",
        "node",
        "owner",
    )

    def __init__(self, inboxes: Inboxes, node: str, owner: Any, serial: int) -> None:
        self.node = node
        self.owner = owner
        self._inboxes = inboxes
        self._key = (_ACKNOWLEDGE, serial)
        self._inbox: _Inbox | None = None
        self._messages = 0  # that came since the last acknowledgement
        self._bytes = 0
        self._outcomes: dict[int, int] = {}  # what the cumulative number does not tell
        self._ahead: dict[int, int] = {}  # refusals that were told before it covered them: told again when it does
        self._since = 0  # the last cumulative number
        self._urgent = False
        self._timed = False

    def accept(self, told: Acknowledged, size: int, now: float) -> Verdict:
        """Say what to do with a message of `size` bytes. Raises BrokenFrame for what no outbox sends."""
        # hot path: once for each message.
        inbox = self._inbox
        if inbox is None or inbox.identity != told.identity:
            inbox = self._find(told)
        _, number, lowest, remaining, repeated = told
        parameters = self._inboxes.parameters
        self._messages += 1
        self._bytes += size
        if now + remaining > inbox.until:
            inbox.until = now + remaining
        if lowest - 1 > inbox.up_to or inbox.refused:
            inbox.close_below(lowest)
        if number <= inbox.up_to or number in inbox.above:
            self._again(inbox, number)
            return Verdict.DUPLICATE
        if number != inbox.up_to + 1 and len(inbox.above) >= parameters.above:
            self._messages -= 1
            return Verdict.LATER
        if number <= inbox.doubtful:
            if repeated:
                inbox.settle(number)
                self.refuse(number, Outcome.EXPIRED)
                return Verdict.EXPIRED
            if inbox.doubtful == _EVERYTHING:
                inbox.doubtful = number - 1
        inbox.settle(number)
        if number > inbox.up_to:
            self._outcomes[number] = Outcome.TAKEN
        return Verdict.DELIVER

    def refuse(self, number: int, code: int) -> None:
        """Tell the sender that the message was not delivered, after all; directly after its DELIVER."""
        inbox = self._inbox
        assert inbox is not None
        if len(inbox.refused) >= self._inboxes.parameters.refusals:
            oldest = next(iter(inbox.refused))
            del inbox.refused[oldest]
            inbox.uncertain = max(inbox.uncertain, oldest)
        inbox.refused[number] = self._outcomes[number] = code
        self._urgent = True

    def settle(self) -> Sequence[Effect]:
        """All messages of one frame were taken: acknowledge now, or soon."""
        if not self._messages:
            return _NOTHING
        parameters = self._inboxes.parameters
        if (
            self._urgent
            or self._messages >= parameters.owed_messages
            or self._bytes >= parameters.owed_bytes
            or len(self._outcomes) >= parameters.owed_messages
        ):
            return self._acknowledge()
        if self._timed:
            return _NOTHING
        self._timed = True
        self._inboxes.timed[self._key] = self
        return (SetTimer(self._key, parameters.acknowledge_after),)

    def due(self) -> Sequence[Effect]:
        """The timer has fired."""
        self._timed = False
        return self._acknowledge() if self._messages else _NOTHING

    def ended(self, now: float) -> Sequence[Effect]:
        """The session is over; nothing comes any more."""
        effects: list[Effect] = []
        if self._timed:
            self._timed = False
            self._inboxes.timed.pop(self._key, None)
            effects.append(CancelTimer(self._key))
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            effects.extend(self._inboxes.rest(inbox, now))
        return effects

    def _find(self, told: Acknowledged) -> _Inbox:
        if self._inbox is not None:
            # A node life has one outbox. Without this it could make us remember any number of them.
            raise BrokenFrame("messages of two outboxes over one session")
        inbox = self._inbox = self._inboxes.inbox_of(self.node, told)
        # The cumulative number will cover these, and the session that they came over may have ended before our answer.
        self._outcomes.update(inbox.refused)
        return inbox

    def _again(self, inbox: _Inbox, number: int) -> None:
        code = inbox.refused.get(number)
        if code is None:
            code = Outcome.EXPIRED if number <= inbox.uncertain else Outcome.TAKEN
        # The sender does not know, or it would not have sent it again.
        self._outcomes[number] = code
        self._urgent = True

    def _acknowledge(self) -> Sequence[Effect]:
        inbox = self._inbox
        assert inbox is not None
        since, up_to = self._since, inbox.up_to
        ahead, outcomes = self._ahead, self._outcomes
        for number in [number for number in ahead if number <= up_to]:
            outcomes[number] = ahead.pop(number)
        told = [(n, code) for n, code in outcomes.items() if code != Outcome.TAKEN or not since < n <= up_to]
        ahead.update((n, code) for n, code in told if n > up_to and code != Outcome.TAKEN)
        outcomes.clear()
        self._since = up_to
        self._messages = self._bytes = 0
        self._urgent = False
        return (Acknowledge(Acknowledgement(inbox.identity, up_to, inbox.uncertain, tuple(told), since)),)


class Inboxes:
    """All inboxes of this node life."""

    def __init__(self, parameters: InboxParameters) -> None:
        self.parameters = parameters
        self.timed: dict[tuple[str, int], Arrivals] = {}  # those that wait to acknowledge
        self._live: dict[tuple[str, int], _Inbox] = {}  # with a session
        self._resting: OrderedDict[tuple[str, int], _Inbox] = OrderedDict()  # without one, by the end of the last
        self._fading: dict[tuple[str, int], _Inbox] = {}  # of these, those that have something to forget
        self._filter: bytearray | None = None  # of the identities of those that were dropped
        self._forget_due: float | None = None
        self._serials = itertools.count(1)

    def session_started(self, node: str, owner: Any = None) -> Arrivals:
        """What a session with that node brings goes here; in the end `Arrivals.ended`.

        Args:
            node: its name.
            owner: kept as `Arrivals.owner`, to find the session by when a timer fires.
        """
        return Arrivals(self, node, owner, next(self._serials))

    def timer(self, key: tuple[str, int], now: float) -> Sequence[Effect]:
        """A timer has fired. An `Acknowledge` goes over the session of `timed[key].owner`, so look that up first."""
        if key[0] == _FORGET:
            return self._forget(now)
        arrivals = self.timed.pop(key, None)
        return arrivals.due() if arrivals is not None else _NOTHING

    def __len__(self) -> int:
        return len(self._live) + len(self._resting)

    @property
    def numbers(self) -> int:
        """How many single numbers are remembered, in all."""
        inboxes = (*self._live.values(), *self._resting.values())
        return sum(len(inbox.above) + len(inbox.refused) for inbox in inboxes)

    def inbox_of(self, node: str, told: Acknowledged) -> _Inbox:
        """The inbox for the outbox of a message, which has a session from now on."""
        key = (node, told.identity)
        inbox = self._live.get(key) or self._resting.pop(key, None)
        if inbox is None:
            # Everything below the lowest open one is closed: it was for an earlier life, or acknowledged by us.
            inbox = _Inbox(*key, told.lowest - 1, _EVERYTHING if self._may_have_dropped(told.identity) else 0)
        self._fading.pop(key, None)
        self._live[key] = inbox
        inbox.sessions += 1
        return inbox

    def rest(self, inbox: _Inbox, now: float) -> Sequence[Effect]:
        """A session that this inbox had is over."""
        inbox.sessions -= 1
        if inbox.sessions:
            return _NOTHING  # the next session began before the end of this one
        key = (inbox.node, inbox.identity)
        del self._live[key]
        self._resting[key] = inbox
        if len(self._resting) > self.parameters.identities:
            self._drop_oldest()
        if not inbox.above and not inbox.refused:
            return _NOTHING
        inbox.forget_at = max(inbox.until, now) + self.parameters.margin
        self._fading[key] = inbox
        if len(self._fading) > self.parameters.fading:
            self._fading.pop(next(iter(self._fading))).forget()
        return self._look_again_at(inbox.forget_at, now)

    def _look_again_at(self, due: float, now: float) -> Sequence[Effect]:
        if self._forget_due is not None and self._forget_due <= due:
            return _NOTHING
        self._forget_due = due
        return (SetTimer((_FORGET, 0), due - now),)

    def _forget(self, now: float) -> Sequence[Effect]:
        self._forget_due = None
        for key, inbox in list(self._fading.items()):
            if inbox.forget_at <= now:
                inbox.forget()
                del self._fading[key]
        if not self._fading:
            return _NOTHING
        return self._look_again_at(min(inbox.forget_at for inbox in self._fading.values()), now)

    def _drop_oldest(self) -> None:
        key, inbox = self._resting.popitem(last=False)
        self._fading.pop(key, None)
        if self._filter is None:
            self._filter = bytearray(_FILTER_BITS // 8)
        for place in _places(inbox.identity):
            self._filter[place >> 3] |= 1 << (place & 7)

    def _may_have_dropped(self, identity: int) -> bool:
        bits = self._filter
        if bits is None:
            return False
        return all(bits[place >> 3] & 1 << (place & 7) for place in _places(identity))


def _places(identity: int) -> tuple[int, ...]:
    """Where an identity stands in the filter. Identities are random, so parts of them are as good as hashes."""
    return tuple((identity >> shift) % _FILTER_BITS for shift in (0, 21, 42))
