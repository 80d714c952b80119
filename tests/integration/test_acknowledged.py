"""Acknowledged delivery between whole nodes: over breaks, ends of sessions, restarts, and the death of the sender."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from partisan_actors import (
    ActorError,
    Channel,
    Node,
    Pid,
    Ref,
    Remote,
    Undelivered,
    WouldBlock,
    current_node,
    receive,
    self_pid,
    send,
    send_exit,
    spawn,
    spawn_opt,
)
from partisan_actors.behaviours import call
from partisan_actors.distribution.log_file import LogInUse
from partisan_actors.distribution.outbox_events import OutboxParameters
from tests.conditions import wait_until
from tests.faults.network import hurry
from tests.integration.programs import Programs
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, cut, session_between

CHANNELS = (Channel("bulk", parallelism=4), Channel("latest", monotonic=True))


@pytest.fixture
def pair(nodes: Nodes) -> Iterator[list[Node]]:
    here, there = nodes.cluster("here", "there", channels=CHANNELS)
    with here.attached():
        yield [here, there]


def post(dest: Any, message: Any) -> Ref:
    ref = send(dest, message, ack=True)
    assert isinstance(ref, Ref)
    return ref


def notes(node: Node, server: Pid) -> tuple[Any, ...]:
    taken: tuple[Any, ...] = node.run(call, server, "notes")
    return taken


def test_it_is_delivered_once_and_the_sender_hears_nothing(pair: list[Node]):
    here, there = pair
    echo = there.run(Echo.start, name="echo")
    refs = [send(echo, 1, ack=True), send(Remote("echo", there.name), 2, ack=True, channel="bulk", partition_key="k")]
    assert all(isinstance(ref, Ref) for ref in refs) and refs[0] != refs[1]
    wait_until(lambda: set(notes(there, echo)) == {1, 2})
    wait_until(lambda: not len(cluster_of(here).remote.acknowledging._boxes.of(there.name)))
    assert receive(timeout=0, default=None) is None


def test_breaks_and_ends_of_sessions_lose_and_double_nothing(pair: list[Node]):
    here, there = pair
    echo = there.run(Echo.start, name="echo")
    chance = random.Random(1)
    for number in range(600):
        send(echo, number, ack=True)
        if number % 60 == 30:
            session = cluster_of(here).peers.session(there.name)
            if session is not None:
                session.end("enough") if chance.randrange(2) else cut(here, there)
        if not number % 7:
            gevent.sleep(0.001)
    wait_until(lambda: len(notes(there, echo)) >= 600, 20.0)
    assert notes(there, echo) == tuple(range(600))
    assert receive(Undelivered, timeout=0, default=None) is None


def test_nobody_there_is_told(pair: list[Node]):
    _, there = pair
    echo = there.run(Echo.start)
    there.run(send_exit, echo, "kill")
    for dest in (echo, Remote("nobody", there.name), "nobody", Pid(self_pid().home, 999_999)):
        ref = post(dest, 1)
        assert receive(Undelivered, timeout=5.0) == Undelivered(ref, dest, "noproc")


def test_an_answer_in_a_frame_that_could_not_be_handled_hides_no_refusal(nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    here, there = nodes.cluster("here", "there")
    acknowledging = cluster_of(here).remote.acknowledging
    # Sooner than after 5 s.
    monkeypatch.setattr(acknowledging._boxes, "parameters", OutboxParameters(resend_after=0.5, resend_cap=1.0))
    handle = acknowledging.acknowledged
    lost = []

    def fail_once(ties: Any, acknowledgement: Any) -> None:
        if not lost:
            lost.append(acknowledgement)
            raise RuntimeError("for this test")
        handle(ties, acknowledgement)

    monkeypatch.setattr(acknowledging, "acknowledged", fail_once)
    with here.attached():
        session = cluster_of(here).peers.session(there.name)
        first = post(Remote("nobody", there.name), 1)
        wait_until(lambda: lost)
        second = post(Remote("nobody", there.name), 2)
        notes = [receive(timeout=10.0), receive(timeout=10.0)]
        assert {(note.ref, note.reason) for note in notes} == {(first, "noproc"), (second, "noproc")}
        assert cluster_of(here).peers.session(there.name) is session


def test_a_local_process_gets_it_as_ever():
    with Node("alone@127.0.0.1", listen=None) as node:
        assert isinstance(send(self_pid(), "x", ack=True), Ref)
        assert receive() == "x"
        dest = Remote("echo", "nowhere@127.0.0.1")
        ref = send(dest, 1, ack=True)
        assert node.name == current_node()
        node.leave()
        assert isinstance(ref, Ref)


def test_a_node_that_never_comes_is_given_up_in_time(nodes: Nodes):
    node = nodes.start("here", ack_timeout=0.3)
    with node.attached():
        dest = Remote("echo", "nowhere@127.0.0.1")
        ref = post(dest, 1)
        assert receive(timeout=5.0) == Undelivered(ref, dest, "noconnection")


def test_a_full_outbox_holds_its_senders(nodes: Nodes):
    node = nodes.start("here", ack_timeout=1.0)
    with node.attached():
        dest = Remote("echo", "nowhere@127.0.0.1")
        with pytest.raises(WouldBlock, match=r"outbox for nowhere@127\.0\.0\.1 is full: 10000 messages"):
            for number in range(10_001):
                send(dest, number, ack=True, nosuspend=True)
        # Who waits goes on when there is room: here when the time limit has made it.
        send(dest, "waits", ack=True)
        assert receive(Undelivered, timeout=5.0).reason == "noconnection"


def test_a_monotonic_channel_acknowledges_nothing(pair: list[Node]):
    echo = pair[1].run(Echo.start)
    with pytest.raises(ActorError, match="monotonic and acknowledges nothing"):
        send(echo, 1, ack=True, channel="latest")


def test_a_new_life_fails_what_was_for_pids_of_the_old_one_and_gets_what_is_for_names(nodes: Nodes, programs: Programs):
    here = nodes.start("here")
    old = programs.start("there")
    here.join(old.address)
    with here.attached():
        server = Echo.start(node=old.name)
        assert call(server, ("echo", 1)) == 1
        old.kill()
        wait_until(lambda: here.members() == [here.name])
        by_pid = post(server, 1)
        send(old.echo, "by name", ack=True)
        new = programs.start(old.name)
        new.ask("join", here.address)
        assert receive(timeout=5.0) == Undelivered(by_pid, server, "noproc")
        wait_until(lambda: call(new.echo, "notes") == ("by name",))


def test_a_stopped_peer_gets_it_once_when_it_goes_on(nodes: Nodes, programs: Programs):
    here = nodes.start("here")
    there = programs.start("there")
    hurry(here)
    here.join(there.address)
    with here.attached():
        assert call(there.echo, ("echo", 1)) == 1
        there.stop()
        for number in range(100):
            send(there.echo, number, ack=True)
        wait_until(lambda: here.members() == [here.name], 10.0)
        there.go_on()
        wait_until(lambda: here.members() == sorted([here.name, there.name]), 10.0)
        wait_until(lambda: call(there.echo, "count") == 100, 10.0)
        assert call(there.echo, "notes") == tuple(range(100))


def send_many(dest_node: str, first: int, count: int) -> int:
    """In another OS process: send, and say how many were accepted."""
    for number in range(first, first + count):
        send(Remote("echo", dest_node), number, ack=True)
    return first + count


def test_what_was_accepted_survives_the_death_of_its_sender(nodes: Nodes, programs: Programs, tmp_path: Path):
    here = nodes.start("here")
    echo = here.run(Echo.start, name="echo")
    path = str(tmp_path / "outbox")
    accepted = 0
    name: str | None = None
    for _ in range(4):
        sender = programs.start(name or "sender", outbox=path)
        name = sender.name
        assert accepted == sender.ask("run", "tests.integration.test_acknowledged:send_many", here.name, accepted, 0)
        # Without a connection to where it goes: it is only in the log.
        accepted = sender.ask("run", "tests.integration.test_acknowledged:send_many", here.name, accepted, 50)
        sender.kill()
    last = programs.start(name or "", outbox=path)
    last.ask("join", here.address)
    wait_until(lambda: len(notes(here, echo)) >= accepted, 10.0)
    gevent.sleep(0)
    assert notes(here, echo) == tuple(range(accepted))


def send_and_note(dest_node: str, life: int, path: str) -> None:
    """In another OS process: send without end, and note how many were accepted where the end of it loses nothing."""
    with Path(path).open("wb", buffering=0) as noted:
        for number in itertools.count():
            send(Remote("echo", dest_node), (life, number), ack=True)
            noted.write(b".")


def test_a_sender_that_is_killed_while_it_sends_loses_and_doubles_nothing(
    nodes: Nodes, programs: Programs, tmp_path: Path
):
    """It is connected; of what it has sent, some is there, some on its way, and some in the log alone."""
    here = nodes.start("here")
    echo = here.run(Echo.start, name="echo")
    name: str | None = None
    accepted: list[int] = []
    for life in range(3):
        sender = programs.start(name or "sender", outbox=str(tmp_path / "outbox"))
        name = sender.name
        sender.ask("join", here.address)
        before = here.run(call, echo, "count")
        sender.begin("run", f"{__name__}:send_and_note", here.name, life, str(tmp_path / f"accepted {life}"))
        wait_until(lambda: here.run(call, echo, "count") >= before + 100, 10.0)  # noqa: B023
        sender.kill()
        accepted.append((tmp_path / f"accepted {life}").stat().st_size)
    last = programs.start(name or "", outbox=str(tmp_path / "outbox"))
    last.ask("join", here.address)
    wait_until(lambda: len(notes(here, echo)) >= sum(accepted), 10.0)
    wait_until(lambda: last.ask("telemetry")["acknowledged"]["open"] == 0, 10.0)
    for life, count in enumerate(accepted):
        numbers = [number for of, number in notes(here, echo) if of == life]
        # The last one may have been accepted, and its sender killed before it could note that.
        assert numbers == list(range(len(numbers))) and count <= len(numbers) <= count + 1


def test_a_log_belongs_to_one_node_and_an_unusable_one_is_told(nodes: Nodes, tmp_path: Path):
    path = str(tmp_path / "outbox")
    first = nodes.start("first", outbox=path)
    second = nodes.make("second", outbox=path)
    with pytest.raises(LogInUse, match="outbox"):
        second.start()
    first.stop()
    second.start()
    second.stop()
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(ActorError, match="text"):
        nodes.start("third", outbox=str(tmp_path / "text"))


def test_a_sender_that_is_killed_while_it_waits_for_room_leaves_nothing(nodes: Nodes):
    node = nodes.start("here", ack_timeout=30.0)
    with node.attached():
        dest = Remote("echo", "nowhere@127.0.0.1")

        def fill() -> None:
            while True:
                send(dest, b"x" * 10_000, ack=True)

        pid = spawn(fill)
        outboxes = cluster_of(node).remote.acknowledging._boxes
        wait_until(lambda: (box := outboxes.get(dest.node)) is not None and box.congested)
        send_exit(pid, "kill")
        other = spawn_opt(fill)
        wait_until(lambda: pid != other and node.run(lambda: True))
        send_exit(other, "kill")


def test_the_session_of_a_pair_is_not_needed_to_accept(pair: list[Node]):
    here, there = pair
    echo = there.run(Echo.start)
    session_between(here, there).end("enough")
    send(echo, "sent without a session", ack=True)
    wait_until(lambda: notes(there, echo) == ("sent without a session",))


def test_a_channel_that_a_later_session_lacks_is_no_reason_to_give_up(nodes: Nodes):
    here = nodes.start("here", channels=(Channel("strict", parallelism=4, fallback=False),))
    there = nodes.start("there")
    there.run(Echo.start, name="echo")
    dest = Remote("echo", there.name)
    with here.attached():
        for number in range(20):
            send(dest, number, ack=True, channel="strict", partition_key=number)
        here.join(there.address)
        wait_until(lambda: there.run(call, "echo", "notes") == tuple(range(20)))
        with pytest.raises(ActorError, match="has no channel 'strict'"):
            send(dest, 20, ack=True, channel="strict")


def test_a_key_that_will_not_do_is_told_whoever_is_there(nodes: Nodes):
    node = nodes.start("here")
    with node.attached():
        for key in ([1], object()):
            with pytest.raises(TypeError):
                send(Remote("echo", "nowhere@127.0.0.1"), 1, ack=True, partition_key=key)
