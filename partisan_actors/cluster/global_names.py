"""Global names: which process of the cluster goes by a name. One machine on each node; every node holds all names.

Promised, while the members reach each other:

- of two processes that want a free name at once exactly one gets it, and the other is told who did;
- a name that is registered is known on every member before its owner is told so; it is free again when its owner
  unregisters it or ends, or its node goes down;
- NameTaken is the holder's own word, never that of a copy which may be behind; so a name can be had as soon as its
  former owner has given it up, whatever has been heard of that elsewhere;
- every Register is answered once, within `request_timeout`, and one that failed leaves nothing behind.

Where two owners meet (a heal, two clusters joined) the older registration stays, on every node: the other's node
gives it up and is told so by Conflict. While members come and go that rule is also what is left of the first promise.

There is no coordinator. An owner's node is the only writer of its names, everybody else has a copy that its messages
change in their order, and a claim is decided between the nodes that want the name or have it:

    ASKING     the copy says that somebody has it: that node is asked first, which is cheap and mostly the end of it
    CLAIMING   every member is asked. One that has it says so; one that wants it too gives way to the older claim, or
               says so; all others say that they do not mind
    ASSIGNING  nobody minds: everybody writes it down

Two claims cannot both get through CLAIMING, as each needs the other's node to agree; and the oldest one in it only
gives way to one that is further on, so somebody always gets through. Two rounds to everybody, as with a coordinator,
but nothing to hand over when one goes down. "Older" is (stamp, node); the clocks decide who wins, never whether two do.

    ("claim", id, name, serial, stamp)    -> ("clear", id) or ("taken", id, (node, bits, serial))
    ("assign", id, name, serial, stamp)   -> ("stored", id)
    ("names", ((name, serial, stamp), ...))   to a new member: all that is registered here
    ("released", name)                        to everybody
    ("unregister", name)                      to the owner's node: somebody elsewhere wants the name free

Races absorbed here are told where they are. Expected of the driver: messages of one member arrive in order, between
its MemberUp and its MemberDown on either side; what was under way is lost with the session. Pure.

Its events and effects are in `name_events`, the table is `name_table`'s.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from random import Random

from partisan_actors.cluster.name_events import (
    Broadcast,
    Conflict,
    Effect,
    Event,
    Failed,
    Meet,
    MemberDown,
    MemberUp,
    Message,
    ProcessDown,
    Refused,
    Register,
    Registered,
    Send,
    Unregister,
)
from partisan_actors.cluster.name_table import Entry, Holder, NameTable
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired

__all__ = [
    "Broadcast",
    "Conflict",
    "Effect",
    "Event",
    "Failed",
    "GlobalNames",
    "GlobalNamesParameters",
    "Holder",
    "Meet",
    "MemberDown",
    "MemberUp",
    "Message",
    "ProcessDown",
    "Refused",
    "Register",
    "Registered",
    "Send",
    "Unregister",
]

_MAX_U64 = (1 << 64) - 1
_GONE = 1_000


@dataclass(frozen=True, slots=True)
class GlobalNamesParameters:
    """Raises ValueError, naming the one that makes no sense."""

    request_timeout: float = 5.0
    """Seconds that a registration may take; as long as it takes to find a silent member out."""

    max_names: int = 100_000
    """Registered by one node."""

    max_length: int = 255
    """Bytes of a name, as UTF-8."""

    batch: int = 1_000
    """Names in one message to a new member."""

    def __post_init__(self) -> None:
        for name in ("request_timeout", "max_names", "max_length", "batch"):
            if getattr(self, name) <= 0:
                raise ValueError(f"global names: {name} is {getattr(self, name)}, and has to be above 0")


class _Phase(enum.Enum):
    QUEUED = "queued"  # behind another request of this node for the same name
    ASKING = "asking"
    CLAIMING = "claiming"
    ASSIGNING = "assigning"


_WANTING = (_Phase.ASKING, _Phase.CLAIMING)


class _Request:
    """A registration under way on this node."""

    __slots__ = ("claim", "entry", "name", "number", "phase", "waiting")

    def __init__(self, number: int, name: str, entry: Entry) -> None:
        self.number = number
        self.name = name
        self.entry = entry  # as it will be
        self.claim = (number, name, entry.serial, entry.stamp)
        self.phase = _Phase.QUEUED
        self.waiting: dict[str, None] = {}  # members whose answer is out


class GlobalNames:
    """The global names, as one life of one node has them; see the module."""

    def __init__(self, node: str, bits: int, parameters: GlobalNamesParameters | None = None) -> None:
        self.parameters = parameters if parameters is not None else GlobalNamesParameters()
        self.refused: dict[str, int] = {}  # what was not taken in, by reason
        self._node = node
        self._bits = bits
        self._members: dict[str, int] = {}  # bits by node, this one not included
        self._gone: dict[str, int] = {}  # bits of the life that went down last, by node
        self._dropped: dict[str, int] = {}  # the same of those that had names, until they are back
        self._table = NameTable(node)  # own entries from ASSIGNING on
        self._requests: dict[int, _Request] = {}
        self._queues: dict[str, list[_Request]] = {}  # the same by name, the first one at work
        self._ready: list[str] = []  # names whose next request can begin
        self._effects: list[Effect] = []

    # What others ask: direct methods, as they are on a message's way.

    def has_member(self, node: str, bits: int) -> bool:
        """Whether this life is a member."""
        return self._members.get(node) == bits

    def whereis(self, name: str) -> Holder | None:
        """Who has the name, as far as is known here."""
        entry = self._table.oldest(name)
        return entry.holder if entry is not None else None

    def names(self) -> list[str]:
        """All names that are taken, sorted."""
        return self._table.names()

    def step(self, event: Event, now: float, random: Random) -> list[Effect]:
        """Take one event in; what is to be done, in order. Raises ValueError for a `request_id` that is in use."""
        effects = self._effects = []
        match event:
            case Message(node, bits, payload):
                self._received(node, bits, payload)
            case Register():
                self._register(event)
            case Unregister(name, serial):
                self._unregister(name, serial)
            case ProcessDown(serial):
                self._process_down(serial)
            case MemberUp(node, bits):
                self._member_up(node, bits)
            case MemberDown(node, bits):
                self._member_down(node, bits)
            case TimerFired(("request", int(number))) if number in self._requests:
                self._finish(self._requests[number], "timeout")
        while self._ready:
            queue = self._queues.get(self._ready.pop(0))
            if queue and queue[0].phase is _Phase.QUEUED:
                self._begin(queue[0])
        return effects

    # Requests of this node

    def _register(self, event: Register) -> None:
        number, name, serial, stamp = event
        if number in self._requests:
            raise ValueError(f"request {number} for {self._requests[number].name!r} is not answered yet")
        if not self._is_name(name):
            self._effects.append(Failed(number, "badarg", None))
            return
        request = _Request(number, name, Entry(stamp, self._node, self._bits, serial))
        self._requests[number] = request
        self._queues.setdefault(name, []).append(request)
        self._ready.append(name)
        self._effects.append(SetTimer(("request", number), self.parameters.request_timeout))

    def _begin(self, request: _Request) -> None:
        own = self._table.own(request.name)
        holder = self._table.oldest(request.name)
        if own is not None and own.serial == request.entry.serial:
            self._finish(request)
        elif own is not None:
            self._finish(request, "taken", own.holder)
        elif holder is not None:
            request.phase = _Phase.ASKING
            request.waiting = {holder.node: None}
            self._effects.append(Send(holder.node, ("claim", *request.claim)))
        else:
            self._claim(request)

    def _claim(self, request: _Request) -> None:
        request.phase = _Phase.CLAIMING
        self._ask_everybody(request, "claim")

    def _assign(self, request: _Request) -> None:
        if self._table.count(self._node) >= self.parameters.max_names:
            # Others would not take it in.
            self._finish(request, "system_limit")
            return
        request.phase = _Phase.ASSIGNING
        self._table.put(request.name, request.entry)
        self._ask_everybody(request, "assign")

    def _ask_everybody(self, request: _Request, question: str) -> None:
        request.waiting = dict.fromkeys(self._members)
        if self._members:
            self._effects.append(Broadcast((question, *request.claim)))
        self._advance(request)

    def _advance(self, request: _Request) -> None:
        if request.waiting:
            return
        match request.phase:
            case _Phase.ASKING:
                self._claim(request)
            case _Phase.CLAIMING:
                self._assign(request)
            case _Phase.ASSIGNING:
                self._finish(request)

    def _finish(self, request: _Request, failure: str | None = None, holder: Holder | None = None) -> None:
        number, name = request.number, request.name
        del self._requests[number]
        queue = self._queues[name]
        queue.remove(request)
        if queue:
            self._ready.append(name)
        else:
            del self._queues[name]
        self._effects.append(CancelTimer(("request", number)))
        if failure is None:
            self._effects.append(Registered(number))
            return
        if request.phase is _Phase.ASSIGNING:
            # Others have written it down already.
            self._release(name)
        self._effects.append(Failed(number, failure, holder))

    def _unregister(self, name: str, serial: int | None) -> None:
        for request in self._queues.get(name, ())[:]:
            if request.entry.serial == serial:
                self._finish(request, "unregistered")
        entry = self._table.oldest(name)
        if entry is None or self._assigning(name) is not None:
            return
        if entry.node == self._node:
            if serial in (None, entry.serial):
                self._release(name)
        elif serial is None:
            # Not to be seen here any more, though its owner has yet to tell. It cannot hit what is registered there
            # meanwhile: that needs our word first, which comes behind. And if it is lost, so are the owner's names.
            self._table.remove(name, entry.node)
            self._effects.append(Send(entry.node, ("unregister", name)))

    def _process_down(self, serial: int) -> None:
        for request in list(self._requests.values()):
            if request.entry.serial == serial:
                self._finish(request, "noproc")
        for name in self._table.of_serial(serial):
            self._release(name)

    # Members

    def _member_up(self, node: str, bits: int) -> None:
        known = self._members.get(node)
        if known == bits:
            return
        if known is not None:
            self._member_down(node, known)
        self._members[node] = bits
        self._gone.pop(node, None)
        own = [(name, entry.serial, entry.stamp) for name, entry in self._table.of_node(self._node).items()]
        batch = self.parameters.batch
        for start in range(0, len(own), batch):
            self._effects.append(Send(node, ("names", tuple(own[start : start + batch]))))
        if self._dropped.pop(node, None) == bits:
            # It may not know that it was down for us, and has to tell its names anew: a new session says so.
            self._effects.append(Meet(node))
        # A node that comes while a name is assigned is asked like everybody else, and waited for.
        for request in self._requests.values():
            if request.phase in (_Phase.CLAIMING, _Phase.ASSIGNING):
                question = "claim" if request.phase is _Phase.CLAIMING else "assign"
                request.waiting[node] = None
                self._effects.append(Send(node, (question, *request.claim)))

    def _member_down(self, node: str, bits: int) -> None:
        if self._members.get(node) != bits:
            return
        del self._members[node]
        names = self._table.of_node(node)
        for gone in (self._gone, self._dropped) if names else (self._gone,):
            gone[node] = bits
            if len(gone) > _GONE:
                del gone[next(iter(gone))]
        for name in names:
            self._table.remove(name, node)
        for request in list(self._requests.values()):
            self._answered(request, node)

    def _answered(self, request: _Request, node: str) -> None:
        if node in request.waiting:
            del request.waiting[node]
            self._advance(request)

    # Messages

    def _received(self, node: str, bits: int, payload: object) -> None:
        if self._members.get(node) != bits:
            # Of an earlier life, or sent before it saw that its session was over.
            self._count("not a member")
            return
        # A bool would pass for a number.
        match payload if isinstance(payload, tuple) and bool not in map(type, payload) else ():
            case ("claim", int(number), str(name), int(serial), int(stamp)) if self._is_entry(
                name, number, serial, stamp
            ):
                self._claimed(number, name, Entry(stamp, node, bits, serial))
            case ("clear", int(number)):
                self._cleared(node, number)
            case ("taken", int(number), (str(owner), int(owner_bits), int(serial))) if self._is_entry(
                owner, owner_bits, serial
            ):
                self._taken(node, number, Holder(owner, owner_bits, serial))
            case ("assign", int(number), str(name), int(serial), int(stamp)) if self._is_entry(
                name, number, serial, stamp
            ):
                if self._store(name, Entry(stamp, node, bits, serial)):
                    self._effects.append(Send(node, ("stored", number)))
            case ("stored", int(number)):
                request = self._requests.get(number)
                if request is not None and request.phase is _Phase.ASSIGNING:
                    self._answered(request, node)
            case ("names", tuple(entries)):
                self._take_names(node, bits, entries)
            case ("released", str(name)):
                self._table.remove(name, node)
            case ("unregister", str(name)):
                self._asked_to_unregister(name)
            case _:
                self._refuse(node, "payload")

    def _claimed(self, number: int, name: str, claim: Entry) -> None:
        """Another node wants a name."""
        # A holder on a third node is named, too, as the other may not know of it. If it does know that node it asks it
        # as well, and what is said here counts for nothing.
        taken = self._table.elsewhere(name, claim.node)
        rival = self._queues.get(name, [None])[0]
        if rival is not None and rival.phase in _WANTING:
            if rival.entry < claim:
                taken = rival.entry
            else:
                self._finish(rival, "taken", claim.holder)
        answer = ("clear", number) if taken is None else ("taken", number, tuple(taken.holder))
        self._effects.append(Send(claim.node, answer))

    def _cleared(self, node: str, number: int) -> None:
        request = self._requests.get(number)
        if request is not None and request.phase in _WANTING:
            self._answered(request, node)

    def _taken(self, node: str, number: int, holder: Holder) -> None:
        request = self._requests.get(number)
        if request is None or request.phase not in _WANTING or node not in request.waiting:
            return
        if self._is_trusted(node, holder):
            self._finish(request, "taken", holder)
        else:
            self._answered(request, node)

    def _is_trusted(self, node: str, holder: Holder) -> bool:
        """Whether what `node` says of a holder counts."""
        if holder.node == node:
            return True
        if holder.node == self._node or holder.node in self._members:
            # It has a copy, and the holder's node itself is asked as well.
            return False
        # It may not have seen yet what we have: that the holder's node is down.
        return self._gone.get(holder.node) != holder.bits

    def _take_names(self, node: str, bits: int, entries: tuple[object, ...]) -> None:
        for entry in entries:
            match entry if isinstance(entry, tuple) else ():
                case (str(name), int(serial), int(stamp)) if self._is_entry(name, serial, stamp):
                    self._store(name, Entry(stamp, node, bits, serial))
                case _:
                    self._refuse(node, "entry")

    def _asked_to_unregister(self, name: str) -> None:
        request = self._assigning(name)
        if request is not None:
            self._finish(request, "unregistered")
        elif self._table.own(name) is not None:
            self._release(name)

    # The table

    def _store(self, name: str, entry: Entry) -> bool:
        """Write down what another node has registered, and see whether it meets a registration of this one."""
        if not self._table.has(name, entry.node) and self._table.count(entry.node) >= self.parameters.max_names:
            self._refuse(entry.node, "too many names")
            return False
        self._table.put(name, entry)
        own = self._table.own(name)
        if own is None or own < entry:
            return True
        request = self._assigning(name)
        if request is not None:
            self._finish(request, "taken", entry.holder)
        else:
            self._release(name)
            self._effects.append(Conflict(name, own.serial, entry.holder))
        return True

    def _release(self, name: str) -> None:
        self._table.remove(name, self._node)
        if self._members:
            self._effects.append(Broadcast(("released", name)))

    def _assigning(self, name: str) -> _Request | None:
        """The request that is about to register the name for a process of this node."""
        queue = self._queues.get(name)
        return queue[0] if queue and queue[0].phase is _Phase.ASSIGNING else None

    # What is taken in

    def _is_name(self, name: str) -> bool:
        if not 0 < len(name) <= self.parameters.max_length:
            return False
        try:
            return len(name.encode()) <= self.parameters.max_length
        except UnicodeEncodeError:
            return False  # a lone surrogate, which cannot be sent

    def _is_entry(self, name: str, *numbers: int) -> bool:
        return self._is_name(name) and all(type(number) is int and 0 <= number <= _MAX_U64 for number in numbers)

    def _count(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _refuse(self, node: str, reason: str) -> None:
        self._count(reason)
        self._effects.append(Refused(node, reason))
