"""Drives the machine of global names for the processes of this node.

A registration waits in the process that asks for it; everything else is events and effects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from partisan_actors.cluster import global_names as machine
from partisan_actors.cluster.advice import advice_on
from partisan_actors.cluster.global_names import GlobalNames, Holder
from partisan_actors.distribution.bad_input import BadInputLog
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.errors import ActorError, NameTaken
from partisan_actors.processes.identity import Global, Life, Pid
from partisan_actors.processes.process import Process
from partisan_actors.processes.runtime import Runtime, current_process

__all__ = ["Naming"]

_FAILURES = {
    "noproc": "it ended meanwhile",
    "unregistered": "the name was unregistered meanwhile",
    "timeout": "the cluster did not decide in time",
    "badarg": "a global name has 1 to 255 bytes",
    "system_limit": "this node has registered too many names",
}


_TRIES = 3
_SETTLED_WITHIN = 0.25  # seconds; two rounds to everybody, from when a claim was lost


class _Registration:
    """A registration that a process waits for."""

    __slots__ = ("done", "failure", "holder", "process")

    def __init__(self, process: Process) -> None:
        self.process = process
        self.done = False
        self.failure: str | None = None
        self.holder: Any = None


class _Answer:
    """A node's word that a process waits for."""

    __slots__ = ("_process", "done", "node")

    def __init__(self, process: Process, node: str) -> None:
        self._process = process
        self.node = node
        self.done = False

    def arrived(self) -> None:
        """It came, or will never."""
        self.done = True
        self._process.wake()


class _OwnerWatch:
    """Tells the machine that a process of this node, which has global names, has ended."""

    __slots__ = ("_naming", "_serial")

    def __init__(self, naming: Naming, serial: int) -> None:
        self._naming = naming
        self._serial = serial

    def down(self, reason: Any) -> None:
        """It has ended."""
        self._naming.owner_ended(self._serial)


MOST_EARLY = 1_000
"""Messages of a node that is no member yet."""


class Naming:
    """Global names, as the processes of this node use them.

    Args:
        runtime: the processes.
        names: the machine.
        send: sends a payload to a node.
        broadcast: sends a payload to all nodes with a session.
        meet: sees that there is a session with a node.
        life_of: the life of a node by name and bits, for pids.
    """

    def __init__(
        self,
        runtime: Runtime,
        names: GlobalNames,
        send: Callable[[str, Any], None],
        broadcast: Callable[[Any], None],
        meet: Callable[[str], None],
        life_of: Callable[[str, int], Life],
    ) -> None:
        self._runtime = runtime
        self._names = names
        self._send = send
        self._broadcast = broadcast
        self._meet = meet
        self._life_of = life_of
        self._waiting: dict[int, _Registration] = {}
        self._losers: dict[Process, str] = {}  # those that want to know who got the name
        self._answers: dict[int, _Answer] = {}
        self._early: dict[str, list[tuple[int, Any]]] = {}  # what came from nodes before they were members
        self._watched: dict[int, _OwnerWatch] = {}
        self._timers = KeyedTimers(runtime.clock, self.step)
        self._bad_input = BadInputLog(runtime.home.node, runtime.clock)

    # For processes.

    def register(self, process: Process, name: str, pid: Pid) -> None:
        """Register; waits until every connected node knows it, or it has failed.

        Raises:
            NameTaken: another process has the name.
            ActorError: the process is not alive, is of another node, or the cluster did not decide in time.
        """
        owner = self._runtime.process(pid)
        if owner is None:
            where = "is not alive" if pid.home == self._runtime.home else "lives on another node: register it there"
            raise ActorError(f"cannot register {pid} as {Global(name)}: it {where}")
        self._watch(owner)
        for _ in range(_TRIES):
            registration = self._try(process, name, pid)
            if registration.failure is None:
                return
            if registration.failure != "taken":
                raise ActorError(f"could not register {pid} as {Global(name)}: {_FAILURES[registration.failure]}")
            # It may have gone to one that only wants it, and has not got it yet, nor perhaps ever will.
            holder = self._await_holder(process, name)
            if holder is not None:
                break
        else:
            holder = self._pid_of(registration.holder)
        raise NameTaken(f"{Global(name)} is registered to {holder}", holder)

    def _try(self, process: Process, name: str, pid: Pid) -> _Registration:
        request_id = self._runtime.new_serial()
        registration = self._waiting[request_id] = _Registration(process)
        try:
            self.step(machine.Register(request_id, name, pid.serial, int(self._runtime.clock.wall() * 1e9)))
            while not registration.done:
                process.wait()
        finally:
            del self._waiting[request_id]
            if not registration.done:
                self.step(machine.Unregister(name, pid.serial))
        return registration

    def _await_holder(self, process: Process, name: str) -> Pid | None:
        """Who has the name, as soon as this node knows; None if it does not come to know that."""
        clock = self._runtime.clock
        until = clock.now() + _SETTLED_WITHIN
        holder = self._copy(name)
        try:
            while holder is None and clock.now() < until:
                self._losers[process] = name
                process.wait(until)
                holder = self._copy(name)
        finally:
            self._losers.pop(process, None)
        return holder

    def unregister(self, name: str) -> None:
        """Give a name up, whoever has it."""
        self.step(machine.Unregister(name))

    def whereis(self, name: str, consistent: bool) -> Pid | None:
        """Who has a name: by this node's copy, or, `consistent`, by the word of the node whose process has it.

        A name is known everywhere before its owner is told that it has it, so a copy can only be
        behind in what was given up. The owner's node says so in order: after an answer from it, to
        whatever question, the copy is as that node was when it answered.
        """
        pid = self._copy(name)
        while consistent and pid is not None and pid.home != self._runtime.home:
            self._await_answer(pid.node)
            before, pid = pid, self._copy(name)
            if pid == before:
                break
        return pid

    def _copy(self, name: str) -> Pid | None:
        found = self._names.whereis(name)
        return None if found is None else self._pid_of(found)

    def _await_answer(self, node: str) -> None:
        process = current_process()
        number = self._runtime.new_serial()
        answer = self._answers[number] = _Answer(process, node)
        try:
            self._send(node, ("ask", number))
            while not answer.done:
                process.wait()
        finally:
            del self._answers[number]

    def _pid_of(self, holder: Holder) -> Pid:
        node, bits, serial = holder
        home = self._runtime.home
        return Pid(home if (node, bits) == (home.node, home.bits) else self._life_of(node, bits), serial)

    @property
    def refused(self) -> dict[str, int]:
        """What others sent about names that was not taken in, by reason."""
        return dict(self._names.refused)

    def all(self) -> list[str]:
        """The names that are taken."""
        return self._names.names()

    # For the cluster.

    def received(self, node: str, bits: int, payload: Any) -> None:
        """Something came for the names."""
        match payload:
            case ("ask", int(number)):
                self._send(node, ("told", number))
            case ("told", int(number)):
                answer = self._answers.get(number)
                if answer is not None and answer.node == node:
                    answer.arrived()
            case _ if self._names.has_member(node, bits):
                self.step(machine.Message(node, bits, payload))
            case _:
                # It knows us as a member, and we hear of it a moment later: what is lost now would not be told again.
                early = self._early.setdefault(node, [])
                if len(early) < MOST_EARLY:
                    early.append((bits, payload))

    def member_up(self, node: str, bits: int) -> None:
        """There is a member: it is told the names of this node, and may have told its own already."""
        self.step(machine.MemberUp(node, bits))
        for early_bits, payload in self._early.pop(node, ()):
            self.step(machine.Message(node, early_bits, payload))

    def session_ended(self, node: str) -> None:
        """What came over the session before this node knew of a member is as good as lost."""
        self._early.pop(node, None)

    def member_down(self, node: str, bits: int) -> None:
        """A member is gone: its names are free, and it will answer nothing."""
        self.step(machine.MemberDown(node, bits))
        for answer in self._answers.values():
            if answer.node == node:
                answer.arrived()

    def step(self, event: Any) -> None:
        """Give the machine an event, and do what it wants."""
        clock = self._runtime.clock
        for effect in self._names.step(event, clock.now(), clock.random):
            self._perform(effect)
        for process, name in self._losers.items():
            if self._names.whereis(name) is not None:
                process.wake()

    def owner_ended(self, serial: int) -> None:
        """A process with global names has ended."""
        self._watched.pop(serial, None)
        self.step(machine.ProcessDown(serial))

    def close(self) -> None:
        """Stop all timers."""
        self._timers.close()

    def _watch(self, owner: Process) -> None:
        serial = owner.pid.serial
        if serial not in self._watched:
            watch = self._watched[serial] = _OwnerWatch(self, serial)
            owner.add_watch(watch)

    def _perform(self, effect: Any) -> None:
        match effect:
            case SetTimer(key, seconds):
                self._timers.set(key, seconds)
            case CancelTimer(key):
                self._timers.cancel(key)
            case machine.Send(node, payload):
                self._send(node, payload)
            case machine.Broadcast(payload):
                self._broadcast(payload)
            case machine.Meet(node):
                self._meet(node)
            case machine.Registered(request_id):
                self._finish(request_id, None, None)
            case machine.Failed(request_id, reason, holder):
                self._finish(request_id, reason, holder)
            case machine.Conflict(name, serial, winner):
                self._lost(name, serial, winner)
            case machine.Refused(node, reason):
                self._bad_input.tell("names_refused", node, reason, advice=advice_on("names_refused", reason))

    def _finish(self, request_id: int, failure: str | None, holder: Any) -> None:
        registration = self._waiting.get(request_id)
        if registration is None:
            return
        registration.done = True
        registration.failure = failure
        registration.holder = holder
        registration.process.wake()

    def _lost(self, name: str, serial: int, winner: Holder) -> None:
        """Two owners met, and ours is the younger: its process is told by an exit signal."""
        process = self._runtime.processes.get(serial)
        if process is not None:
            pid = self._pid_of(winner)
            process.signal_exit(pid, ("name_conflict", name, pid))
