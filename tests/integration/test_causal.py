"""Causal delivery between whole nodes, over real sockets."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from partisan_actors import (
    ActorError,
    CausalLabel,
    Node,
    NotSendable,
    Ref,
    Remote,
    Undelivered,
    receive,
    register,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
)
from partisan_actors.behaviours import GenServer, call
from tests.conditions import wait_until
from tests.integration.programs import Programs
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, cut, stop_reading

_names = itertools.count(1)


class Talker(GenServer):
    """Notes what it gets; a question is answered to everybody."""

    def init(self, owner: str) -> None:
        self.owner = owner
        self.notes: list[Any] = []

    def handle_info(self, message: Any) -> None:
        if isinstance(message, Undelivered):
            return
        self.notes.append(message)
        match message:
            case ("question", number) if number % 3 == hash_of(self.owner):
                send(Remote("talker", "*"), ("answer", number), causal="talk")

    def handle_call(self, request: Any, caller: Any) -> Any:
        return list(self.notes)


def hash_of(name: str) -> int:
    return {"a": 0, "b": 1, "c": 2}[name[0]]


class Group:
    """Three nodes of one label, each with a talker."""

    def __init__(self, nodes: Nodes, **options: Any) -> None:
        number = next(_names)
        self.names = [f"{letter}-causal{number}@127.0.0.1" for letter in "abc"]
        label = CausalLabel("talk", tuple(self.names))
        self.nodes = nodes.cluster(*self.names, causal_labels=(label,), **options)
        for node in self.nodes:
            node.run(Talker.start, node.name, name="talker")

    def has(self, node: Node, count: int) -> Callable[[], bool]:
        return lambda: len(self.notes(node)) == count

    def notes(self, node: Node) -> list[Any]:
        notes: list[Any] = node.run(call, "talker", "notes")
        return notes


@pytest.fixture
def group(nodes: Nodes) -> Iterator[Group]:
    made = Group(nodes)
    with made.nodes[0].attached():
        yield made


def in_causal_order(notes: list[Any]) -> bool:
    asked: set[int] = set()
    for kind, number in notes:
        if kind == "question":
            asked.add(number)
        elif number not in asked:
            return False
    return True


def test_an_answer_never_comes_before_its_question_whatever_the_connections_do(group: Group):
    chance = random.Random(5)
    # What "c" hears of "a" comes late, what it hears of "b" at once: an answer of "b" would overtake.
    a, _, c = group.nodes
    for number in range(120):
        send(Remote("talker", "*"), ("question", number), causal="talk")
        if number % 10 == 5:
            cut(a, c)
        if chance.randrange(3) == 0:
            gevent.sleep(0.002)
    for node in group.nodes:
        wait_until(group.has(node, 240), 20.0, what=f"{node.name} has everything")
        assert in_causal_order(group.notes(node))
        assert sorted(number for kind, number in group.notes(node) if kind == "question") == list(range(120))
    assert receive(Undelivered, timeout=0, default=None) is None


def test_a_delayed_connection_would_break_the_order_without_the_label(group: Group):
    a, b, c = group.nodes
    machine = cluster_of(c).remote.causality._labels["talk"].machine
    question, answer = ("question", 3), ("answer", 3)
    for causal in (None, "talk"):
        before = len(group.notes(c))
        read_on = stop_reading(c, a)
        for name in (c.name, b.name):
            send(Remote("talker", name), question, causal=causal)
        wait_until(lambda: group.notes(b).count(question) == (1 if causal is None else 2))  # noqa: B023
        b.run(send, Remote("talker", c.name), answer, causal=causal)
        if causal is None:
            wait_until(lambda: group.notes(c)[before:] == [answer])  # noqa: B023
        else:
            wait_until(lambda: machine.buffered == 1, what="the answer is here, and waits")
            assert group.notes(c)[before:] == []
        read_on()
        wait_until(lambda: len(group.notes(c)) == before + 2)  # noqa: B023
        assert group.notes(c)[before:] == ([answer, question] if causal is None else [question, answer])


def test_to_one_member_by_pid_and_to_oneself(group: Group):
    _, b, _ = group.nodes
    register("here", self_pid())
    assert isinstance(send("here", "to myself", causal="talk"), Ref)
    assert receive(timeout=1.0) == "to myself"
    assert isinstance(send(self_pid(), "by pid", causal="talk"), Ref)
    assert receive(timeout=1.0) == "by pid"
    pid = b.run(spawn, print)
    send(pid, "to nobody any more", causal="talk")


def test_a_wrong_label_or_destination_is_an_error_at_the_call(group: Group, nodes: Nodes):
    other = nodes.start("other")
    with pytest.raises(ActorError, match=r"no causal label 'tlak', only 'talk': declare it"):
        send(Remote("talker", "*"), 1, causal="tlak")
    with pytest.raises(ActorError, match=f"'talk' has no member '{other.name}'"):
        send(Remote("talker", other.name), 1, causal="talk")
    with pytest.raises(NotSendable):
        send(Remote("talker", "*"), object(), causal="talk")
    with other.attached(), pytest.raises(ActorError, match="only none"):
        send(Remote("talker", "*"), 1, causal="talk")
    # Nobody is hurt.
    send(Remote("talker", "*"), ("question", 0), causal="talk")
    for node in group.nodes:
        wait_until(group.has(node, 2))


def test_a_member_that_dies_is_given_up_and_nobody_waits_for_it(group: Group):
    a, b, c = group.nodes
    send(Remote("talker", "*"), ("question", 0), causal="talk")
    wait_until(lambda: all(len(group.notes(node)) == 2 for node in group.nodes))
    for link in list(cluster_of(c).peers._links):
        link.connection.close("dies")
    c.stop(timeout=0.1)
    wait_until(lambda: a.members() == sorted([a.name, b.name]), 10.0)
    for number in range(3, 30, 3):
        send(Remote("talker", "*"), ("question", number), causal="talk")
    for node in (a, b):
        wait_until(group.has(node, 2 + 18), 10.0)
        assert in_causal_order(group.notes(node))
    machine = cluster_of(a).remote.causality._labels["talk"].machine
    wait_until(lambda: machine.buffered == 0 and machine.unsettled == [], 10.0)


def talk_for_ever(who: str) -> None:
    """Numbers to all members, with small pauses, until it is ended."""
    for number in itertools.count():
        send(Remote("echo", "*"), (who, number), causal="talk")
        sleep(0.001)


def test_a_member_that_is_killed_while_all_talk_is_given_up_and_the_others_go_on(nodes: Nodes, programs: Programs):
    number = next(_names)
    names = [f"{letter}-killed{number}@127.0.0.1" for letter in "abc"]
    killed = programs.start(names[2], causal_labels={"talk": names})
    here = nodes.cluster(*names[:2], causal_labels=(CausalLabel("talk", tuple(names)),))
    here[0].join(killed.address)
    wait_until(lambda: all(node.members() == sorted(names) for node in here) and killed.ask("members") == sorted(names))
    echoes = [node.run(Echo.start, name="echo") for node in here]

    def of(node: Node, who: str) -> list[int]:
        notes = node.run(call, echoes[here.index(node)], "notes")
        return [number for name, number in notes if name == who]

    talkers = [node.spawn(talk_for_ever, node.name) for node in here]
    killed.begin("run", f"{__name__}:talk_for_ever", killed.name)
    wait_until(lambda: all(len(of(node, name)) > 50 for node in here for name in names), 10.0)
    killed.kill()
    wait_until(lambda: all(node.members() == sorted(names[:2]) for node in here), 10.0)
    before = [len(of(node, name)) for node in here for name in names[:2]]
    wait_until(
        lambda: all(
            len(of(node, name)) > known + 50
            for (node, name), known in zip(itertools.product(here, names[:2]), before, strict=True)
        ),
        10.0,
        what="the others go on",
    )
    for node, talker in zip(here, talkers, strict=True):
        node.run(send_exit, talker, "kill")
    machines = [cluster_of(node).remote.causality._labels["talk"].machine for node in here]
    wait_until(lambda: all(machine.buffered == 0 and machine.unsettled == [] for machine in machines), 10.0)
    for name in names[:2]:
        wait_until(lambda: of(here[0], name) == of(here[1], name), 10.0)  # noqa: B023
    # Of the last that the dead one said each has got what came before its end. What it said first may have been
    # undelivered: it began as soon as it knew of the others, not when these had met it.
    for node, name in itertools.product(here, names):
        numbers = of(node, name)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[0] == 0 or (name == names[2] and numbers[0] < 50)


def test_a_member_that_is_not_there_is_told(nodes: Nodes):
    label = CausalLabel("talk", ("x@127.0.0.1", "y@127.0.0.1"))
    node = nodes.start("x@127.0.0.1", causal_labels=(label,))
    with node.attached():
        ref = send(Remote("talker", "y@127.0.0.1"), 1, causal="talk")
        assert receive(timeout=2.0) == Undelivered(ref, Remote("talker", "y@127.0.0.1"), "noconnection")  # type: ignore[arg-type]


def test_a_node_has_to_be_a_member_of_the_labels_that_it_declares(nodes: Nodes):
    with pytest.raises(ValueError, match="is not among its members"):
        nodes.make("here", causal_labels=(CausalLabel("talk", ("x@h",)),))
    with pytest.raises(TypeError, match="causal_labels are CausalLabel"):
        nodes.make("here", causal_labels=("talk",))


def test_a_process_that_is_not_there_is_told(group: Group):
    b = group.nodes[1]
    dest = Remote("nobody", b.name)
    ref = send(dest, 1, causal="talk")
    assert receive(timeout=5.0) == Undelivered(ref, dest, "noproc")  # type: ignore[arg-type]
    send(Remote("talker", "*"), ("question", 0), causal="talk")
    for node in group.nodes:
        wait_until(group.has(node, 2))


def test_a_member_of_an_older_version_does_no_harm(nodes: Nodes):
    names = ("old1-causal@127.0.0.1", "old2-causal@127.0.0.1")
    label = CausalLabel("talk", names)
    here = nodes.start(names[0], causal_labels=(label,))
    there = nodes.start(names[1])
    cluster_of(there).peers.identity = dataclasses.replace(cluster_of(there).peers.identity, features=0)
    here.join(there.address)
    with here.attached():
        dest = Remote("talker", there.name)
        wait_until(lambda: here.members() == sorted(names))
        ref = send(dest, 1, causal="talk")
        assert receive(timeout=5.0) == Undelivered(ref, dest, "unsupported")  # type: ignore[arg-type]


def test_what_was_delivered_is_acknowledged_soon(group: Group):
    for number in range(20):
        send(Remote("talker", "*"), ("question", number), causal="talk")
    for node in group.nodes:
        wait_until(lambda: node.telemetry()["causal"]["posted"]["open"] == 0, 2.0)  # noqa: B023
