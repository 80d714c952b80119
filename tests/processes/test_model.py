"""Links, monitors, exits, traps and names of real processes, beside a model of Erlang's rules that is naive on purpose.

The processes are of the three kinds that end in different ways: one waits in a `receive`, one in a
gevent queue, one is idle and takes turns. Each does what it is told (a `Command`), in its own process.
After each step everything is let come to rest, and the two worlds are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gevent.queue import Queue
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from structlog.testing import capture_logs

from partisan_actors.errors import ActorError, NameTaken, ProcessExit
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life, Pid, Ref
from partisan_actors.processes.info import info_of
from partisan_actors.processes.messages import Down, Exit
from partisan_actors.processes.primitives import (
    demonitor,
    link,
    monitor,
    receive,
    register,
    send,
    send_exit,
    spawn_opt,
    trap_exits,
    unlink,
    unregister,
    whereis,
)
from partisan_actors.processes.process import NOT_EXITING, Process
from partisan_actors.processes.runtime import Runtime
from tests.processes.probing import TurnProcess, settle

MOST = 9
KINDS = ("receives", "foreign", "turns")
NAMES = ("red", "green")
REASONS = ("normal", "shutdown", "killed", "boom", ("shutdown", 1))


# The model: Erlang's rules, one signal after the other.


@dataclass
class Member:
    """A live process of the model."""

    links: set[Pid] = field(default_factory=set)
    monitors: dict[Ref, tuple[Pid, Any]] = field(default_factory=dict)
    mailbox: list[Any] = field(default_factory=list)
    trapping: bool = False


class Model:
    """Every process by its pid, and the names."""

    def __init__(self) -> None:
        self.alive: dict[Pid, Member] = {}
        self.names: dict[str, Pid] = {}

    def exit_signal(self, dest: Pid, sender: Pid, reason: Any) -> None:
        """What `exit(Dest, Reason)` does."""
        if reason == "kill":
            self.die(dest, "killed")
        else:
            self._signal(dest, sender, reason, ignored=reason == "normal" and sender != dest)

    def _signal(self, dest: Pid, sender: Pid, reason: Any, ignored: bool) -> None:
        member = self.alive.get(dest)
        if member is None:
            return
        if member.trapping:
            member.mailbox.append(Exit(sender, reason))
        elif not ignored:
            self.die(dest, reason)

    def link_signal(self, dest: Pid, sender: Pid, reason: Any) -> None:
        self._signal(dest, sender, reason, ignored=reason == "normal")

    def die(self, pid: Pid, reason: Any) -> None:
        member = self.alive.pop(pid, None)
        if member is None:
            return
        self.names = {name: holder for name, holder in self.names.items() if holder != pid}
        for watcher in list(self.alive.values()):
            for ref, (watched, item) in list(watcher.monitors.items()):
                if watched == pid:
                    del watcher.monitors[ref]
                    watcher.mailbox.append(Down(ref, item, reason))
        for other in member.links:
            self.alive[other].links.remove(pid)
        for other in member.links:
            self.link_signal(other, pid, reason)

    def link(self, pid: Pid, other: Pid) -> None:
        if other not in self.alive:
            self.link_signal(pid, other, "noproc")
        elif other != pid:
            self.alive[pid].links.add(other)
            self.alive[other].links.add(pid)

    def unlink(self, pid: Pid, other: Pid) -> None:
        if other in self.alive[pid].links:
            self.alive[pid].links.remove(other)
            self.alive[other].links.remove(pid)

    def monitor(self, pid: Pid, item: Pid | str, ref: Ref) -> None:
        target = self.names.get(item) if isinstance(item, str) else item
        if target in self.alive:
            self.alive[pid].monitors[ref] = (target, item)
        else:
            self.alive[pid].mailbox.append(Down(ref, item, "noproc"))

    def demonitor(self, pid: Pid, ref: Ref, flush: bool) -> bool:
        member = self.alive[pid]
        there = member.monitors.pop(ref, None) is not None
        if flush:
            member.mailbox = [m for m in member.mailbox if not (isinstance(m, Down) and m.ref == ref)]
        return there

    def register(self, name: str, pid: Pid) -> type[Exception] | None:
        if pid not in self.alive:
            return ActorError
        if name in self.names or pid in self.names.values():
            return NameTaken
        self.names[name] = pid
        return None


# The real processes, and how they are told what to do.


class Command:
    """Something that a process does, and what came of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.result: Any = None
        self.error: type[Exception] | None = None
        self.done = False

    def run(self) -> None:
        try:
            self.result = self._function()
        except ActorError as error:
            self.error = type(error)
        finally:
            self.done = True


class Return(Exception):
    """Makes a process end by returning."""


def receives() -> None:
    while True:
        try:
            receive(Command).run()
        except Return:
            return


def foreign(queue: Queue) -> None:
    while True:
        try:
            queue.get().run()
        except Return:
            return


class Actor:
    """A real process of one of the kinds."""

    def __init__(self, process: Process, kind: str, queue: Queue | None = None) -> None:
        self.process = process
        self.kind = kind
        self.queue = queue
        self.kept: list[Any] = []  # what a process that takes turns has taken out of its mailbox

    def tell(self, command: Command) -> None:
        if self.queue is not None:
            self.queue.put(command)
        else:
            self.process.deliver(command)

    def handle(self, message: Any) -> None:
        """The turns of one that takes turns."""
        if not isinstance(message, Command):
            self.kept.append(message)
            return
        try:
            message.run()
        except Return:
            raise ProcessExit("normal") from None

    @property
    def mailbox(self) -> list[Any]:
        return self.kept + list(self.process.mailbox or ())


pick = st.integers(0, MOST - 1)


class Links(RuleBasedStateMachine):
    """Random steps in both worlds."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = capture_logs()
        self.logs.__enter__()
        self.runtime = Runtime(Life("a@h", 1, 2), GeventClock())
        self.model = Model()
        self.actors: dict[Pid, Actor] = {}
        self.refs: list[tuple[Pid, Ref]] = []

    def teardown(self) -> None:
        for process in list(self.runtime.processes.values()):
            process.kill()
        self.rest()
        self.runtime.scheduler.stop()
        self.runtime.deadlines.close()
        self.logs.__exit__(None, None, None)

    def rest(self) -> None:
        """Let everything that follows from the last step happen."""
        scheduler = self.runtime.scheduler
        quiet = 0
        for _ in range(10_000):
            settle(1)
            quiet = 0 if scheduler.pending or self.somebody_ends() else quiet + 1
            if quiet == 3:
                return
        raise AssertionError("it does not come to rest")

    def somebody_ends(self) -> bool:
        return any(process.exiting is not NOT_EXITING for process in self.runtime.processes.values())

    def any_one(self, index: int) -> Pid:
        """A process, dead ones as well."""
        pids = list(self.actors)[-MOST:]
        return pids[index % len(pids)]

    def a_live_one(self, index: int) -> Pid:
        if not self.model.alive:
            self.make(KINDS[index % len(KINDS)])
        pids = list(self.model.alive)
        return pids[index % len(pids)]

    def do(self, pid: Pid, function: Callable[[], Any]) -> Command:
        """Let a process do something, and everything that follows happen."""
        command = Command(function)
        self.actors[pid].tell(command)
        self.rest()
        assert command.done or not self.runtime.is_alive(pid)
        return command

    def add(self, actor: Actor) -> Pid:
        self.actors[actor.process.pid] = actor
        self.model.alive[actor.process.pid] = Member()
        return actor.process.pid

    def make(self, kind: str) -> Pid:
        if kind == "turns":
            process = TurnProcess(self.runtime, lambda message: None)
            actor = Actor(process, kind)
            process.handle = actor.handle
            return self.add(actor)
        queue = Queue() if kind == "foreign" else None
        function, args = (foreign, (queue,)) if queue is not None else (receives, ())
        return self.add(Actor(self.runtime.spawn(function, args, {}), kind, queue))

    # Steps.

    @initialize()
    def begin(self) -> None:
        for kind in KINDS:
            self.make(kind)
        self.rest()

    @rule(kind=st.sampled_from(KINDS))
    def spawn(self, kind: str) -> None:
        if len(self.model.alive) < MOST:
            self.make(kind)
            self.rest()

    @rule(parent=pick, kind=st.sampled_from(KINDS[:2]), linked=st.booleans(), monitored=st.booleans())
    def spawn_by_another(self, parent: int, kind: str, linked: bool, monitored: bool) -> None:
        pid = self.a_live_one(parent)
        if len(self.model.alive) >= MOST:
            return
        queue = Queue() if kind == "foreign" else None
        function, args = (foreign, (queue,)) if queue is not None else (receives, ())
        result = self.do(pid, lambda: spawn_opt(function, args, link=linked, monitor=monitored)).result
        child, ref = result if monitored else (result, None)
        process = self.runtime.process(child)
        assert process is not None
        self.add(Actor(process, kind, queue))
        if linked:
            self.model.link(pid, child)
        if ref is not None:
            self.model.monitor(pid, child, ref)
            self.refs.append((pid, ref))

    @rule(who=pick, other=pick)
    def link(self, who: int, other: int) -> None:
        pid, target = self.a_live_one(who), self.any_one(other)
        self.do(pid, lambda: link(target))
        self.model.link(pid, target)

    @rule(who=pick, other=pick)
    def unlink(self, who: int, other: int) -> None:
        pid, target = self.a_live_one(who), self.any_one(other)
        self.do(pid, lambda: unlink(target))
        self.model.unlink(pid, target)

    @rule(who=pick, item=st.one_of(pick, st.sampled_from(NAMES)))
    def monitor(self, who: int, item: int | str) -> None:
        pid = self.a_live_one(who)
        dest = item if isinstance(item, str) else self.any_one(item)
        ref = self.do(pid, lambda: monitor(dest)).result
        self.model.monitor(pid, dest, ref)
        self.refs.append((pid, ref))

    @rule(index=st.integers(0, 30), flush=st.booleans())
    def demonitor(self, index: int, flush: bool) -> None:
        refs = [(pid, ref) for pid, ref in self.refs if pid in self.model.alive]
        if refs:
            pid, ref = refs[index % len(refs)]
            # One that takes turns has taken the message out of its mailbox, where no flush finds it.
            flush = flush and self.actors[pid].kind != "turns"
            there = self.do(pid, lambda: demonitor(ref, flush=flush)).result
            assert there == self.model.demonitor(pid, ref, flush)

    @rule(who=pick, flag=st.booleans())
    def trap(self, who: int, flag: bool) -> None:
        pid = self.a_live_one(who)
        assert self.do(pid, lambda: trap_exits(flag)).result == self.model.alive[pid].trapping
        self.model.alive[pid].trapping = flag

    @rule(who=pick, others=st.lists(pick, min_size=1, max_size=3), reason=st.sampled_from(REASONS))
    def exit(self, who: int, others: list[int], reason: Any) -> None:
        """Several at once: nobody runs between the first signal and the last."""
        pid = self.a_live_one(who)
        targets = [target for target in map(self.any_one, others) if target != pid]

        def sends() -> None:
            for target in targets:
                send_exit(target, reason)

        self.do(pid, sends)
        for target in targets:
            self.model.exit_signal(target, pid, reason)

    @rule(who=pick, reason=st.sampled_from([*REASONS, "kill"]))
    def exit_itself(self, who: int, reason: Any) -> None:
        pid = self.a_live_one(who)
        self.do(pid, lambda: send_exit(pid, reason))
        self.model.exit_signal(pid, pid, reason)

    @rule(who=pick, other=pick)
    def kill(self, who: int, other: int) -> None:
        pid, target = self.a_live_one(who), self.any_one(other)
        self.do(pid, lambda: send_exit(target, "kill"))
        self.model.exit_signal(target, pid, "kill")

    @rule(who=pick, reason=st.sampled_from([*REASONS, "kill", None]))
    def end(self, who: int, reason: Any) -> None:
        pid = self.a_live_one(who)

        def ends() -> None:
            raise Return if reason is None else ProcessExit(reason)

        self.do(pid, ends)
        self.model.die(pid, "normal" if reason is None else reason)

    @rule(who=pick, other=pick, name=st.sampled_from(NAMES))
    def register(self, who: int, other: int, name: str) -> None:
        pid, target = self.a_live_one(who), self.any_one(other)
        assert self.do(pid, lambda: register(name, target)).error == self.model.register(name, target)

    @rule(who=pick, name=st.sampled_from(NAMES))
    def unregister(self, who: int, name: str) -> None:
        pid = self.a_live_one(who)
        assert (self.do(pid, lambda: unregister(name)).error is None) == (self.model.names.pop(name, None) is not None)

    @rule(who=pick, dest=st.one_of(pick, st.sampled_from(NAMES)), message=st.integers(0, 3))
    def send(self, who: int, dest: int | str, message: int) -> None:
        pid = self.a_live_one(who)
        target = dest if isinstance(dest, str) else self.any_one(dest)
        self.do(pid, lambda: send(target, message))
        holder = self.model.names.get(target) if isinstance(target, str) else target
        if holder in self.model.alive:
            self.model.alive[holder].mailbox.append(message)

    # What must hold.

    @invariant()
    def the_same_are_alive_under_the_same_names(self) -> None:
        assert {process.pid for process in self.runtime.processes.values()} == set(self.model.alive)
        assert {name: process.pid for name, process in self.runtime.names.items()} == self.model.names
        live = next(iter(self.model.alive), None)
        if live is not None:
            assert self.do(live, lambda: list(map(whereis, NAMES))).result == list(map(self.model.names.get, NAMES))

    @invariant()
    def links_are_the_same_on_both_sides(self) -> None:
        for pid, member in self.model.alive.items():
            info = info_of(self.actors[pid].process)
            assert set(info.links) == member.links
            assert all(pid in info_of(self.actors[other].process).links for other in info.links)
            assert info.trapping_exits == member.trapping

    @invariant()
    def monitors_stand_until_they_fire(self) -> None:
        for pid, member in self.model.alive.items():
            process = self.actors[pid].process
            assert {item.ref for item in (process.monitors or {}).values()} == set(member.monitors)
            watched = [dest for other in self.model.alive.values() for dest, _ in other.monitors.values()]
            assert len(info_of(process).monitored_by) == watched.count(pid)

    @invariant()
    def mailboxes_hold_the_same(self) -> None:
        # Where one step ends several processes, the order in which they unwind is nobody's promise.
        for pid, member in self.model.alive.items():
            assert sorted(map(repr, self.actors[pid].mailbox)) == sorted(map(repr, member.mailbox))


TestLinks = Links.TestCase
TestLinks.settings = settings(stateful_step_count=40)
