"""What processes do between the nodes of a simulation, and whether each promise about it was kept.

A checker for each: `Calls` end in their time with their own answer; `Ties` (monitors and links) fire once, and not
without a reason; `Broadcasts` come once to each who was there and stays; `Names` have one owner. Each is told what is
begun, and `broken` gives what is wrong once all is quiet, in words, an empty list when all is well.

Who was *disturbed*, by a cut, a pause or a leave, may have lost what hung on a session: a call its answer, a tie its
peer, once. Nobody else may. `CheckedCluster` says who was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from partisan_actors import (
    ActorError,
    CallError,
    Down,
    Exit,
    Global,
    Node,
    Pid,
    Remote,
    current_node,
    link,
    monitor,
    processes,
    receive,
    register,
    self_pid,
    send_exit,
    spawn_opt,
    trap_exits,
    whereis,
)
from partisan_actors.behaviours import GenServer, call
from partisan_actors.broadcast import BroadcastHandler, broadcast, register_handler
from partisan_actors.processes.identity import Life

__all__ = ["CALL_LIMIT", "Broadcasts", "Calls", "CheckedLife", "Echo", "Names", "Ties", "session_between"]

CALL_LIMIT = 8.0
"""Seconds that a call may take: a way is looked up for 7 s, and then it fails."""

_LATE = 0.5  # seconds that a call may end after its limit: clocks are counted in slices, and run apart


@dataclass(eq=False)
class CheckedLife:
    """One life of one node, as far as what was promised to it is concerned."""

    node: Node
    number: int
    alive: bool = True
    home: Life | None = None  # as its pids say it
    left: bool = False  # it is alone, and was told to be
    stay: int = 0  # how often it left so far: nobody owes it what was said while it was gone
    group: int = 0  # those of one number have joined each other
    paused: bool = False
    stood: bool = False  # it was paused since all was quiet last
    got: dict[int, int] = field(default_factory=dict)  # broadcasts, by number, and how often each came

    @property
    def name(self) -> str:
        """Its node's."""
        return self.node.name

    def __repr__(self) -> str:
        return f"{self.name} life {self.number}"


def session_between(node: Node, peer: str) -> int | None:
    """The number of the session that a node has with another, the same at both ends; None without one."""
    assert node._cluster is not None
    session = node._cluster.peers.session(peer)
    return session.number if session is not None else None


class Echo(GenServer):
    """Says where it is."""

    def handle_call(self, request: Any, caller: Any) -> Any:
        """The node, and what was asked."""
        return (current_node(), request)


# Calls


@dataclass(eq=False)
class _Call:
    caller: CheckedLife
    target: CheckedLife
    number: int
    disturbed: bool
    begun: float = 0.0
    ended: float | None = None
    outcome: str = "pending"
    paused: bool = False  # its caller was, perhaps before its process had begun


class Calls:
    """Every call ends within its limit: with its own answer, or, if it was disturbed, with an error."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._calls: list[_Call] = []
        self._number = 0
        self.answered = self.failed = 0

    def begin(self, caller: CheckedLife, target: CheckedLife, *, disturbed: bool) -> None:
        """Let a process of `caller` call the server of `target`."""
        self._number += 1
        entry = _Call(caller, target, self._number, disturbed)
        self._calls.append(entry)
        caller.node.spawn(self._call, entry)

    def _call(self, entry: _Call) -> None:
        entry.begun = self._now()
        try:
            answer = call(Remote("echo", entry.target.name), entry.number, CALL_LIMIT)
        except CallError as error:
            entry.outcome = f"{type(error).__name__}: {error}"
        else:
            entry.outcome = "answered" if answer == (entry.target.name, entry.number) else f"wrong: {answer!r}"
        entry.ended = self._now()

    def disturb(self, touched: Callable[[CheckedLife], bool], paused: CheckedLife | None = None) -> None:
        """What is said of those may be lost; the calls of one that is paused end late."""
        for entry in self._calls:
            if entry.ended is None and (touched(entry.caller) or touched(entry.target)):
                entry.disturbed = True
                entry.paused = entry.paused or entry.caller is paused

    def broken(self) -> list[str]:
        """What is wrong, of all calls that were begun since the last time; to be asked `CALL_LIMIT` after the last."""
        wrong = [f"call {c.number} of {c.caller} to {c.target}: {text}" for c in self._calls if (text := _problem(c))]
        self.answered += sum(entry.outcome == "answered" for entry in self._calls)
        self.failed += sum(entry.outcome not in ("answered", "pending") for entry in self._calls)
        self._calls.clear()
        return wrong


def _problem(entry: _Call) -> str:
    if not entry.caller.alive:
        return ""
    if entry.ended is None:
        return "has not ended"
    if not entry.paused and entry.ended - entry.begun > CALL_LIMIT + _LATE:
        return f"took {entry.ended - entry.begun:.1f} s"
    if entry.outcome.startswith("wrong"):
        return entry.outcome
    if entry.outcome != "answered" and not entry.disturbed and entry.target.alive:
        return f"was not disturbed, and ended with {entry.outcome}"
    return ""


# Monitors and links


@dataclass(eq=False)
class _Tie:
    watcher: CheckedLife
    target: CheckedLife
    kind: str  # "monitor", "link" or "spawn"
    disturbed: bool
    certain: bool = False  # it was there when all was quiet, so both ends know of it
    pid: Pid | None = None  # of the watched process
    tied: bool = False
    failed: bool = False  # it came to no tie
    ended: bool = False  # the watched process, or its node for the watcher
    fired: list[Any] = field(default_factory=list)  # at the watcher, the reasons
    back: list[Any] = field(default_factory=list)  # of a link, at the watched process

    def __repr__(self) -> str:
        return f"{self.kind} of {self.watcher} on {self.pid} of {self.target}"


class Ties:
    """Each fires exactly once when what it is on has ended, and never while that lives and nobody was disturbed."""

    def __init__(self, lives: Callable[[], Iterable[CheckedLife]]) -> None:
        self._lives = lives  # those that live now
        self._ties: list[_Tie] = []
        self.fired = 0

    def begin(self, watcher: CheckedLife, target: CheckedLife, kind: str, *, disturbed: bool) -> None:
        """Let a process of `watcher` tie itself to a new one of `target`.

        Args:
            kind: "monitor", "link", or "spawn": it spawns the other there, with a monitor. A node is asked by its
                name, so that it may be in its next life.
        """
        tie = _Tie(watcher, target, kind, disturbed)
        self._ties.append(tie)
        if kind != "spawn":
            tie.pid = target.node.spawn(_be_watched, tie.back)
        watcher.node.spawn(_watch, tie, self._spawned)

    def _spawned(self, tie: _Tie) -> None:
        assert tie.pid is not None
        if tie.pid.home != tie.target.home:
            later = [life for life in self._lives() if life.home == tie.pid.home]
            tie.target, tie.ended, tie.disturbed = later[0] if later else tie.target, not later, True

    def living(self) -> list[int]:
        """The ties, by their places, whose watched process can be killed."""
        return [
            place
            for place, tie in enumerate(self._ties)
            if tie.pid is not None and not tie.ended and tie.target.alive and not tie.target.paused
        ]

    def kill(self, place: int) -> None:
        """Kill the watched process of that tie."""
        tie = self._ties[place]
        tie.target.node.run(send_exit, tie.pid, "kill")
        tie.ended = True

    def disturb(self, touched: Callable[[CheckedLife], bool]) -> None:
        """Those may find each other down."""
        for tie in self._ties:
            if touched(tie.watcher) or touched(tie.target):
                tie.disturbed = True

    def gone(self, life: CheckedLife) -> None:
        """It has crashed or left: whoever was tied to one of its processes is told."""
        for tie in self._ties:
            if tie.target is life and life.left and life.alive:
                # It lives: a tie that waits for a session with it may come to it when it is back.
                asked = tie.watcher.alive and session_between(tie.watcher.node, life.name) is not None
                tie.ended = tie.ended or (tie.tied and asked)
            elif tie.target is life or (tie.watcher is life and life.left):
                tie.ended = tie.ended or not life.left or tie.tied

    def broken(self) -> list[str]:
        """What is wrong. Those that are over are forgotten; the others were not lost, so nothing excuses them now."""
        wrong = [f"{tie}: {text}" for tie in self._ties if (text := _wrong_with(tie))]
        over = [tie for tie in self._ties if tie.failed or tie.fired or not tie.watcher.alive]
        self.fired += sum(bool(tie.fired) for tie in over)
        self._ties = [tie for tie in self._ties if tie not in over]
        for tie in self._ties:
            tie.disturbed, tie.certain = False, True
        return wrong


def _wrong_with(tie: _Tie) -> str:
    fired, back = len(tie.fired), len(tie.back)
    watched = tie.watcher.alive and not tie.failed
    if fired > 1 or back > 1:
        return f"fired {tie.fired} and {tie.back}"
    if tie.failed and not tie.disturbed and not tie.ended and tie.watcher.alive:
        return "could not be made"
    if watched and not tie.tied:
        return "has come to nothing, without a word"
    if watched and tie.ended and not fired:
        return "has not fired"
    if watched and not tie.ended and not tie.disturbed and (fired or back):
        return f"fired {tie.fired} and {tie.back}, and its process lives"
    if tie.kind == "link" and tie.certain and tie.target.alive and not tie.ended and back != (fired or not watched):
        return f"is broken at one end: {tie.fired} and {tie.back}"
    return ""


def _be_watched(back: list[Any]) -> None:
    trap_exits()
    while True:
        back.append(receive(Exit).reason)


def _be_watched_from_afar() -> None:
    receive(Global)


def _watch(tie: _Tie, spawned: Callable[[_Tie], None]) -> None:
    trap_exits()
    ref = None
    try:
        if tie.kind == "spawn":
            tie.pid, ref = spawn_opt(_be_watched_from_afar, node=tie.target.name, monitor=True)
            spawned(tie)
        elif tie.kind == "link":
            assert tie.pid is not None
            link(tie.pid)
        else:
            ref = monitor(tie.pid)
    except ActorError:
        tie.failed = True
        return
    tie.tied = True
    while True:
        told = receive((Down, Exit))
        right = told.sender == tie.pid and (tie.kind == "link" or told.ref == ref)
        tie.fired.append(told.reason if right else told)


# Broadcasts


class Listener(BroadcastHandler):
    """Counts what comes to a life."""

    def __init__(self, life: CheckedLife, gaps: list[str]) -> None:
        self._life = life
        self._gaps = gaps

    def handle(self, message: Any) -> None:
        """Take it in."""
        self._life.got[message] = self._life.got.get(message, 0) + 1

    def on_gap(self, root: Any, first: int, last: int) -> None:
        """Something is lost."""
        self._gaps.append(f"{self._life} was told that {first} to {last} of {root.node} are lost")


@dataclass(eq=False)
class _Broadcast:
    root: CheckedLife
    number: int
    sent: bool = False
    owed: list[tuple[CheckedLife, int]] = field(default_factory=list)  # and the stay that it is owed in


class Broadcasts:
    """Each comes once to each who was a member when it was sent, and stays; and to nobody twice."""

    def __init__(self, lives: Callable[[], Iterable[CheckedLife]]) -> None:
        self._lives = lives  # those that live now
        self._sent: list[_Broadcast] = []
        self._number = 0
        self._gaps: list[str] = []
        self.delivered = 0

    def listen(self, life: CheckedLife) -> None:
        """Let it take in what comes; waits."""
        life.node.run(register_handler, Listener(life, self._gaps))

    def begin(self, root: CheckedLife) -> None:
        """Let a process of it broadcast."""
        self._number += 1
        entry = _Broadcast(root, self._number)
        self._sent.append(entry)
        root.node.spawn(self._broadcast, entry)

    def _broadcast(self, entry: _Broadcast) -> None:
        # Here, where it is sent: its process may have waited, while others joined.
        entry.sent = True
        entry.owed = [(life, life.stay) for life in self._lives() if life.group == entry.root.group]
        broadcast(entry.number, Listener)

    def parted(self, apart: Callable[[CheckedLife, CheckedLife], bool]) -> None:
        """These were not of one cluster after all: nobody who knows of both lives any more."""
        for entry in self._sent:
            entry.owed = [(life, stay) for life, stay in entry.owed if not apart(entry.root, life)]

    def missing(self) -> list[str]:
        """Who lacks what."""
        found = []
        for entry in self._sent:
            owed = [life for life, stay in entry.owed if life.alive and not life.left and life.stay == stay]
            # Of one that died nobody may have it; and who left may not count on what it sent last.
            known = entry.root in owed or any(entry.number in life.got for life in owed)
            if entry.sent and known:
                lacking = [life for life in owed if entry.number not in life.got]
                found += [f"{life} lacks {entry.number} of {entry.root}" for life in lacking]
        return found

    def broken(self) -> list[str]:
        """What is wrong; then all of it is forgotten, but for what came, which must not come again."""
        wrong = [*self.missing(), *self._gaps]
        for life in self._lives():
            wrong += [f"{life} got {number} {count} times" for number, count in life.got.items() if count > 1]
        self.delivered += sum(entry.number in life.got for entry in self._sent for life, _ in entry.owed)
        self._sent.clear()
        self._gaps.clear()
        return wrong


# Global names


class Names:
    """After all that happened to names, all nodes agree who has each, and that is who believes to have it."""

    def __init__(self) -> None:
        self._holders: dict[str, list[tuple[CheckedLife, Pid]]] = {}

    def take(self, life: CheckedLife, name: str) -> None:
        """Let a new process of it take the name, if it can."""
        self._holders.setdefault(name, [])
        life.node.spawn(self._hold, life, name)

    def _hold(self, life: CheckedLife, name: str) -> None:
        try:
            register(Global(name), self_pid())
        except ActorError:
            return
        self._holders[name].append((life, self_pid()))
        receive(Global)  # until it is told of another owner, which ends it

    def broken(self, lives: list[CheckedLife]) -> list[str]:
        """What is wrong among these, who are one cluster."""
        wrong = []
        running = {life: set(life.node.run(processes)) for life in lives}
        for name, holders in self._holders.items():
            owners = [pid for life, pid in holders if life in running and pid in running[life]]
            tables = {life: life.node.run(whereis, Global(name)) for life in lives}
            owner = owners[0] if owners else None
            if len(owners) > 1:
                wrong.append(f"{name} has several owners: {owners}")
            elif differing := {life: pid for life, pid in tables.items() if pid != owner}:
                wrong.append(f"{name} is of {owner}, and not for {differing}")
        return wrong
