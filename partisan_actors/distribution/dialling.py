"""When to dial one peer, and when to give it up: the protocol between a broken connection and the verdict on it.

Promised, with the default parameters, once the connection of a session is gone:

- on a peer that refuses (a killed process, whose machine answers for it) it falls within 1 s: it is dialled at once,
  and a second time after `refused_again`; one refusal alone may be a listener that is being made again;
- on one that does not answer, or cannot be dialled at all, after `patience`: it may be it that dials; later where
  this node is late itself, as any deadline;
- on one that was silent on a live connection at once: it was given its time already;
- on one that refuses us for a reason (a name, a cookie, a topology) at once: waiting changes nothing; but one
  with which TLS fails is tried until `patience` is over, as a byte that changed on the way looks like that too;
- after the verdict a wanted peer is dialled on, with back-off up to `longest_pause`, one that is not wanted no more;
  while it, or this node, has no place left for a session, `full_pause` apart.

`Verdict` comes at most once between two established connections. Its reasons: "connection refused", "unreachable:
...", "timeout", "silent", "refused: ...", "busy" of one that answers that it has no time.

    dial ----> connected and proven ------> quiet, until it is lost -----> dial
      |                                                                     ^
      +------> all addresses failed -> pause ---- back-off after verdict ---+

Several addresses are tried in turn, beginning with the one that worked last; all of them together are a round.

Both ends of a broken connection dial at once, so two new connections may cross. Who decides which one is kept is
`admission`; here that is a refusal SIMULTANEOUS, and the answer to it is to wait for the other's connection a while.

Not known here: sockets, handshakes, sessions, whose name is smaller. Pure.

Events: `Wanted`, `Unwanted`, `Lost`, `Silenced`, `SessionOver`, `Established`, `DialFailed`, `DialRefused`,
`TimerFired`.
Effects: `Dial`, `CancelDial`, `Verdict`, `SetTimer`, `SetDeadline`, `CancelTimer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from partisan_actors.distribution.machine import CancelTimer, SetDeadline, SetTimer, TimerFired
from partisan_actors.wire.handshake import RefusalCode

__all__ = [
    "BUSY",
    "NO_TIME",
    "REFUSED",
    "SILENT",
    "CancelDial",
    "Dial",
    "DialFailed",
    "DialRefused",
    "Dialling",
    "DiallingParameters",
    "Effect",
    "Established",
    "Event",
    "Lost",
    "SessionOver",
    "Silenced",
    "Unwanted",
    "Verdict",
    "Wanted",
]

_REDIAL = "redial"
_PATIENCE = "patience"

# What may be another time. TLS: whatever went wrong in its handshake, a bad certificate and a changed byte alike.
_PASSING = frozenset({RefusalCode.BUSY, RefusalCode.EXPIRED, RefusalCode.TLS})

BUSY = "busy"
"""What a verdict says of a peer at whose address somebody answered, the last time, that there is no time."""

NO_TIME = frozenset({RefusalCode.BUSY, RefusalCode.EXPIRED})
"""The codes of refusals of a node that is there, and has more to do than it can."""

SILENT = "silent"
"""What a verdict says of a peer that nothing was heard of over a live connection."""

REFUSED = "refused"
"""What the transport says when nobody listens at an address."""


@dataclass(frozen=True, slots=True)
class DiallingParameters:
    """All times are seconds."""

    patience: float = 5.0
    """From the loss of a connection to the verdict on a peer that does not answer."""

    refused_again: float = 0.5
    """From a refused round to the second one, whose refusal is the verdict."""

    retry: float = 0.25
    """From a round that failed otherwise to the next one, before the verdict."""

    give_way: float = 1.0
    """How long the other's connection is waited for when it is the one that is kept."""

    dial_timeout: float = 5.0
    """For one attempt, the handshake included; divided between several addresses, but never below `shortest_dial`."""

    shortest_dial: float = 1.0

    first_pause: float = 0.1
    longest_pause: float = 3.0
    """Pauses after the verdict: doubled each time, shortened by chance by up to a quarter, never longer than this."""

    full_pause: float = 30.0
    """From a refusal for want of a place to the next round: each costs a full node a handshake."""

    def __post_init__(self) -> None:
        if not 0 < self.refused_again < self.patience:
            raise ValueError(f"refused_again ({self.refused_again}) must be above 0 and below patience")
        if not 0 < self.first_pause <= self.longest_pause:
            raise ValueError(f"first_pause ({self.first_pause}) must be above 0 and at most longest_pause")
        if not 0 < self.shortest_dial <= self.dial_timeout:
            raise ValueError(f"shortest_dial ({self.shortest_dial}) must be above 0 and at most dial_timeout")
        if min(self.retry, self.give_way, self.full_pause) <= 0:
            raise ValueError("all times must be above 0")


class Wanted(NamedTuple):
    """The peer is to be kept connected; it can be dialled there."""

    addresses: tuple[str, ...]


class Unwanted(NamedTuple):
    """It is no longer to be dialled once it is lost."""


class Lost(NamedTuple):
    """The connection that carried its session is gone, and the session waits for another."""


class Silenced(NamedTuple):
    """The connection was closed because nothing came over it."""


class Established(NamedTuple):
    """A connection to it is proven: our attempt (`dialled`) or the peer's.

    `addresses`: where it says that it can be dialled.
    """

    addresses: tuple[str, ...]
    dialled: bool


class SessionOver(NamedTuple):
    """Its link ended for another reason than a verdict: given up, or its session left, was replaced or ran over."""


class DialFailed(NamedTuple):
    """The attempt came to nothing. `reason` is the transport's, or a text."""

    reason: str


class DialRefused(NamedTuple):
    """The other end refused the handshake, or we did."""

    code: int
    text: str


Event = Wanted | Unwanted | Lost | Silenced | SessionOver | Established | DialFailed | DialRefused | TimerFired


class Dial(NamedTuple):
    """Try an address; exactly one of Established, DialFailed, DialRefused is to follow, unless it is cancelled."""

    address: str
    timeout: float


class CancelDial(NamedTuple):
    """Give the attempt up."""


class Verdict(NamedTuple):
    """There is no link to the peer. Whether it is down is for others to say: it may be reached by a route."""

    reason: str


Effect = Dial | CancelDial | Verdict | SetTimer | SetDeadline | CancelTimer


class Dialling:
    """What is done to reach one peer."""

    __slots__ = (
        "_all_refused",
        "_attempt",
        "_cause",
        "_connected",
        "_full",
        "_held",
        "_parameters",
        "_pauses",
        "_position",
        "_refused_rounds",
        "_start",
        "_undecided",
        "addresses",
        "wanted",
    )

    def __init__(self, parameters: DiallingParameters) -> None:
        self.addresses: tuple[str, ...] = ()
        self.wanted = False
        self._parameters = parameters
        self._connected = False
        self._held = False  # a session lives, connected or not
        self._undecided = False  # the verdict is still to come
        self._attempt: int | None = None  # the index of the address that is being tried
        self._start = 0  # the index of the address that each round begins with: the one that worked last
        self._position = 0  # how many of this round were tried
        self._all_refused = True  # of this round
        self._refused_rounds = 0
        self._pauses = 0  # rounds since the verdict
        self._full = False  # the last one was refused for want of a place
        self._cause = "unreachable"  # why the last attempt failed

    @property
    def deciding(self) -> bool:
        """Whether the verdict is still to come: a link may be made meanwhile."""
        return self._undecided

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to do, nor to decide: it can be forgotten."""
        return not (self.wanted or self._connected or self._undecided or self._attempt is not None)

    def step(self, event: Event, random: Random) -> list[Effect]:
        """Take an event."""
        match event:
            case Established(addresses, dialled):
                return self._established(addresses, dialled)
            case SessionOver():
                return self._session_over(random)
            case Lost():
                return self._lost()
            case Silenced():
                self._connected = False
                self._undecided = True
                return self._decide(SILENT, random)
            case Wanted(addresses):
                return self._wanted(addresses)
            case Unwanted():
                return self._unwanted()
            case DialFailed(reason):
                return self._failed(reason, random)
            case DialRefused(code, text):
                return self._refused(code, text, random)
            case TimerFired(key):
                return self._fired(key, random)

    def _wanted(self, addresses: tuple[str, ...]) -> list[Effect]:
        new_addresses = addresses != self.addresses and bool(addresses)
        if new_addresses:
            self._move_to(addresses)
        first = not self.wanted
        self.wanted = True
        if self._connected or self._attempt is not None:
            return []
        if first and not self._undecided:
            return self._begin()
        # It moved: a pause that was meant for the old place is not for the new one.
        return self._new_round() if new_addresses else []

    def _move_to(self, addresses: tuple[str, ...]) -> None:
        worked = self.addresses[self._start] if self.addresses else None
        self.addresses = addresses
        self._start = addresses.index(worked) if worked in addresses else 0

    def _unwanted(self) -> list[Effect]:
        self.wanted = False
        # A session that waits for a connection still does so until the verdict.
        return [] if self._held else self._stop()

    def _lost(self) -> list[Effect]:
        self._connected = False
        return self._begin()

    def _begin(self) -> list[Effect]:
        """From here on the verdict is open."""
        self._undecided = True
        self._refused_rounds = 0
        self._pauses = 0
        self._cause = "unreachable"
        return [SetDeadline(_PATIENCE, self._parameters.patience), *self._new_round()]

    def _new_round(self) -> list[Effect]:
        self._position = 0
        self._all_refused = True
        self._full = False
        return [CancelTimer(_REDIAL), *self._dial()]

    def _dial(self) -> list[Effect]:
        if not self.addresses:
            # It has to dial us.
            return []
        parameters = self._parameters
        count = len(self.addresses)
        self._attempt = (self._start + self._position) % count
        self._position += 1
        return [Dial(self.addresses[self._attempt], max(parameters.dial_timeout / count, parameters.shortest_dial))]

    def _established(self, addresses: tuple[str, ...], dialled: bool) -> list[Effect]:
        if dialled and self._attempt is not None:
            self._start, self._attempt = self._attempt, None
        if addresses:
            self._move_to(addresses)
        self._connected = self._held = True
        self._full = False
        return self._stop()

    def _session_over(self, random: Random) -> list[Effect]:
        if not self._connected and not self._undecided:
            # It ended by our own verdict.
            return []
        effects = self._stop()
        self._connected = self._held = False
        self._pauses = 0
        # Not at once: it was the peer's wish, or it was not up to what it was sent.
        return effects + self._pause(random)

    def _stop(self) -> list[Effect]:
        """Do nothing more, nor decide: our own attempt is one too many, or nobody waits for it."""
        effects: list[Effect] = [CancelTimer(_PATIENCE), CancelTimer(_REDIAL)]
        if self._attempt is not None:
            self._attempt = None
            effects.append(CancelDial())
        self._undecided = False
        return effects

    def _failed(self, reason: str, random: Random) -> list[Effect]:
        self._attempt = None
        self._cause = "connection refused" if reason == REFUSED else reason
        self._all_refused = self._all_refused and reason == REFUSED
        if self._position < len(self.addresses):
            return self._dial()
        if not self._undecided:
            return self._pause(random)
        if not self._all_refused:
            return [SetTimer(_REDIAL, self._parameters.retry)]
        self._refused_rounds += 1
        if self._refused_rounds > 1:
            return self._decide(self._cause, random)
        return [SetTimer(_REDIAL, self._parameters.refused_again)]

    def _refused(self, code: int, text: str, random: Random) -> list[Effect]:
        self._attempt = None
        self._full = code == RefusalCode.FULL
        if not self._undecided:
            return self._pause(random)
        if code == RefusalCode.SIMULTANEOUS:
            # The peer holds on to its own attempt. If that comes to nothing it will say so no more when we dial.
            return [SetTimer(_REDIAL, self._parameters.give_way)]
        if code in _PASSING:
            self._cause = BUSY if code in NO_TIME else f"refused: {text}"
            return [SetTimer(_REDIAL, self._parameters.retry)]
        return self._decide(f"refused: {text}", random)

    def _decide(self, reason: str, random: Random) -> list[Effect]:
        self._undecided = self._held = False
        if not self.wanted:
            return [*self._stop(), Verdict(reason)]
        return [CancelTimer(_PATIENCE), Verdict(reason), *self._pause(random)]

    def _pause(self, random: Random) -> list[Effect]:
        if not self.wanted or self._attempt is not None:
            return []
        parameters = self._parameters
        # The exponent is bounded, as 2 ** 2000 is no float.
        pause = min(parameters.first_pause * 2 ** min(self._pauses, 30), parameters.longest_pause)
        if self._full:
            pause = parameters.full_pause
        self._pauses += 1
        return [SetTimer(_REDIAL, pause * random.uniform(0.75, 1.0))]

    def _fired(self, key: object, random: Random) -> list[Effect]:
        if key == _REDIAL:
            return self._new_round() if self._attempt is None and (self.wanted or self._undecided) else []
        if not self._undecided:
            return []
        was_busy = self._cause == BUSY and self._attempt is not None  # before this attempt, which is not answered
        return self._decide("timeout" if was_busy else self._cause, random)
