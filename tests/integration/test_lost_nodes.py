"""Nodes in OS processes of their own that are killed, stopped, cut off, and come back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from partisan_actors import (
    Down,
    Exit,
    Global,
    NoConnection,
    Node,
    NodeDown,
    NodeUp,
    NoProcess,
    Pid,
    Remote,
    StartError,
    global_names,
    link,
    monitor,
    monitor_nodes,
    receive,
    register,
    self_pid,
    send,
    spawn,
    spawn_opt,
    trap_exits,
    whereis,
)
from partisan_actors.behaviours import ChildSpec, Supervisor, call, cast, send_request, stop
from partisan_actors.behaviours.gen_server import wait_response
from tests.conditions import wait_until
from tests.integration.programs import NodeProgram
from tests.integration.proxy import Proxy
from tests.integration.workers import Echo, NotStarting, Trapping, wait_for_ever


class Ties:
    """Everything that a process can have with one of another node: each has to end, and once."""

    def __init__(self, node: Node, name: str) -> None:
        self.name = name
        self.server: Pid = Echo.start(node=name)
        self.linked: Pid = spawn_opt(wait_for_ever, node=name, link=True)
        self.refs = {monitor(self.server): self.server, monitor(Remote("echo", name)): Remote("echo", name)}
        spawned, ref = spawn_opt(wait_for_ever, node=name, monitor=True)
        self.refs[ref] = spawned
        self.outcomes: dict[str, tuple[str, float]] = {}
        self.began = time.monotonic()
        for what, attempt in {
            "call": lambda: call(self.server, "keep", None),
            "call by name": lambda: call(Remote("echo", name), "keep", 60),
            "request": lambda: wait_response(send_request(self.server, "keep")),
            "start": lambda: NotStarting.start("wait for ever", node=name),
            "stop": lambda: stop(self.linked),
            "quick call": lambda: call(self.server, "keep", 1.0),
        }.items():
            node.spawn(self._try, what, attempt)

    def _try(self, what: str, attempt: Callable[[], Any]) -> None:
        try:
            attempt()
        except Exception as error:
            self.outcomes[what] = type(error).__name__, time.monotonic()
        else:
            self.outcomes[what] = "returned", time.monotonic()

    def check(self, lost_at: float, within: float) -> None:
        """All of it has ended within that many seconds from when the node was lost."""
        ended = [receive((Down, Exit), timeout=within + 5) for _ in range(4)]
        assert time.monotonic() - lost_at < within
        downs = {message.ref: message for message in ended if isinstance(message, Down)}
        assert downs == {ref: Down(ref, item, "noconnection") for ref, item in self.refs.items()}
        assert [message for message in ended if isinstance(message, Exit)] == [Exit(self.linked, "noconnection")]
        wait_until(lambda: len(self.outcomes) == 6)
        assert all(at - lost_at < within for _, at in self.outcomes.values()), self.outcomes
        expected = dict.fromkeys(self.outcomes, "NoConnection")
        if lost_at + 1.0 < max(at for _, at in self.outcomes.values()):
            expected["quick call"] = "CallTimeout"
        assert {what: outcome for what, (outcome, _) in self.outcomes.items()} == expected


def test_a_killed_node_is_down_within_a_second(nodes, programs):
    killed, other = programs.start("killed"), programs.start("other")
    here = nodes.start("here")
    here.join(killed.address)
    other.ask("join", here.address)
    with here.attached():
        monitor_nodes()
        trap_exits()
        name = Global("of the killed")
        named = Echo.start(node=killed.name, name=name)
        ties = Ties(here, killed.name)
        wait_until(lambda: call(named, "where"))
        lost_at = time.monotonic()
        killed.kill()
        ties.check(lost_at, within=2.0)
        assert receive(timeout=5) == NodeDown(killed.name, "connection refused")
        assert time.monotonic() - lost_at < 2.0
        assert whereis(name) is None and global_names() == []
        for dest in (named, killed.echo, name):
            began = time.monotonic()
            with pytest.raises((NoConnection, NoProcess)):
                call(dest, 1)
            send(dest, 1)
            assert time.monotonic() - began < 0.5
        assert here.members() == sorted([here.name, other.name])
        wait_until(lambda: other.ask("members") == here.members())
        register(name, self_pid())

        # Another life of the node, at the same place, is found by the others: it is told of nobody.
        again = programs.start(killed.name, listen=killed.address)
        assert receive(timeout=10) == NodeUp(killed.name)
        wait_until(lambda: again.ask("members") == other.ask("members") == here.members())
        assert len(here.members()) == 3
        assert call(again.echo, "where") == killed.name
        for old in (named, ties.server, ties.linked):
            with pytest.raises(NoProcess):
                call(old, "where")
            send(old, "never arrives")
            link(old)
            assert receive(timeout=5) == Exit(old, "noproc")
        assert call(again.echo, "notes") == ()
        assert whereis(name) == self_pid()
        assert receive(timeout=0, default=None) is None


class Silent:
    """A node that `here` has to find silent: how it is silenced, and let speak again."""

    def __init__(self, program: NodeProgram, silence: Callable[[], None], speak: Callable[[], None]) -> None:
        self.program = program
        self.silence = silence
        self.speak = speak


def test_a_silent_node_is_suspected_after_five_seconds_and_down_within_ten(nodes, programs):
    """One that is stopped (SIGSTOP)."""
    stopped, other = programs.start("stopped"), programs.start("other")
    here = nodes.start("here")
    for program in (stopped, other):
        here.join(program.address)
    with here.attached():
        find_them_silent(here, other, [Silent(stopped, stopped.stop, stopped.go_on)])


def test_one_cut_link_between_two_that_both_reach_a_third_is_no_node_down(nodes, programs):
    """They talk through it, and over a link again when there can be one."""
    proxy = Proxy()
    cut_off, other = programs.start("cut-off", advertise=proxy.address), programs.start("other")
    here = nodes.start("here", listen=None)  # so it dials, and through the proxy
    try:
        proxy.target = dialled(cut_off)
        cut_off.ask("join", other.address)  # a link of the two others that is not through the proxy
        here.join(cut_off.address)
        events: list[Any] = []
        here.subscribe(events.append)
        with here.attached():
            echo = Echo.start(node=cut_off.name)
            ref = monitor(echo)
            proxy.hold()
            for number in range(1000):
                cast(echo, number)
            wait_until(lambda: cut_off.name not in here.neighbours(), 10.0, what="the link is given up")
            assert call(echo, "notes", 10.0) == tuple(range(1000))
            assert cut_off.name not in here.neighbours()
            assert here.members() == sorted([here.name, cut_off.name, other.name])
            proxy.release()
            wait_until(lambda: cut_off.name in here.neighbours(), 15.0, what="a link again")
            assert call(echo, "count") == 1000
            assert receive(timeout=0, default=None) is None and ref
        assert events == []
    finally:
        proxy.close()


def dialled(program: NodeProgram) -> str:
    """Where a node that advertises something else really listens."""
    (listening,) = program.ask("listening")
    return listening  # type: ignore[no-any-return]


def find_them_silent(here: Node, other: NodeProgram, silenced: list[Silent]) -> None:
    monitor_nodes()
    names = [each.program.name for each in silenced]
    name = Global("older")
    older = Trapping.start(node=names[0], name=name)
    echoes = {node: Echo.start(node=node) for node in names}
    everything = [spawn_ties(here, node) for node in names]
    # A moment of silence is nothing: what is sent meanwhile arrives.
    for each in silenced:
        each.silence()
    for node in names:
        for number in range(500):
            cast(echoes[node], number)
    gevent.sleep(1.0)
    assert receive(timeout=0, default=None) is None
    for each in silenced:
        each.speak()
    for node in names:
        assert call(echoes[node], "notes") == tuple(range(500))
    # And now for longer.
    for collect in everything:
        collect("begin")
    lost_at = time.monotonic()
    for each in silenced:
        each.silence()
    slowest = 0.0
    events: list[Any] = []
    while len(events) < len(names):
        began = time.monotonic()
        assert call(other.echo, ("echo", 1)) == 1
        slowest = max(slowest, time.monotonic() - began)
        event = receive((NodeUp, NodeDown), timeout=0.01, default=None)
        events += [event] if event is not None else []
        assert time.monotonic() - lost_at < 10
    assert sorted(events, key=lambda event: event.node) == sorted(
        (NodeDown(node, "silent") for node in names), key=lambda event: event.node
    )
    assert 4.0 < time.monotonic() - lost_at < 10.0
    assert slowest < 1.0  # nobody else has noticed
    for collect in everything:
        collect("check", lost_at)
    for node in names:
        with pytest.raises(NoConnection):
            call(echoes[node], 1)
    younger = Echo.start(name=name)
    watch = monitor(younger)
    # They come back as they were: the same life, the same processes.
    for each in silenced:
        each.speak()
    assert {receive((NodeUp, NodeDown), timeout=10) for _ in names} == {NodeUp(node) for node in names}
    for node in names:
        assert call(echoes[node], "where") == node
    # Each side had the name meanwhile; the one that had it first keeps it.
    assert receive(Down, timeout=5) == Down(watch, younger, ("name_conflict", "older", older))
    assert whereis(name) == older and call(older, "notes") == ()
    assert here.members() == sorted([here.name, other.name, *names])
    assert receive(timeout=0, default=None) is None


def spawn_ties(here: Node, name: str) -> Callable[..., None]:
    """`Ties` in a process of their own: what they bring is not the test's."""
    told: list[Any] = []

    def holder() -> None:
        trap_exits()
        receive("begin".__eq__)
        ties = Ties(here, name)
        told.append("tied")
        try:
            ties.check(receive(float), within=10.5)
            assert receive(timeout=0.5, default=None) is None
        except BaseException as error:
            told.append(error)
            raise
        told.append("checked")

    pid = spawn(holder)

    def failed(told: list[Any]) -> bool:
        return bool(told) and isinstance(told[-1], BaseException)

    def step(what: str, lost_at: float = 0.0) -> None:
        send(pid, lost_at if what == "check" else what)
        wanted = "checked" if what == "check" else "tied"
        wait_until(lambda: told[-1:] == [wanted] or failed(told), 15, what=wanted)
        assert not failed(told), told

    return step


def test_a_supervisor_moves_its_children_from_lost_nodes(nodes, programs):
    left, right = programs.start("left"), programs.start("right")
    here = nodes.start("here")
    for program in (left, right):
        here.join(program.address)
    asked: list[list[str]] = []

    def place(spec: ChildSpec, members: list[str]) -> str | None:
        asked.append(members)
        return next((node for node in members if node != here.name), None)

    with here.attached():
        places = [left.name, right.name]
        name = Global("a child")
        specs = [
            ChildSpec("listed", Echo, node=places),
            ChildSpec("named", Echo, kwargs={"name": name}, node=places),
            ChildSpec("placed", (Echo, 1), node=place),
            ChildSpec("function", wait_for_ever, node=right.name),
            ChildSpec("at home", Echo),
        ]
        supervisor = Supervisor.start(specs, max_restarts=0)

        def where() -> dict[Any, Any]:
            children = Supervisor.which_children(supervisor)
            return {child.id: child.pid and child.pid.node for child in children}

        assert where() == {
            "listed": left.name, "named": left.name, "placed": left.name, "function": right.name, "at home": here.name,
        }  # fmt: skip
        left.kill()
        moved = {"listed": right.name, "named": right.name, "placed": right.name, "function": right.name}
        wait_until(lambda: where() == moved | {"at home": here.name}, 5)
        wait_until(lambda: call(name, "where") == right.name)
        right.kill()
        gone = dict.fromkeys(moved)
        wait_until(lambda: where() == gone | {"at home": here.name}, 5)
        assert asked[-1] == [here.name]
        # None is left: they wait for one to come up.
        again = programs.start(right.name)
        again.ask("join", here.address)
        wait_until(lambda: where() == moved | {"at home": here.name}, 5)
        assert call(name, "where") == right.name
        # And they end with their supervisor, wherever they are.
        stop(supervisor, "shutdown")
        wait_until(lambda: whereis(name) is None)


def test_a_herd_of_programs_ends_as_one_cluster(programs):
    herd = [programs.start("herd") for _ in range(5)]
    joins = [program.begin("join", herd[(number + 1) % len(herd)].address) for number, program in enumerate(herd)]
    gevent.joinall(joins, timeout=15)
    assert [join.get(timeout=15) for join in joins] == [None] * 5
    names = sorted(program.name for program in herd)
    for program in herd:
        wait_until(lambda program=program: program.ask("members") == names)
        assert program.ask("neighbours") == [name for name in names if name != program.name]
    # One leaves in order, by ending; another is killed. Both are gone for all.
    assert herd[0].end() == 0
    herd[1].kill()
    left = sorted(program.name for program in herd[2:])
    for program in herd[2:]:
        wait_until(lambda program=program: program.ask("members") == left)


def test_a_start_on_a_node_that_is_lost_meanwhile_is_an_error_of_starting_or_none(nodes, programs):
    """Whatever the moment of the loss, a start ends."""
    killed, here = programs.start("killed"), nodes.start("here")
    here.join(killed.address)
    with here.attached():
        outcomes: list[Any] = []

        def starter() -> None:
            while True:
                try:
                    outcomes.append(Echo.start(node=killed.name))
                except (NoConnection, StartError) as error:
                    outcomes.append(error)
                    return

        refs = {monitor(spawn(starter)) for _ in range(20)}
        wait_until(lambda: len(outcomes) > 100)
        killed.kill()
        ended = {receive(Down, timeout=5).ref for _ in refs}
        assert ended == refs
        assert all(isinstance(error, NoConnection) for error in outcomes if isinstance(error, Exception))
        wait_until(lambda: killed.name not in here.members())
